"""What every store promises, whichever database is behind it."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import pytest

from tests.wattbus.storage.series import LATER, MINUTE, NOW, datapoint, merge, reading, series, values_of, write
from wattbus.storage import (
    Batch,
    Outcome,
    Plan,
    ReadingValues,
    SessionState,
    Span,
    Store,
    StoredOutcome,
    StoredPlan,
    StoredValue,
    Written,
    open_store,
)
from wattbus.storage.values import TAKEN_MS

# -- values -----------------------------------------------------------------------------------------------------------

EVERY_KIND_OF_VALUE = [
    21,
    21.0,
    0,
    -1,
    0.1,
    1e300,
    5e-324,
    2**53,
    2**53 + 1,
    -(2**53) - 1,
    2**64,
    10**40,
    True,
    False,
    None,
    "17",
    "true",
    "null",
    "",
    "naïve ☀ \U0001f600 \x00 '\"",
    "\ud800",
    [],
    [1, "1", True, None, [2.5]],
    {},
    {"17": 17, "a": {"b": [False]}},
]


@pytest.mark.parametrize("merged", [False, True])
async def test_every_kind_of_value_comes_back_as_it_was(store: Store, merged: bool) -> None:
    readings = [reading(NOW + index, x=value) for index, value in enumerate(EVERY_KIND_OF_VALUE)]
    assert await write(store, *readings) == Written(rows=len(readings))
    if merged:
        await merge(store)
    stored = [value.value for value in await series(store, "x")]
    assert stored == EVERY_KIND_OF_VALUE
    assert [type(value) for value in stored] == [type(value) for value in EVERY_KIND_OF_VALUE]


async def test_what_is_no_json_is_left_out_alone(store: Store) -> None:
    written = await write(store, reading(NOW, a=math.nan, b=math.inf, c=[math.nan], d=1), reading(NOW + 1, a=2))
    assert written == Written(rows=2, refused=3)
    assert await values_of(store, "a") == [(1, 2)]
    assert await values_of(store, "d") == [(0, 1)]


async def test_quality_is_kept_and_is_part_of_the_value(store: Store) -> None:
    await write(store, ReadingValues("meter", NOW, {"a": 1, "b": 2}, {"a": "stale"}))
    assert [value.quality for value in await series(store, "a")] == ["stale"]
    assert [value.quality for value in await series(store, "b")] == [None]
    assert await write(store, reading(NOW, a=1)) == Written(conflicts=1)


# -- nothing twice ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("merged", [False, True])
async def test_equal_is_a_redelivery_and_different_gets_the_next_millisecond(store: Store, merged: bool) -> None:
    assert await write(store, reading(NOW, a=1, b="x", c=None)) == Written(rows=3)
    if merged:
        await merge(store)
    for again in (False, True):
        assert await write(store, reading(NOW, a=1, b="x", c=None)) == Written(redelivered=3)
        moved = await write(store, reading(NOW, a=2, b="x", c=0), reading(NOW, a=3))
        assert moved == (Written(redelivered=4) if again else Written(redelivered=1, conflicts=3))
        assert await write(store, reading(NOW, a=3)) == Written(redelivered=1), "in another order, too"
    assert await write(store, reading(NOW + 1, a=4), reading(NOW + 9, a=4)) == Written(rows=1, conflicts=1)
    assert await write(store, reading(NOW + 1, a=4)) == Written(redelivered=1)
    assert await values_of(store, "a") == [(0, 1), (1, 2), (2, 3), (3, 4), (9, 4)]
    assert await values_of(store, "c") == [(0, None), (1, 0)]


async def test_a_clock_that_stands_still_fills_a_few_milliseconds_and_then_the_newest_wins(store: Store) -> None:
    for start in (0, 30, 60):  # within a batch and over batches
        await write(store, *(reading(NOW, a=start + n) for n in range(30)))
    stored = await values_of(store, "a")
    assert stored == [*((n, n) for n in range(TAKEN_MS)), (TAKEN_MS, 89)]


async def test_an_hour_that_comes_twice_keeps_the_readings_of_both(store: Store) -> None:
    """A clock that was set back: some of the new times are those of older values."""
    first = [reading(NOW + n * 50, a=n) for n in range(200)]
    second = [reading(NOW + n * 45, a=1000 + n) for n in range(200)]
    await write(store, *first)
    written = await write(store, *second)
    assert (written.rows, written.conflicts) == (180, 20)
    assert await write(store, *first, *second) == Written(redelivered=400)
    assert sorted(value for _, value in await values_of(store, "a")) == [*range(200), *range(1000, 1200)]


async def test_21_and_21_0_are_the_same_number(store: Store) -> None:
    await write(store, reading(NOW, a=21))
    assert await write(store, reading(NOW, a=21.0)) == Written(redelivered=1)


@pytest.mark.parametrize(("one", "other"), [(True, 1), ("17", 17), (None, "null"), (0, False), (2**53, 2**53 + 1)])
async def test_values_that_only_look_alike_are_conflicts(store: Store, one: Any, other: Any) -> None:
    await write(store, reading(NOW, a=one))
    assert await write(store, reading(NOW, a=other)) == Written(conflicts=1)


async def test_twice_in_one_batch_is_once(store: Store) -> None:
    assert await write(store, reading(NOW, a=1), reading(NOW, a=1)) == Written(rows=1, redelivered=1)
    assert await write(store, reading(NOW + 1, a=1), reading(NOW + 1, a=2)) == Written(rows=1, conflicts=1)
    assert await values_of(store, "a") == [(0, 1), (1, 1), (2, 2)]


async def test_batches_of_any_size_are_counted_exactly(store: Store) -> None:
    at = NOW
    for size in (1, 2, 3, 1023, 1024, 1025, 2500):
        readings = [reading(at + index, a=index) for index in range(size)]
        assert await write(store, *readings) == Written(rows=size)
        assert await write(store, *readings, reading(at + size, a=0)) == Written(rows=1, redelivered=size)
        at += size + 1


# -- late data, merging -----------------------------------------------------------------------------------------------


async def test_late_data_fits_in_before_and_after_a_merge(store: Store) -> None:
    await write(store, reading(NOW + 20, a=3))
    await write(store, reading(NOW, a=1))
    await merge(store)
    assert await write(store, reading(NOW + 10, a=2), reading(NOW + 30, a=4)) == Written(rows=2)
    assert await write(store, reading(NOW + 20, a=3)) == Written(redelivered=1)
    await merge(store, LATER + 10 * MINUTE)
    assert await values_of(store, "a") == [(0, 1), (10, 2), (20, 3), (30, 4)]


async def test_a_time_in_the_future_stays_one_row_through_every_merge(store: Store) -> None:
    future = LATER + 1000 * MINUTE
    await write(store, reading(NOW, a=1), reading(future, a=2))
    await merge(store)
    assert await write(store, reading(future, a=2)) == Written(redelivered=1)
    await merge(store, future + 10 * MINUTE)
    assert await write(store, reading(future, a=2), reading(NOW, a=1)) == Written(redelivered=2)
    assert [value for _, value in await values_of(store, "a")] == [1, 2]


async def test_a_clock_that_was_set_back_writes_nothing_twice(store: Store) -> None:
    await write(store, reading(NOW, a=1), reading(LATER - MINUTE, a=2))
    await merge(store)
    await merge(store, NOW - 100 * MINUTE)
    assert await write(store, reading(NOW, a=1), reading(LATER - MINUTE, a=2)) == Written(redelivered=2)
    assert await write(store, reading(NOW - MINUTE, a=0)) == Written(rows=1)
    assert [value for _, value in await values_of(store, "a")] == [0, 1, 2]


async def test_what_a_clock_that_was_ahead_has_merged_is_found_again_when_it_was_set_right(store: Store) -> None:
    ahead = LATER + 1000 * MINUTE
    await write(store, reading(NOW, a=1), *(reading(ahead + n, a=n) for n in range(3)))
    await merge(store, ahead + 10 * MINUTE)
    await merge(store, LATER)  # it is right again
    assert await write(store, reading(LATER, a=4), reading(ahead + 1, a=1)) == Written(rows=1, redelivered=1)
    assert await write(store, reading(ahead + 1, a=7), reading(ahead + 7, a=7)) == Written(rows=1, conflicts=1)
    await merge(store, LATER + 20 * MINUTE)
    await merge(store, ahead + 20 * MINUTE)
    assert await write(store, reading(ahead + 1, a=1), reading(ahead + 1, a=7)) == Written(redelivered=2)
    stored = [(time - (ahead - NOW), value) for time, value in await values_of(store, "a")]
    assert stored[2:] == [(0, 0), (1, 1), (2, 2), (3, 7), (7, 7)]


async def test_everything_is_there_after_opening_again(store: Store, database_url: str) -> None:
    await write(store, reading(NOW, a=1))
    await merge(store)
    await write(store, reading(LATER, a=2))
    await store.close()
    again = await open_store(database_url)
    assert await write(again, reading(NOW, a=1), reading(LATER, a=2)) == Written(redelivered=2)
    assert [value for _, value in await values_of(again, "a")] == [1, 2]
    await again.close()


# -- reading ----------------------------------------------------------------------------------------------------------


async def test_a_span_includes_its_start_and_excludes_its_end_on_both_levels(store: Store) -> None:
    await write(store, *(reading(NOW + offset, a=offset) for offset in range(5)))
    await merge(store)
    await write(store, *(reading(LATER + offset, a=5 + offset) for offset in range(5)))
    known = (await datapoint(store, "a")).id

    async def within(from_ms: int | None, to_ms: int | None, **options: Any) -> list[Any]:
        return [value.value for value in await store.values(known, Span(from_ms, to_ms), **options)]

    assert await within(None, None) == list(range(10))
    assert await within(NOW + 3, LATER + 2) == [3, 4, 5, 6]
    assert await within(None, NOW + 1) == [0]
    assert await within(LATER + 4, None) == [9]
    assert await within(LATER, LATER) == []
    assert await within(None, None, at_most=3) == [0, 1, 2]
    assert await within(None, None, at_most=3, newest_first=True) == [9, 8, 7]
    assert await store.values(known + 1000) == []


async def test_last_values_are_the_newest_of_either_level(store: Store) -> None:
    await write(store, reading(NOW, a=1, b=1), reading(NOW + 1, a=2))
    await merge(store)
    await write(store, reading(LATER, a=3, c=3), reading(NOW - 1, b=0))
    a, b, c = [(await datapoint(store, key)).id for key in "abc"]
    assert await store.last_values([a, b, c, 999]) == {
        a: StoredValue(LATER, 3),
        b: StoredValue(NOW, 1),
        c: StoredValue(LATER, 3),
    }
    assert await store.last_values([a], Span(to_ms=LATER)) == {a: StoredValue(NOW + 1, 2)}
    assert await store.last_values([c], Span(to_ms=LATER)) == {}
    assert await store.last_values([]) == {}


# -- setpoints, schedules, outcomes -----------------------------------------------------------------------------------

PUMP = "bem/messages/pump-set/value"


async def test_setpoints_and_schedules_are_kept_as_given_once_each(store: Store) -> None:
    items = [{"from_timestamp": None, "to_timestamp": 5, "preferred_value": 19, "acceptable_values": ["17"], "x": 1}]
    batch = Batch(
        plans=[
            Plan("setpoint", "bem", PUMP, NOW, items),
            Plan("setpoint", "bem", PUMP, NOW + 1, None),
            Plan("schedule", "bem", PUMP, NOW, []),
        ]
    )
    assert await store.write(batch) == Written(rows=3)
    assert await store.write(batch) == Written(redelivered=3)
    pump = (await datapoint(store, "pump-set")).id
    assert await store.plans("setpoint", pump) == [StoredPlan(NOW, items), StoredPlan(NOW + 1, None)]
    assert await store.plans("setpoint", pump, newest_first=True, at_most=1) == [StoredPlan(NOW + 1, None)]
    assert await store.plans("schedule", pump, Span(to_ms=NOW + 1)) == [StoredPlan(NOW, [])]
    assert await store.write(Batch(plans=[Plan("schedule", "bem", PUMP, NOW, items)])) == Written(conflicts=1)
    assert await store.plans("schedule", pump) == [StoredPlan(NOW, items)]


async def test_a_plan_with_the_time_of_its_arrival_is_new_only_when_it_is_another_one(store: Store) -> None:
    async def arrive(at: int, items: list[int]) -> Written:
        return await store.write(Batch(plans=[Plan("setpoint", "bem", PUMP, at, items, is_restamped=True)]))

    assert [await arrive(NOW, [1]), await arrive(NOW + 5, [1])] == [Written(rows=1), Written(redelivered=1)]
    assert [await arrive(NOW + 6, [2]), await arrive(NOW + 7, [1])] == [Written(rows=1)] * 2
    found = await store.plans("setpoint", (await datapoint(store, "pump-set")).id)
    assert found == [StoredPlan(NOW, [1]), StoredPlan(NOW + 6, [2]), StoredPlan(NOW + 7, [1])]


async def test_outcomes_at_one_time_are_kept_apart_and_none_twice(store: Store) -> None:
    applied = Outcome("bem", PUMP, NOW, "applied", 21, "", "id 1", NOW - 5)
    expired = Outcome("bem", PUMP, NOW, "expired", True, "too old", None, None)
    assert await store.write(Batch(outcomes=[applied, expired])) == Written(rows=2)
    assert await store.write(Batch(outcomes=[expired, applied])) == Written(redelivered=2)
    pump = (await datapoint(store, "pump-set")).id
    assert await store.outcomes(pump) == [
        StoredOutcome(NOW, "applied", 21, "", "id 1", NOW - 5),
        StoredOutcome(NOW, "expired", True, "too old", None, None),
    ]


# -- sessions ---------------------------------------------------------------------------------------------------------


async def test_sessions_are_kept_with_the_values_of_their_transaction(store: Store) -> None:
    state = SessionState("meter", "00" * 8, 9, ((2, 3), (5, 5)), ((1, 1),), NOW, NOW)
    later = SessionState("meter", "00" * 8, 12, (), ((1, 1),), NOW, NOW + 5)
    other = SessionState("meter", "11" * 8, 1, (), (), NOW + 1, NOW + 1)
    await store.write(Batch(sessions=[state, other]))
    assert await store.sessions([("meter", "00" * 8), ("meter", "22" * 8)]) == [state]
    await store.write(Batch(sessions=[later]))
    assert await store.sessions([("meter", "00" * 8)]) == [later]
    assert await store.recent_sessions(NOW) == [later, other]
    assert await store.recent_sessions(NOW + 5) == [later]
    assert await store.sessions([]) == []


# -- transactions -----------------------------------------------------------------------------------------------------


async def test_many_writers_and_readers_at_once(store: Store) -> None:
    async def write_series(key: str) -> Written:
        total = Written()
        for offset in range(0, 100, 10):
            total += await write(store, *(reading(NOW + offset + n, **{key: n}) for n in range(10)))
        return total

    totals = await asyncio.gather(*(write_series(f"k{n}") for n in range(8)), *(store.tidy(LATER) for _ in range(3)))
    assert [total for total in totals if total] == [Written(rows=100)] * 8
    assert [len(await series(store, f"k{n}")) for n in range(8)] == [100] * 8


async def test_a_cancelled_write_is_finished_and_leaves_the_store_sound(store: Store) -> None:
    readings = [reading(NOW + n, a=n, **{f"new {n}": n}) for n in range(2000)]
    writing = asyncio.create_task(write(store, *readings))
    await asyncio.sleep(0)
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    written = await write(store, *readings)
    assert written.rows + written.redelivered == 4000
    assert len(await values_of(store, "a")) == 2000
