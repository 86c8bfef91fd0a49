"""Setpoints, schedules and outcomes: what was wanted of actuators and what became of it. They are few."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import Table, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from wattbus.storage.records import Outcome, Plan, PlanKind, Written
from wattbus.storage.schema import outcomes, schedules, setpoints
from wattbus.storage.values import to_text

PLANS: dict[PlanKind, Table] = {"setpoint": setpoints, "schedule": schedules}


async def write_plan(connection: AsyncConnection, plan: Plan, id_of: Callable[[str], int]) -> Written:
    """Keyed (datapoint, timestamp); the later written of two different ones wins."""
    table, items = PLANS[plan.kind], to_text(plan.items)
    where = (table.c.datapoint == id_of(plan.topic), table.c.time == plan.timestamp_ms)
    present = (await connection.execute(select(table.c["items"]).where(*where))).scalar()
    if present is None:
        row = {"datapoint": id_of(plan.topic), "time": plan.timestamp_ms, "items": items}
        await connection.execute(insert(table).values(row))
        return Written(rows=1)
    if present == items:
        return Written(redelivered=1)
    await connection.execute(update(table).where(*where).values(items=items))
    return Written(conflicts=1)


async def write_outcome(connection: AsyncConnection, outcome: Outcome, id_of: Callable[[str], int]) -> Written:
    """One datapoint can have several outcomes at one time: an outcome is there already only if all of it is."""
    row = {
        "datapoint": id_of(outcome.topic),
        "time": outcome.timestamp_ms,
        "outcome": outcome.outcome,
        "value": to_text(outcome.value),
        "detail": outcome.detail,
        "command_id": outcome.command_id,
        "command_time": outcome.command_timestamp_ms,
    }
    same = [outcomes.c[name].is_not_distinct_from(value) for name, value in row.items()]
    if (await connection.execute(select(func.count()).select_from(outcomes).where(*same))).scalar_one():
        return Written(redelivered=1)
    await connection.execute(insert(outcomes).values(row))
    return Written(rows=1)
