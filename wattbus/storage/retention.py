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
MOST_ROWS_PER_LOOK = 500_000  # that are counted to find the oldest ones
MOST_LOOKS = 200

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
    "SELECT (SELECT min(time) FROM history WHERE datapoint = id AND time >= :from_ms) AS oldest,"
    " (SELECT max(time) FROM history WHERE datapoint = id) AS newest FROM datapoints"
)
_BOUNDS_OF_RECENT = "SELECT (SELECT min(time) FROM recent WHERE time >= :from_ms), (SELECT max(time) FROM recent)"
# How many rows of all datapoints are older; not more than :most are counted. Both ways say "datapoint by datapoint".
_COUNT_OLDER = {
    "sqlite": text(
        "SELECT count(*) FROM (SELECT 1 FROM datapoints CROSS JOIN history WHERE history.datapoint = datapoints.id"
        " AND history.time < :cutoff LIMIT :most)"
    ),
    "postgresql": text(
        "SELECT count(*) FROM (SELECT 1 FROM datapoints CROSS JOIN LATERAL (SELECT 1 FROM history"
        " WHERE datapoint = datapoints.id AND time < :cutoff LIMIT :most) AS one LIMIT :most) AS older"
    ),
}
_COUNT_OLDER_RECENT = text("SELECT count(*) FROM (SELECT 1 FROM recent WHERE time < :cutoff LIMIT :most)")
LONG_AGO = -(2**62)


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
        """As `Retainer.retain`, in short steps."""
        by_age = by_size = 0
        if retention.oldest_days is not None:
            by_age = await self._remove_before(now_ms - int(retention.oldest_days * DAY_MS))
        if retention.most_bytes is not None:
            by_size = await self._remove_beyond(retention.most_bytes)
        await forget_sessions(self._engine, retention, now_ms)
        await self._give_back(self._engine)
        return Removed(by_age, by_size, await self.bytes_used())

    async def bytes_used(self) -> int:
        """As `Retainer.bytes_used`."""
        async with self._engine.reading() as connection:
            return await self._bytes_in_use(connection)

    async def oldest_ms(self, from_ms: int | None = None) -> int | None:
        """As `Retainer.oldest_ms`."""
        async with self._engine.reading() as connection:
            return (await self._oldest_and_newest(connection, from_ms))[0]

    async def _oldest_and_newest(
        self, connection: AsyncConnection, from_ms: int | None = None
    ) -> tuple[int | None, int | None]:
        parameters = {"from_ms": LONG_AGO if from_ms is None else from_ms}
        oldest, newest = (await connection.execute(self._bounds, parameters)).one()
        return oldest, newest

    async def _remove_beyond(self, most_bytes: int) -> int:
        """Remove the oldest rows, by number. What one takes is known when some have gone."""
        used = before = await self.bytes_used()
        removed, rows = 0, ROWS_PER_STEP
        for _ in range(MOST_LOOKS if used > most_bytes else 0):
            cutoff = await self._cutoff(rows)
            if cutoff is None:
                break
            removed += await self._remove_before(cutoff)
            used = await self.bytes_used()
            beyond = used - most_bytes * LOWER_MARK
            if beyond <= 0:
                break
            needed = beyond * removed / (before - used) if before > used else 2 * rows
            rows = max(ROWS_PER_STEP // 5, min(round(needed), 2 * rows, MOST_ROWS_PER_LOOK))
        return removed

    async def _cutoff(self, rows: int) -> int | None:
        """A time before which lie at most `rows` rows, if possible more than half as many; the newest stay.

        Of more rows that share the oldest time none can be spared. None: there is nothing to remove.
        """
        async with self._engine.reading() as connection:
            oldest, newest = await self._oldest_and_newest(connection)
            if oldest is None or newest is None or oldest == newest:
                return None
            low, high = oldest + 1, newest
            while low < high:
                middle = (low + high + 1) // 2
                older = await self._older(connection, middle, rows + 1)
                if older > rows:
                    high = middle - 1
                else:
                    low = middle
                    if older > rows // 2:
                        break
            return low

    async def _older(self, connection: AsyncConnection, cutoff: int, most: int) -> int:
        """How many rows are older, counted up to `most`."""
        parameters = {"cutoff": cutoff, "most": most}
        older = int((await connection.execute(_COUNT_OLDER[connection.dialect.name], parameters)).scalar_one())
        if self._has_recent and older < most:
            older += (await connection.execute(_COUNT_OLDER_RECENT, parameters)).scalar_one()
        return older

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
