"""Setpoints, schedules and outcomes: what was wanted of actuators and what became of it. They are few."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import Table, func, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from wattbus.storage.records import Outcome, Plan, PlanKind, Written
from wattbus.storage.schema import outcomes, schedules, setpoints
from wattbus.storage.values import storable, to_text

PLANS: dict[PlanKind, Table] = {"setpoint": setpoints, "schedule": schedules}


async def write_plan(connection: AsyncConnection, plan: Plan, id_of: Callable[[str], int]) -> Written:
    """Keyed (datapoint, timestamp); the later written of two different ones wins."""
    table, datapoint, items = PLANS[plan.kind], id_of(plan.topic), to_text(plan.items)
    if plan.is_restamped and await _newest(connection, table, datapoint) == items:
        return Written(redelivered=1)
    new = text(f"INSERT INTO {table.name} (datapoint, time, items) VALUES (:datapoint, :time, :items)"
               " ON CONFLICT DO NOTHING")  # fmt: skip
    row = {"datapoint": datapoint, "time": plan.timestamp_ms, "items": items}
    if (await connection.execute(new, row)).rowcount:
        return Written(rows=1)
    different = (table.c.datapoint == datapoint, table.c.time == plan.timestamp_ms, table.c["items"] != items)
    changed = await connection.execute(update(table).where(*different).values(items=items))
    return Written(conflicts=1) if changed.rowcount else Written(redelivered=1)


async def _newest(connection: AsyncConnection, table: Table, datapoint: int) -> str | None:
    of_one = select(table.c["items"]).where(table.c.datapoint == datapoint).order_by(table.c.time.desc()).limit(1)
    newest: str | None = (await connection.execute(of_one)).scalar()
    return newest


async def write_outcome(connection: AsyncConnection, outcome: Outcome, id_of: Callable[[str], int]) -> Written:
    """One datapoint can have several outcomes at one time: an outcome is there already only if all of it is."""
    row = {
        "datapoint": id_of(outcome.topic),
        "time": outcome.timestamp_ms,
        "outcome": outcome.outcome,
        "value": to_text(outcome.value),
        "detail": storable(outcome.detail),
        "command_id": storable(outcome.command_id) if outcome.command_id else outcome.command_id,
        "command_time": outcome.command_timestamp_ms,
    }
    same = [
        outcomes.c[name].is_not_distinct_from(value) if outcomes.c[name].nullable else outcomes.c[name] == value
        for name, value in row.items()
    ]
    if (await connection.execute(select(func.count()).select_from(outcomes).where(*same))).scalar_one():
        return Written(redelivered=1)
    await connection.execute(insert(outcomes).values(row))
    return Written(rows=1)
