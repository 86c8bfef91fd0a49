"""What a store asks of a database, whichever it is: transactions that write, one after the other, and reads."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Protocol, TypeVar

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from wattbus.cancellation import raise_if_cancelled
from wattbus.storage.errors import DatabaseAway, plain_errors
from wattbus.storage.migrate import require_our_schema

# Locks that writers of one PostgreSQL database hold until their transaction ends, always taken in this order. Any
# number will do that nobody else in the database uses: "wattbus" in ASCII, and which lock.
MIGRATIONS = 0x77617474627573 << 8 | 1
DATAPOINTS = 0x77617474627573 << 8 | 2
RETENTION = {"history": 0x77617474627573 << 8 | 3, "raw_messages": 0x77617474627573 << 8 | 4}

BUSY_S = 2.0  # how long one attempt waits for somebody else's lock; beyond it we wait, with the loop free

T = TypeVar("T")


class TakenBack(Exception):  # noqa: N818
    """Ends a transaction that was only a rehearsal."""


async def rehearsed(writing: Awaitable[object]) -> None:
    """Write, and let nothing of it stay."""
    await writing
    raise TakenBack


class Engine(Protocol):
    """The connections to one database. Every method raises DatabaseAway, those that write BatchRefused too."""

    async def open(self) -> None:
        """Bring the database to our schema. Raises ConfigError when it is newer than this version knows."""

    async def write(self, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        """Do `work` in one transaction, after those who came before; when this returns it survives a power cut."""

    def reading(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """A connection that sees one state of the database and cannot change it."""

    async def close(self) -> None:
        """End all connections."""


class Writer:
    """The one connection through which an engine writes.

    A transaction that has begun ends before its caller's cancellation gets through, so that a connection is never
    left in the middle of one; a database that does not answer gets `farewell_s` for that (None: as long as it takes).
    """

    def __init__(self, engine: AsyncEngine, farewell_s: float | None = None) -> None:
        self._engine = engine
        self._farewell_s = farewell_s
        self._writing = asyncio.Lock()
        self._connection: AsyncConnection | None = None

    async def write(self, work: Callable[[AsyncConnection], Awaitable[T]], *, opening: bool = False) -> T:
        """Do `work` in one transaction, after those who came before. Raises DatabaseAway, BatchRefused."""
        task = asyncio.ensure_future(self._transaction(work, opening))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            await asyncio.wait([task], timeout=self._farewell_s)
            if not task.done():
                task.cancel()
                await asyncio.wait([task])
            if not task.cancelled():
                task.exception()  # nobody is left to hear of it
            raise

    async def _transaction(self, work: Callable[[AsyncConnection], Awaitable[T]], opening: bool) -> T:
        async with self._writing:
            try:
                with plain_errors(opening=opening):
                    if self._connection is None:
                        self._connection = await self._engine.connect()
                    async with self._connection.begin():
                        if not opening:
                            await require_our_schema(self._connection)
                        return await work(self._connection)
            except (DatabaseAway, SQLAlchemyError, asyncio.CancelledError):
                await self._drop_connection()  # what is behind the URL may come back as another one
                raise

    async def close(self) -> None:
        """End its connection."""
        async with self._writing:
            await self._drop_connection()

    async def _drop_connection(self) -> None:
        connection, self._connection = self._connection, None
        with contextlib.suppress(DatabaseAway), plain_errors():
            if connection is not None:
                await connection.close()
        await self._engine.dispose()


@contextlib.asynccontextmanager
async def reading(readers: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """A transaction on one of the connections that read."""
    with plain_errors():
        async with readers.begin() as connection:
            raise_if_cancelled()
            yield connection


async def alone_with_datapoints(connection: AsyncConnection) -> None:
    """Take it before values are written in the same transaction, to change the list of datapoints.

    On SQLite there is one writer at a time. On PostgreSQL history processes and the API write side by side: whoever
    changes that list is alone with it, so that two of them can never wait for each other.
    """
    if connection.dialect.name == "postgresql":
        await connection.execute(text(f"SELECT pg_advisory_xact_lock({DATAPOINTS})"))
