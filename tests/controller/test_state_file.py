"""What a restart, a damaged file and an older broker do to what the controller knows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from controller.control import Control
from controller.pairs import PairDirectory, pairs_in
from controller.settings import ConfiguredPair
from controller.state_file import StateFile
from tests.controller.desk import HALL, ROOM, Desk, plan, shifted, wish
from wattbus.mqtt.messages import BadMessage

SECOND, MINUTE = 1000, 60_000


def memory_of(desk: Desk, folder: Path, faults: list[str] | None = None, topic: str = "topic") -> StateFile:
    told = faults if faults is not None else []
    return StateFile(folder / "controller.json", topic, desk.clock, told.append)


def schedule_message(timestamp: int, value: Any) -> dict[str, Any]:
    return {"schedule": [shifted(plan(None, None, value))], "timestamp": timestamp}


def test_what_was_applied_is_not_sent_again_after_a_restart(tmp_path: Path) -> None:
    desk = Desk()
    desk.status("online")
    desk.schedule(plan(None, None, 21))
    desk.result("applied")
    desk.restart(tmp_path)
    desk.status("online")
    desk.wait(10 * MINUTE)
    assert desk.values == [21]


def test_what_comes_later_comes_although_the_broker_forgot_it(tmp_path: Path) -> None:
    desk = Desk()
    desk.schedule(plan(None, 100, 21), plan(100, None, 22))
    desk.restart(tmp_path)
    desk.wait(SECOND)
    assert desk.timed == [(0, 21), (100, 22)]


def test_what_was_not_confirmed_is_sent_once_more(tmp_path: Path) -> None:
    desk = Desk()
    desk.schedule(plan(None, None, 21))
    desk.actuator().sending = True  # killed before the broker acknowledged
    desk.restart(tmp_path)
    assert desk.values == [21, 21]


def test_a_failure_that_is_told_after_the_restart_counts(tmp_path: Path) -> None:
    desk = Desk()
    desk.schedule(plan(None, None, 21))
    desk.restart(tmp_path)
    desk.result("failed")
    assert desk.values == [21, 21]


def test_a_connector_that_was_restarted_meanwhile_gets_it_once_more(tmp_path: Path) -> None:
    desk = Desk()
    desk.status("online", "i1")
    desk.schedule(plan(None, None, 21))
    desk.result("applied")
    desk.restart(tmp_path)
    desk.status("online", "i2")
    desk.wait(SECOND)
    desk.result("applied")
    desk.wait(10 * MINUTE)
    assert desk.values == [21, 21]


@pytest.mark.parametrize(("offset", "expected"), [(-1, [21]), (0, [21, 30]), (1, [21, 30])])
def test_of_file_and_broker_the_newer_one_counts(tmp_path: Path, offset: int, expected: list[int]) -> None:
    desk = Desk()
    desk.take(ROOM.schedule, schedule_message(5000, 21))
    desk.restart(tmp_path)
    desk.take(ROOM.schedule, schedule_message(5000 + offset, 30), retained=True)
    assert desk.values == expected


def test_what_comes_live_counts_whatever_the_senders_clock_says() -> None:
    desk = Desk()
    desk.take(ROOM.schedule, schedule_message(5000, 21))
    desk.take(ROOM.schedule, schedule_message(4000, 30))
    assert desk.values == [21, 30]


@pytest.mark.parametrize("topic", [ROOM.setpoint, ROOM.schedule])
def test_an_empty_payload_means_none_also_to_an_old_broker(tmp_path: Path, topic: str) -> None:
    desk = Desk()
    old = {"setpoint": [wish(None, None, 21)], "schedule": [plan(None, None, 21)], "timestamp": 5000}
    desk.take(topic, old)
    desk.take(topic, b"")
    desk.restart(tmp_path)
    desk.take(topic, old, retained=True)  # the broker had died before it saved that it was cleared
    desk.take(topic, {**old, "setpoint": None, "schedule": None})
    assert desk.values == [21]
    desk.take(topic, {**old, "setpoint": [wish(None, None, 22)], "schedule": [plan(None, None, 22)]})
    assert desk.values == [21, 22]


def test_whether_a_setpoint_has_bounds_survives(tmp_path: Path) -> None:
    desk = Desk()
    desk.schedule(plan(None, None, 30))
    desk.setpoint(wish(None, None, 21))
    desk.restart(tmp_path)
    desk.setpoint(wish(None, None, 21, min_value=None, max_value=None))
    desk.restart(tmp_path)
    assert desk.values == [30, 21, 30]


def test_a_sensor_of_long_ago_is_not_what_it_says_today(tmp_path: Path) -> None:
    desk = Desk()
    desk.sensor(20)
    desk.setpoint(wish(None, None, 21, min_value=19, max_value=22))
    desk.schedule(plan(None, None, 30))
    desk.restart(tmp_path)
    assert desk.values == [21, 30]
    memory_of(desk, tmp_path).save_at_the_end(desk.control, desk.told, PairDirectory([]))
    desk.clock.forward(3600)
    control = Control(desk.options, desk.clock)
    memory_of(desk, tmp_path).restore(control, PairDirectory([]))
    sensor = control.surroundings.sensor_of(ROOM)
    assert sensor is not None
    assert sensor.quality == "stale"


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"{}", b'{"version": 2}', b'{"version": 1, "topic": "topic", "pairs": 3}']
)
def test_a_file_that_makes_no_sense_is_left_out(tmp_path: Path, content: bytes) -> None:
    desk = Desk()
    (tmp_path / "controller.json").write_bytes(content)
    assert memory_of(desk, tmp_path).restore(desk.control, PairDirectory([])) == []
    assert desk.control.actuators == {}


def test_every_cut_of_the_file_is_left_out_or_read(tmp_path: Path) -> None:
    desk = Desk(ROOM, HALL)
    desk.sensor(20)
    desk.status("online")
    desk.setpoint(wish(None, None, 21, min_value=19))
    desk.schedule(plan(None, None, 30))
    memory_of(desk, tmp_path).save_at_the_end(desk.control, desk.told, PairDirectory([]))
    whole = (tmp_path / "controller.json").read_bytes()
    content = json.loads(whole)
    for key in content:
        for wrong in (None, 3, "x", [], [1], {"a": 1}):
            (tmp_path / "controller.json").write_text(json.dumps({**content, key: wrong}))
            memory_of(desk, tmp_path).restore(Control(desk.options, desk.clock), PairDirectory([]))
    for end in range(0, len(whole), 7):
        (tmp_path / "controller.json").write_bytes(whole[:end])
        assert memory_of(desk, tmp_path).restore(Control(desk.options, desk.clock), PairDirectory([])) == []


def test_pairs_of_another_topic_are_not_taken_over(tmp_path: Path) -> None:
    desk = Desk()
    memory_of(desk, tmp_path).save_at_the_end(desk.control, desk.told, PairDirectory([]))
    assert memory_of(desk, tmp_path, topic="another").restore(desk.control, PairDirectory([])) == []


def test_a_disk_that_takes_nothing_is_a_fault_and_tried_again(tmp_path: Path) -> None:
    desk = Desk()
    (tmp_path / "file").write_text("no folder")
    faults: list[str] = []
    memory = memory_of(desk, tmp_path / "file", faults)
    for _ in range(2):
        memory.save_at_the_end(desk.control, desk.told, PairDirectory([]))
    assert desk.control.dirty
    assert all("cannot be written, a restart would forget" in fault for fault in faults)
    (tmp_path / "file").unlink()
    memory.save_at_the_end(desk.control, desk.told, PairDirectory([]))
    assert (tmp_path / "file" / "controller.json").exists()


# -- pairs --------------------------------------------------------------------------------------------------------

ENTRY = ROOM.as_json()


@pytest.mark.parametrize(
    "content",
    [
        {}, [1], [{}], [{"sensor": None, "actuator": None}], [{**ENTRY, "sensor": {"value": 3}}],
        [{**ENTRY, "sensor": {"value": "a/+/b"}}], [{**ENTRY, "sensor": {"value": ""}}], [ENTRY, {}],
        [{**ENTRY, "sensor": {"value": ROOM.actuator}}],
    ],
)  # fmt: skip
def test_half_a_list_of_pairs_is_none(content: Any) -> None:
    with pytest.raises(BadMessage):
        pairs_in(json.dumps(content).encode())


def test_pairs_as_bemcom_sends_them() -> None:
    assert pairs_in(json.dumps([ENTRY, HALL.as_json()]).encode()) == [ROOM, HALL]
    assert pairs_in(b"[]") == pairs_in(b"") == []


def test_topics_come_from_announcements_alone() -> None:
    configured = ConfiguredPair(sensor="knx/2/3/113", actuator="knx/2/3/113")
    directory = PairDirectory([configured])
    assert directory.connectors == {"knx"}
    assert directory.unknown == ["actuator knx/2/3/113", "sensor knx/2/3/113"]
    faults: list[str] = []
    described = [
        {"key": "2/3/113", "type": "sensor", "topic": "knx/messages/2-3-113/value"},
        {"key": "broken"},
        {"key": "2/3/113", "type": "actuator", "topic": "somewhere/else/value"},
    ]
    directory.learn("knx", json.dumps(described[:2]).encode(), faults.append)
    assert directory.pairs() == []
    directory.learn("knx", json.dumps(described).encode(), faults.append)
    assert len(faults) == 2
    [pair] = directory.pairs()
    assert (pair.sensor, pair.actuator) == ("knx/messages/2-3-113/value", "somewhere/else/value")
    assert (pair.setpoint, pair.schedule) == ("somewhere/else/setpoint", "somewhere/else/schedule")
    directory.learn("knx", b"[]", faults.append)  # it has just started and has seen nothing yet
    assert directory.pairs() == [pair]
    with pytest.raises(BadMessage):
        directory.learn("knx", b"{}", faults.append)
