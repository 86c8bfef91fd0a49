"""From `DATABASE_URL` to a store."""

from __future__ import annotations

from wattbus.storage.engine import BUSY_S, SqliteEngine, sqlite_url
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
