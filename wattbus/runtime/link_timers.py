"""When a link has settled, when a value is due, and when nothing has come for too long. Pure, given the time."""

from __future__ import annotations

from collections.abc import Callable

from wattbus.clock import Clock
from wattbus.errors import LinkDown, LinkSilent

SETTLED_AFTER_S = 5.0  # a link that has stood this long since it was connected will probably stay
DUE_WITHIN_S = 60.0  # a link whose most frequent value comes more rarely need not give one to count as well
SILENT_AFTER_INTERVALS, SILENT_AT_LEAST_S = 10, 60.0


class LinkTimers:
    """All of them start when the link is connected; before that only the one for an answer that does not come.

    `shortest_interval_s` is the expected interval (s) of the most frequent sensor, None when nothing is expected.
    """

    def __init__(self, shortest_interval_s: Callable[[], float | None], clock: Clock) -> None:
        self._shortest_interval_s = shortest_interval_s
        self._clock = clock
        self._entered_at = clock.monotonic()
        self._connected_at: float | None = None  # in this attempt
        self._quiet_since: float | None = None  # the last value, or the first answer after an outage
        self._nonsense = ""  # since the last value

    # -- what happens -----------------------------------------------------------------------------------------------

    def entered(self) -> None:
        """A new attempt begins."""
        self._entered_at, self._connected_at, self._nonsense = self._clock.monotonic(), None, ""

    def connected(self) -> None:
        """The other side has answered: settling begins."""
        if self._connected_at is None:
            self._connected_at = self._clock.monotonic()
            if self._quiet_since is None:
                self._quiet_since = self._connected_at

    def values_came(self) -> None:
        """A message with values came."""
        self.connected()
        self._quiet_since, self._nonsense = self._clock.monotonic(), ""

    def nonsense_came(self, fault: str) -> None:
        """A message came that gave no value."""
        self._nonsense = fault

    def broke(self) -> None:
        """The link is down: that nothing comes has another reason now."""
        self._quiet_since = None

    # -- what follows -----------------------------------------------------------------------------------------------

    @property
    def has_settled(self) -> bool:
        """Whether the link has stood long enough to count."""
        return self._connected_at is not None and self._clock.monotonic() - self._connected_at >= SETTLED_AFTER_S

    def is_value_due(self) -> bool:
        """Whether the first value is to be expected soon after an answer."""
        shortest_s = self._shortest_interval_s()
        return shortest_s is not None and shortest_s <= DUE_WITHIN_S

    def overdue(self) -> LinkDown | None:
        """Why the link counts as dead although it stands: it did not answer, or gave no values, for too long."""
        shortest_s = self._shortest_interval_s()
        if shortest_s is None:
            return None
        limit_s = max(SILENT_AT_LEAST_S, SILENT_AFTER_INTERVALS * shortest_s)
        now = self._clock.monotonic()
        if self._connected_at is None:
            if now - self._entered_at > limit_s:
                return LinkDown(self._nothing_but(f"no answer within {limit_s:g} s"))
            return None
        quiet_since = self._connected_at if self._quiet_since is None else self._quiet_since
        # A link that was silent before this attempt, too, is given its time again.
        if now - max(quiet_since, self._connected_at) > limit_s:
            return LinkSilent(self._nothing_but(f"silent for {now - quiet_since:.0f} s"))
        return None

    def _nothing_but(self, silence: str) -> str:
        return f"{silence}: what comes cannot be decoded: {self._nonsense}" if self._nonsense else silence
