"""Timestamps that lie further in the future than a clock may be wrong: one rule for all who take timestamps.

Such a time is not believed. A value in the year 2036 would be "the newest" until then, and one in microseconds for
ever. What came with it gets the time of its arrival and is marked; that is counted, and said while it lasts.
"""

from __future__ import annotations

from wattbus import metrics
from wattbus.clock import SYSTEM_CLOCK, Clock
from wattbus.service.status_publisher import StatusPublisher

CONDITION = "times in the future"
OVER_AFTER_S = 600.0  # without another one of its kind: some devices send right times and wrong ones in turn
MOST_SOURCES = 1_000
MOST_NAMED = 10
HOUR_MS = 3_600_000

FUTURE = metrics.counter("future_timestamps", "Timestamps too far in the future, replaced by the time of arrival.")


class FutureTimes:
    """Judges timestamps by the machine's clock. `limit_s`: how far in the future they may lie (s)."""

    def __init__(self, publisher: StatusPublisher, limit_s: float, clock: Clock = SYSTEM_CLOCK) -> None:
        self._publisher = publisher
        self._limit_ms = round(limit_s * 1000)
        self._clock = clock
        self._last_s: dict[str, float] = {}  # by source: when the last one came
        self._ahead: dict[str, str] = {}  # by source, in words

    def is_beyond(self, source: str, timestamp_ms: int) -> bool:
        """Whether this timestamp (ms) of `source`, a device or connector, is not to be believed; then it is counted."""
        ahead_ms = timestamp_ms - self._clock.now_ms()
        if ahead_ms > self._limit_ms:
            FUTURE.labels(self._publisher.service).inc()
            self._begins(source, ahead_ms)
            return True
        if self._last_s:
            self._end_what_is_over()
        return False

    def _begins(self, source: str, ahead_ms: int) -> None:
        if source not in self._last_s:
            if len(self._last_s) >= MOST_SOURCES:
                return
            self._ahead[source] = f"{ahead_ms / HOUR_MS:.3g} hours"
            self._report()
        self._last_s[source] = self._clock.monotonic()

    def _end_what_is_over(self) -> None:
        before_s = self._clock.monotonic() - OVER_AFTER_S
        over = [source for source, last_s in self._last_s.items() if last_s < before_s]
        for source in over:
            del self._last_s[source], self._ahead[source]
        if over:
            self._report()

    def _report(self) -> None:
        named = [f"{source} ({ahead})" for source, ahead in sorted(self._ahead.items())[:MOST_NAMED]]
        more = f" and {len(self._ahead) - MOST_NAMED} more" if len(self._ahead) > MOST_NAMED else ""
        fault = f"{', '.join(named)}{more} ahead of this machine: stamped at the arrival and marked implausible"
        self._publisher.report_fault(CONDITION, fault if named else "")
