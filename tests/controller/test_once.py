"""Commands that must not be executed twice (start a transaction): their connector announces them as such."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from controller.orders import ControlOptions
from tests.controller.conftest import Building, running
from tests.controller.desk import HALL, ROOM, Desk, plan
from wattbus.mqtt.messages import BadMessage

SECOND, HOUR = 1000, 3_600_000


def announcement(repeatable: bool | None, topic: str = ROOM.actuator) -> list[dict[str, Any]]:
    entry = {"key": "start", "type": "actuator", "topic": topic}
    return [entry if repeatable is None else {**entry, "repeatable": repeatable}]


def desk_at_1(repeatable: bool | None = False, options: ControlOptions | None = None) -> Desk:
    """A controller that has sent 1 to an actuator of this kind."""
    desk = Desk(options=options)
    desk.status("online")
    desk.take("room/datapoints", announcement(repeatable))
    desk.schedule(plan(None, None, 1))
    assert desk.values == [1]
    return desk


@pytest.mark.parametrize(("repeatable", "values"), [(False, [1]), (True, [1, 1]), (None, [1, 1])])
def test_it_is_not_repeated_when_its_connector_comes_back(repeatable: bool | None, values: list[int]) -> None:
    desk = desk_at_1(repeatable)
    desk.result("applied")
    desk.status("offline")
    desk.wait(10 * SECOND)
    desk.status("online")
    desk.wait(SECOND)
    desk.result("applied")
    desk.wait(HOUR)
    assert desk.values == values


@pytest.mark.parametrize(("outcome", "times"), [("failed", 1), ("applied", 1), ("rejected", 1), ("expired", 2)])
def test_only_what_was_never_executed_for_certain_is_sent_again(outcome: str, times: int) -> None:
    """A transaction whose start failed at the device may have started all the same."""
    desk = desk_at_1()
    desk.result(outcome)
    desk.wait(SECOND)
    desk.result("applied")
    desk.wait(HOUR)
    assert desk.values == [1] * times


def test_it_is_sent_again_while_nobody_listens() -> None:
    desk = Desk()
    desk.take("room/datapoints", announcement(False))
    desk.nobody_listens = True
    desk.schedule(plan(None, None, 1))
    desk.wait(5 * SECOND)
    assert len(desk.values) > 1
    desk.nobody_listens = False
    desk.wait(HOUR)
    number = len(desk.values)
    desk.wait(HOUR)
    assert len(desk.values) == number


def test_silence_of_its_connector_is_no_reason() -> None:
    desk = desk_at_1()
    desk.result("applied")
    desk.schedule(plan(None, None, 2))
    desk.wait(HOUR)  # no outcome is told
    assert desk.values == [1, 2]


def test_neither_is_the_periodic_repetition() -> None:
    options = ControlOptions(repeat_s=60.0)
    assert desk_waited(desk_at_1(False, options)) == [1]
    assert len(desk_waited(desk_at_1(True, options))) > 10


def desk_waited(desk: Desk) -> list[Any]:
    desk.result("applied")
    desk.wait(HOUR)
    return desk.values


def test_another_value_is_another_command() -> None:
    desk = desk_at_1()
    desk.result("failed")
    desk.schedule(plan(None, None, 2))
    assert desk.values == [1, 2]


def test_an_announcement_that_comes_late_ends_what_is_owed() -> None:
    desk = desk_at_1(True)
    desk.status("offline")
    desk.status("online")  # the same again is due in a moment
    desk.take("room/datapoints", announcement(False))
    desk.wait(HOUR)
    assert desk.values == [1]


def test_it_concerns_the_actuator_that_was_announced_and_pairs_that_come_later() -> None:
    desk = Desk()
    desk.take("room/datapoints", announcement(False) + announcement(None, HALL.actuator))
    desk.told.append(HALL)
    desk.control.set_pairs({pair.actuator: pair for pair in desk.told})
    assert [desk.actuator(pair).repeatable for pair in (ROOM, HALL)] == [False, True]
    desk.take("room/datapoints", b"")
    assert desk.actuator(ROOM).repeatable


def test_an_announcement_that_makes_no_sense_changes_nothing() -> None:
    desk = desk_at_1()
    for nonsense in (b"{", b"{}"):
        with pytest.raises(BadMessage):
            desk.take("room/datapoints", nonsense)
    desk.take("room/datapoints", [{"type": "actuator"}, *announcement(False)])
    assert not desk.actuator().repeatable


async def test_the_announcement_is_heard_on_the_bus_for_pairs_that_the_api_told(
    settings: Any, building: Building, tmp_path: Path
) -> None:
    client = building.client
    await client.publish("plain/datapoints", announcement(False, "plain/messages/2/value"), retain=True)
    await building.pairs((1, 2), (1, 3))
    await building.status("online")
    for number in (2, 3):
        await building.schedule(number, plan(None, None, 1))
    async with running(settings):
        await building.commanded(2, 1)
        await building.commanded(3, 1)
        await building.status("online", instance="i2")  # it was started anew: 3 gets its value once more
        await building.commanded(3, 1, 1)
        await building.commanded(2, 1)
    assert json.loads(client.on("plain/messages/2/value")[-1].payload)["value"] == 1
