"""Two controllers that were given the same actuators: each actuator takes its orders from one."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from controller.other_controllers import GONE_AFTER_S, OtherControllers
from controller.settings import Settings
from tests.controller.conftest import Building, now_ms, running
from tests.controller.desk import plan
from wattbus import metrics
from wattbus.mqtt.messages import BadMessage
from wattbus.testing.clock import VirtualClock
from wattbus.testing.waiting import PATIENCE_S

A, B = "room/messages/1/value", "room/messages/2/value"


def controls(*actuators: str) -> bytes:
    return json.dumps({"actuators": actuators, "timestamp": 1}).encode()


def status(state: str) -> bytes:
    return json.dumps({"state": state, "timestamp": 1}).encode()


# -- who keeps what ---------------------------------------------------------------------------------------------------


def test_who_came_first_keeps_it_and_of_two_at_once_the_first_by_name() -> None:
    rivals = OtherControllers("m", VirtualClock())
    for name in ("a", "z"):
        assert rivals.take_controls(name, controls(A))
        assert rivals.take_status(name, status("online"), True)
    assert rivals.names == {"a", "z"}
    assert rivals.holder(A, ours=False) == "a"
    assert rivals.holder(A, ours=True) == "a", "a is before m"
    assert rivals.take_controls("a", controls(B))
    assert rivals.holder(A, ours=False) == "z"
    assert rivals.holder(A, ours=True) == "", "m is before z"
    assert not rivals.take_controls("z", controls(A)), "the same again is no news"


def test_we_are_no_rival_of_ourselves_and_strangers_are_none() -> None:
    rivals = OtherControllers("m", VirtualClock())
    assert not rivals.take_controls("m", controls(A))
    assert not rivals.take_controls("z", b"")
    assert not rivals.take_status("api", b"nonsense", False)
    assert rivals.names == frozenset()
    with pytest.raises(BadMessage):
        rivals.take_controls("z", b'{"actuators": 7}')


def test_one_that_goes_while_we_look_has_a_minute_to_come_back() -> None:
    clock = VirtualClock()
    rivals = OtherControllers("m", clock)
    rivals.take_controls("z", controls(A))
    assert rivals.take_status("z", status("degraded"), True)
    assert rivals.next_at() == float("inf")
    assert rivals.take_status("z", status("offline"), False)
    clock.forward(GONE_AFTER_S - 1)
    assert not rivals.take_status("z", b"", False), "it was away already"
    assert rivals.holder(A, ours=False) == "z"
    assert rivals.next_at() == clock.monotonic() + 1
    clock.forward(1)
    assert (rivals.holder(A, ours=False), rivals.next_at()) == ("", float("inf"))
    rivals.take_status("z", status("online"), False)
    assert rivals.holder(A, ours=False) == "z"


def test_one_that_was_away_before_we_came_has_gone_and_one_that_says_nothing_goes() -> None:
    clock = VirtualClock()
    rivals = OtherControllers("m", clock)
    rivals.take_controls("y", controls(A))
    rivals.take_controls("z", controls(B))
    assert rivals.take_status("y", status("offline"), True)
    assert (rivals.holder(A, ours=False), rivals.holder(B, ours=False)) == ("", "z")
    clock.forward(GONE_AFTER_S)
    assert rivals.holder(B, ours=False) == ""


# -- on the bus -------------------------------------------------------------------------------------------------------


def second(settings: Settings, name: str) -> Settings:
    return settings.model_copy(update={"service_name": name})


async def test_a_second_controller_leaves_the_actuators_to_the_first_and_says_so(
    settings: Settings, building: Building, caplog: pytest.LogCaptureFixture
) -> None:
    client = building.client
    await building.pairs((1, 2), (1, 3))
    async with running(settings):
        await client.message("controller/controls", actuators=["plain/messages/2/value", "plain/messages/3/value"])
        async with running(second(settings, "a-controller")):  # its name comes first, but it came second
            fault = "controller drives 2 of the actuators, they are left to it"
            await client.message("a-controller/status", state="degraded", detail=fault)
            await building.schedule(2, plan(None, None, 21))
            await building.commanded(2, 21)
            await building.schedule(2, plan(None, None, 22))
            await building.commanded(2, 21, 22)
            await building.pairs((1, 2), (1, 3), (1, 4))
            await client.until(lambda: len(_driven(client, "controller") | _driven(client, "a-controller")) == 3)
            assert not _driven(client, "controller") & _driven(client, "a-controller")
    senders = {seen.topic.split("/")[0] for seen in client.seen if seen.topic.endswith("/decisions")}
    assert senders == {"controller"}
    assert not client.on("a-controller/preview/plain/messages/2/value")
    assert caplog.text.count(f"{fault}: give each controller pairs of its own") == 1


async def test_two_that_start_at_once_share_no_actuator(settings: Settings, building: Building) -> None:
    client = building.client
    await building.pairs((1, 2))
    async with running(settings), running(second(settings, "b-controller")):
        await client.until(lambda: _driven(client, "controller") != _driven(client, "b-controller"))
        await client.until(lambda: client.last("controller/status") and client.last("b-controller/status"))
        await client.until(lambda: _states(client) == {"online", "degraded"})
        for value in (17, 18, 19):
            await building.schedule(2, plan(None, None, value))
            await client.until(lambda value=value: building.values(2)[-1:] == [value])  # type: ignore[misc]
        drives = "b-controller" if _driven(client, "b-controller") else "controller"
        await client.until(lambda: len(client.on(f"{drives}/decisions")) == 3)
        other = "controller" if drives == "b-controller" else "b-controller"
        assert not client.on(f"{other}/decisions")
        assert building.values(2) == [17, 18, 19]


async def test_when_the_first_is_gone_for_a_minute_the_second_takes_over_and_sends_once_more(
    settings: Settings, building: Building, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("controller.other_controllers.GONE_AFTER_S", 0.5)
    client = building.client
    await building.pairs((1, 2))
    await building.schedule(2, plan(None, None, 21))
    async with running(settings):
        await building.commanded(2, 21)
        waiting = running(second(settings, "z"))
        await waiting.__aenter__()
        await client.message("z/status", state="degraded")
    await client.message("z/status", state="online")
    await building.commanded(2, 21, 21)
    assert client.last("z/controls")["actuators"] == ["plain/messages/2/value"]
    await waiting.__aexit__(None, None, None)


async def test_a_dry_run_drives_nothing_and_is_in_nobodys_way(settings: Settings, building: Building) -> None:
    client = building.client
    await building.pairs((1, 2))
    dry = second(settings, "dry").model_copy(update={"controller_dry_run": True})
    async with running(dry), running(settings):
        await client.message("controller/controls", actuators=["plain/messages/2/value"])
        await building.schedule(2, plan(None, None, 21))
        await building.commanded(2, 21)
        await client.until(lambda: len([s for s in client.seen if s.topic.endswith("/decisions")]) == 2)
    assert not client.on("dry/controls")
    assert "degraded" not in {seen.json["state"] for seen in client.on("dry/status")}


async def test_what_makes_no_sense_is_counted_and_changes_nothing(settings: Settings, building: Building) -> None:
    labels = {"service": "controller", "topic": "controls"}
    before = metrics.REGISTRY.get_sample_value("wattbus_bad_messages_total", labels) or 0.0
    await building.pairs((1, 2))
    for name, nonsense in (("x", b"{"), ("y", b'{"actuators": [1]}'), ("z", b"[]")):
        await building.client.publish(f"{name}/controls", nonsense, retain=True)
    async with running(settings):
        await building.client.message("controller/controls", actuators=["plain/messages/2/value"])
    assert metrics.REGISTRY.get_sample_value("wattbus_bad_messages_total", labels) == before + 3


async def test_a_process_that_never_had_its_name_keeps_its_hands_off_the_memory(
    settings: Settings, building: Building, tmp_path: Path
) -> None:
    """Two processes with one name may share their folder: the file is of the one that works."""
    await building.pairs((1, 2))
    async with running(settings) as first:
        await building.client.message("controller/controls", actuators=["plain/messages/2/value"])
        async with running(settings) as twin:
            async with asyncio.timeout(PATIENCE_S):
                while not (twin._status_publisher.name_lock and twin._status_publisher.name_lock.fault):
                    await asyncio.sleep(0.01)
            await building.schedule(2, plan(None, None, 21))
            await building.commanded(2, 21)
            await first._save()
        file = tmp_path / "controller" / "controller.json"
        actuators: dict[str, Any] = json.loads(file.read_bytes())["actuators"]
        assert actuators["plain/messages/2/value"]["schedule"]["timestamp"] <= now_ms()
        assert actuators["plain/messages/2/value"]["sent"]["value"] == 21


def _driven(client: Any, service: str) -> set[str]:
    last = client.last(f"{service}/controls")
    return set(last["actuators"]) if last else set()


def _states(client: Any) -> set[str]:
    return {client.last(f"{name}/status")["state"] for name in ("controller", "b-controller")}
