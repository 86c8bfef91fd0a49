"""The poll clock: a fixed grid, no overlap, no drift."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator

from wattbus.clock import SYSTEM_CLOCK, Clock


class PollClock:
    """Ticks at start, start + interval, start + 2 × interval, …

    A poll that takes longer than the interval never overlaps with the next one and never causes a burst: the grid
    points that went by are skipped and counted in `skipped`.

    Use: ``async for _ in PollClock(5.0): await poll()``.
    """

    def __init__(self, interval_s: float, clock: Clock = SYSTEM_CLOCK) -> None:
        if not interval_s > 0:
            raise ValueError("the poll interval must be greater than 0 seconds")
        self.interval_s = interval_s
        self.skipped = 0
        self._clock = clock

    async def __aiter__(self) -> AsyncIterator[int]:
        """Yield the number of the grid point, from 0."""
        start = self._clock.monotonic()
        tick = 0
        while True:
            wait_s = start + tick * self.interval_s - self._clock.monotonic()
            if wait_s > 0:
                await self._clock.sleep(wait_s)
            yield tick
            elapsed = self._clock.monotonic() - start
            # The small allowance keeps a timer that fires a hair early from ticking twice on one grid point.
            following = max(tick + 1, math.ceil(elapsed / self.interval_s - 1e-6))
            self.skipped += following - tick - 1
            tick = following
