"""Connections to SQLite: one that writes, a few that read."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from wattbus.errors import ConfigError
from wattbus.storage.engine import BUSY_S, Writer, reading
from wattbus.storage.errors import DatabaseAway, plain_errors
from wattbus.storage.migrate import migrate, one_migration_at_a_time

READERS = 4
PAGE_CACHE_KIB = 64 * 1024  # with the default 2 MB the merged table falls to a quarter of its speed
LONGEST_IDLE_WAL = 64 * 2**20  # bytes; a longer write-ahead log is cut back after a checkpoint

T = TypeVar("T")

WRITER_PRAGMAS = (
    "auto_vacuum=INCREMENTAL",  # counts only before the first table; then retention can give pages back
    "journal_mode=WAL",
    "synchronous=FULL",  # a commit stands behind every receipt
    f"cache_size=-{PAGE_CACHE_KIB}",
    f"journal_size_limit={LONGEST_IDLE_WAL}",
    "foreign_keys=ON",
)
READER_PRAGMAS = ("query_only=ON", "cache_size=-8192", "foreign_keys=ON")


def sqlite_url(database_url: str) -> URL:
    """The URL with our driver. Raises ConfigError when it names no file."""
    try:
        url = make_url(database_url)
    except (ArgumentError, ValueError):
        raise ConfigError("DATABASE_URL: not a URL; expected sqlite:///path/to/history.db") from None
    if url.database in (None, "", ":memory:"):
        raise ConfigError("DATABASE_URL: names no file; expected sqlite:///path/to/history.db")
    return url.set(drivername="sqlite+aiosqlite")


def require_file(url: URL) -> None:
    """Raises DatabaseAway when there is no such file: connecting would make it."""
    if not Path(url.database or "").is_file():
        raise DatabaseAway(f"there is no file {url.database}")


class SqliteEngine:
    """`Engine` of one database file."""

    def __init__(self, url: URL, busy_s: float = BUSY_S) -> None:
        self._url = url
        self._writer = Writer(_engine(url, WRITER_PRAGMAS, "BEGIN IMMEDIATE", busy_s, connections=1))
        self._readers = _engine(url, READER_PRAGMAS, "BEGIN", busy_s, connections=READERS)

    async def open(self) -> None:
        """Create the file if need be and bring it to our schema. Raises DatabaseAway, ConfigError."""
        with plain_errors():
            Path(self._url.database or "").parent.mkdir(parents=True, exist_ok=True)
        async with one_migration_at_a_time():
            await self._writer.write(lambda connection: connection.run_sync(migrate), opening=True)

    async def write(self, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        """As `Engine.write`."""
        return await self._writer.write(work)

    def reading(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """As `Engine.reading`."""
        return reading(self._readers)

    async def close(self) -> None:
        """As `Engine.close`."""
        await self._writer.close()
        await self._readers.dispose()


def _engine(url: URL, pragmas: Sequence[str], begin: str, busy_s: float, connections: int) -> AsyncEngine:
    engine = create_async_engine(
        url,
        pool_size=connections,
        max_overflow=0,
        connect_args={"isolation_level": None, "timeout": busy_s},  # transactions begin where we say
    )

    @event.listens_for(engine.sync_engine, "connect")
    def prepare(connection: Any, _record: Any) -> None:
        cursor = connection.cursor()
        for pragma in pragmas:
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def start(connection: Any) -> None:
        connection.exec_driver_sql(begin)

    return engine
