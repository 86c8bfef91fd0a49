"""Which telegrams are believed. Pure, with a memory of the telegrams before.

A CRC that is right is enough. Meters before DSMR 4 print none; then a telegram is believed when it has the form of one
that was seen twice running: the same codes, each value with the same number of digits. Whatever a cut or a doubled
piece makes of a telegram has another form. The first telegram therefore waits for the second. What cannot be noticed
is a digit that became another one; against that there is the parity on the line.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from connectors.dsmr_p1.framing import Found

FORMS_REMEMBERED = 64  # a meter has one, or a few where it does not fill up numbers with zeros
_DIGITS = str.maketrans("123456789", "000000000")
_BRACKETS = re.compile(r"\([^()]*\)")


@dataclass(frozen=True, slots=True)
class Received:
    """A telegram, and when it came (ms)."""

    text: str
    received: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to believe, in order of reception, and what is damaged, with the reason."""

    believed: tuple[Received, ...] = ()
    damaged: tuple[tuple[Received, str], ...] = ()


class Trust:
    """Judges telegrams of one meter."""

    def __init__(self) -> None:
        self._has_crc = False
        self._forms: dict[str, None] = {}  # an ordered set
        self._waiting: tuple[str, Received] | None = None

    def judge(self, found: Found, received: int) -> Verdict:
        telegram = Received(found.text, received)
        if found.crc is not None:
            doubtful = self._take_waiting("a telegram without CRC from a meter that has one")
            self._has_crc = self._has_crc or found.crc
            if found.crc:
                return Verdict((telegram,), doubtful)
            return Verdict((), ((telegram, "its CRC is wrong"),))
        if self._has_crc:
            return Verdict((), ((telegram, "it has lost its CRC"),))
        if found.paused:
            return Verdict((), ((telegram, "there was a pause in the middle of it"),))
        return self._by_form(telegram)

    def rest(self) -> Verdict:
        """At the end: the telegram that still waits is not believed, but not forgotten either."""
        return Verdict((), self._take_waiting("no telegram came after it that has its form"))

    def _by_form(self, telegram: Received) -> Verdict:
        form = _BRACKETS.sub(lambda values: values[0].translate(_DIGITS), telegram.text)
        if form in self._forms:
            return Verdict((telegram,), self._take_waiting("its form is not that of the telegrams around it"))
        before, self._waiting = self._waiting, None
        if before is not None and before[0] == form:
            if len(self._forms) >= FORMS_REMEMBERED:
                del self._forms[next(iter(self._forms))]
            self._forms[form] = None
            return Verdict((before[1], telegram))
        self._waiting = (form, telegram)
        if before is None:
            return Verdict()
        return Verdict((), ((before[1], "its form is not that of the telegrams around it"),))

    def _take_waiting(self, reason: str) -> tuple[tuple[Received, str], ...]:
        waiting, self._waiting = self._waiting, None
        return () if waiting is None else ((waiting[1], reason),)
