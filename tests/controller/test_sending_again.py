"""When a command is repeated, when a change waits, and what happens when the clock is set, in virtual time."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from controller.control import Control
from controller.decision import Policy
from controller.orders import ControlOptions
from controller.timer_queue import TimerQueue
from tests.controller.desk import HALL, ROOM, Desk, plan, wish
from wattbus.testing.clock import VirtualClock

SCHEDULE_OF_2 = b'{"schedule": [{"from_timestamp": null, "to_timestamp": null, "value": 2}], "timestamp": 1}'
SECOND, MINUTE, HOUR = 1000, 60_000, 3_600_000


def desk_at_21(options: ControlOptions | None = None) -> Desk:
    """A controller whose connector is online and has got 21."""
    desk = Desk(options=options)
    desk.status("online")
    desk.schedule(plan(None, None, 21))
    assert desk.values == [21]
    return desk


# -- after the connector came back --------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["offline", "degraded"])
def test_a_connector_that_came_back_gets_the_command_once_more(state: str) -> None:
    desk = desk_at_21()
    desk.result("applied")
    desk.status(state)
    desk.wait(10 * SECOND)
    desk.status("online")
    desk.wait(SECOND)
    desk.result("applied")
    desk.wait(HOUR)
    assert [(entry.value, entry.cause) for entry in desk.published] == [(21, "change"), (21, "return")]


def test_so_does_another_instance_under_its_name() -> None:
    desk = desk_at_21()
    desk.status("online", "i2")
    desk.status("online", "i2")
    desk.wait(HOUR)
    assert desk.values == [21, 21]


def test_a_status_that_is_told_again_changes_nothing() -> None:
    desk = desk_at_21()
    desk.status("online")
    desk.take("other/status", {"state": "online", "timestamp": 1, "instance": "x"})
    desk.wait(HOUR)
    assert desk.values == [21]


def test_nothing_is_repeated_that_nobody_wants_any_more() -> None:
    desk = desk_at_21()
    desk.status("offline")
    desk.schedule()
    desk.status("online")
    desk.wait(HOUR)
    assert desk.values == [21]


def test_but_it_is_when_the_same_is_wanted_again() -> None:
    desk = desk_at_21()
    desk.status("offline")
    desk.schedule()
    desk.status("online")
    desk.wait(HOUR)
    desk.schedule(plan(None, None, 21))
    assert desk.values == [21, 21]


# -- after an outcome ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("outcome", ["failed", "expired"])
def test_what_did_not_apply_is_repeated_at_once_and_then_ever_more_rarely(outcome: str) -> None:
    desk = desk_at_21()
    desk.result(outcome)
    assert len(desk.published) == 2
    assert desk.published[1].at_ms == desk.published[0].at_ms
    while desk.now < HOUR:
        before = len(desk.published)
        desk.result(outcome)
        while len(desk.published) == before:
            desk.wait(100)
    times = [entry.at_ms for entry in desk.published]
    pauses = [(later - earlier) / 1000 for earlier, later in pairwise(times)]
    assert pauses[0] == 0
    assert 0.5 <= pauses[1] <= 1.1
    assert all(150 <= pause <= 301 for pause in pauses[10:])
    assert len(times) < 40
    assert {entry.cause for entry in desk.published[1:]} == {"failure"}


def test_after_a_success_a_failure_is_repeated_at_once_again() -> None:
    desk = desk_at_21()
    for outcome in ("failed", "failed"):
        desk.result(outcome)
        desk.wait(2 * SECOND)
    desk.result("applied")
    desk.status("online", "i2")
    desk.wait(SECOND)
    assert len(desk.published) == 4
    desk.result("failed")
    assert len(desk.published) == 5


def test_what_was_rejected_is_not_repeated() -> None:
    desk = desk_at_21()
    desk.result("rejected")
    desk.wait(HOUR)
    assert desk.values == [21]
    assert desk.actuator().sent is not None
    assert desk.actuator().sent.outcome == "rejected"


def test_the_outcome_of_an_earlier_command_says_nothing_about_the_last() -> None:
    desk = desk_at_21()
    desk.schedule(plan(None, None, 22))
    desk.result("expired", desk.published[0])
    desk.wait(HOUR)
    assert desk.values == [21, 22]


def test_an_outcome_without_id_is_found_by_value_and_time() -> None:
    desk = desk_at_21()
    first = desk.published[0]
    result = {"value": 21, "timestamp": 1, "outcome": "failed", "detail": ""}
    desk.take("room/messages/2/result", {**result, "command_timestamp": 5})
    assert len(desk.published) == 1
    desk.take("room/messages/2/result", {**result, "command_timestamp": desk.clock.now_ms() - desk.now + first.at_ms})
    assert len(desk.published) == 2


def test_a_failing_device_does_not_hold_up_a_change() -> None:
    desk = desk_at_21()
    for _ in range(8):
        desk.result("failed")
        desk.wait(10 * MINUTE)
    desk.schedule(plan(None, None, 22))
    assert desk.published[-1].value == 22
    desk.result("failed")
    assert [entry.cause for entry in desk.published[-2:]] == ["change", "failure"]


def test_a_link_that_comes_and_goes_with_the_commands_is_not_hammered() -> None:
    desk = desk_at_21()
    for _ in range(60):
        desk.result("failed")
        desk.status("degraded")
        desk.wait(SECOND)
        desk.status("online")
        desk.wait(SECOND)
    assert len(desk.published) <= 15


def test_a_connector_that_tells_outcomes_and_is_silent_now_gets_it_once_more() -> None:
    desk = desk_at_21()
    desk.result("applied")
    desk.schedule(plan(None, None, 22))
    desk.wait(64 * SECOND)
    assert desk.values == [21, 22]
    desk.wait(2 * SECOND)
    assert desk.values == [21, 22, 22]
    desk.wait(HOUR)
    assert desk.values == [21, 22, 22]


def test_one_that_never_told_any_does_not() -> None:
    desk = desk_at_21()
    desk.wait(HOUR)
    assert desk.values == [21]


def test_where_nobody_listens_it_is_tried_again_ever_more_rarely() -> None:
    desk = Desk()
    desk.nobody_listens = True
    desk.schedule(plan(None, None, 21))
    desk.wait(HOUR)
    assert 10 < len(desk.published) < 40
    desk.nobody_listens = False
    desk.wait(10 * MINUTE)
    seen = len(desk.published)
    desk.wait(HOUR)
    assert len(desk.published) == seen


def test_where_nobody_listened_the_connector_gets_it_when_it_comes() -> None:
    desk = Desk()
    desk.nobody_listens = True
    desk.schedule(plan(None, None, 21))
    desk.wait(HOUR)
    desk.nobody_listens = False
    desk.status("online")
    seen = len(desk.published)
    desk.wait(SECOND)
    assert desk.published[seen:][0].cause == "return"


# -- options ------------------------------------------------------------------------------------------------------


def test_periodic_repetition() -> None:
    desk = desk_at_21(ControlOptions(repeat_s=600))
    desk.wait(HOUR)
    assert [entry.at_ms for entry in desk.published] == [n * 10 * MINUTE for n in range(7)]
    assert {entry.cause for entry in desk.published[1:]} == {"repetition"}


def test_between_two_changes_lies_the_dwell_time() -> None:
    desk = Desk(options=ControlOptions(dwell_s=60))
    desk.schedule(plan(None, 10_000, 1), plan(10_000, 20_000, 2), plan(20_000, 90_000, 3), plan(90_000, None, 4))
    desk.wait(HOUR)
    assert desk.timed == [(0, 1), (60_000, 3), (120_000, 4)]


def test_a_restart_does_not_shorten_the_dwell_time(tmp_path: Path) -> None:
    desk = Desk(options=ControlOptions(dwell_s=60))
    desk.schedule(plan(None, 10_000, 1), plan(10_000, None, 2))
    desk.wait(30_000)
    desk.restart(tmp_path)
    desk.wait(HOUR)
    assert desk.timed == [(0, 1), (60_000, 2)]


def test_a_change_that_is_taken_back_within_the_dwell_time_is_none() -> None:
    desk = Desk(options=ControlOptions(dwell_s=60))
    desk.schedule(plan(None, 10_000, 1), plan(10_000, 20_000, 2), plan(20_000, None, 1))
    desk.wait(HOUR)
    assert desk.timed == [(0, 1)]


def dead_band_desk(low: float | None = 18, high: float | None = 22, band: float = 0.5) -> Desk:
    desk = Desk(options=ControlOptions(policy=Policy(hysteresis=band)))
    desk.sensor(20)
    desk.setpoint(wish(None, None, 20, min_value=low, max_value=high))
    desk.schedule(plan(None, None, 15))
    assert desk.values == [20, 15]
    return desk


def test_a_sensor_on_the_bound_does_not_chatter_with_a_dead_band() -> None:
    desk = dead_band_desk()
    for measured in (18.1, 17.9, 18.1, 17.9, 18.4, 18.5, 18.1, 17.9, 22.1, 21.6, 21.5):
        desk.sensor(measured)
    assert desk.values == [20, 15, 20, 15, 20, 15]
    assert "not yet 0.5 inside" in desk.published[4].reason or "outside" in desk.published[4].reason


def test_a_narrow_range_keeps_its_middle() -> None:
    desk = dead_band_desk(19.9, 20.1, 5)
    desk.sensor(19)
    desk.sensor(20.05)
    desk.sensor(20)
    assert desk.values == [20, 15, 20, 15]


def test_a_restart_remembers_which_side_the_sensor_is_on(tmp_path: Path) -> None:
    desk = dead_band_desk()
    desk.sensor(17.9)
    desk.restart(tmp_path)
    desk.sensor(18.2)
    assert desk.values == [20, 15, 20]


def test_another_setpoint_has_another_range() -> None:
    desk = dead_band_desk()
    desk.sensor(17.9)
    desk.setpoint(wish(None, None, 20, min_value=17.8, max_value=22))
    assert desk.values == [20, 15, 20, 15]


def test_a_sensor_that_says_nothing_counts_as_outside_if_so_wished() -> None:
    desk = Desk(options=ControlOptions(policy=Policy(no_sensor="preferred")))
    desk.setpoint(wish(None, None, 21, min_value=18, max_value=22))
    desk.schedule(plan(None, None, 15))
    assert desk.values == [21]
    desk.sensor(20)
    assert desk.values == [21, 15]


# -- the sensor's connector ---------------------------------------------------------------------------------------


def test_the_last_value_of_a_connector_that_stays_away_is_not_a_live_one() -> None:
    desk = Desk()
    desk.status("online")
    desk.sensor(20)
    desk.setpoint(wish(None, None, 21, min_value=18, max_value=22))
    desk.schedule(plan(None, None, 15))
    desk.status("offline")
    desk.wait(59 * SECOND)
    assert desk.values == [21, 15]
    desk.wait(2 * SECOND)
    assert desk.values == [21, 15, 21]
    assert desk.published[-1].reason == "setpoint: sensor 20 is offline"


def test_a_sensor_that_was_taken_off_the_bus_is_not_known() -> None:
    desk = Desk()
    desk.sensor(20)
    desk.setpoint(wish(None, None, 21, min_value=18, max_value=22))
    desk.schedule(plan(None, None, 15))
    desk.take(ROOM.sensor, b"")
    assert desk.values == [21, 15, 21]


# -- the wall clock -----------------------------------------------------------------------------------------------


def day(desk: Desk) -> None:
    desk.schedule(*(plan(n * HOUR, None, n) for n in range(24)))


def test_a_clock_that_is_set_forward_is_noticed_within_seconds() -> None:
    desk = Desk()
    day(desk)
    desk.wait(HOUR // 2)
    desk.clock.set_by(5 * 3600)
    desk.wait(2 * SECOND)
    assert desk.values == [0, 5]
    desk.until(6 * HOUR)
    assert desk.timed[-1] == (6 * HOUR, 6)


def test_so_is_one_that_is_set_back() -> None:
    desk = Desk()
    desk.until(5 * HOUR)
    day(desk)
    desk.clock.set_by(-3 * 3600)
    desk.wait(2 * SECOND)
    assert desk.values == [5, 2]
    desk.until(3 * HOUR)
    assert desk.timed[-1] == (3 * HOUR, 3)


def test_an_hour_of_daylight_saving_is_nothing_because_times_are_utc() -> None:
    # 2023-03-26 01:00 UTC: in most of Europe the clocks on the wall go from 2 to 3.
    desk = Desk()
    start = 1_679_788_800_000 - (desk.clock.now_ms() - desk.now)
    desk.schedule(*(plan(start + n * HOUR, start + (n + 1) * HOUR, n) for n in range(6)))
    desk.jump(start)
    desk.wait(6 * HOUR)
    assert desk.timed == [(start + n * HOUR, n) for n in range(6)]


def test_a_clock_that_is_set_back_does_not_hold_repetitions_up() -> None:
    desk = desk_at_21(ControlOptions(repeat_s=60))
    desk.jump(-10 * HOUR)
    desk.wait(2 * MINUTE + SECOND)
    assert desk.values == [21, 21, 21]


# -- many ---------------------------------------------------------------------------------------------------------


def test_the_agenda_stays_small_however_often_moments_change() -> None:
    agenda = TimerQueue()
    for number in range(10_000):
        agenda.set(f"n{number % 10}", 1000 - number / 100)
    assert len(agenda._heap) <= 2 * 10 + 65
    assert agenda.next_at() == pytest.approx(1000 - 99.99)
    assert len(agenda.due(2000)) == 10
    assert agenda.next_at() == float("inf")


def test_a_bug_in_one_pair_does_not_stop_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(ROOM, HALL)
    decide = desk.actuator(ROOM).decide

    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(desk.actuator(ROOM), "decide", broken)
    desk.control.take(HALL.schedule, SCHEDULE_OF_2, False)
    with pytest.raises(ZeroDivisionError):
        desk.schedule(plan(None, None, 1))
    desk.turn()
    assert desk.values == [2]
    monkeypatch.setattr(desk.actuator(ROOM), "decide", decide)
    desk.wait(4 * MINUTE)
    assert desk.values == [2]
    desk.wait(2 * MINUTE)
    assert desk.values == [2, 1]


def test_nothing_is_decided_before_the_retained_messages_are_in() -> None:
    clock = VirtualClock()
    control = Control(ControlOptions(), clock)
    control.set_pairs({ROOM.actuator: ROOM})
    control.take(
        ROOM.schedule,
        SCHEDULE_OF_2,
        True,
    )
    assert control.due() == []
    control.set_ready([ROOM.actuator])
    assert [order.value for _, order in control.due()] == [2]
