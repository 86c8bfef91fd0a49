"""What one telegram does not tell: learnt from those before it. Pure, with a memory.

What concerns decoding goes into the raw message (`times`), so that it decodes to the same readings years later.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from statistics import median_low

from connectors.dsmr_p1.codec import DEVICE, Telegram
from connectors.dsmr_p1.timestamps import Reference, latest_that_was, moments
from wattbus.connector import DataFormat, Datapoint, Quantity, Scalar

GAPS = 5
FASTER_FOR = 60  # telegrams, until it is believed: what is called stale too early looks like a fault
FIRST_GUESS_S = {"": 10.0, "4": 10.0, "5": 1.0}  # by the first digit of the version [DSMR P1 companion standards]
MBUS_FIRST_GUESS_S = 3600.0


@dataclass(frozen=True, slots=True)
class _Seen:
    text: str
    value: Scalar
    ms: int


class OwnTimes:
    """When readings were made whose own time is not clear from the telegram alone.

    Without a flag the repeated hour has two meanings: a reading that did not change is the one from before, and time
    goes on. A reading whose time cannot be believed was made when it was first seen.
    """

    def __init__(self) -> None:
        self._seen: dict[str, _Seen] = {}

    def learn(self, telegram: Telegram, now: Reference, received: int) -> dict[str, int]:
        """Code → ms where that had to be learnt: the `times` in the raw message."""
        times: dict[str, int] = {}
        for code, text, value in _own_times(telegram):
            possible = moments(text, now)
            before = self._seen.get(code)
            ms = _resolve(possible, before, text, value, now, received)
            if len(possible) != 1:
                times[code] = ms
            self._seen[code] = _Seen(text, value, ms)
        return times

    def of(self, code: str) -> int | None:
        """When the reading with this code was made that was learnt last."""
        seen = self._seen.get(code)
        return None if seen is None else seen.ms


def _own_times(telegram: Telegram) -> Iterator[tuple[str, str, Scalar]]:
    for line in telegram.mbus:
        if line.time:
            yield line.code, line.time, line.quantity.value
    for timed in telegram.timed:
        yield timed.code, timed.time, timed.values[0][1].value


def _resolve(
    possible: tuple[int, ...], before: _Seen | None, text: str, value: Scalar, now: Reference, received: int
) -> int:
    if len(possible) == 1:
        return possible[0]
    if before is not None and (before.text, before.value) == (text, value):
        return before.ms
    if not possible:
        return received
    later = tuple(ms for ms in possible if before is None or ms > before.ms)
    return latest_that_was(later or possible[-1:], now)


class Rates:
    """How often the meter speaks, and how often its M-Bus devices have something new to say."""

    def __init__(self) -> None:
        self._gaps_s: deque[float] = deque(maxlen=GAPS)
        self._heard_s: float | None = None
        self._every_s: float | None = None
        self._faster = 0  # telegrams in a row
        self._latest: dict[str, int] = {}
        self._between_s: dict[str, deque[float]] = {}

    def heard(self, at_s: float) -> None:
        """A telegram came, in seconds of a clock that only rises."""
        if self._heard_s is not None:
            self._gaps_s.append(at_s - self._heard_s)
            if len(self._gaps_s) == GAPS:
                self._observe(_round_up(median_low(self._gaps_s)))
        self._heard_s = at_s

    def _observe(self, every_s: float) -> None:
        """A slower pace counts at once, a faster one when it lasts: a wavering one is not told again and again."""
        self._faster = self._faster + 1 if self._every_s is not None and every_s < self._every_s else 0
        if self._every_s is None or every_s > self._every_s or self._faster >= FASTER_FOR:
            self._every_s, self._faster = every_s, 0

    def paused(self) -> None:
        """The line was closed: the next gap says nothing."""
        self._heard_s = None

    def telegram_s(self, version: str) -> float:
        """Seconds between telegrams: 1, 2, 5, 10 …, as observed; by the version before there is anything observed."""
        return FIRST_GUESS_S.get(version[:1], 10.0) if self._every_s is None else self._every_s

    def reading(self, code: str, own_ms: int) -> None:
        """An M-Bus device's reading was made then."""
        before = self._latest.get(code)
        if before is not None and own_ms > before:
            self._between_s.setdefault(code, deque(maxlen=GAPS)).append((own_ms - before) / 1000)
        self._latest[code] = max(own_ms, before or own_ms)

    def reading_s(self, code: str) -> float:
        """Seconds between new readings of an M-Bus device; a single short gap, from setting a clock, says nothing."""
        gaps_s = self._between_s.get(code)
        return _round_up(median_low(gaps_s)) if gaps_s else MBUS_FIRST_GUESS_S


def _round_up(seconds: float) -> float:
    """The next of 1, 2, 5, 10, 20, 30, 60, 300, 900, 3600, 86400 seconds, with a tenth of tolerance."""
    steps = (1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 86_400.0)
    return next((step for step in steps if seconds <= step * 1.1), steps[-1])


class Announcements:
    """Which datapoints a telegram has that were not announced yet, or not like this."""

    def __init__(self, interval_s: float) -> None:
        self._interval_s = interval_s
        self._announced: dict[str, Datapoint] = {}

    def news(self, telegram: Telegram, rates: Rates) -> list[Datapoint]:
        news = []
        for datapoint in _datapoints(telegram, rates, self._interval_s):
            known = self._announced.get(datapoint.key)
            if known is None or known.expected_interval_s != datapoint.expected_interval_s:
                self._announced[datapoint.key] = datapoint
                news.append(datapoint)
        return news


def _datapoints(telegram: Telegram, rates: Rates, interval_s: float) -> Iterable[Datapoint]:
    every_s = max(rates.telegram_s(telegram.version), interval_s)
    for plain in telegram.plain:
        for key, quantity in plain.values:
            yield _datapoint(key, quantity, every_s, counter=plain.counter)
    for timed in telegram.timed:
        for key, quantity in timed.values:
            yield _datapoint(key, quantity, None, counter=timed.counter)
    for key, line, quantity in telegram.mbus_values():
        is_reading = line.code.split(":")[1].startswith(("24.2.", "24.3."))
        expected_s = max(rates.reading_s(line.code), interval_s) if line.time else every_s
        yield _datapoint(key, quantity, expected_s, counter=is_reading)


def _datapoint(key: str, quantity: Quantity, expected_s: float | None, *, counter: bool) -> Datapoint:
    data_format: DataFormat = "generic_text" if isinstance(quantity.value, str) else "generic_numeric"
    return Datapoint(
        key=key,
        data_format=data_format,
        unit=quantity.unit,
        description=quantity.description,
        example_value=quantity.value,
        expected_interval_s=expected_s,
        device=DEVICE,
        counter=counter,
    )
