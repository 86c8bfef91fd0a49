"""From `DATABASE_URL` to a store: of history, of history that people may edit, or of raw messages."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from wattbus.errors import ConfigError
from wattbus.storage.engine import BUSY_S, Engine
from wattbus.storage.history_store import EditableStore, HistoryStore
from wattbus.storage.raw import RawReader, RawStore
from wattbus.storage.raw_table import RawTableReader
from wattbus.storage.retention import SteppingRetainer
from wattbus.storage.sqlite.engine import SqliteEngine, require_file, sqlite_url
from wattbus.storage.sqlite.pages import bytes_of_history, give_back
from wattbus.storage.sqlite.raw import SqliteRawStore
from wattbus.storage.sqlite.two_level_table import TwoLevelTable
from wattbus.storage.store import Store
from wattbus.storage.values import Retainer, ValueTable

POSTGRESQL_SCHEMES = ("postgresql", "postgres", "timescaledb", "timescale")
EXPECTED = "sqlite:///path/to/file.db or postgresql://user:password@host:port/name"


class Openable(Protocol):
    async def open(self) -> None:
        """Connect, and bring the schema up to date. Raises DatabaseAway, ConfigError."""

    async def close(self) -> None:
        """Let go of the database."""


class OpenableRawStore(RawStore, Openable, Protocol): ...


S = TypeVar("S", bound=Openable)


@dataclass(frozen=True, slots=True)
class Parts:
    """What stores are made of; of one kind per database. Making them contacts nothing.

    `must_exist` raises DatabaseAway when reading would make a database.
    """

    engine: Engine
    value_table: Callable[[], ValueTable]
    retainer: Callable[[], Retainer]
    raw_store: Callable[[], OpenableRawStore]
    raw_reader: Callable[[], RawTableReader]
    must_exist: Callable[[], None]

    def history_store(self) -> HistoryStore:
        return HistoryStore(self.engine, self.value_table(), self.retainer())


def parts(database_url: str, busy_s: float | None = None) -> Parts:
    """Of the database that is meant. Raises ConfigError, without the URL: it may hold a password."""
    scheme = database_url.partition("://")[0].partition("+")[0]
    if scheme == "sqlite":
        return _of_sqlite(database_url, busy_s)
    if scheme in POSTGRESQL_SCHEMES:
        return _of_postgresql(database_url, busy_s)
    if "://" not in database_url:
        raise ConfigError(f"DATABASE_URL: not a URL; expected {EXPECTED}")
    raise ConfigError(f"DATABASE_URL: {scheme} is not supported; expected {EXPECTED}")


def _of_sqlite(database_url: str, busy_s: float | None) -> Parts:
    url = sqlite_url(database_url)
    engine = SqliteEngine(url, BUSY_S if busy_s is None else busy_s)
    return Parts(
        engine,
        value_table=TwoLevelTable,
        retainer=lambda: SteppingRetainer(engine, TwoLevelTable.tables, bytes_of_history, give_back),
        raw_store=lambda: SqliteRawStore(engine),
        raw_reader=lambda: RawTableReader(engine),
        must_exist=lambda: require_file(url),
    )


def _of_postgresql(database_url: str, busy_s: float | None) -> Parts:
    """Its driver is not loaded where nobody needs it."""
    from wattbus.storage.postgres.address import driver_url
    from wattbus.storage.postgres.engine import LOCK_S, PostgresEngine
    from wattbus.storage.postgres.history_table import HistoryTable
    from wattbus.storage.postgres.raw import PostgresRawReader, PostgresRawStore
    from wattbus.storage.postgres.retention import history_retainer

    engine = PostgresEngine(driver_url(database_url), LOCK_S if busy_s is None else busy_s)
    return Parts(
        engine,
        value_table=HistoryTable,
        retainer=lambda: history_retainer(engine),
        raw_store=lambda: PostgresRawStore(engine),
        raw_reader=lambda: PostgresRawReader(engine),
        must_exist=lambda: None,  # connecting makes no database
    )


def check_url(database_url: str) -> None:
    """Whether it can be meant; contacts nothing. Raises ConfigError."""
    parts(database_url)


async def open_store(database_url: str, *, busy_s: float | None = None) -> Store:
    """Open the database, create it (SQLite) or bring its schema up to date.

    `busy_s` bounds how long one attempt waits for somebody else's lock. Raises ConfigError when the URL is wrong or
    the schema is newer than this version, DatabaseAway when it cannot be opened now.
    """
    made = parts(database_url, busy_s)
    return await _opened(made.history_store())


async def open_editable_store(database_url: str, *, busy_s: float | None = None) -> EditableStore:
    """As `open_store`, with what people edit."""
    made = parts(database_url, busy_s)
    return await _opened(EditableStore(made.engine, made.history_store(), made.value_table()))


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
