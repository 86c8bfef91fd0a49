"""Which of the devices behind one connector have fallen silent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NoReturn

from wattbus.clock import SYSTEM_CLOCK, Clock
from wattbus.connector import Link

MOST_WATCHED = 10_000
LOOK_EVERY_S = 1.0


class DeviceWatch:
    """Tells the runtime when a device is silent for longer than its limit, and when it is heard again.

    Devices in `limits` are expected from the start; others are watched once they were heard. A limit of None is
    `limit_s`, the limit of all; 0 never ends.
    """

    def __init__(
        self, limit_s: float, limits: Mapping[str, float | None] | None = None, clock: Clock = SYSTEM_CLOCK
    ) -> None:
        self._limit_s = limit_s
        self._limits = dict(limits or {})
        self._clock = clock
        self._heard_at = dict.fromkeys(self._limits, clock.monotonic())
        self._away: set[str] = set()

    @property
    def is_idle(self) -> bool:
        """Whether there is no limit at all."""
        return not self._limit_s and not any(self._limits.values())

    def heard(self, device: str, link: Link) -> None:
        """A device has spoken sense."""
        if device in self._heard_at or len(self._heard_at) < MOST_WATCHED:
            self._heard_at[device] = self._clock.monotonic()
        if device in self._away:
            self._away.discard(device)
            link.unit(device, up=True)

    async def run(self, link: Link) -> NoReturn:
        """Look every second, for as long as the link is open. While it was not, nobody could be heard."""
        for device in self._heard_at.keys() - self._away:
            self._heard_at[device] = self._clock.monotonic()
        while True:
            await self._clock.sleep(LOOK_EVERY_S)
            for device, heard_at in self._heard_at.items():
                limit_s = self._limit(device)
                if limit_s and device not in self._away and self._clock.monotonic() - heard_at > limit_s:
                    self._away.add(device)
                    link.unit(device, up=False, reason=f"silent for {limit_s:g} s")

    def _limit(self, device: str) -> float:
        own = self._limits.get(device)
        return self._limit_s if own is None else own
