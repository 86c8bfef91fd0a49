"""One datapoint that was recorded as two becomes one."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Table, delete, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from wattbus.storage.schema import outcomes, schedules, setpoints


async def unite(connection: AsyncConnection, values: Sequence[Table], guessed: int, announced: int) -> None:
    """Give all that datapoint `guessed` has to `announced`; where both have the same time, the latter's stays.

    `values` are the tables in which values lie.
    """
    for table in (*values, setpoints, schedules):
        await _move(connection, table, guessed, announced)
    await connection.execute(update(outcomes).where(outcomes.c.datapoint == guessed).values(datapoint=announced))


async def _move(connection: AsyncConnection, table: Table, guessed: int, announced: int) -> None:
    taken = select(table.c.time).where(table.c.datapoint == announced).scalar_subquery()
    await connection.execute(delete(table).where(table.c.datapoint == guessed, table.c.time.in_(taken)))
    await connection.execute(update(table).where(table.c.datapoint == guessed).values(datapoint=announced))
