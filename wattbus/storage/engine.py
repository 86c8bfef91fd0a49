"""Connections to SQLite: one that writes, a few that read."""

from __future__ import annotations

import asyncio
import contextlib
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from wattbus.cancellation import raise_if_cancelled
from wattbus.errors import ConfigError
from wattbus.storage.errors import DatabaseAway, plain_errors
from wattbus.storage.migrate import migrate

READERS = 4
PAGE_CACHE_KIB = 64 * 1024  # with the default 2 MB the merged table falls to a quarter of its speed
LONGEST_IDLE_WAL = 64 * 2**20  # bytes; a longer write-ahead log is cut back after a checkpoint
BUSY_S = 2.0  # how long SQLite itself waits for another process's lock; beyond it we wait, with the loop free

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


_MIGRATING: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = weakref.WeakKeyDictionary()


def _one_migration_at_a_time() -> asyncio.Lock:
    """Alembic keeps what it works on in the module: several services in one process would mix up their databases.

    Processes are kept apart by the transaction, which begins with the lock of the file.
    """
    return _MIGRATING.setdefault(asyncio.get_running_loop(), asyncio.Lock())


def sqlite_url(database_url: str) -> URL:
    """The URL with our driver. Raises ConfigError when it is not SQLite's."""
    try:
        url = make_url(database_url)
    except ArgumentError:
        raise ConfigError("DATABASE_URL: not a URL; expected sqlite:///path/to/history.db") from None
    if url.get_backend_name() != "sqlite":
        raise ConfigError(f"DATABASE_URL: {url.get_backend_name()} is not supported; expected sqlite:///path")
    if url.database in (None, "", ":memory:"):
        raise ConfigError("DATABASE_URL: names no file; expected sqlite:///path/to/history.db")
    return url.set(drivername="sqlite+aiosqlite")


def require_file(url: URL) -> None:
    """Raises DatabaseAway when there is no such file: connecting would make it."""
    if not Path(url.database or "").is_file():
        raise DatabaseAway(f"there is no file {url.database}")


class SqliteEngine:
    """The connections of one database file.

    A transaction that has begun ends before its caller's cancellation gets through, so that a connection is never
    left in the middle of one.
    """

    def __init__(self, url: URL, busy_s: float = BUSY_S) -> None:
        self._url = url
        self._writing = asyncio.Lock()
        self._writer = _engine(url, WRITER_PRAGMAS, "BEGIN IMMEDIATE", busy_s, connections=1)
        self._readers = _engine(url, READER_PRAGMAS, "BEGIN", busy_s, connections=READERS)
        self._connection: AsyncConnection | None = None

    async def open(self) -> None:
        """Create the file if need be and bring it to our schema. Raises DatabaseAway, ConfigError."""
        with plain_errors():
            Path(self._url.database or "").parent.mkdir(parents=True, exist_ok=True)
        async with _one_migration_at_a_time():
            await self.write(lambda connection: connection.run_sync(migrate))

    async def write(self, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        """Do `work` in one transaction, after those who came before."""
        task = asyncio.ensure_future(self._transaction(work))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            await asyncio.wait([task])
            if not task.cancelled():
                task.exception()  # nobody is left to hear of it
            raise

    async def _transaction(self, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        async with self._writing:
            try:
                with plain_errors():
                    if self._connection is None:
                        self._connection = await self._writer.connect()
                    async with self._connection.begin():
                        return await work(self._connection)
            except DatabaseAway:
                await self._drop_connection()  # the file may come back as another one
                raise

    @contextlib.asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """A connection that sees one state of the database and cannot change it."""
        with plain_errors():
            async with self._readers.begin() as connection:
                raise_if_cancelled()
                yield connection

    async def close(self) -> None:
        async with self._writing:
            await self._drop_connection()
        await self._readers.dispose()

    async def _drop_connection(self) -> None:
        connection, self._connection = self._connection, None
        with contextlib.suppress(DatabaseAway), plain_errors():
            if connection is not None:
                await connection.close()
        await self._writer.dispose()


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
