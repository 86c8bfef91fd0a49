"""Whether a meter's clock keeps another zone's time: steadily whole hours off. Pure, with a memory."""

from __future__ import annotations

import logging

from connectors.dsmr_p1.meter_time import CENTRAL, HOUR_MS, Zone
from connectors.dsmr_p1.timestamps import MACHINE_CLOCK_FROM_MS, whole_hours

log = logging.getLogger(__name__)

STEADY = 10  # telegrams running


class ClockZone:
    """Compares the meter's clock with the time of reception. `zone` None: it is to be found out.

    One line of a telegram says nothing of a country, so nothing is guessed from it: only the clock is believed.
    """

    def __init__(self, zone: Zone | None) -> None:
        self.is_to_be_found = zone is None
        self.zone = zone
        self.fault = ""
        self._hours = 0
        self._running = 0

    @property
    def winter_hours(self) -> int | None:
        """For the raw message: what was found out; None where nothing was, or need not be."""
        return self.zone.winter_ms // HOUR_MS if self.is_to_be_found and self.zone is not None else None

    def compare(self, clock_ms: int | None, received: int) -> bool:
        """`clock_ms` is what the meter's clock means in `zone` (Central Europe's, before one is known).

        Whether another zone was found.
        """
        hours = None if clock_ms is None or received < MACHINE_CLOCK_FROM_MS else whole_hours(clock_ms - received)
        if hours is None or abs(hours) > 12:
            self._running = 0
            return False
        self._running = self._running + 1 if hours == self._hours else 1
        self._hours = hours
        if self._running < STEADY:
            return False
        if self.is_to_be_found:
            return self._found(hours)
        if hours:
            way = "ahead of" if hours > 0 else "behind"
            self.fault = f"the meter's clock is steadily {abs(hours)} h {way} the time of reception: see DSMR_TIME_ZONE"
        else:
            self.fault = ""
        return False

    def _found(self, hours: int) -> bool:
        if self.zone is not None and not hours:
            return False
        before = self.zone or CENTRAL
        self.zone = Zone(before.winter_ms + hours * HOUR_MS)
        self._hours = self._running = 0
        log.warning("the meter's clock keeps UTC%+d h in winter", self.zone.winter_ms // HOUR_MS)
        return True
