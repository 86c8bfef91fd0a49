"""Keep the values within their bounds: what is too old goes, then the oldest of what is too much.

All of it in small transactions, so that the writer of values never waits long.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from sqlalchemy import Table, TextClause, text
from sqlalchemy.ext.asyncio import AsyncConnection

from wattbus.storage import sessions
from wattbus.storage.engine import Engine
from wattbus.storage.records import Removed, Retention
from wattbus.storage.schema import recent

DAY_MS = 86_400_000
ROWS_PER_STEP = 5_000  # some 20 ms of the writer's time
LOWER_MARK = 0.95  # of the allowed bytes: how far a round by size goes
MOST_ROUNDS = 200

_OLD_DATAPOINTS = text(
    "SELECT id FROM datapoints WHERE EXISTS (SELECT 1 FROM history WHERE datapoint = datapoints.id AND time < :cutoff)"
)
_DELETE_FROM_HISTORY = text(
    "DELETE FROM history WHERE datapoint = :datapoint AND time < :cutoff AND time <= coalesce("
    "(SELECT time FROM history WHERE datapoint = :datapoint ORDER BY time LIMIT 1 OFFSET :rows - 1), :cutoff)"
)
_DELETE_FROM_RECENT = text(
    "DELETE FROM recent WHERE time < :cutoff AND time <= coalesce("
    "(SELECT time FROM recent ORDER BY time LIMIT 1 OFFSET :rows - 1), :cutoff)"
)
_DELETE_FEW = (
    text(
        "DELETE FROM setpoints WHERE time < :cutoff"
        " AND time < (SELECT max(time) FROM setpoints AS newest WHERE newest.datapoint = setpoints.datapoint)"
    ),
    text(
        "DELETE FROM schedules WHERE time < :cutoff"
        " AND time < (SELECT max(time) FROM schedules AS newest WHERE newest.datapoint = schedules.datapoint)"
    ),
    text("DELETE FROM outcomes WHERE time < :cutoff"),
)
_BOUNDS_OF_HISTORY = (
    "SELECT (SELECT min(time) FROM history WHERE datapoint = id) AS oldest,"
    " (SELECT max(time) FROM history WHERE datapoint = id) AS newest FROM datapoints"
)
_BOUNDS_OF_RECENT = "SELECT min(time), max(time) FROM recent"


class SteppingRetainer:
    """`Retainer` that deletes rows, in steps. `bytes_in_use` counts bytes, `give_back` shrinks what became empty."""

    def __init__(
        self,
        engine: Engine,
        tables: Sequence[Table],
        bytes_in_use: Callable[[AsyncConnection], Awaitable[int]],
        give_back: Callable[[Engine], Awaitable[None]],
    ) -> None:
        self._engine = engine
        self._bytes_in_use = bytes_in_use
        self._give_back = give_back
        self._has_recent = recent in tables
        bounds = " UNION ALL ".join([_BOUNDS_OF_HISTORY, *([_BOUNDS_OF_RECENT] if self._has_recent else [])])
        self._bounds = text(f"SELECT min(oldest), max(newest) FROM ({bounds}) AS bounds")

    async def retain(self, retention: Retention, now_ms: int) -> Removed:
        by_age = by_size = 0
        if retention.oldest_days is not None:
            by_age = await self._remove_before(now_ms - int(retention.oldest_days * DAY_MS))
        if retention.most_bytes is not None:
            by_size = await self._remove_beyond(retention.most_bytes)
        await forget_sessions(self._engine, retention, now_ms)
        await self._give_back(self._engine)
        return Removed(by_age, by_size, await self.bytes_used())

    async def bytes_used(self) -> int:
        async with self._engine.reading() as connection:
            return await self._bytes_in_use(connection)

    async def oldest_ms(self) -> int | None:
        return (await self._oldest_and_newest())[0]

    async def _oldest_and_newest(self) -> tuple[int | None, int | None]:
        async with self._engine.reading() as connection:
            oldest, newest = (await connection.execute(self._bounds)).one()
        return oldest, newest

    async def _remove_beyond(self, most_bytes: int) -> int:
        """Remove the oldest rows. Their share of the bytes is estimated by their share of the time, again and again."""
        removed = 0
        used = await self.bytes_used()
        wanted = most_bytes * LOWER_MARK if used > most_bytes else most_bytes
        for _ in range(MOST_ROUNDS):
            oldest, newest = await self._oldest_and_newest()
            if used <= wanted or oldest is None or newest is None or oldest == newest:
                break
            share = min(0.5, max(0.001, (used - wanted) / used))
            removed += await self._remove_before(oldest + int((newest - oldest) * share) + 1)
            used = await self.bytes_used()
        return removed

    async def _remove_before(self, cutoff: int) -> int:
        async with self._engine.reading() as connection:
            old = [row.id for row in await connection.execute(_OLD_DATAPOINTS, {"cutoff": cutoff})]
        removed = 0
        for datapoint in old:
            removed += await self._in_steps(_DELETE_FROM_HISTORY, {"cutoff": cutoff, "datapoint": datapoint})
        if self._has_recent:
            removed += await self._in_steps(_DELETE_FROM_RECENT, {"cutoff": cutoff})
        return removed + await remove_few(self._engine, cutoff)

    async def _in_steps(self, statement: TextClause, parameters: dict[str, int]) -> int:
        removed = 0
        while True:
            step = await _step(self._engine, statement, {**parameters, "rows": ROWS_PER_STEP})
            removed += step
            if step < ROWS_PER_STEP:
                return removed


async def remove_few(engine: Engine, cutoff: int) -> int:
    """Remove old setpoints and schedules, but for the newest of each datapoint, and old outcomes; how many."""
    return sum([await _step(engine, statement, {"cutoff": cutoff}) for statement in _DELETE_FEW])


async def forget_sessions(engine: Engine, retention: Retention, now_ms: int) -> None:
    silent_since = now_ms - int(retention.sessions_days * DAY_MS)
    await engine.write(lambda connection: sessions.prune(connection, silent_since))


async def _step(engine: Engine, statement: TextClause, parameters: dict[str, int]) -> int:
    async def work(connection: AsyncConnection) -> int:
        return (await connection.execute(statement, parameters)).rowcount

    return await engine.write(work)
