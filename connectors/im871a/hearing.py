"""What was heard lately: meters that are not ours, meters that have gone quiet, formats that were shown."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping

from connectors.im871a.registry import Meter
from connectors.im871a.telegram import Header, SeenFormat
from wattbus.clock import Clock

log = logging.getLogger(__name__)

MOST_NEIGHBOURS = 500
TELL_AGAIN_S = 86_400.0
MOST_FORMATS = 1000


class Neighbours:
    """Meters that are heard and not configured: each is told of once a day, at most 500 of them altogether."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._told: dict[tuple[str, str], tuple[Header, float]] = {}
        self._is_full = False

    def is_news(self, header: Header) -> bool:
        """Whether this one is to be told of now."""
        now, who = self._clock.monotonic(), (header.manufacturer, header.id)
        told = self._told.get(who)
        if told is not None and now - told[1] < TELL_AGAIN_S:
            return False
        if told is None and len(self._told) >= MOST_NEIGHBOURS:
            if not self._is_full:
                log.warning("more than %d unknown meters were heard: no more of them are announced", MOST_NEIGHBOURS)
            self._is_full = True
            return False
        self._told[who] = (header, now)
        return True

    def no_longer(self, is_ours: Callable[[Header], bool]) -> list[Header]:
        """Those that were told of and are configured now; if that ends they are news again."""
        ours = {who: header for who, (header, _) in self._told.items() if is_ours(header)}
        for who in ours:
            del self._told[who]
        return list(ours.values())


class Quiet:
    """When each configured meter was heard last. `limit_s` (s; 0: never) holds where a meter has none of its own.

    Time in which the stick does not listen does not count.
    """

    def __init__(self, limit_s: float, clock: Clock) -> None:
        self._limit_s = limit_s
        self._clock = clock
        self._heard: dict[str, float] = {}
        self._stopped_at: float | None = None

    def heard(self, meter_id: str) -> None:
        self._heard[meter_id] = self._clock.monotonic()

    def stop(self) -> None:
        """The stick does not listen any more."""
        self._stopped_at = self._clock.monotonic()

    def start(self) -> None:
        """It listens again."""
        if self._stopped_at is not None:
            deaf_s = self._clock.monotonic() - self._stopped_at
            self._heard = {meter_id: at + deaf_s for meter_id, at in self._heard.items()}
        self._stopped_at = None

    def gone(self, meters: Iterable[Meter]) -> Iterator[tuple[str, float]]:
        """Meters that were not heard for too long, and how long that is (s)."""
        now = self._clock.monotonic()
        for meter in meters:
            limit_s = self._limit_s if meter.silent_s is None else meter.silent_s
            if limit_s and now - self._heard.setdefault(meter.id, now) >= limit_s:
                yield meter.id, limit_s


class Formats:
    """What compact frames need to be read: record formats that full frames have shown, by their signature."""

    def __init__(self) -> None:
        self._formats: dict[int, bytes] = {}
        self._has_news = False

    def recall(self, formats: Mapping[int, bytes]) -> None:
        """Those that were shown before a restart."""
        self._formats = {**formats, **self._formats}

    def news(self) -> Mapping[int, bytes]:
        """All of them, when one was shown since the last call; else none."""
        news, self._has_news = (dict(self._formats) if self._has_news else {}), False
        return news

    def learn(self, seen: SeenFormat | None) -> bytes | None:
        """Take what a full frame shows; give what a compact one needs, None where that was not shown yet."""
        if seen is None:
            return None
        if seen.record_format is None:
            return self._formats.get(seen.signature)
        if self._formats.get(seen.signature) != seen.record_format and len(self._formats) < MOST_FORMATS:
            self._formats[seen.signature] = seen.record_format
            self._has_news = True
        return None
