"""A meter that is not there: telegrams in the manner of each country, with a clock and counters that go on. Pure."""

from __future__ import annotations

import math
from typing import Literal

from connectors.dsmr_p1 import meter_time
from connectors.dsmr_p1.crc import crc16
from connectors.dsmr_p1.meter_time import HOUR_MS
from connectors.dsmr_p1.simulated_manners import Manner

FIVE_MINUTES_MS = 300_000

Direction = Literal["in", "out"]


class SimulatedMeter:
    """The meter of a house with a roof full of sun: takes by night, feeds in at noon, burns gas."""

    def __init__(self, manner: Manner, clock_ms: int) -> None:
        self.manner = manner
        self.clock_ms = clock_ms
        self._energy_kwh = {("in", 1): 4000.0, ("in", 2): 3000.0, ("out", 1): 1200.0, ("out", 2): 2500.0}
        self._day_before_ms = clock_ms - meter_time.DAY_MS

    def pass_time(self, seconds: float) -> None:
        """The clock goes on, and so do the counters."""
        self.clock_ms += round(seconds * 1000)
        hours = seconds / 3600
        directions: tuple[Direction, ...] = ("in", "out")
        for direction in directions:
            self._energy_kwh[direction, self._tariff] += self._power_kw(direction) * hours

    def telegram(self) -> str:
        """What it says now, with its CRC."""
        energy, power_in, power_out = self._energy_kwh, self._power_kw("in"), self._power_kw("out")
        imported, exported = energy["in", 1] + energy["in", 2], energy["out", 1] + energy["out", 2]
        text = self.manner.template.format(
            **self._times(),
            tariff=self._tariff,
            import_1=energy["in", 1],
            import_2=energy["in", 2],
            export_1=energy["out", 1],
            export_2=energy["out", 2],
            import_all=imported,
            export_all=exported,
            absolute=imported + exported,
            import_wh=imported * 1000,
            export_wh=exported * 1000,
            reactive_in=imported / 100,
            reactive_out=imported / 10,
            power_in=power_in,
            power_out=power_out,
            power_in_w=power_in * 1000,
            power_out_w=power_out * 1000,
            voltage_1=230 + 3 * math.sin(self.clock_ms / 60_000),
            voltage_2=231.0,
            voltage_3=229.5,
            current=(power_in + power_out) / 0.23,
            gas_of_hour=2000 + 0.35 * self._hours_to(HOUR_MS),
            gas_of_five_minutes=2000 + 0.35 * self._hours_to(FIVE_MINUTES_MS),
            water_of_hour=300 + 0.012 * self._hours_to(HOUR_MS),
        )
        return signed(text.replace("\n", "\r\n"), self.manner.has_crc)

    def _times(self) -> dict[str, str]:
        clock = self.clock_ms
        hour, five_minutes = (meter_time.printed(clock - clock % step) for step in (HOUR_MS, FIVE_MINUTES_MS))
        offset = meter_time.offset_ms(clock)
        month = clock - (clock + offset) % meter_time.DAY_MS  # local midnight; close enough to the end of a month
        return {
            "clock": meter_time.printed(clock),
            "standard_clock": meter_time.printed_in_standard_time(clock),
            "hour": hour,
            "hour_without_flag": hour[:-1],
            "five_minutes": five_minutes,
            "five_minutes_without_flag": five_minutes[:-1],
            "peak_at": meter_time.printed(month - HOUR_MS * 16),
            "month": meter_time.printed(month),
            "month_before": meter_time.printed(month - 30 * meter_time.DAY_MS),
            "peak_before": meter_time.printed(month - 40 * meter_time.DAY_MS),
        }

    def _hours_to(self, step_ms: int) -> float:
        """Until the last full step, when M-Bus devices were read: their readings stand still in between."""
        return (self.clock_ms - self.clock_ms % step_ms - self._day_before_ms) / HOUR_MS

    @property
    def _tariff(self) -> int:
        hour = (self.clock_ms + meter_time.offset_ms(self.clock_ms)) // HOUR_MS % 24
        return 2 if 7 <= hour < 23 else 1

    def _power_kw(self, direction: Direction) -> float:
        """Positive where the energy goes this way: a sine over the day, and one over the minute."""
        local = self.clock_ms + meter_time.offset_ms(self.clock_ms)
        sun = -math.cos(2 * math.pi * local / meter_time.DAY_MS)
        power = 0.4 + 0.2 * math.sin(2 * math.pi * local / 60_000) - 2.5 * sun
        return max(0.0, power if direction == "in" else -power)


def signed(text: str, has_crc: bool = True) -> str:
    """A telegram up to its `!`, ended as a meter ends it."""
    return text + (f"{crc16(text.encode('ascii')):04X}" if has_crc else "") + "\r\n"
