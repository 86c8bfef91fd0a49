"""The room behaves as a room does, without a clock."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demo_device.room import DAY_S, Room

MINUTE_AT_FACTOR_60_S = 3600.0


def test_it_starts_as_bemcoms_demo_device() -> None:
    room = Room()
    assert (room.temperature_c, room.setpoint_c) == (21.0, 24.0)


@pytest.mark.parametrize(("start_c", "setpoint_c"), [(21.0, 24.0), (24.0, 21.0), (20.0, 23.0), (21.0, 18.0)])
def test_a_person_sees_it_follow_a_setpoint_within_a_minute(start_c: float, setpoint_c: float) -> None:
    room = Room(temperature_c=start_c)
    room.set(setpoint_c)
    room.step(MINUTE_AT_FACTOR_60_S / 4)
    assert abs(room.temperature_c - start_c) > 1.0
    room.step(MINUTE_AT_FACTOR_60_S * 3 / 4)
    assert room.temperature_c == pytest.approx(setpoint_c, abs=0.15)


def test_it_holds_the_setpoint_over_a_day() -> None:
    room = Room(temperature_c=24.0)
    for _ in range(24):
        room.step(3600)
        assert room.temperature_c == pytest.approx(24.0, abs=0.1)
    # 24 kelvin warmer than 6 °C, 100 W/K: 43 kWh of heat, and about a quarter of it in electricity.
    assert 6_000 < room.electrical_energy_wh < 15_000


def test_without_the_heat_pump_it_cools_towards_the_outside() -> None:
    room = Room(temperature_c=24.0, enabled=False)
    room.step(3 * DAY_S)
    assert room.temperature_c == pytest.approx(6.0, abs=5.0)
    assert room.mode == "idle"
    assert room.electrical_energy_wh == pytest.approx(3 * 24 * room.house.standby_power_w)


def test_the_outside_is_coldest_before_sunrise() -> None:
    by_hour = [Room(time_s=hour * 3600.0).outside_c for hour in range(24)]
    assert min(by_hour) == by_hour[5] == pytest.approx(1.0)
    assert max(by_hour) == by_hour[17] == pytest.approx(11.0)


def test_the_heat_pump_heats_cools_and_rests() -> None:
    room = Room(temperature_c=18.0)
    room.step(1)
    assert (room.mode, room.thermal_power_w) == ("heating", 6000.0)
    assert 6000 / 6.5 < room.electrical_power_w < 6000 / 1.5 + 10
    room.temperature_c = 30.0
    room.step(1)
    assert (room.mode, room.thermal_power_w) == ("cooling", -3000.0)
    room.temperature_c = room.setpoint_c + 100 * (room.setpoint_c - room.outside_c) / 4000
    room.step(1)
    assert room.mode == "idle"


@pytest.mark.parametrize(("asked", "taken"), [(14.9, 15.0), (-300.0, 15.0), (15.0, 15.0), (30.5, 30.0), (22.0, 22.0)])
def test_the_setpoint_is_clipped(asked: float, taken: float) -> None:
    room = Room()
    room.set(asked)
    assert room.setpoint_c == taken


@pytest.mark.parametrize("nonsense", [math.nan, math.inf, -math.inf])
def test_no_number_is_no_setpoint(nonsense: float) -> None:
    room = Room()
    with pytest.raises(ValueError, match="is no temperature"):
        room.set(nonsense)
    assert room.setpoint_c == 24.0


@given(st.lists(st.tuples(st.floats(-50, 80), st.floats(0, 50_000)), max_size=8))
def test_whatever_is_asked_it_stays_a_room(course: list[tuple[float, float]]) -> None:
    room = Room()
    for setpoint_c, seconds in course:
        energy = room.electrical_energy_wh
        room.set(setpoint_c)
        room.step(seconds)
        assert 0 < room.temperature_c < 31
        assert room.electrical_energy_wh >= energy


@given(st.floats(1, 5000), st.integers(1, 20))
def test_it_hardly_matters_how_often_it_is_looked_at(seconds: float, looks: int) -> None:
    once, often = Room(), Room()
    once.step(seconds)
    for _ in range(looks):
        often.step(seconds / looks)
    assert often.temperature_c == pytest.approx(once.temperature_c, abs=0.05)
