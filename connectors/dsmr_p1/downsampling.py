"""Fewer telegrams than the meter sends, without losing the last one of a day. Pure."""

from __future__ import annotations

from typing import Generic, TypeVar

from connectors.dsmr_p1.meter_time import CENTRAL, DAY_MS, Zone

T = TypeVar("T")


class Thinning(Generic[T]):
    """Lets the first telegram of every interval through, on a grid of local time, and the last of every local day.

    The latest telegram that was held back is kept until it is clear that the day has gone on. `interval_s` 0 lets
    everything through.
    """

    def __init__(self, interval_s: float, zone: Zone = CENTRAL) -> None:
        self._zone = zone
        self._interval_ms = round(interval_s * 1000)
        self._slot: tuple[int, int] | None = None
        self._held: T | None = None

    def take(self, telegram: T, at_ms: int) -> list[T]:
        """What goes through now; `at_ms` is the telegram's own time where it has one."""
        if not self._interval_ms:
            return [telegram]
        day = self._zone.local_day(at_ms)
        slot = (day, (at_ms + self._zone.offset_ms(at_ms)) % DAY_MS // self._interval_ms)
        before, self._slot = self._slot, slot
        through = self.rest() if before is not None and before[0] != day else []
        if slot != before:
            self._held = None
            return [*through, telegram]
        self._held = telegram
        return through

    def rest(self) -> list[T]:
        """What is held back: what may have been the last of the day when there is nothing after it."""
        held, self._held = self._held, None
        return [] if held is None else [held]
