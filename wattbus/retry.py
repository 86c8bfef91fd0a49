"""Waiting and giving up: backoff, circuit breaker, freshness watchdog."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from wattbus.clock import SYSTEM_CLOCK, Clock


@dataclass(slots=True)
class Backoff:
    """Growing pauses with jitter, so that not every device of a building comes back in the same second.

    Pauses double from `first_s` to `longest_s`; each is drawn from the upper half of its range.
    """

    first_s: float = 1.0
    longest_s: float = 60.0
    failures: int = 0
    random: random.Random = field(default_factory=random.Random, repr=False)

    def next_s(self) -> float:
        """The pause after one more failure, in seconds."""
        pause: float = min(self.longest_s, self.first_s * 2.0 ** min(self.failures, 30))
        self.failures += 1
        return pause * (0.5 + self.random.random() / 2)

    def reset(self) -> None:
        """It has worked: the next pause is a short one again."""
        self.failures = 0


class Breaker:
    """Decides when one of several devices counts as away, and how often it is still tried.

    After `failures_to_open` failures in a row the breaker opens; then `allows()` is true only once per pause, and
    pauses grow, so that a dead device costs the living ones next to nothing. One success closes it.
    """

    def __init__(self, failures_to_open: int = 3, backoff: Backoff | None = None, clock: Clock = SYSTEM_CLOCK) -> None:
        self._failures_to_open = failures_to_open
        self._backoff = backoff or Backoff(first_s=5.0, longest_s=60.0)
        self._clock = clock
        self._failures = 0
        self._retry_at = 0.0
        self.is_open = False

    def allows(self) -> bool:
        """Whether the device should be tried now."""
        return not self.is_open or self._clock.monotonic() >= self._retry_at

    def succeeded(self) -> bool:
        """Note a success; true if this closed the breaker (the device is back)."""
        was_open, self.is_open = self.is_open, False
        self._failures = 0
        self._backoff.reset()
        return was_open

    def failed(self) -> bool:
        """Note a failure; true if this opened the breaker (the device is gone)."""
        self._failures += 1
        if self._failures < self._failures_to_open:
            return False
        self._retry_at = self._clock.monotonic() + self._backoff.next_s()
        was_open, self.is_open = self.is_open, True
        return not was_open


class FreshnessWatchdog:
    """Notices silence: "it silently stopped" is this field's worst disease.

    `fed()` at every sign of life; `is_silent` once `limit_s` seconds passed without one. `limit_s` None never barks.
    """

    def __init__(self, limit_s: float | None, clock: Clock = SYSTEM_CLOCK) -> None:
        self.limit_s = limit_s
        self._clock = clock
        self._last_fed = clock.monotonic()

    def fed(self) -> None:
        """Note a sign of life now."""
        self._last_fed = self._clock.monotonic()

    @property
    def silence_s(self) -> float:
        """Seconds since the last sign of life."""
        return self._clock.monotonic() - self._last_fed

    @property
    def is_silent(self) -> bool:
        """Whether the silence is longer than its limit."""
        return self.limit_s is not None and self.silence_s > self.limit_s
