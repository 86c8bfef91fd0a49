"""What is not well with an outbox, as conditions of its service."""

from __future__ import annotations

from collections import Counter

from wattbus.clock import Clock
from wattbus.mqtt.messages import Range
from wattbus.runtime.outbox import Outbox
from wattbus.service.conditions import Conditions, cure_of

LOSS_SHOWN_S = 600.0
FULL_UNTIL = 0.9  # of the bound: what goes in and out there is one time of being full
MOST_RANGES = 5


class OutboxConditions:
    """Looks at an outbox, and holds and ends conditions."""

    def __init__(self, outbox: Outbox, conditions: Conditions, clock: Clock, prefix: str = "") -> None:
        self._prefix = prefix  # of the conditions' names, where a service has several outboxes
        self._outbox = outbox
        self._conditions = conditions
        self._clock = clock
        self._overflowed = self._since_full = outbox.overflowed
        self._lost: Counter[str] = Counter()  # reason → readings, of the present time of losses
        self._lost_ranges: list[str] = []
        self._lost_at = float("-inf")

    def _hold(self, name: str, cause: str, *, ready: bool = False) -> None:
        self._conditions.hold(self._prefix + name, cause, cure_of(name), ready=ready)

    def overflowed(self) -> int:
        """How many readings went because the outbox is full, since it was asked last."""
        number = self._outbox.overflowed - self._overflowed
        if number:
            self._overflowed = self._outbox.overflowed
            lost = self._overflowed - self._since_full
            self._hold("outbox full", f"the oldest {_about(lost)} readings are lost so far")
        return number

    def lost(self, session: str, ranges: list[Range], reason: str) -> None:
        """Readings are lost for another reason: they are named by number in history, too."""
        self._lost[reason] += sum(last - first + 1 for first, last in ranges)
        named = [f"{first}" if first == last else f"{first}–{last}" for first, last in ranges]
        if len(self._lost_ranges) < MOST_RANGES:
            self._lost_ranges.append(f"{', '.join(named[:MOST_RANGES])} of session {session}")
        self._lost_at = self._clock.monotonic()
        counted = "; ".join(f"{number} readings: {why}" for why, number in self._lost.items())
        self._hold("readings lost", f"{counted} ({'; '.join(self._lost_ranges)})", ready=True)

    def look(self) -> None:
        """As time passes."""
        if self._outbox.fault:
            self._hold("outbox disk", f"readings wait in memory only: {self._outbox.fault}")
        else:
            self._conditions.end(self._prefix + "outbox disk")
        if self._conditions.get(self._prefix + "outbox full") and self._outbox.fill < FULL_UNTIL:
            self._since_full = self._overflowed
            self._conditions.end(self._prefix + "outbox full")
        if self._lost and self._clock.monotonic() - self._lost_at > LOSS_SHOWN_S:
            self._lost.clear()
            self._lost_ranges.clear()
            self._conditions.end(self._prefix + "readings lost")

    def no_receipts_for(self, seconds: float) -> None:
        """History is online, readings wait, and no receipt has come for so long; 0: all is well."""
        if seconds:
            minutes = f"{seconds // 60:.0f} min"
            self._hold("no receipts", f"history is online and has given no receipt for {minutes}")
        else:
            self._conditions.end(self._prefix + "no receipts")


def _about(number: int) -> str:
    """With two digits, so that it does not change with every reading."""
    digits = max(0, len(str(number)) - 2)
    return f"{number // 10**digits * 10**digits:,}"
