"""Virtual time: a clock that moves only when a test says so."""

from __future__ import annotations

import asyncio
import heapq
import itertools

TURNS = 20  # of the event loop, so that whoever woke up gets as far as his next wait
MOST_PAUSES = 1_000_000
START_MS = 1_700_000_000_000


class VirtualClock:
    """A `wattbus.clock.Clock` in virtual time."""

    def __init__(self) -> None:
        self._monotonic = 1000.0
        self._set_by_ms = 0
        self._order = itertools.count()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self.slept: list[float] = []  # every pause that somebody asked for

    def now_ms(self) -> int:
        return START_MS + round((self._monotonic - 1000.0) * 1000) + self._set_by_ms

    def monotonic(self) -> float:
        return self._monotonic

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        assert len(self.slept) < MOST_PAUSES, "somebody waits again and again, and no time passes"
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._monotonic + seconds, next(self._order), future))
        await future

    def set_by(self, seconds: float) -> None:
        """Somebody sets the machine's clock forward, or back; the monotonic one goes on."""
        self._set_by_ms += round(seconds * 1000)

    def forward(self, seconds: float) -> None:
        """Time passes for those who only look at the clock."""
        self._monotonic += seconds

    async def advance(self, seconds: float) -> None:
        """Time passes, and everybody who waits for it wakes up when it is his time."""
        await turns()
        end = self._monotonic + seconds
        while self._sleepers and self._sleepers[0][0] <= end:
            due, _, future = heapq.heappop(self._sleepers)
            self._monotonic = max(self._monotonic, due)
            if not future.done():
                future.set_result(None)
                await turns()
        self._monotonic = end


async def turns(number: int = TURNS) -> None:
    """Let everybody run who can."""
    for _ in range(number):
        await asyncio.sleep(0)
