"""The controller on a real broker, seen by a plain MQTT client."""

from __future__ import annotations

import asyncio
import json
import logging
from pathlib import Path
from typing import Any

import pytest

from controller.service import Controller
from controller.settings import ConfiguredPair, Settings
from tests.controller.conftest import PAIRS_TOPIC, Building, now_ms, pair, remembered, running
from tests.controller.desk import plan, wish
from wattbus import metrics
from wattbus.mqtt.embedded_broker import LOSSLESS, Mosquitto
from wattbus.testing.mqtt import plain_client


def metric(name: str, **labels: str) -> float:
    return metrics.REGISTRY.get_sample_value(name, {"service": "controller", **labels}) or 0.0


async def controlled(building: Building, *pairs: tuple[int, int]) -> None:
    """These pairs are controlled and may be decided."""
    await building.pairs(*pairs)
    for _, actuator in pairs:
        await building.preview(actuator)


async def test_bemcom_shaped_setpoints_and_schedules_are_executed(controller: Controller, building: Building) -> None:
    await controlled(building, (1, 2))
    await building.setpoint(2, wish(None, None, 21, min_value=19.0, max_value=23.0))
    await building.commanded(2, 21)
    await building.schedule(2, plan(None, now_ms() + 400, 17), plan(now_ms() + 400, None, None))
    await building.sensor(1, "20.5")
    await building.commanded(2, 21, 17, None)
    await building.sensor(1, 18)
    await building.commanded(2, 21, 17, None, 21)
    command = building.commands(2)[0]
    assert not command.retain
    assert set(command.json) == {"value", "timestamp", "id"}
    assert command.correlation == command.json["id"].encode()
    assert abs(command.json["timestamp"] - now_ms()) < 10_000


async def test_a_command_carries_its_expiry(controller: Controller, building: Building, mosquitto: Mosquitto) -> None:
    process = await asyncio.create_subprocess_exec(
        "mosquitto_sub", "-p", str(mosquitto.port), "-V", "5", "-q", "1", "-t", "plain/messages/2/value", "-F", "%E %q",
        "-C", "1", "-W", "20", stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    await controlled(building, (1, 2))
    await building.schedule(2, plan(None, None, 1))
    output, _ = await process.communicate()
    if not output:  # it subscribed after the first command
        pytest.fail("mosquitto_sub heard nothing")
    assert output.split() in ([b"60", b"1"], [b"59", b"1"])


async def test_t1_t2_exactly_the_topics_of_the_pairs_are_subscribed(controller: Controller, building: Building) -> None:
    await controlled(building, (1, 2))
    before = controller._bus.subscribed
    names = ("1/value", "2/setpoint", "2/schedule", "2/result")
    assert {f"plain/messages/{name}" for name in names} | {"plain/status"} <= before
    assert "plain/messages/2/value" not in before
    await controlled(building, (3, 4))
    names = ("3/value", "4/setpoint", "4/schedule", "4/result")
    expected = {f"plain/messages/{name}" for name in names} | {
        *("plain/status", "plain/heartbeat", "plain/datapoints", PAIRS_TOPIC)
    }
    assert controller._bus.subscribed == expected
    await building.schedule(2, plan(None, None, 2))
    await building.schedule(4, plan(None, None, 4))
    await building.commanded(4, 4)
    assert building.commands(2) == []


async def test_p4_null_is_none_and_a_bad_message_changes_nothing(
    controller: Controller, building: Building, caplog: pytest.LogCaptureFixture
) -> None:
    await controlled(building, (1, 2))
    await building.setpoint(2, wish(None, None, 21, min_value=19, max_value=23))
    await building.commanded(2, 21)
    await building.schedule(2, plan(None, None, 17))
    await building.sensor(1, 20)
    await building.commanded(2, 21, 17)
    before = metric("wattbus_controller_bad_messages_total", kind="setpoint")
    topics = ("plain/messages/1/value", "plain/messages/2/setpoint", "plain/messages/2/schedule", PAIRS_TOPIC)
    nonsense: list[bytes] = [
        b"{",
        b"\xff",
        b"[]",
        b"{}",
        b"null",
        b'"x"',
        b'{"setpoint": 3, "timestamp": 1}',
        b"[" * 9999,
    ]
    for topic in (*topics, "plain/messages/2/result", "plain/status"):
        for payload in nonsense if topic != PAIRS_TOPIC else nonsense[3:]:
            await building.client.publish(topic, payload, qos=0)
    assert len(caplog.records) <= 8
    await building.client.publish("plain/messages/2/setpoint", {"setpoint": None, "timestamp": now_ms()}, retain=True)
    await building.schedule(2, plan(None, None, 16))
    await building.commanded(2, 21, 17, 16)
    assert metric("wattbus_controller_bad_messages_total", kind="setpoint") == before + len(nonsense)
    assert metric("wattbus_controller_bad_messages_total", kind="controlled_datapoints") > 0


async def test_bad_messages_are_logged_first_and_then_every_hundredth(
    controller: Controller, building: Building, caplog: pytest.LogCaptureFixture
) -> None:
    await controlled(building, (1, 2))
    for _ in range(150):
        await building.client.publish("plain/messages/2/setpoint", b"{", qos=0)
    await building.schedule(2, plan(None, None, 16))
    await building.commanded(2, 16)
    assert sum("makes no sense" in record.message for record in caplog.records) == 2


async def test_p14_it_decides_when_the_retained_messages_are_in(settings: Settings, building: Building) -> None:
    await building.pairs((1, 2), (1, 3))
    for number in (2, 3):
        await building.setpoint(number, wish(None, None, 21, min_value=19, max_value=23))
        await building.schedule(number, plan(None, None, 30))
    await building.sensor(1, 20)
    async with running(settings):
        await building.commanded(2, 30)
        await building.commanded(3, 30)


async def test_p13_a_pair_that_was_removed_and_comes_back_begins_anew(
    controller: Controller, building: Building
) -> None:
    await controlled(building, (1, 2))
    await building.schedule(2, plan(None, None, 5))
    await building.commanded(2, 5)
    await building.preview(2)
    await building.pairs()
    await building.client.until(lambda: building.preview_of(2) is None)
    await building.pairs((1, 2))
    await building.commanded(2, 5, 5)


async def test_pairs_from_the_settings_find_their_topics_in_the_announcements(
    settings: Settings, building: Building
) -> None:
    chosen = ConfiguredPair(sensor="knx/1/2/3", actuator="knx/2/3/113")
    settings = settings.model_copy(update={"controlled_datapoints": [chosen], "mqtt_topic_controlled_datapoints": ""})
    async with running(settings):
        status = await building.client.message("controller/status", state="degraded")
        assert status["detail"] == "not announced yet: actuator knx/2/3/113, sensor knx/1/2/3"
        described = [
            {"key": "1/2/3", "type": "sensor", "topic": "knx/messages/1-2-3/value"},
            {"key": "2/3/113", "type": "sensor", "topic": "knx/messages/2-3-113/value"},
            {"key": "2/3/113", "type": "actuator", "topic": "knx/messages/2-3-113-set/value", "min_value": 5},
        ]
        await building.client.publish("knx/messages/2-3-113-set/schedule", schedule(plan(None, None, 7)), retain=True)
        await building.client.publish("knx/datapoints", described, retain=True)
        assert (await building.client.message("knx/messages/2-3-113-set/value"))["value"] == 7
        await building.client.message("controller/status", state="online", detail="")


def schedule(*items: dict[str, Any]) -> dict[str, Any]:
    return {"schedule": list(items), "timestamp": now_ms()}


# -- again --------------------------------------------------------------------------------------------------------


async def test_a_connector_that_came_back_gets_the_command_once_more(
    controller: Controller, building: Building
) -> None:
    await controlled(building, (1, 2))
    await building.status("online")
    await building.schedule(2, plan(None, None, 5))
    await building.commanded(2, 5)
    await building.status("offline")
    await building.status("online", "i2")
    await building.commanded(2, 5, 5)
    await building.client.message("controller/decisions", cause="return", value=5)


async def test_a_failure_is_told_and_the_command_repeated(controller: Controller, building: Building) -> None:
    await controlled(building, (1, 2))
    await building.schedule(2, plan(None, None, 5))
    await building.commanded(2, 5)
    command = building.commands(2)[0].json
    result = {"value": 5, "command_timestamp": command["timestamp"], "timestamp": now_ms(), "detail": "no answer"}
    await building.client.publish("plain/messages/2/result", {**result, "id": command["id"], "outcome": "failed"})
    await building.commanded(2, 5, 5)
    again = building.commands(2)[1].json
    assert again["id"] != command["id"]
    await building.client.publish("plain/messages/2/result", {**result, "id": again["id"], "outcome": "applied"})
    told = await building.client.until(
        lambda: (last := building.preview_of(2)) and (last["sent"] or {}).get("outcome") == "applied" and last
    )
    assert told["sent"] == {
        "value": 5, "timestamp": again["timestamp"], "id": again["id"], "outcome": "applied", "detail": "no answer"
    }  # fmt: skip


async def test_where_nobody_listens_it_is_tried_again(settings: Settings, mosquitto: Mosquitto) -> None:
    async with plain_client(mosquitto.port, "controller/#") as client:
        building = Building(client)
        async with running(settings):
            await building.pairs((1, 2))
            await building.schedule(2, plan(None, None, 5))
            told = await client.until(lambda: (last := building.preview_of(2)) and (last["sent"] or {}).get("detail"))
            assert told == "no connector listens"
            async with plain_client(mosquitto.port, "plain/messages/2/value") as connector:
                await connector.message("plain/messages/2/value", value=5)


async def test_a_broker_that_does_not_allow_it_is_told_and_tried_ever_more_rarely(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rules = tmp_path / "rules"
    rules.write_text("topic readwrite #\ntopic deny plain/messages/2/value\n")
    broker = Mosquitto(configuration_directory=tmp_path / "mosquitto", options=(*LOSSLESS, f"acl_file {rules}"))
    await broker.start()
    settings = Settings(mqtt_broker_port=broker.port, data_directory=tmp_path, controller_settle_seconds=0.1)
    async with plain_client(broker.port) as client, running(settings):
        building = Building(client)
        await controlled(building, (1, 2), (1, 3))
        await building.schedule(2, plan(None, None, 5))
        told = await client.until(lambda: (last := building.preview_of(2)) and (last["sent"] or {}).get("detail"))
        assert "Not authorized" in told
        await client.until(lambda: len(client.on("controller/preview/plain/messages/2/value")) > 2)
        await building.schedule(3, plan(None, None, 6))
        await building.commanded(3, 6)
        assert building.commands(2) == []
    await broker.stop()
    assert sum("Not authorized" in record.message for record in caplog.records) == 1


# -- restarts -----------------------------------------------------------------------------------------------------


async def test_a_restart_sends_nothing_that_is_there_already(settings: Settings, building: Building) -> None:
    async with running(settings):
        await controlled(building, (1, 2))
        await building.schedule(2, plan(None, None, 5))
        await building.commanded(2, 5)
    async with running(settings):
        await building.schedule(2, plan(None, None, 6))
        await building.commanded(2, 5, 6)


async def test_what_was_cleared_while_it_was_away_is_none(settings: Settings, building: Building) -> None:
    async with running(settings):
        await controlled(building, (1, 2))
        await building.setpoint(2, wish(None, None, 21))
        await building.schedule(2, plan(None, None, 5))
        await building.commanded(2, 21)
    await building.client.publish("plain/messages/2/setpoint", b"", retain=True)
    async with running(settings):
        await building.commanded(2, 21, 5)


async def test_a_setpoint_is_in_the_file_before_it_is_acknowledged(controller: Controller, building: Building) -> None:
    await controlled(building, (1, 2))
    await building.schedule(2, plan(None, None, 5))
    await building.commanded(2, 5)
    known = remembered(controller._settings.data_directory)["actuators"]["plain/messages/2/value"]
    assert known["schedule"]["schedule"][0]["value"] == 5


async def test_a_broker_that_dies_with_all_it_knew(
    settings: Settings, mosquitto: Mosquitto, building: Building
) -> None:
    change_ms = now_ms() + 3000
    async with running(settings) as controller:
        await controlled(building, (1, 2))
        await building.schedule(2, plan(None, change_ms, 5), plan(change_ms, None, 6))
        await building.commanded(2, 5)
        await mosquitto.kill()
        await mosquitto.start()
        async with plain_client(mosquitto.port) as client:
            after = Building(client)
            await client.message("controller/status", state="online")
            await after.preview(2)  # nobody else told the new broker anything
            await after.commanded(2, 6)
            assert now_ms() >= change_ms
            assert controller._bus.counters.connects == 2


async def test_controller_and_broker_die_together(settings: Settings, mosquitto: Mosquitto, building: Building) -> None:
    async with running(settings):
        await controlled(building, (1, 2), (1, 3))
        await building.sensor(1, 20)
        await building.setpoint(2, wish(None, None, 21, min_value=19, max_value=22))
        await building.commanded(2, 21)
        await building.schedule(2, plan(None, None, 17))
        await building.commanded(2, 21, 17)
    await mosquitto.kill()
    await mosquitto.start()
    async with plain_client(mosquitto.port) as client:
        after = Building(client)
        async with running(settings):
            assert (await after.preview(2))["decision"]["value"] == 17
            await after.sensor(1, 25)
            await after.commanded(2, 21)


# -- what it tells ------------------------------------------------------------------------------------------------


async def test_it_says_what_it_will_send_in_the_next_24_hours_and_why(
    controller: Controller, building: Building
) -> None:
    hour, now = 3_600_000, now_ms()
    await controlled(building, (1, 2))
    await building.sensor(1, 23.1)
    await building.schedule(2, plan(now + 2 * hour, now + 3 * hour, 17))
    await building.setpoint(
        2, wish(None, now + hour, 21, min_value=18, max_value=21), wish(now + hour, None, 20, acceptable_values=None)
    )
    await building.commanded(2, 21)
    told = await building.client.until(
        lambda: (last := building.preview_of(2)) and last["coming"] and last["sent"] and last
    )
    assert told["decision"] == {"value": 21, "reason": "setpoint: no schedule applies"}
    assert told["sent"]["value"] == 21
    assert told["coming"] == [
        {"from_timestamp": now + hour, "value": 20, "reason": "setpoint: no schedule applies"},
        {"from_timestamp": now + 2 * hour, "value": 17, "reason": "schedule: the setpoint accepts every value"},
        {"from_timestamp": now + 3 * hour, "value": 20, "reason": "setpoint: no schedule applies"},
    ]
    assert told["until"] - told["timestamp"] == 24 * hour
    await building.schedule(2, plan(None, None, 17))
    told = await building.client.until(
        lambda: (last := building.preview_of(2)) and "outside" in last["reason"] and last
    )
    assert told["reason"] == "setpoint: sensor 23.1 is outside 18…21"


async def test_every_command_is_told_with_its_reason(controller: Controller, building: Building) -> None:
    await controlled(building, (1, 2))
    await building.schedule(2, plan(None, None, 17))
    told = await building.client.message("controller/decisions", value=17)
    assert told["id"] == (await building.client.message("plain/messages/2/value"))["id"]
    assert (told["actuator"], told["cause"], told["dry_run"]) == ("plain/messages/2/value", "change", False)
    assert told["reason"] == "schedule: no setpoint applies"


async def test_a_dry_run_tells_and_sends_nothing(settings: Settings, building: Building) -> None:
    async with running(settings.model_copy(update={"controller_dry_run": True})):
        await controlled(building, (1, 2))
        await building.schedule(2, plan(None, None, 17))
        await building.client.message("controller/decisions", value=17, dry_run=True)
        await building.preview(2, decision={"value": 17, "reason": "schedule: no setpoint applies"}, dry_run=True)
        assert building.commands(2) == []
    async with running(settings):  # what was not sent does not count as sent
        await building.commanded(2, 17)


async def test_nothing_is_logged_in_normal_operation(
    controller: Controller, building: Building, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    await controlled(building, (1, 2))
    await building.sensor(1, 20)
    await building.schedule(2, plan(None, None, 17))
    await building.commanded(2, 17)
    assert [record.message for record in caplog.records if not record.name.startswith("asyncio")] == []


async def test_many_pairs_settle_and_are_commanded(settings: Settings, building: Building) -> None:
    numbers = range(1000, 1300)
    await building.pairs(*((1, number) for number in numbers))
    for number in numbers:
        await building.schedule(number, plan(None, None, number))
    async with running(settings):
        await building.client.until(lambda: all(building.commands(number) for number in numbers))
        assert all(building.values(number) == [number] for number in numbers)
        assert metric("wattbus_controller_pairs") == 300


def test_the_pair_of_the_tests_is_bemcoms() -> None:
    assert json.dumps(pair(7, 2, "example-connector")) == json.dumps(
        {
            "sensor": {"value": "example-connector/messages/7/value"},
            "actuator": {
                "value": "example-connector/messages/2/value",
                "setpoint": "example-connector/messages/2/setpoint",
                "schedule": "example-connector/messages/2/schedule",
            },
        }
    )


def test_files_of_the_controller_lie_in_the_data_directory(settings: Settings, tmp_path: Path) -> None:
    assert Controller(settings)._memory._file == tmp_path / "controller" / "controller.json"
