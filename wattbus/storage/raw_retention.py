"""Keep raw messages within their bounds: what is too old goes, then the oldest of what is too much.

All of it in small transactions, so that the writer never waits long. How much they occupy is counted, because in a
shared file the pages are also history's.
"""

from __future__ import annotations

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from wattbus.storage.engine import SqliteEngine
from wattbus.storage.pages import give_back
from wattbus.storage.records import Removed, Retention

DAY_MS = 86_400_000
ROWS_PER_STEP = 1_000
LOWER_MARK = 0.95  # of the allowed bytes: how far a round by size goes

# Bytes of a row of a file with pages of 4096, and of its index entry: rows that fit lie on a page as a whole, so that
# two of 1,400 bytes fill one; larger ones go on to pages of their own. Measured within 10 %. Whoever changes this must
# count all rows again in a migration.
_LENGTH = "length(CAST(message AS BLOB))"
COST = f"30 + CASE WHEN {_LENGTH} <= 4050 THEN 4096 / (4088 / ({_LENGTH} + 32)) ELSE {_LENGTH} + 400 END"

_NUMBERS = text("SELECT id FROM raw_connectors WHERE messages > 0")
_DELETE = text(
    "DELETE FROM raw_messages WHERE id IN (SELECT id FROM raw_messages WHERE connector = :connector AND time < :cutoff"
    f" ORDER BY time LIMIT :rows) RETURNING {COST}"
)
_DISCOUNT = text("UPDATE raw_connectors SET messages = messages - :number, bytes = bytes - :cost WHERE id = :connector")
_BYTES = text("SELECT coalesce(sum(bytes), 0) FROM raw_connectors")
# Up to here nobody has more than a step of messages, and everything that is newer stays.
_OLDEST_STEP = text(
    "SELECT min(coalesce((SELECT time FROM raw_messages WHERE connector = raw_connectors.id"
    " ORDER BY time LIMIT 1 OFFSET :rows - 1),"
    " (SELECT max(time) FROM raw_messages WHERE connector = raw_connectors.id)))"
    " FROM raw_connectors WHERE messages > 0"
)


class RawRetainer:
    """Removes old raw messages of one SQLite file."""

    def __init__(self, engine: SqliteEngine) -> None:
        self._engine = engine

    async def retain(self, retention: Retention, now_ms: int) -> Removed:
        by_age = by_size = 0
        if retention.oldest_days is not None:
            by_age = await self._remove_before(now_ms - int(retention.oldest_days * DAY_MS))
        if retention.most_bytes is not None:
            by_size = await self._remove_beyond(retention.most_bytes)
        await give_back(self._engine)
        return Removed(by_age, by_size, await self.bytes_used())

    async def bytes_used(self) -> int:
        async with self._engine.reading() as connection:
            return int((await connection.execute(_BYTES)).scalar_one())

    async def _remove_beyond(self, most_bytes: int) -> int:
        removed = 0
        if await self.bytes_used() <= most_bytes:
            return removed
        while await self.bytes_used() > most_bytes * LOWER_MARK:
            async with self._engine.reading() as connection:
                last = (await connection.execute(_OLDEST_STEP, {"rows": ROWS_PER_STEP})).scalar()
            if last is None:
                break
            removed += await self._remove_before(last + 1)
        return removed

    async def _remove_before(self, cutoff: int) -> int:
        async with self._engine.reading() as connection:
            numbers = [row.id for row in await connection.execute(_NUMBERS)]
        removed = 0
        for number in numbers:
            while step := await self._step(number, cutoff):
                removed += step
                if step < ROWS_PER_STEP:
                    break
        return removed

    async def _step(self, connector: int, cutoff: int) -> int:
        async def work(connection: AsyncConnection) -> int:
            parameters = {"connector": connector, "cutoff": cutoff, "rows": ROWS_PER_STEP}
            costs = (await connection.execute(_DELETE, parameters)).scalars().all()
            if costs:
                change = {"connector": connector, "number": len(costs), "cost": sum(costs)}
                await connection.execute(_DISCOUNT, change)
            return len(costs)

        return await self._engine.write(work)
