"""Which telegrams are believed. Pure, with a memory of the telegrams before.

A CRC that is right is enough; by which rule it is right stays the same for a meter. Meters before DSMR 4 print none;
then a telegram is believed when it has the form of one that was seen twice running: the same codes, each value with the
same number of digits. Whatever a cut or a doubled piece makes of a telegram has another form. The first telegram
therefore waits for the second. What cannot be noticed is a digit that became another one; against that there is the
parity on the line.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from connectors.dsmr_p1.framing import Found

OTHER_CRC_TO_BELIEVE = 3  # telegrams running, where another CRC was right before: meters get exchanged
FORMS_REMEMBERED = 64  # a meter has one, or a few where it does not fill up numbers with zeros
_DIGITS = str.maketrans("123456789", "000000000")
_BRACKETS = re.compile(r"\([^()]*\)")


@dataclass(frozen=True, slots=True)
class Received:
    """A telegram, and when it came (ms). `unverified`: believed by its form alone, though it prints a CRC."""

    text: str
    received: int
    unverified: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to believe, in order of reception, and what is damaged, with the reason."""

    believed: tuple[Received, ...] = ()
    damaged: tuple[tuple[Received, str], ...] = ()


class Trust:
    """Judges telegrams of one meter. `form_is_enough`: also where a CRC is printed by a rule that nobody knows."""

    def __init__(self, *, form_is_enough: bool = False) -> None:
        self._form_is_enough = form_is_enough
        self._has_crc = False
        self._crc = ""  # by which the meter's telegrams are right
        self._others = 0  # telegrams running that are right by another one
        self._forms: dict[str, None] = {}  # an ordered set
        self._waiting: tuple[str, Received] | None = None

    def judge(self, found: Found, received: int) -> Verdict:
        telegram = Received(found.text, received)
        if self._form_is_enough and found.crc is not None:
            return Verdict((telegram,)) if found.crc else self._unless_paused(found, replace(telegram, unverified=True))
        if found.crc is not None:
            doubtful = self._take_waiting("a telegram without CRC from a meter that has one")
            self._has_crc = self._has_crc or found.crc
            if found.crc and self._is_its_crc(found.by):
                return Verdict((telegram,), doubtful)
            return Verdict((), (*doubtful, (telegram, "its CRC is wrong")))
        if self._has_crc:
            return Verdict((), ((telegram, "it has lost its CRC"),))
        return self._unless_paused(found, telegram)

    def _unless_paused(self, found: Found, telegram: Received) -> Verdict:
        if found.paused:
            return Verdict((), ((telegram, "there was a pause in the middle of it"),))
        return self._by_form(telegram)

    def _is_its_crc(self, by: str) -> bool:
        """Damage is right by some CRC once in 65,536 times: that of the telegrams before is the one to go by."""
        if self._crc in ("", by):
            self._crc, self._others = by, 0
            return True
        self._others += 1
        if self._others >= OTHER_CRC_TO_BELIEVE:
            self._crc, self._others = by, 0
        return self._others == 0

    def rest(self) -> Verdict:
        """At the end: the telegram that still waits is not believed, but not forgotten either."""
        return Verdict((), self._take_waiting("no telegram came after it that has its form"))

    def _by_form(self, telegram: Received) -> Verdict:
        body = telegram.text.rpartition("!")[0]  # a CRC is another one each time
        form = _BRACKETS.sub(lambda values: values[0].translate(_DIGITS), body)
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
