"""Keeping values within bounds: what every store promises."""

from __future__ import annotations

import asyncio

import pytest

from tests.wattbus.storage.series import DAY, NOW, readings
from wattbus.storage import Batch, Outcome, Plan, Retention, SessionState, Store


async def test_what_is_too_old_goes_on_every_level(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wattbus.storage.retention.ROWS_PER_STEP", 7)
    await store.write(readings(NOW - 3 * DAY, 50))
    await store.tidy(NOW - DAY)
    await store.tidy(NOW)
    await store.write(readings(NOW - 3 * DAY + 500, 30))  # late
    await store.write(readings(NOW, 20))
    topic = "m/messages/p-set/value"
    plans = [Plan("setpoint", "m", topic, NOW - 5 * DAY + n, [n]) for n in range(3)]
    outcomes = [Outcome("m", topic, NOW - 5 * DAY, "applied", 1), Outcome("m", topic, NOW, "applied", 1)]
    await store.write(Batch(plans=plans, outcomes=outcomes))
    assert await store.oldest_ms() == NOW - 3 * DAY
    removed = await store.retain(Retention(oldest_days=2, most_bytes=None), NOW)
    assert removed.by_age == 2 * 80 + 2 + 1
    assert await store.oldest_ms() == NOW
    assert [v.timestamp_ms for v in await store.values(1)] == [NOW + n * 1000 for n in range(20)]
    assert [plan.items for plan in await store.plans("setpoint", 3)] == [[2]]  # still in force
    assert [outcome.timestamp_ms for outcome in await store.outcomes(3)] == [NOW]
    assert (await store.retain(Retention(oldest_days=2, most_bytes=None), NOW)).by_age == 0
    removed = await store.retain(Retention(oldest_days=2, most_bytes=None), NOW + 3 * DAY)
    assert removed.by_age == 2 * 20 + 1
    assert await store.oldest_ms() is None


async def test_the_oldest_go_when_it_is_too_much(store: Store) -> None:
    for day in range(10):
        await store.write(readings(NOW + day * DAY, 5000, a="x" * 50, b=day))
    await store.tidy(NOW + 10 * DAY)
    await store.tidy(NOW + 11 * DAY)
    most = await store.bytes_used() // 2
    removed = await store.retain(Retention(oldest_days=None, most_bytes=most), NOW)
    assert removed.by_size > 0 and removed.by_age == 0
    assert most * 0.7 < removed.bytes_used <= most
    times = [value.timestamp_ms for value in await store.values(1)]
    assert times[-1] == NOW + 9 * DAY + 4999 * 1000
    assert times[0] > NOW + 3 * DAY
    assert len(times) + len(await store.values(2)) == 100_000 - removed.by_size
    assert (await store.retain(Retention(oldest_days=None, most_bytes=most), NOW)).by_size == 0


async def test_what_was_removed_makes_room_for_as_much(store: Store) -> None:
    """Space that is free for reuse does not count, whether the file shrinks or not."""
    for day in range(4):
        await store.write(readings(NOW + day * DAY, 5000))
    used = await store.bytes_used()
    removed = await store.retain(Retention(oldest_days=2, most_bytes=None), NOW + 4 * DAY)
    assert removed.by_age == 20_000
    assert 0.4 * used < removed.bytes_used < 0.6 * used
    for day in (4, 5):
        await store.write(readings(NOW + day * DAY, 5000))
    assert (await store.retain(Retention(oldest_days=None, most_bytes=used * 11 // 10), NOW)).by_size == 0


async def test_one_row_from_1970_does_not_cost_the_rest(store: Store) -> None:
    await store.write(readings(0, 1))
    for day in range(4):
        await store.write(readings(NOW + day * DAY, 5000, a="x" * 50))
    used = await store.bytes_used()
    removed = await store.retain(Retention(oldest_days=None, most_bytes=used * 9 // 10), NOW)
    assert 0 < removed.by_size < 8000


@pytest.mark.parametrize("newest_ms", [NOW * 1000, NOW + 5 * 365 * DAY])  # in microseconds; of a clock years ahead
async def test_one_row_from_the_future_does_not_cost_the_rest(store: Store, newest_ms: int) -> None:
    for day in range(4):
        await store.write(readings(NOW + day * DAY, 5000, a="x" * 50, b=day))
    await store.write(readings(newest_ms, 1, a="x", b=0))
    used = await store.bytes_used()
    removed = await store.retain(Retention(oldest_days=None, most_bytes=used * 9 // 10), NOW)
    assert 0 < removed.by_size < 12_000
    times = [value.timestamp_ms for value in await store.values(1)]
    assert times[-2:] == [NOW + 3 * DAY + 4999_000, newest_ms]
    assert len(times) > 14_000


async def test_the_oldest_are_found_among_datapoints_that_come_quickly_and_slowly(store: Store) -> None:
    """By number of rows: most of them are of one datapoint, and what is old is of the others, too."""
    await store.write(readings(NOW - 300 * DAY, 300, step=DAY, slow="x" * 50))
    for hour in range(6):
        await store.write(readings(NOW + hour * 3_600_000, 3600, quick="x" * 50))
    used = await store.bytes_used()
    removed = await store.retain(Retention(oldest_days=None, most_bytes=used * 9 // 10), NOW)
    assert 1000 < removed.by_size < 6000
    ids = {known.key: known.id for known in await store.datapoints()}
    assert await store.values(ids["slow"]) == []
    assert len(await store.values(ids["quick"])) == 300 + 6 * 3600 - removed.by_size


async def test_the_oldest_of_what_is_not_older_than_a_time(store: Store) -> None:
    assert await store.oldest_ms(NOW) is None
    await store.write(readings(NOW, 3, step=DAY))
    await store.tidy(NOW + DAY)
    await store.tidy(NOW + 2 * DAY)
    oldest = [await store.oldest_ms(NOW + after) for after in (-1, 0, 1, 2 * DAY, 2 * DAY + 1)]
    assert oldest == [NOW, NOW, NOW + DAY, NOW + 2 * DAY, None]


async def test_silent_sessions_are_forgotten(store: Store) -> None:
    old = SessionState("m", "0" * 16, 1, (), (), NOW - 40 * DAY, NOW - 31 * DAY)
    young = SessionState("m", "1" * 16, 1, (), (), NOW - 40 * DAY, NOW - 29 * DAY)
    await store.write(Batch(sessions=[old, young]))
    await store.retain(Retention(), NOW)
    assert await store.recent_sessions(0) == [young]


async def test_writing_goes_on_while_retention_works(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wattbus.storage.retention.ROWS_PER_STEP", 10)
    await store.write(readings(NOW - 3 * DAY, 1000))
    await store.tidy(NOW - DAY)
    await store.tidy(NOW)
    retaining = asyncio.create_task(store.retain(Retention(oldest_days=1, most_bytes=None), NOW))
    written = 0
    while not retaining.done():
        written += (await store.write(readings(NOW + written, 1))).rows
    assert written > 20
    assert (await retaining).by_age == 2000
