"""Reading values back: all levels united, in time order, also aggregated.

Plain SQL that every database here speaks; `levels` are the tables that together hold the values.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import (
    ColumnElement,
    CompoundSelect,
    Double,
    Select,
    Table,
    and_,
    case,
    cast,
    func,
    literal,
    or_,
    select,
    union_all,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from wattbus.storage.commands import PLANS
from wattbus.storage.records import PlanKind, Span, StoredDatapoint, StoredOutcome, StoredPlan, StoredValue
from wattbus.storage.schema import datapoints, outcomes
from wattbus.storage.store import Aggregate
from wattbus.storage.values import from_columns, from_text


class Queries:
    """Reads from the given levels."""

    def __init__(self, levels: Sequence[Table]) -> None:
        self._levels = levels

    def _rows(self, datapoint: int, span: Span) -> CompoundSelect[Any]:
        return union_all(
            *(
                select(t.c.time, t.c.number, t.c.whole, t.c.other, t.c.quality).where(
                    t.c.datapoint == datapoint, *_within(t, span)
                )
                for t in self._levels
            )
        )

    async def values(
        self, connection: AsyncConnection, datapoint: int, span: Span, at_most: int | None, newest_first: bool
    ) -> list[StoredValue]:
        rows = self._rows(datapoint, span).subquery()
        order = rows.c.time.desc() if newest_first else rows.c.time
        found = await connection.execute(select(rows).order_by(order).limit(at_most))
        return [_value(*row) for row in found]

    async def last_values(
        self, connection: AsyncConnection, wanted: Collection[int], span: Span
    ) -> dict[int, StoredValue]:
        """By level: where the newest row of each datapoint lies is one look at the index, or one pass over recent."""
        newest: dict[int, StoredValue] = {}
        for table in self._levels:
            for datapoint, value in (await _newest_in(connection, table, wanted, span)).items():
                if datapoint not in newest or value.timestamp_ms > newest[datapoint].timestamp_ms:
                    newest[datapoint] = value
        return newest

    async def aggregate(
        self, connection: AsyncConnection, datapoint: int, interval_ms: int, function: Aggregate, span: Span
    ) -> list[StoredValue]:
        rows = self._rows(datapoint, span).subquery()
        # The remainder of a negative time is negative; intervals before 1970 must begin at their start too.
        start = rows.c.time - ((rows.c.time % interval_ms) + interval_ms) % interval_ms
        if function == "last":
            ends = select(func.max(rows.c.time)).group_by(start).scalar_subquery()
            found = await connection.execute(
                select(start, rows.c.number, rows.c.whole, rows.c.other, rows.c.quality)
                .where(rows.c.time.in_(ends))
                .order_by(start)
            )
            return [_value(*row) for row in found]
        results = await connection.execute(
            select(start, _aggregate(function, rows.c.number, rows.c.other)).group_by(start).order_by(start)
        )
        return [StoredValue(bucket, _finite(result)) for bucket, result in results]


async def known_datapoints(connection: AsyncConnection) -> list[StoredDatapoint]:
    found = await connection.execute(select(datapoints).order_by(datapoints.c.id))
    return [StoredDatapoint(*row) for row in found]


async def plans(
    connection: AsyncConnection, kind: PlanKind, datapoint: int, span: Span, at_most: int | None, newest_first: bool
) -> list[StoredPlan]:
    table = PLANS[kind]
    query = select(table.c.time, table.c["items"]).where(table.c.datapoint == datapoint, *_within(table, span))
    found = await connection.execute(_ordered(query, table, at_most, newest_first))
    return [StoredPlan(time, from_text(items)) for time, items in found]


async def told_outcomes(
    connection: AsyncConnection, datapoint: int, span: Span, at_most: int | None, newest_first: bool
) -> list[StoredOutcome]:
    query = select(outcomes).where(outcomes.c.datapoint == datapoint, *_within(outcomes, span))
    found = await connection.execute(_ordered(query, outcomes, at_most, newest_first))
    return [
        StoredOutcome(row.time, row.outcome, from_text(row.value), row.detail, row.command_id, row.command_time)
        for row in found
    ]


def _ordered(query: Select[Any], table: Table, at_most: int | None, newest_first: bool) -> Select[Any]:
    return query.order_by(table.c.time.desc() if newest_first else table.c.time).limit(at_most)


def _within(table: Table, span: Span) -> list[ColumnElement[bool]]:
    bounds: list[ColumnElement[bool]] = []
    if span.from_ms is not None:
        bounds.append(table.c.time >= span.from_ms)
    if span.to_ms is not None:
        bounds.append(table.c.time < span.to_ms)
    return bounds


async def _newest_in(
    connection: AsyncConnection, table: Table, wanted: Collection[int], span: Span
) -> dict[int, StoredValue]:
    """One look at the index per datapoint where its key begins with the datapoint, else one pass over the table."""
    newest = select(func.max(table.c.time).label("time")).where(*_within(table, span))
    ends: Select[Any]
    if next(iter(table.primary_key.columns)) is table.c.datapoint:
        of_one = newest.where(table.c.datapoint == datapoints.c.id).scalar_subquery()
        ends = select(datapoints.c.id, of_one.label("time")).where(datapoints.c.id.in_(list(wanted)))
    else:
        ends = newest.add_columns(table.c.datapoint.label("id")).group_by(table.c.datapoint)
    end = ends.subquery()
    same = and_(table.c.datapoint == end.c.id, table.c.time == end.c.time)
    found = await connection.execute(select(table).join(end, same))
    return {
        row.datapoint: _value(row.time, row.number, row.whole, row.other, row.quality)
        for row in found
        if row.datapoint in wanted
    }


def _aggregate(function: Aggregate, number: ColumnElement[Any], other: ColumnElement[Any]) -> ColumnElement[Any]:
    if function == "count":
        return func.count()
    # Integers beyond 2^53 lie beside the numbers, as JSON text: the only such text that begins with a digit or minus.
    digit_first = or_(other.between(literal("0"), literal("9~")), other.like("-%"))
    any_number = case((number.is_not(None), number), (digit_first, cast(other, Double)), else_=None)
    if function == "avg":
        return func.avg(any_number)
    return func.min(any_number) if function == "min" else func.max(any_number)


def _value(time: int, number: float | None, whole: int, other: str | None, quality: str | None) -> StoredValue:
    return StoredValue(time, from_columns(number, whole, other), quality)


def _finite(result: float | int | None) -> float | int | None:
    """An average of the largest doubles can overflow; JSON has no word for that."""
    return result if result is None or math.isfinite(result) else None
