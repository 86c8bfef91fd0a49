"""Keep the file within its bounds: what is too old goes, then the oldest of what is too much.

All of it in small transactions, so that the writer of values never waits long.
"""

from __future__ import annotations

from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncConnection

from wattbus.storage import sessions
from wattbus.storage.engine import SqliteEngine
from wattbus.storage.pages import bytes_in_use, give_back
from wattbus.storage.records import Removed, Retention

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
_BOUNDS = text(
    "SELECT min(oldest), max(newest) FROM ("
    " SELECT (SELECT min(time) FROM history WHERE datapoint = id) AS oldest,"
    " (SELECT max(time) FROM history WHERE datapoint = id) AS newest FROM datapoints"
    " UNION ALL SELECT min(time), max(time) FROM recent)"
)
_RAW_BYTES = text("SELECT coalesce(sum(bytes), 0) FROM raw_connectors")


class Retainer:
    """Removes old rows of one SQLite file."""

    def __init__(self, engine: SqliteEngine) -> None:
        self._engine = engine

    async def retain(self, retention: Retention, now_ms: int) -> Removed:
        by_age = by_size = 0
        if retention.oldest_days is not None:
            by_age = await self._remove_before(now_ms - int(retention.oldest_days * DAY_MS))
        if retention.most_bytes is not None:
            by_size = await self._remove_beyond(retention.most_bytes)
        forgotten = now_ms - int(retention.sessions_days * DAY_MS)
        await self._engine.write(lambda connection: sessions.prune(connection, forgotten))
        await give_back(self._engine)
        return Removed(by_age, by_size, await self.bytes_used())

    async def bytes_used(self) -> int:
        """In bytes; neither pages that are free for reuse count nor raw messages, which have a bound of their own."""
        async with self._engine.reading() as connection:
            raw = (await connection.execute(_RAW_BYTES)).scalar_one()
            return max(0, await bytes_in_use(connection) - int(raw))

    async def _remove_beyond(self, most_bytes: int) -> int:
        """Remove the oldest rows. Their share of the bytes is estimated by their share of the time, again and again."""
        removed = 0
        used = await self.bytes_used()
        wanted = most_bytes * LOWER_MARK if used > most_bytes else most_bytes
        for _ in range(MOST_ROUNDS):
            async with self._engine.reading() as connection:
                oldest, newest = (await connection.execute(_BOUNDS)).one()
            if used <= wanted or oldest is None or oldest == newest:
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
        removed += await self._in_steps(_DELETE_FROM_RECENT, {"cutoff": cutoff})
        for statement in _DELETE_FEW:
            removed += await self._step(statement, {"cutoff": cutoff})
        return removed

    async def _in_steps(self, statement: TextClause, parameters: dict[str, int]) -> int:
        removed = 0
        while True:
            step = await self._step(statement, {**parameters, "rows": ROWS_PER_STEP})
            removed += step
            if step < ROWS_PER_STEP:
                return removed

    async def _step(self, statement: TextClause, parameters: dict[str, int]) -> int:
        async def work(connection: AsyncConnection) -> int:
            return (await connection.execute(statement, parameters)).rowcount

        return await self._engine.write(work)
