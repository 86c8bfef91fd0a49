"""Keep tables within their bounds: a hypertable by whole chunks, a plain table by deleting rows."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from wattbus.storage.engine import RETENTION, Engine
from wattbus.storage.errors import DatabaseAway
from wattbus.storage.postgres import timescale
from wattbus.storage.postgres.size import bytes_in_use
from wattbus.storage.postgres.timescale import DAY_MS, HISTORY, Hypertable
from wattbus.storage.records import Removed, Retention
from wattbus.storage.retention import SteppingRetainer, forget_sessions, remove_few
from wattbus.storage.schema import history
from wattbus.storage.values import Retainer

log = logging.getLogger(__name__)

FAR_MS = 365 * DAY_MS


def history_retainer(engine: Engine) -> Retainer:
    """Of the table of values and what belongs to it. What was deleted is used again by itself."""
    plain = SteppingRetainer(engine, (history,), bytes_in_use, leave_it)
    return TableRetainer(engine, HISTORY, plain)


async def leave_it(_: Engine) -> None:
    """What was deleted is used again."""


class TableRetainer:
    """`Retainer` of a table: `plain` while it is one. Which it is, is asked each time; it may become a hypertable.

    Of several services that share the table one at a time removes something: each would take the others' share too.
    """

    def __init__(self, engine: Engine, table: Hypertable, plain: Retainer) -> None:
        self._engine = engine
        self._table = table
        self._plain = plain
        self._chunks = ChunkRetainer(engine, table)

    async def retain(self, retention: Retention, now_ms: int) -> Removed:
        """As `Retainer.retain`, row by row."""
        async with _alone(self._engine, RETENTION[self._table.name]) as alone:
            if not alone:
                return Removed(0, 0, await self.bytes_used())
            return await (await self._responsible()).retain(retention, now_ms)

    async def bytes_used(self) -> int:
        """As `Retainer.bytes_used`."""
        return await (await self._responsible()).bytes_used()

    async def oldest_ms(self, from_ms: int | None = None) -> int | None:
        """As `Retainer.oldest_ms`."""
        return await (await self._responsible()).oldest_ms(from_ms)

    async def _responsible(self) -> Retainer:
        async with self._engine.reading() as connection:
            return self._chunks if await timescale.is_hypertable(connection, self._table) else self._plain


class ChunkRetainer:
    """`Retainer` of a hypertable. What is too old is dropped by the database itself, as its policy says."""

    def __init__(self, engine: Engine, table: Hypertable) -> None:
        self._engine = engine
        self._table = table

    async def retain(self, retention: Retention, now_ms: int) -> Removed:
        """As `Retainer.retain`, TimescaleDB's chunks."""
        keep_ms = None if retention.oldest_days is None else int(retention.oldest_days * DAY_MS)
        by_age = by_size = 0
        if not await self._has_policy(keep_ms) and keep_ms is not None:
            by_age += await self._remove_before(now_ms - keep_ms)
        if self._table == HISTORY and keep_ms is not None:
            by_age += await remove_few(self._engine, now_ms - keep_ms)
        if retention.most_bytes is not None:
            by_size = await self._remove_beyond(retention.most_bytes, now_ms)
        if self._table == HISTORY:
            await forget_sessions(self._engine, retention, now_ms)
        return Removed(by_age, by_size, await self.bytes_used())

    async def _has_policy(self, keep_ms: int | None) -> bool:
        """Whether the database drops by itself what is too old."""

        async def work(connection: AsyncConnection) -> bool:
            try:
                async with connection.begin_nested():
                    await timescale.keep_for(connection, self._table, keep_ms)
            except DBAPIError as error:
                log.debug("TimescaleDB has no retention policy for %s: %s", self._table.name, error.orig)
                return False
            return True

        return await self._engine.write(work)

    async def bytes_used(self) -> int:
        """As `Retainer.bytes_used`."""
        async with self._engine.reading() as connection:
            return await timescale.bytes_used(connection, self._table)

    async def oldest_ms(self, from_ms: int | None = None) -> int | None:
        """The end of the oldest chunk, which goes as a whole."""
        async with self._engine.reading() as connection:
            ends = await timescale.chunk_ends_ms(connection, self._table)
        return next((end - 1 for end in ends if from_ms is None or end - 1 >= from_ms), None)

    async def _remove_before(self, cutoff: int) -> int:
        """The chunks that end before it."""

        async def work(connection: AsyncConnection) -> int:
            old = [end for end in await timescale.chunk_ends_ms(connection, self._table) if end <= cutoff]
            return await timescale.drop_chunks(connection, self._table, old[-1]) if old else 0

        return await self._engine.write(work)

    async def _remove_beyond(self, most_bytes: int, now_ms: int) -> int:
        """The oldest chunk, again and again, but never the last one: it is being written.

        A chunk that lies far in the future, because of one wrong time, is not the last one.
        """

        async def work(connection: AsyncConnection) -> int | None:
            ends = await timescale.chunk_ends_ms(connection, self._table)
            believed = [end for end in ends if end <= now_ms + FAR_MS]
            if len(believed) < 2 or await timescale.bytes_used(connection, self._table) <= most_bytes:
                return None
            return await timescale.drop_chunks(connection, self._table, ends[0])

        removed = 0
        while (step := await self._engine.write(work)) is not None:
            removed += step
        return removed


@contextlib.asynccontextmanager
async def _alone(engine: Engine, lock: int) -> AsyncIterator[bool]:
    """Whether nobody else holds this lock. It belongs to the connection that writes, and goes when that is lost."""

    async def ask(function: str) -> bool:
        async def work(connection: AsyncConnection) -> bool:
            return bool((await connection.execute(text(f"SELECT {function}({lock})"))).scalar_one())

        return await engine.write(work)

    alone = await ask("pg_try_advisory_lock")
    try:
        yield alone
    finally:
        if alone:
            with contextlib.suppress(DatabaseAway):
                await ask("pg_advisory_unlock")
