"""Keep raw messages within their bounds: what is too old goes, then the oldest of what is too much.

All of it in small transactions, so that the writer never waits long. How much they occupy is counted, because in a
shared file the pages are also history's.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncConnection

from wattbus.storage.engine import Engine
from wattbus.storage.records import Removed, Retention
from wattbus.storage.retention import LONG_AGO

DAY_MS = 86_400_000
ROWS_PER_STEP = 1_000
LOWER_MARK = 0.95  # of the allowed bytes: how far a round by size goes

_NUMBERS = text("SELECT id FROM raw_connectors WHERE messages > 0")
_DISCOUNT = text("UPDATE raw_connectors SET messages = messages - :number, bytes = bytes - :cost WHERE id = :connector")
_BYTES = text("SELECT coalesce(sum(bytes), 0) FROM raw_connectors")
# Up to here nobody has more than a step of messages, and everything that is newer stays.
_OLDEST_STEP = text(
    "SELECT min(coalesce((SELECT time FROM raw_messages WHERE connector = raw_connectors.id"
    " ORDER BY time LIMIT 1 OFFSET :rows - 1),"
    " (SELECT max(time) FROM raw_messages WHERE connector = raw_connectors.id)))"
    " FROM raw_connectors WHERE messages > 0"
)
_OLDEST = text(
    "SELECT min((SELECT min(time) FROM raw_messages WHERE connector = raw_connectors.id AND time >= :from_ms))"
    " FROM raw_connectors"
)


class RawSteppingRetainer:
    """Removes old raw messages with `delete`: of one `:connector`, before `:cutoff`, at most `:rows`.

    It returns what each of them counted for. `give_back` shrinks what became empty.
    """

    def __init__(self, engine: Engine, delete: TextClause, give_back: Callable[[Engine], Awaitable[None]]) -> None:
        self._engine = engine
        self._delete = delete
        self._give_back = give_back

    async def retain(self, retention: Retention, now_ms: int) -> Removed:
        """As `RawStore.retain`, in short steps."""
        by_age = by_size = 0
        if retention.oldest_days is not None:
            by_age = await self._remove_before(now_ms - int(retention.oldest_days * DAY_MS))
        if retention.most_bytes is not None:
            by_size = await self._remove_beyond(retention.most_bytes)
        await self._give_back(self._engine)
        return Removed(by_age, by_size, await self.bytes_used())

    async def bytes_used(self) -> int:
        """As `RawStore.bytes_used`."""
        async with self._engine.reading() as connection:
            return int((await connection.execute(_BYTES)).scalar_one())

    async def oldest_ms(self, from_ms: int | None = None) -> int | None:
        """As `RawStore.oldest_ms`."""
        async with self._engine.reading() as connection:
            parameters = {"from_ms": LONG_AGO if from_ms is None else from_ms}
            oldest: int | None = (await connection.execute(_OLDEST, parameters)).scalar()
            return oldest

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
            costs = (await connection.execute(self._delete, parameters)).scalars().all()
            if costs:
                change = {"connector": connector, "number": len(costs), "cost": sum(costs)}
                await connection.execute(_DISCOUNT, change)
            return len(costs)

        return await self._engine.write(work)
