"""Of values on their way to the bus: rising timestamps, and whether they are plausible. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from wattbus.connector import Datapoint, Scalar
from wattbus.mqtt.messages import Quality

CLOCK_WENT_BACK_MS = 60_000


class TimestampAllocator:
    """Timestamps that rise strictly within one datapoint, so that (datapoint, timestamp) names one value.

    Times of reception move by 1 ms where they would tie; when the machine's clock was set back by more than a minute,
    the new time is believed. A device's own time is kept as it is (late data is welcome), but for a tie with another
    value; a repetition of the same value at the same time is no news.
    """

    def __init__(self) -> None:
        self._last: dict[str, _Last] = {}

    def received(self, values: Mapping[str, Scalar], now_ms: int) -> int:
        """The timestamp of a reading that has none of its own."""
        stamp = self._rising(values, now_ms)
        self._note(values, stamp, stamp)
        return stamp

    def arrived(self, values: Mapping[str, Scalar], device_ms: int, now_ms: int) -> tuple[int, dict[str, Scalar]]:
        """As `own`, of a device's time that cannot be right: what is news has the timestamp of its arrival."""
        news = self._news(values, device_ms)
        stamp = self._rising(news, now_ms)
        self._note(news, stamp, device_ms)
        return stamp, news

    def own(self, values: Mapping[str, Scalar], device_ms: int) -> tuple[int, dict[str, Scalar]]:
        """The timestamp of a reading with the device's own time, and what of it is news."""
        news = self._news(values, device_ms)
        before = [last for key in news if (last := self._last.get(key)) is not None]
        # Of several values at one time of the device, each got a stamp of its own.
        stamp = max([device_ms, *(last.stamp + 1 for last in before if last.at == device_ms)])
        while any(last.stamp == stamp for last in before):
            stamp += 1
        self._note(news, stamp, device_ms)
        return stamp, news

    def _rising(self, values: Mapping[str, Scalar], now_ms: int) -> int:
        latest = max((self._last[key].stamp for key in values if key in self._last), default=None)
        if latest is not None and latest >= now_ms > latest - CLOCK_WENT_BACK_MS:
            return latest + 1
        return now_ms

    def _news(self, values: Mapping[str, Scalar], device_ms: int) -> dict[str, Scalar]:
        """What is not the last value once more, at the device's same time."""
        last = self._last
        return {key: value for key, value in values.items() if key not in last or not last[key].says(device_ms, value)}

    def _note(self, values: Mapping[str, Scalar], stamp: int, at: int) -> None:
        for key, value in values.items():
            self._last[key] = _Last(stamp, at, value)


@dataclass(frozen=True, slots=True)
class _Last:
    """The last value of a datapoint: its timestamp, and the time that the device gave."""

    stamp: int
    at: int
    value: Scalar

    def says(self, at: int, value: Scalar) -> bool:
        return self.at == at and self.value == value and type(self.value) is type(value)


class Plausibility:
    """Tells values that cannot be right: out of their datapoint's range, or a counter that ran backwards."""

    def __init__(self) -> None:
        self._counters: dict[str, tuple[int, float]] = {}

    def quality(self, datapoint: Datapoint | None, value: Scalar, timestamp_ms: int) -> Quality | None:
        """`implausible` or None for a value at a time (ms)."""
        if datapoint is None or isinstance(value, bool) or not isinstance(value, int | float):
            return None
        low, high = datapoint.min_value, datapoint.max_value
        if (low is not None and value < low) or (high is not None and value > high):
            return "implausible"
        if datapoint.counter:
            since, before = self._counters.get(datapoint.key, (timestamp_ms, value))
            if timestamp_ms < since:
                return None  # late data: it was less then
            self._counters[datapoint.key] = (timestamp_ms, value)
            if value < before:
                return "implausible"
        return None
