"""From `DATABASE_URL` to a store, or to one of raw messages."""

from __future__ import annotations

from wattbus.storage.engine import BUSY_S, SqliteEngine, require_file, sqlite_url
from wattbus.storage.raw import RawReader, RawStore
from wattbus.storage.raw_sqlite import SqliteRawReader, SqliteRawStore
from wattbus.storage.sqlite import SqliteStore
from wattbus.storage.store import Store


def check_url(database_url: str) -> None:
    """Whether it can be meant; contacts nothing. Raises ConfigError."""
    sqlite_url(database_url)


async def open_store(database_url: str, *, busy_s: float = BUSY_S) -> Store:
    """Open the database, create it or bring its schema up to date.

    `busy_s` bounds how long one attempt waits for another process's lock. Raises ConfigError when the URL is wrong or
    the schema is newer than this version, DatabaseAway when it cannot be opened now.
    """
    engine = SqliteEngine(sqlite_url(database_url), busy_s)
    store = SqliteStore(engine)
    try:
        await store.open()
    except BaseException:
        await store.close()
        raise
    return store


async def open_raw_store(database_url: str, *, busy_s: float = BUSY_S) -> RawStore:
    """As `open_store`, for raw messages; both may be in one database."""
    engine = SqliteEngine(sqlite_url(database_url), busy_s)
    try:
        await engine.open()
    except BaseException:
        await engine.close()
        raise
    return SqliteRawStore(engine)


async def open_raw_reader(database_url: str) -> RawReader:
    """Raw messages that somebody else writes; nothing is created or changed.

    Raises ConfigError when the URL is wrong or the schema is newer than this version, DatabaseAway when there is no
    such database, or none with raw messages, yet.
    """
    url = sqlite_url(database_url)
    require_file(url)
    reader = SqliteRawReader(SqliteEngine(url))
    try:
        await reader.check()
    except BaseException:
        await reader.close()
        raise
    return reader
