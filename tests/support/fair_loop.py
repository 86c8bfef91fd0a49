"""An event loop whose time does not pass while it is kept from running: the loop of every test.

A device's answer is due within 0.2 s, and both ends of the line are in the test's process. On a busy machine the
process may not get the processor for that long, and a bound would be passed through no fault of anybody's. This loop
counts only what it was idle: when nobody had anything to do and it waited. What ran counts for a moment, so that a loop
that is never idle has time, too. Thus bounds and pauses keep their order whatever runs beside.

Time here is never ahead of the machine's. Pauses last at least as long as they do elsewhere.
"""

from __future__ import annotations

import asyncio
import selectors
import time
from typing import Any

MOST_PER_TURN_S = 0.002  # that a turn of the loop counts for, however long it took


def monotonic() -> float:
    """For `wattbus.clock`: the time of the loop that runs, so that who looks at both sees one; else the machine's."""
    try:
        return asyncio.get_running_loop().time()
    except RuntimeError:
        return time.monotonic()


class FairLoop(asyncio.SelectorEventLoop):
    """The time of its timers is what it was idle, and a moment per turn."""

    def __init__(self) -> None:
        self._idle = _Idle()
        super().__init__(self._idle)

    def time(self) -> float:
        return self._idle.now()


class _Idle(selectors.DefaultSelector):  # the class that is best on this system
    """Waits, and counts how long it did."""

    def __init__(self) -> None:
        super().__init__()
        self.passed_s = time.monotonic()  # as elsewhere: small numbers would be mistaken for durations
        self._returned = time.monotonic()

    def now(self) -> float:
        return self.passed_s + min(time.monotonic() - self._returned, MOST_PER_TURN_S)

    def select(self, timeout: float | None = None) -> list[Any]:
        self.passed_s = self.now()
        ready = super().select(0)  # what is there already was not waited for, however late we look
        if not ready and (timeout is None or timeout > 0):
            began = time.monotonic()
            ready = super().select(timeout)
            waited = time.monotonic() - began
            self.passed_s += waited if timeout is None else min(waited, timeout)
        self._returned = time.monotonic()
        return ready
