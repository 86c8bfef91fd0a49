"""Time, injected where it matters so that tests run in virtual time."""

from __future__ import annotations

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """What tells the time and waits."""

    def now_ms(self) -> int:
        """Milliseconds since 1970-01-01 UTC; may jump when the machine's clock is set."""

    def monotonic(self) -> float:
        """Seconds that only ever rise."""

    async def sleep(self, seconds: float) -> None:
        """Wait for so many seconds (0: let others have a turn)."""


class SystemClock:
    """The machine's own time."""

    def now_ms(self) -> int:
        """As `Clock.now_ms`, of the machine."""
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        """As `Clock.monotonic`, of the machine."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """As `Clock.sleep`, in the machine's time."""
        await asyncio.sleep(seconds)


SYSTEM_CLOCK = SystemClock()
