"""Reading values back: all levels united, in time order, also aggregated.

Plain SQL that every database here speaks; `levels` are the tables that together hold the values.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Collection, Sequence
from typing import Any, TypeVar

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    CompoundSelect,
    CursorResult,
    Double,
    Select,
    Table,
    and_,
    case,
    cast,
    func,
    literal,
    select,
    union_all,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from wattbus.storage.commands import PLANS
from wattbus.storage.records import PlanKind, Span, StoredDatapoint, StoredOutcome, StoredPlan, StoredValue
from wattbus.storage.schema import datapoints, outcomes
from wattbus.storage.store import Aggregate
from wattbus.storage.values import from_columns, from_text

T = TypeVar("T")

LARGE = 1e290  # of numbers below it no database can store enough for their sum to overflow
SCALE = 2.0**64
LONGEST_NUMBER = 308  # characters that are a double for sure; the one longer integer that still is one is not worth it
ROWS_PER_TURN = 2_000  # of the event loop: some milliseconds
IDS_PER_QUERY = 10_000  # the number of parameters is limited


class Queries:
    """Reads from the given levels."""

    def __init__(self, levels: Sequence[Table]) -> None:
        self._levels = levels

    def _rows(self, datapoint: int, span: Span) -> CompoundSelect[Any]:
        return union_all(
            *(
                select(t.c.time, t.c.number, t.c.is_integer, t.c.json_value, t.c.quality).where(
                    t.c.datapoint == datapoint, *_within(t, span)
                )
                for t in self._levels
            )
        )

    async def values(
        self, connection: AsyncConnection, datapoint: int, span: Span, at_most: int | None, newest_first: bool
    ) -> list[StoredValue]:
        """As `Store.values`."""
        rows = self._rows(datapoint, span).subquery()
        order = rows.c.time.desc() if newest_first else rows.c.time
        found = await connection.execute(select(rows).order_by(order).limit(at_most))
        return await _each(found, _value)

    async def last_values(
        self, connection: AsyncConnection, wanted: Collection[int], span: Span
    ) -> dict[int, StoredValue]:
        """By level: where the newest row of each datapoint lies is one look at the index, or one pass over recent."""
        newest: dict[int, StoredValue] = {}
        ids = list(wanted)
        for start in range(0, len(ids), IDS_PER_QUERY):
            for table in self._levels:
                found = await _newest_in(connection, table, set(ids[start : start + IDS_PER_QUERY]), span)
                for datapoint, value in found.items():
                    if datapoint not in newest or value.timestamp_ms > newest[datapoint].timestamp_ms:
                        newest[datapoint] = value
        return newest

    async def aggregate(
        self,
        connection: AsyncConnection,
        datapoint: int,
        interval_ms: int,
        function: Aggregate,
        span: Span,
        at_most: int | None,
        newest_first: bool,
    ) -> list[StoredValue]:
        """As `Store.aggregate`."""
        rows = self._rows(datapoint, span).subquery()
        # The remainder of a negative time is negative; intervals before 1970 must begin at their start too.
        interval = literal(interval_ms, BigInteger)
        start = rows.c.time - ((rows.c.time % interval) + interval) % interval
        order = start.desc() if newest_first else start
        if function == "last":
            ends = select(func.max(rows.c.time)).group_by(start).order_by(order).limit(at_most).scalar_subquery()
            found = await connection.execute(
                select(start, rows.c.number, rows.c.is_integer, rows.c.json_value, rows.c.quality)
                .where(rows.c.time.in_(ends))
                .order_by(order)
            )
            return await _each(found, _value)
        columns = _aggregate(function, rows.c.number, rows.c.json_value)
        results = select(start, *columns).group_by(start).order_by(order).limit(at_most)
        return await _each(
            await connection.execute(results), lambda bucket, *parts: StoredValue(bucket, _result(*parts))
        )


async def _each(found: CursorResult[Any], make: Callable[..., T]) -> list[T]:
    """Something of each row, with turns for everybody else in between: there may be half a million."""
    made: list[T] = []
    for part in found.partitions(ROWS_PER_TURN):
        made += [make(*row) for row in part]
        await asyncio.sleep(0)
    return made


async def known_datapoints(connection: AsyncConnection) -> list[StoredDatapoint]:
    """Every datapoint that has rows or was announced."""
    found = await connection.execute(select(datapoints).order_by(datapoints.c.id))
    return [StoredDatapoint(*row) for row in found]


async def plans(
    connection: AsyncConnection, kind: PlanKind, datapoint: int, span: Span, at_most: int | None, newest_first: bool
) -> list[StoredPlan]:
    """As `Store.plans`."""
    table = PLANS[kind]
    query = select(table.c.time, table.c["items"]).where(table.c.datapoint == datapoint, *_within(table, span))
    found = await connection.execute(_ordered(query, table, at_most, newest_first))
    return await _each(found, lambda time, items: StoredPlan(time, from_text(items)))


async def told_outcomes(
    connection: AsyncConnection, datapoint: int, span: Span, at_most: int | None, newest_first: bool
) -> list[StoredOutcome]:
    """As `Store.outcomes`."""
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
        row.datapoint: _value(row.time, row.number, row.is_integer, row.json_value, row.quality)
        for row in found
        if row.datapoint in wanted
    }


def _aggregate(
    function: Aggregate, number: ColumnElement[Any], json_value: ColumnElement[Any]
) -> list[ColumnElement[Any]]:
    """The columns that `_result` makes one of."""
    if function == "count":
        return [func.count()]
    any_number = _number(number, json_value)
    if function == "min":
        return [func.min(any_number)]
    if function == "max":
        return [func.max(any_number)]
    # PostgreSQL ends a query whose sum overflows, and its avg() much earlier: large ones are summed scaled down.
    is_large = func.abs(any_number) > LARGE
    small, large = case((is_large, None), else_=any_number), case((is_large, any_number / SCALE), else_=None)
    return [func.count(any_number), func.sum(small), func.sum(large)]


def _number(number: ColumnElement[Any], json_value: ColumnElement[Any]) -> ColumnElement[Any]:
    """Integers beyond 2^53 lie beside the numbers, as JSON text: the only such text that begins with a digit or -."""
    first = func.substr(json_value, 1, 1)
    return case(
        (number.is_not(None), number),
        (and_(first.in_(list("-0123456789")), func.length(json_value) <= LONGEST_NUMBER), cast(json_value, Double)),
        (first == "-", literal(-math.inf, Double)),
        (first.in_(list("0123456789")), literal(math.inf, Double)),
        else_=None,
    )


def _result(first: float | int | None, *sums: float | None) -> float | int | None:
    """What the columns of `_aggregate` say. JSON has no word for what is beyond the largest double."""
    result = first
    if sums:
        small, large = sums
        result = (small or 0.0) / first + (large or 0.0) / first * SCALE if first else None
    return result if result is None or math.isfinite(result) else None


def _value(
    time: int, number: float | None, is_integer: int, json_value: str | None, quality: str | None
) -> StoredValue:
    return StoredValue(time, from_columns(number, is_integer, json_value), quality)
