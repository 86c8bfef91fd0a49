"""What people or backups put into the history of a datapoint, or take out of it, past the bus."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import Table, delete
from sqlalchemy.ext.asyncio import AsyncConnection

from wattbus.jsontext import JsonValue
from wattbus.storage.commands import PLANS, write_plan
from wattbus.storage.engine import Engine
from wattbus.storage.records import Plan, PlanKind, Written
from wattbus.storage.values import Row, ValueTable, to_columns


class Corrections:
    """Changes history of one database. Every method raises DatabaseAway.

    The first of two numbers is how many were new, the second how many were there already.
    """

    def __init__(self, engine: Engine, table: ValueTable) -> None:
        self._engine = engine
        self._table = table

    async def put_values(self, datapoint: int, values: Mapping[int, JsonValue]) -> tuple[int, int]:
        """Write values by their timestamps (ms). Raises Unstorable when one of them is not a JSON value."""
        rows: list[Row] = [(time, datapoint, *to_columns(value), None) for time, value in values.items()]

        async def work(connection: AsyncConnection) -> Written:
            return await self._table.replace(connection, rows)

        return _counts(await self._engine.write(work))

    async def delete_value(self, datapoint: int, timestamp_ms: int) -> bool:
        """Whether it was there."""
        return await self._delete(self._table.tables, datapoint, timestamp_ms)

    async def put_plans(self, kind: PlanKind, datapoint: int, plans: Mapping[int, JsonValue]) -> tuple[int, int]:
        """Write setpoints or schedules by their timestamps (ms)."""

        async def work(connection: AsyncConnection) -> Written:
            written = Written()
            for time, items in plans.items():
                written += await write_plan(connection, Plan(kind, "", "", time, items), lambda _: datapoint)
            return written

        return _counts(await self._engine.write(work))

    async def delete_plan(self, kind: PlanKind, datapoint: int, timestamp_ms: int) -> bool:
        """Whether it was there."""
        return await self._delete((PLANS[kind],), datapoint, timestamp_ms)

    async def _delete(self, tables: Sequence[Table], datapoint: int, timestamp_ms: int) -> bool:
        async def work(connection: AsyncConnection) -> bool:
            gone = 0
            for table in tables:
                one = delete(table).where(table.c.datapoint == datapoint, table.c.time == timestamp_ms)
                gone += (await connection.execute(one)).rowcount
            return gone > 0

        return await self._engine.write(work)


def _counts(written: Written) -> tuple[int, int]:
    return written.rows, written.redelivered + written.conflicts
