"""Telegrams that are heard twice: from the meter, and from a repeater."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

from connectors.im871a.telegram import Header
from wattbus.clock import Clock

MOST_TELEGRAMS = 4096

# A repeater marks what it says again: hops and repeated access. In the communication control field of an extended link
# layer (EN 13757-4 section 13.2.7, bits H and R), or in the configuration field of a transport layer without one
# (EN 13757-7 section 7.6, modes 0 and 5, bits H and R). A meter sends these bits as 0. Positions from the L field on.
CI_PLACE = 10
EXTENDED_LINK, EXTENDED_LINK_MARKS = (0x8C, 0x8D, 0x8E, 0x8F), 0x12
SHORT_HEADER, LONG_HEADER = (0x6A, 0x6E, 0x74, 0x7A, 0x7B, 0x8A), (0x6B, 0x6F, 0x72, 0x73, 0x75, 0x8B)
TRANSPORT_MARKS, MODES_WITH_MARKS = 0x03, (0, 5)


class Duplicates:
    """Telegrams of the last `within_s` seconds; 0 remembers none."""

    def __init__(self, within_s: float, clock: Clock) -> None:
        self._within_s = within_s
        self._clock = clock
        self._heard: OrderedDict[bytes, float] = OrderedDict()

    def is_known(self, telegram: bytes, header: Header) -> bool:
        """Whether it was heard already; from now on it was.

        A telegram without access number is never known: when a meter has nothing new to say, its telegrams are the
        same to the last bit, and a repeater has no place for its mark in them.
        """
        if not self._within_s or header.access_number is None:
            return False
        now = self._clock.monotonic()
        self._forget_before(now - self._within_s)
        content = without_marks(telegram)
        if content in self._heard:
            return True
        self._heard[content] = now
        return False

    def _forget_before(self, limit: float) -> None:
        while self._heard and (len(self._heard) >= MOST_TELEGRAMS or next(iter(self._heard.values())) <= limit):
            self._heard.popitem(last=False)


def without_marks(telegram: bytes) -> bytes:
    """The telegram as the meter sent it, whoever repeated it."""
    changed = bytearray(telegram)
    for place, marks in _marks(telegram):
        changed[place] &= ~marks & 0xFF
    return bytes(changed)


def _marks(telegram: bytes) -> Iterable[tuple[int, int]]:
    """Where a repeater's marks would be: position and bits."""
    ci = telegram[CI_PLACE] if len(telegram) > CI_PLACE else 0
    if ci in EXTENDED_LINK and len(telegram) > CI_PLACE + 1:
        return [(CI_PLACE + 1, EXTENDED_LINK_MARKS)]
    configuration = CI_PLACE + (3 if ci in SHORT_HEADER else 11 if ci in LONG_HEADER else len(telegram))
    if len(telegram) > configuration + 1 and telegram[configuration + 1] & 0x1F in MODES_WITH_MARKS:
        return [(configuration, TRANSPORT_MARKS)]
    return []
