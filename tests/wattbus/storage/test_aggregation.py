"""Interval aggregation against a naive evaluation in Python."""

from __future__ import annotations

import asyncio
import math
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wattbus.storage import Aggregate, Batch, ReadingValues, Span, Store, StoredValue, open_store

FUNCTIONS: list[Aggregate] = ["avg", "min", "max", "last", "count"]

numbers = st.floats(-1e6, 1e6, width=32) | st.integers(-1000, 1000) | st.sampled_from([2**60, -(2**60)])
values = numbers | st.none() | st.booleans() | st.sampled_from(["text", "17", "-5", "9", [1], {"a": 1}])
times = st.integers(-5000, 5000)
series = st.dictionaries(times, values, max_size=60)


def naive(points: dict[int, Any], interval: int, function: Aggregate, span: Span) -> list[StoredValue]:
    buckets: dict[int, list[Any]] = defaultdict(list)
    for time in sorted(points):
        if (span.from_ms is None or time >= span.from_ms) and (span.to_ms is None or time < span.to_ms):
            buckets[math.floor(time / interval) * interval].append(points[time])
    return [StoredValue(start, _evaluate(function, found)) for start, found in sorted(buckets.items())]


def _evaluate(function: Aggregate, found: list[Any]) -> Any:
    if function == "count":
        return len(found)
    if function == "last":
        return found[-1]
    only = [float(value) for value in found if type(value) in (int, float)]
    if not only:
        return None
    return {"avg": sum(only) / len(only), "min": min(only), "max": max(only)}[function]


def same(stored: list[StoredValue], expected: list[StoredValue]) -> bool:
    if [value.timestamp_ms for value in stored] != [value.timestamp_ms for value in expected]:
        return False
    return all(
        math.isclose(a.value, b.value, rel_tol=1e-9, abs_tol=1e-3)
        if isinstance(a.value, float) and isinstance(b.value, float | int)
        else a.value == b.value and type(a.value) is type(b.value)
        for a, b in zip(stored, expected, strict=True)
    )


@settings(max_examples=40, deadline=None)
@given(
    before=series,
    after=series,
    interval=st.integers(1, 3000),
    bounds=st.tuples(st.none() | times, st.none() | times),
)
def test_every_function_agrees_with_python(
    before: dict[int, Any], after: dict[int, Any], interval: int, bounds: tuple[int | None, int | None]
) -> None:
    """`before` is merged, `after` is not, or late."""
    span = Span(*bounds)
    points = {**before, **after}

    async def check(store: Store) -> None:
        await store.write(Batch(values=[ReadingValues("m", time, {"a": value}) for time, value in before.items()]))
        await store.tidy(0)
        await store.tidy(300_000)
        await store.write(Batch(values=[ReadingValues("m", time, {"a": value}) for time, value in after.items()]))
        for function in FUNCTIONS:
            stored = await store.aggregate(1, interval, function, span)
            expected = naive(points, interval, function, span)
            assert same(stored, expected), (function, stored, expected)

    asyncio.run(in_new_store(check))


async def in_new_store(check: Any) -> None:
    with tempfile.TemporaryDirectory() as directory:
        store = await open_store(f"sqlite:///{Path(directory) / 'history.db'}")
        try:
            await check(store)
        finally:
            await store.close()


@pytest.mark.parametrize("function", FUNCTIONS)
async def test_intervals_start_at_multiples_since_1970_utc(store: Store, function: Aggregate) -> None:
    quarter = 15 * 60_000
    start = 1_700_000_000_000 // quarter * quarter
    await store.write(
        Batch(values=[ReadingValues("m", start + offset, {"a": 7}) for offset in (0, 1, quarter - 1, quarter)])
    )
    expected = [3, 1] if function == "count" else [7, 7]
    assert await store.aggregate(1, quarter, function) == [
        StoredValue(start, expected[0]),
        StoredValue(start + quarter, expected[1]),
    ]


async def test_an_average_beyond_the_largest_double_is_null(store: Store) -> None:
    await store.write(Batch(values=[ReadingValues("m", time, {"a": 1.7e308}) for time in range(3)]))
    assert await store.aggregate(1, 10, "avg") == [StoredValue(0, None)]
