"""The poll clock in virtual time."""

from __future__ import annotations

import asyncio

import pytest

from wattbus.polling import PollClock
from wattbus.testing.clock import VirtualClock


async def polls(interval_s: float, durations: list[float]) -> tuple[list[tuple[int, float]], PollClock]:
    """The ticks, and seconds since the start, of polls that take so long."""
    clock = VirtualClock()
    poll_clock = PollClock(interval_s, clock)
    seen: list[tuple[int, float]] = []

    async def poll() -> None:
        async for tick in poll_clock:
            seen.append((tick, round(clock.monotonic() - 1000, 6)))
            if len(seen) > len(durations):
                return
            if durations[len(seen) - 1]:
                await clock.sleep(durations[len(seen) - 1])

    task = asyncio.create_task(poll())
    await clock.advance(10_000)
    await task
    return seen, poll_clock


async def test_the_grid_is_kept_without_drift() -> None:
    seen, poll_clock = await polls(5.0, [0.3] * 1000)
    assert seen == [(tick, tick * 5.0) for tick in range(1001)]
    assert poll_clock.skipped == 0


async def test_a_long_poll_skips_grid_points_and_causes_no_burst() -> None:
    seen, poll_clock = await polls(5.0, [0, 12, 0, 5, 0])
    assert seen == [(0, 0), (1, 5), (4, 20), (5, 25), (6, 30), (7, 35)]
    assert poll_clock.skipped == 2


@pytest.mark.parametrize("interval_s", [0, -1, float("nan")])
def test_an_interval_must_be_positive(interval_s: float) -> None:
    with pytest.raises(ValueError, match="greater than 0"):
        PollClock(interval_s)
