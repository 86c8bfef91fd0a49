"""Which of several devices behind one link are away, and why: all of it, and in few words."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from itertools import islice

from wattbus.clock import Clock

log = logging.getLogger(__name__)

MOST_NAMED = 3  # in the summary; with one more the status would not fit on a line
LOOKED_THROUGH = 50  # for reasons that differ
LONGEST_REASON = 200
MOST_LINES, LINES_WITHIN_S = 20, 60.0


@dataclass(slots=True)
class Away:
    """Why a device is away, and since when (ms)."""

    reason: str
    since_ms: int


class DevicesAway:
    """Each change costs the same, however many are away. A device that goes is logged once, and once when it is back.

    When a whole street goes at once the first twenty of a minute are named in the log, and the others counted.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._away: dict[str, Away] = {}
        self._lines = 0
        self._lines_since = clock.monotonic()
        self._unnamed_gone = 0
        self._unnamed_back = 0

    def __len__(self) -> int:
        return len(self._away)

    def __contains__(self, name: str) -> bool:
        return name in self._away

    def went(self, name: str, reason: str) -> bool:
        """The device is away; whether that is news, or its reason is."""
        known = self._away.get(name)
        if known is not None:
            is_news, known.reason = known.reason != reason, reason  # no line in the log: it went once
            return is_news
        self._away[name] = Away(reason, self._clock.now_ms())
        if self._may_log():
            log.warning("device %s is away: %s", name, reason or "no reason given")
        else:
            self._unnamed_gone += 1
        return True

    def came_back(self, name: str) -> bool:
        """The device is there; whether that is news."""
        if self._away.pop(name, None) is None:
            return False
        if self._may_log():
            log.info("device %s is back", name)
        else:
            self._unnamed_back += 1
        return True

    def log_the_rest(self) -> None:
        """Log how many were not named, once their minute is over. To be called now and then."""
        if self._lines and self._clock.monotonic() - self._lines_since >= LINES_WITHIN_S:
            self._begin_anew()

    def _may_log(self) -> bool:
        if self._clock.monotonic() - self._lines_since >= LINES_WITHIN_S:
            self._begin_anew()
        self._lines += 1
        return self._lines <= MOST_LINES

    def _begin_anew(self) -> None:
        if self._unnamed_gone or self._unnamed_back:
            log.warning(
                "in the last minute %d more devices went away and %d came back; %d are away now",
                self._unnamed_gone,
                self._unnamed_back,
                len(self._away),
            )
        self._lines = self._unnamed_gone = self._unnamed_back = 0
        self._lines_since = self._clock.monotonic()

    # -- what is said -----------------------------------------------------------------------------------------------

    def all(self) -> dict[str, Away]:
        """Every device that is away, in the order in which they went."""
        return dict(self._away)

    @property
    def summary(self) -> str:
        """`3: time-out`, or `12 devices are away: 3: time-out; 7: refused; 4: time-out; and 9 more`."""
        if len(self._away) <= MOST_NAMED:
            return "; ".join(_in_words(name, away) for name, away in self._away.items())
        named = "; ".join(_in_words(name, self._away[name]) for name in self._most_telling())
        return f"{len(self._away)} devices are away: {named}; and {len(self._away) - MOST_NAMED} more"

    def _most_telling(self) -> list[str]:
        """Those with different reasons first: a thousand time-outs must not hide the one key that is wrong."""
        by_reason: dict[str, str] = {}
        others: list[str] = []
        for name, away in islice(self._away.items(), LOOKED_THROUGH):
            if by_reason.setdefault(away.reason, name) != name:
                others.append(name)
        return [*by_reason.values(), *others][:MOST_NAMED]


def _in_words(name: str, away: Away) -> str:
    return f"{name}: {away.reason[:LONGEST_REASON] or 'away'}"
