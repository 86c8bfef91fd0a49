"""Interval aggregation against a naive evaluation in Python."""

from __future__ import annotations

import asyncio
import itertools
import math
from collections import defaultdict
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


def in_buckets(points: dict[int, Any], interval: int, span: Span) -> dict[int, list[Any]]:
    buckets: dict[int, list[Any]] = defaultdict(list)
    for time in sorted(points):
        if (span.from_ms is None or time >= span.from_ms) and (span.to_ms is None or time < span.to_ms):
            buckets[math.floor(time / interval) * interval].append(points[time])
    return dict(sorted(buckets.items()))


def _evaluate(function: Aggregate, found: list[Any]) -> Any:
    if function == "count":
        return len(found)
    if function == "last":
        return found[-1]
    only = [float(value) for value in found if type(value) in (int, float)]
    if not only:
        return None
    return {"avg": sum(only) / len(only), "min": min(only), "max": max(only)}[function]


def same(stored: Any, expected: Any, found: list[Any]) -> bool:
    """Whether a result is right. In which order a database adds is its own affair (PostgreSQL's differs from query to
    query), and sums of doubles depend on it: by so much as the rounding of the largest number in the bucket.
    """
    if isinstance(stored, float) and isinstance(expected, float | int):
        rounding = sum(abs(value) for value in found if type(value) in (int, float)) * 2**-52
        return math.isclose(stored, expected, rel_tol=1e-9, abs_tol=max(1e-3, rounding))
    return bool(stored == expected) and type(stored) is type(expected)


def test_every_function_agrees_with_python(database_url: str) -> None:
    """`before` is merged, `after` is not, or late. All examples share one database, each with a name of its own."""
    names = (f"m{number}" for number in itertools.count())

    with asyncio.Runner() as runner:
        store = runner.run(open_store(database_url))

        @settings(max_examples=40, deadline=None)
        @given(
            before=series,
            after=series,
            interval=st.integers(1, 3000),
            bounds=st.tuples(st.none() | times, st.none() | times),
        )
        def agrees(
            before: dict[int, Any], after: dict[int, Any], interval: int, bounds: tuple[int | None, int | None]
        ) -> None:
            late = {time: value for time, value in after.items() if time not in before}  # else it takes another place
            runner.run(check(store, next(names), before, late, interval, Span(*bounds)))

        try:
            agrees()
        finally:
            runner.run(store.close())


async def check(
    store: Store, name: str, before: dict[int, Any], after: dict[int, Any], interval: int, span: Span
) -> None:
    await store.write(Batch(values=[ReadingValues(name, time, {"a": value}) for time, value in before.items()]))
    await store.tidy(0)
    await store.tidy(300_000)
    await store.write(Batch(values=[ReadingValues(name, time, {"a": value}) for time, value in after.items()]))
    ids = [known.id for known in await store.datapoints() if known.connector == name]
    for function in FUNCTIONS:
        stored = await store.aggregate(ids[0], interval, function, span) if ids else []
        buckets = in_buckets({**before, **after}, interval, span)
        assert [value.timestamp_ms for value in stored] == list(buckets)
        for value, found in zip(stored, buckets.values(), strict=True):
            expected = _evaluate(function, found)
            assert same(value.value, expected, found), (function, value, expected)


async def test_sums_may_round_in_any_order(store: Store) -> None:
    """Once 0.33 and once 0.0 came of it, from the same PostgreSQL."""
    before, after = {-4: 0.0}, {0: None, 1: None, -1: 2**60, -2: -(2**60), -3: 1.0, -7: 0.0}
    await check(store, "m", before, after, 3, Span())


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


async def test_numbers_at_the_ends_of_a_doubles_range(store: Store) -> None:
    """Sums of them overflow, which ends a query on PostgreSQL; so does a text that is no double any more."""
    points = {
        "large": [1.7e308, 1.7e308, 1.7e308],
        "mixed": [1.7e308, -1.7e308, 3.0],
        "squares": [1e200, 3e200],
        "small": [5e-324, 0.0],
        "many_digits": [10**300, 3 * 10**300],
        "too_many_digits": [10**400, 1],
        "too_many_negative": [-(10**400), 1],
    }
    for key, numbers in points.items():
        await store.write(Batch(values=[ReadingValues("m", at, {key: number}) for at, number in enumerate(numbers)]))
    ids = {known.key: known.id for known in await store.datapoints()}
    results = {
        key: [(await store.aggregate(ids[key], 10, function))[0].value for function in ("avg", "min", "max")]
        for key in points
    }
    assert results["large"] == [pytest.approx(1.7e308), 1.7e308, 1.7e308]
    assert results["mixed"] == [1.0, -1.7e308, 1.7e308]
    assert results["squares"] == [pytest.approx(2e200), 1e200, 3e200]
    assert results["small"] == [pytest.approx(0.0, abs=1e-323), 0.0, 5e-324]
    assert results["many_digits"] == [pytest.approx(2e300), 1e300, 3e300]
    assert results["too_many_digits"] == [None, 1.0, None]  # JSON has no word for them
    assert results["too_many_negative"] == [None, None, 1.0]
