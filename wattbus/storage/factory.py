"""From `DATABASE_URL` to a store: of history, of history that people may edit, or of raw messages."""

from __future__ import annotations

from typing import Protocol, TypeVar

from wattbus.errors import ConfigError
from wattbus.storage.editable import EditableStore
from wattbus.storage.engine import Engine
from wattbus.storage.history_store import HistoryStore
from wattbus.storage.raw import RawReader, RawStore
from wattbus.storage.raw_reader import RawTableReader
from wattbus.storage.sqlite.parts import SqliteParts
from wattbus.storage.store import Store
from wattbus.storage.value_table import Retainer, ValueTable

POSTGRESQL_SCHEMES = ("postgresql", "postgres", "timescaledb", "timescale")
EXPECTED = "sqlite:///path/to/file.db or postgresql://user:password@host:port/name"


class Openable(Protocol):
    async def open(self) -> None: ...

    async def close(self) -> None: ...


class OpenableRawStore(RawStore, Openable, Protocol): ...


S = TypeVar("S", bound=Openable)


class Parts(Protocol):
    """What stores are made of; one kind per database. Making them contacts nothing."""

    engine: Engine

    def layout(self) -> ValueTable: ...

    def retainer(self) -> Retainer: ...

    def raw_store(self) -> OpenableRawStore: ...

    def raw_reader(self) -> RawTableReader: ...

    def must_exist(self) -> None:
        """Raises DatabaseAway when reading would make a database."""


def parts(database_url: str, busy_s: float | None = None) -> Parts:
    """Of the database that is meant. Raises ConfigError, without the URL: it may hold a password."""
    scheme = database_url.partition("://")[0].partition("+")[0]
    if scheme == "sqlite":
        return SqliteParts(database_url, busy_s)
    if scheme in POSTGRESQL_SCHEMES:
        from wattbus.storage.postgres.parts import PostgresParts  # its driver is not loaded where nobody needs it

        return PostgresParts(database_url, busy_s)
    if "://" not in database_url:
        raise ConfigError(f"DATABASE_URL: not a URL; expected {EXPECTED}")
    raise ConfigError(f"DATABASE_URL: {scheme} is not supported; expected {EXPECTED}")


def check_url(database_url: str) -> None:
    """Whether it can be meant; contacts nothing. Raises ConfigError."""
    parts(database_url)


async def open_store(database_url: str, *, busy_s: float | None = None) -> Store:
    """Open the database, create it (SQLite) or bring its schema up to date.

    `busy_s` bounds how long one attempt waits for somebody else's lock. Raises ConfigError when the URL is wrong or
    the schema is newer than this version, DatabaseAway when it cannot be opened now.
    """
    made = parts(database_url, busy_s)
    return await _opened(HistoryStore(made.engine, made.layout(), made.retainer()))


async def open_editable_store(database_url: str, *, busy_s: float | None = None) -> EditableStore:
    """As `open_store`, with what people edit."""
    made = parts(database_url, busy_s)
    history = HistoryStore(made.engine, made.layout(), made.retainer())
    return await _opened(EditableStore(made.engine, history, made.layout()))


async def _opened(store: S) -> S:
    try:
        await store.open()
    except BaseException:
        await store.close()
        raise
    return store


async def open_raw_store(database_url: str, *, busy_s: float | None = None) -> RawStore:
    """As `open_store`, for raw messages; both may be in one database."""
    return await _opened(parts(database_url, busy_s).raw_store())


async def open_raw_reader(database_url: str) -> RawReader:
    """Raw messages that somebody else writes; nothing is created or changed.

    Raises ConfigError when the URL is wrong or the schema is newer than this version, DatabaseAway when there is no
    such database, or none with raw messages, yet.
    """
    made = parts(database_url)
    made.must_exist()
    reader = made.raw_reader()
    try:
        await reader.check()
    except BaseException:
        await reader.close()
        raise
    return reader
