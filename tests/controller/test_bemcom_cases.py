"""BEMCom's own cases T3 to T26 and the further ones P1 to P13, as docs/wire.md decides them, in virtual time.

T1, T2, P4 and P14 need a broker: test_controller_service.py; T27 is about order: test_timeline.py.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.controller.desk import HALL, ROOM, Desk, plan, wish
from wattbus.mqtt.messages import BadMessage

SIDES = pytest.mark.parametrize("side", ["setpoint", "schedule"])
GIVEN = {"setpoint": wish, "schedule": plan}


def give(desk: Desk, side: str, *items: tuple[int | None, int | None, Any]) -> None:
    getattr(desk, side)(*(GIVEN[side](*item) for item in items))


@SIDES
def test_t3_t8_an_item_for_ever_is_sent_at_once(side: str) -> None:
    desk = Desk()
    give(desk, side, (None, None, 21))
    assert desk.timed == [(0, 21)]


@SIDES
def test_t4_t9_an_item_that_has_begun_is_sent_at_once(side: str) -> None:
    desk = Desk()
    give(desk, side, (-1, None, 22))
    assert desk.timed == [(0, 22)]


@SIDES
def test_t5_t10_an_item_that_is_over_sends_nothing(side: str) -> None:
    desk = Desk()
    give(desk, side, (-1, None, 22))
    give(desk, side, (-3, -2, 23))
    desk.wait(1000)
    assert desk.values == [22]


@SIDES
def test_t6_t11_items_follow_one_another(side: str) -> None:
    desk = Desk()
    give(desk, side, (None, 200, 24), (200, 400, 25), (400, None, 26))
    desk.wait(1000)
    assert desk.timed == [(0, 24), (200, 25), (400, 26)]


@SIDES
def test_t7_t12_an_empty_list_cancels_what_was_to_come(side: str) -> None:
    desk = Desk()
    give(desk, side, (None, 200, 27), (200, 400, 28), (400, None, 29))
    desk.wait(100)
    give(desk, side)
    desk.wait(1000)
    assert desk.timed == [(0, 27)]


# Case, setpoint without times, scheduled value from 200 ms on, sensor, value from then on.
FLEXIBILITY: dict[str, tuple[dict[str, Any], Any, Any, Any]] = {
    "T13": (wish(None, None, 21), 22, None, 21),
    "T14": (wish(None, None, 21, acceptable_values=[21, 22]), 22, None, 22),
    "T15": (wish(None, None, 23, acceptable_values=[23, 24]), 24, 23, 24),
    "T16": (wish(None, None, 25, acceptable_values=[25, 26]), 26, 23, 25),
    "T17": (wish(None, None, 27, acceptable_values=None), 28, 23, 28),
    "T18": (wish(None, None, 21, min_value=19, max_value=20), 22, None, 22),
    "T19": (wish(None, None, 23, min_value=24, max_value=24), 24, 24, 24),
    "T20": (wish(None, None, 25, min_value=25, max_value=25), 26, 24, 25),
    "T21": (wish(None, None, 25, min_value=25, max_value=25), 26, 26, 25),
    "T22": (wish(None, None, 27, min_value=None, max_value=25), 28, 1e9, 27),
    "T23": (wish(None, None, 27, min_value=None, max_value=25), 28, -1e9, 28),
    "T24": (wish(None, None, 29, min_value=25, max_value=None), 30, -1e9, 29),
    "T25": (wish(None, None, 29, min_value=25, max_value=None), 30, 1e9, 30),
    "P7": (wish(None, None, 20, acceptable_values=["19", "20"]), 22, 19, 22),
    "P7 as a float": (wish(None, None, 20, acceptable_values=["19", "20"]), 22, 19.0, 22),
    "P7 both as text": (wish(None, None, 20, acceptable_values=["19.0"]), 22, "19", 22),
    "P5": (wish(None, None, 21, min_value=17, max_value=19), 22, "18.0", 22),
    "P5 outside": (wish(None, None, 21, min_value=17, max_value=19), 22, "19.5", 21),
    "P5 not comparable": (wish(None, None, 21, min_value=17, max_value=19), 22, "warm", 21),
    "P9": (wish(None, None, 21, min_value=19), 22, 20, 22),
    "P9 outside": (wish(None, None, 21, min_value=19), 22, 18, 21),
}


@pytest.mark.parametrize("case", FLEXIBILITY)
def test_flexibility(case: str) -> None:
    setpoint, scheduled, sensor, expected = FLEXIBILITY[case]
    desk = Desk()
    if sensor is not None:
        desk.sensor(sensor)
    desk.setpoint(setpoint)
    desk.schedule(plan(200, None, scheduled))
    assert desk.timed == [(0, setpoint["preferred_value"])]
    desk.wait(1000)
    assert desk.timed[1:] == ([(200, expected)] if expected != setpoint["preferred_value"] else [])


def test_t26_an_equal_value_is_not_sent_again() -> None:
    desk = Desk()
    desk.schedule(plan(None, 200, 24), plan(200, 400, 24))
    desk.wait(1000)
    assert desk.timed == [(0, 24)]


def test_p1_a_schedule_ends_when_it_ends() -> None:
    desk = Desk()
    desk.setpoint(wish(None, None, 21, min_value=0, max_value=50))
    desk.sensor(20)
    desk.schedule(plan(None, 100, 5))
    desk.wait(1000)
    assert desk.timed == [(0, 21), (0, 5), (100, 21)]


def test_p2_a_setpoint_ends_when_it_ends() -> None:
    desk = Desk()
    desk.schedule(plan(None, None, 5))
    desk.setpoint(wish(None, 100, 21))
    desk.wait(1000)
    assert desk.timed == [(0, 5), (0, 21), (100, 5)]


def test_p3_in_a_gap_of_the_schedule_the_setpoint_rules() -> None:
    desk = Desk()
    desk.setpoint(wish(None, None, 21, acceptable_values=None))
    desk.schedule(plan(None, 100, 5), plan(300, None, 7))
    desk.wait(1000)
    assert desk.timed == [(0, 21), (0, 5), (100, 21), (300, 7)]


def test_p3_in_a_gap_with_nothing_else_the_value_stays() -> None:
    desk = Desk()
    desk.schedule(plan(None, 100, 5), plan(300, None, 7))
    desk.wait(1000)
    assert desk.timed == [(0, 5), (300, 7)]


def test_p6_a_sensor_that_knows_nothing_is_outside() -> None:
    desk = Desk()
    desk.setpoint(wish(None, None, 21, min_value=19, max_value=23))
    desk.schedule(plan(None, None, 30))
    desk.sensor(25)
    desk.sensor(None)
    assert desk.values == [21, 30, 21]


@pytest.mark.parametrize("quality", ["stale", "offline", "implausible"])
def test_p6_so_is_one_whose_value_is_not_good(quality: str) -> None:
    desk = Desk()
    desk.sensor(20)
    desk.setpoint(wish(None, None, 21, min_value=19, max_value=23))
    desk.schedule(plan(None, None, 30))
    desk.sensor(20, quality)
    assert desk.values == [21, 30, 21]


@pytest.mark.parametrize("token", [b"NaN", b"Infinity", b"-Infinity"])
def test_p8_so_is_one_that_says_nan(token: bytes) -> None:
    desk = Desk()
    desk.sensor(20)
    desk.setpoint(wish(None, None, 21, min_value=19, max_value=23))
    desk.schedule(plan(None, None, 30))
    with pytest.raises(BadMessage, match="NaN and Infinity"):
        desk.take(ROOM.sensor, b'{"value": ' + token + b', "timestamp": 1}')
    desk.turn()
    assert desk.values == [21, 30, 21]


@pytest.mark.parametrize("side", ["setpoint", "schedule"])
def test_p10_of_several_items_the_one_that_began_last_rules(side: str) -> None:
    desk = Desk()
    give(desk, side, (-500, None, 1), (-100, 1000, 2))
    desk.wait(2000)
    assert desk.timed == [(0, 2), (1000, 1)]


def test_p11_an_empty_schedule_is_none() -> None:
    desk = Desk()
    desk.setpoint(wish(None, None, 21, acceptable_values=None))
    desk.schedule(plan(None, None, 5))
    desk.schedule()
    assert desk.values == [21, 5, 21]


def test_p12_two_actuators_with_one_sensor_are_two() -> None:
    desk = Desk(ROOM, HALL)
    for pair, preferred in ((ROOM, 21), (HALL, 23)):
        desk.setpoint(wish(None, None, preferred, min_value=19, max_value=23), pair=pair)
        desk.schedule(plan(None, None, preferred + 10), pair=pair)
    desk.sensor(30)
    seen = [(publication.topic, publication.value) for publication in desk.published]
    assert seen == [
        (ROOM.actuator, 21), (ROOM.actuator, 31), (HALL.actuator, 23), (HALL.actuator, 33),
        (ROOM.actuator, 21), (HALL.actuator, 23),
    ]  # fmt: skip


def test_p13_a_pair_that_was_removed_begins_anew() -> None:
    desk = Desk()
    desk.schedule(plan(None, None, 5))
    desk.control.set_pairs({})
    desk.control.set_pairs({ROOM.actuator: ROOM})
    desk.settle()
    assert desk.values == [5]
    desk.schedule(plan(None, None, 5))
    assert desk.values == [5, 5]
