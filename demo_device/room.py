"""A room, its walls, the weather and a heat pump: a thermal model of first order. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Mode = Literal["idle", "heating", "cooling"]

LOWEST_SETPOINT_C, HIGHEST_SETPOINT_C = 15.0, 30.0

DAY_S = 86_400.0
# The explicit steps stay well below the fastest time constant, capacity / control gain = 400 s.
_LONGEST_STEP_S = 20.0


@dataclass(frozen=True, slots=True)
class House:
    """What does not change: a light room of about 30 m² and an air-water heat pump of 6 kW."""

    capacity_j_per_k: float = 1.6e6
    loss_w_per_k: float = 100.0
    heating_power_w: float = 6000.0
    cooling_power_w: float = 3000.0
    control_gain_w_per_k: float = 4000.0
    dead_band_w: float = 150.0  # the compressor does not run for less heat than this
    standby_power_w: float = 8.0
    outside_mean_c: float = 6.0
    outside_swing_c: float = 5.0
    coldest_at_s: float = 5 * 3600.0


@dataclass(slots=True)
class Room:
    """The room at one moment; `step` lets time pass. Temperatures in °C, powers in W, energy in Wh.

    `thermal_power_w` is negative while cooling. `time_s` counts from midnight of the first day.
    """

    temperature_c: float = 21.0
    setpoint_c: float = 24.0
    enabled: bool = True
    time_s: float = 8 * 3600.0
    electrical_energy_wh: float = 0.0
    thermal_power_w: float = 0.0
    electrical_power_w: float = 0.0
    house: House = House()

    @property
    def outside_c(self) -> float:
        """The weather: a sine over the day, coldest before sunrise."""
        phase = 2 * math.pi * (self.time_s - self.house.coldest_at_s) / DAY_S
        return self.house.outside_mean_c - self.house.outside_swing_c * math.cos(phase)

    @property
    def mode(self) -> Mode:
        if self.thermal_power_w == 0:
            return "idle"
        return "heating" if self.thermal_power_w > 0 else "cooling"

    def set(self, setpoint_c: float) -> None:
        """Take a new setpoint, clipped to what the heat pump accepts. Raises ValueError when it is not a number."""
        if not math.isfinite(setpoint_c):
            raise ValueError(f"{setpoint_c} is no temperature")
        self.setpoint_c = min(max(setpoint_c, LOWEST_SETPOINT_C), HIGHEST_SETPOINT_C)

    def step(self, seconds: float) -> None:
        """Let `seconds` pass in the room."""
        while seconds > 0:
            step = min(seconds, _LONGEST_STEP_S)
            self._short_step(step)
            seconds -= step

    def _short_step(self, seconds: float) -> None:
        house = self.house
        self.thermal_power_w = self._wanted_power_w() if self.enabled else 0.0
        self.electrical_power_w = house.standby_power_w + abs(self.thermal_power_w) / self._efficiency()
        loss_w = house.loss_w_per_k * (self.temperature_c - self.outside_c)
        self.temperature_c += (self.thermal_power_w - loss_w) * seconds / house.capacity_j_per_k
        self.electrical_energy_wh += self.electrical_power_w * seconds / 3600
        self.time_s += seconds

    def _wanted_power_w(self) -> float:
        """What covers the losses at the setpoint, and more in proportion to the distance from it."""
        house = self.house
        cover_w = house.loss_w_per_k * (self.setpoint_c - self.outside_c)
        wanted_w = cover_w + house.control_gain_w_per_k * (self.setpoint_c - self.temperature_c)
        if abs(wanted_w) < house.dead_band_w:
            return 0.0
        return min(max(wanted_w, -house.cooling_power_w), house.heating_power_w)

    def _efficiency(self) -> float:
        """Heat moved per electricity: 45 % of what Carnot allows, to water of 35 °C or from a room at 10 °C coil."""
        if self.thermal_power_w >= 0:
            warm_c, cold_c = 35.0, self.outside_c
        else:
            warm_c, cold_c = max(self.outside_c, 20.0) + 10.0, 10.0
        return min(max(0.45 * (warm_c + 273.15) / max(warm_c - cold_c, 1.0), 1.5), 6.5)
