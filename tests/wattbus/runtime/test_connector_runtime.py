"""A whole connector on a real broker, seen by a plain MQTT client."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import aiomqtt
import pytest

from tests.support.connector import ScriptedConnector
from tests.wattbus.runtime.one_connector import (
    NAME,
    ROOM,
    SETPOINT,
    SOON,
    pass_time,
    passing,
    quick_reconnect,
    running,
    settings_for,
)
from wattbus import __version__, metrics
from wattbus.clock import SYSTEM_CLOCK
from wattbus.connector import Quantity
from wattbus.errors import ConfigError, LinkDown
from wattbus.mqtt.embedded_broker import Mosquitto
from wattbus.mqtt.range_set import RangeSet
from wattbus.runtime.connector_runtime import Runtime, run_connector
from wattbus.service import health
from wattbus.testing.clock import START_MS, VirtualClock
from wattbus.testing.mqtt import PlainClient, Seen, plain_client, retained
from wattbus.testing.waiting import PATIENCE_S


@pytest.fixture(autouse=True)
def _root_logger_tells_all() -> Iterator[None]:
    root = logging.getLogger()
    before = root.level
    root.setLevel(logging.INFO)
    yield
    root.setLevel(before)


def bad_messages(kind: str) -> float:
    name = "wattbus_bad_messages_total"
    return metrics.REGISTRY.get_sample_value(name, {"service": NAME, "topic": kind}) or 0.0


def future_timestamps() -> float:
    return metrics.REGISTRY.get_sample_value("wattbus_future_timestamps_total", {"service": NAME}) or 0.0


# -- announcing


async def test_announces_what_it_knows_as_the_contract_says(mosquitto: Mosquitto, tmp_path: Path) -> None:
    connector = ScriptedConnector(ROOM, SETPOINT)
    async with running(connector, settings_for(mosquitto, tmp_path)), plain_client(mosquitto.port) as client:
        assert await client.message("meter/available_datapoints") == {
            "sensor": {"room": None},
            "actuator": {"setpoint": 21.0},
        }
        room, setpoint = await client.message_list("meter/datapoints", 2)
        assert room == {
            "key": "room",
            "type": "sensor",
            "topic": "meter/messages/room/value",
            "data_format": "generic_numeric",
            "unit": "Cel",
            "min_value": -40,
            "max_value": 60,
            "expected_interval_s": 10,
        }
        assert setpoint["topic"] == "meter/messages/setpoint-set/value"
        assert {"meter/available_datapoints", "meter/datapoints", "meter/status"} <= (
            await retained(mosquitto.port)
        ).keys()


async def test_what_a_reading_brings_is_discovered_and_announced(mosquitto: Mosquitto, tmp_path: Path) -> None:
    connector = ScriptedConnector()
    async with running(connector, settings_for(mosquitto, tmp_path)), plain_client(mosquitto.port) as client:
        connector.read({"report 2": {"Curr user": Quantity(6000, "mA", "limit"), "on": True}, "#1/x": "text"})
        announced = await client.message_list("meter/datapoints", 3)
        assert [(entry["key"], entry["topic"], entry.get("unit"), entry["data_format"]) for entry in announced] == [
            ("report 2__Curr user", "meter/messages/report-2__Curr-user/value", "mA", "generic_numeric"),
            ("report 2__on", "meter/messages/report-2__on/value", None, "bool"),
            ("#1/x", "meter/messages/-1-x/value", None, "generic_text"),
        ]
        assert client.last("meter/available_datapoints")["sensor"] == {
            "report 2__Curr user": 6000,
            "report 2__on": True,
            "#1/x": "text",
        }
        assert (await client.message("meter/messages/report-2__Curr-user/value"))["value"] == 6000


# -- values


async def test_readings_are_numbered_without_holes_and_state_says_which(mosquitto: Mosquitto, tmp_path: Path) -> None:
    connector = ScriptedConnector(ROOM)
    clock = VirtualClock()
    async with running(connector, settings_for(mosquitto, tmp_path), clock), plain_client(mosquitto.port) as client:
        for number in range(50):
            connector.read({"room": 20.0 + number, "other": number})
        connector.read({"room": 1.5}, timestamp_ms=START_MS + 10_000)
        values = await client.messages("meter/values", 51)
        assert [message["sequence"] for message in values] == list(range(1, 52))
        assert {message["session"] for message in values} == {values[0]["session"]}
        assert len(values[0]["session"]) == 16
        assert int(values[0]["session"], 16) >= 0
        assert values[0]["values"] == {"room": 20.0, "other": 0}
        assert "quality" not in values[0]
        assert values[45]["quality"] == {"room": "implausible"}  # 65 °C
        stamps = [message["timestamp"] for message in values]
        assert stamps == [*range(START_MS, START_MS + 50), START_MS + 10_000], "a tie moves by 1 ms"
        state = await client.message("meter/messages/room/value", sequence=51)
        assert state == {"value": 1.5, "timestamp": START_MS + 10_000, "sequence": 51}
        implausible = await client.message("meter/messages/room/value", sequence=46)
        assert implausible["quality"] == "implausible"
        kept = await retained(mosquitto.port)
        assert json.loads(kept["meter/messages/room/value"]) == state
        assert "meter/values" not in kept


async def test_a_time_in_the_future_is_replaced_by_that_of_the_arrival_marked_counted_and_said(
    mosquitto: Mosquitto, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    connector = ScriptedConnector(ROOM)
    clock = VirtualClock()
    settings = settings_for(mosquitto, tmp_path, FUTURE_LIMIT_SECONDS="60")
    async with running(connector, settings, clock), plain_client(mosquitto.port) as client:
        before = future_timestamps()
        for value, own_ms in enumerate((START_MS + 60_000, START_MS + 60_001, START_MS * 1000, START_MS * 1000)):
            connector.read({"room": value}, timestamp_ms=own_ms)
        values = await client.messages("meter/values", 4)
        assert [message["timestamp"] for message in values] == [START_MS + 60_000, START_MS, START_MS + 1, START_MS + 2]
        assert [message.get("quality") for message in values] == [None, *[{"room": "implausible"}] * 3]
        assert future_timestamps() - before == 3
        await client.until(lambda: "meter (0.0167 hours) ahead" in client.last("meter/status")["detail"])
        assert client.last("meter/status")["state"] == "degraded"
        clock.forward(700)
        connector.read({"room": 25.0}, timestamp_ms=clock.now_ms())
        await client.until(lambda: "ahead" not in client.last("meter/status")["detail"])
    assert caplog.text.count("times in the future: ") == 2, "when it begins and when it is over"


async def test_a_reading_that_nothing_but_its_form_speaks_for_says_so(mosquitto: Mosquitto, tmp_path: Path) -> None:
    connector = ScriptedConnector(ROOM)
    async with running(connector, settings_for(mosquitto, tmp_path)), plain_client(mosquitto.port) as client:
        connector.read({"room": 21.0, "other": 1}, is_unverified=True)
        connector.read({"room": 99.0}, is_unverified=True)
        unverified, implausible = await client.messages("meter/values", 2)
        assert unverified["quality"] == {"room": "unverified", "other": "unverified"}
        assert implausible["quality"] == {"room": "implausible"}, "the worse of the two"
        assert (await client.message("meter/messages/other/value"))["quality"] == "unverified"


async def test_state_on_change_is_published_when_it_changes_and_now_and_then(
    mosquitto: Mosquitto, tmp_path: Path
) -> None:
    connector = ScriptedConnector()
    clock = VirtualClock()
    settings = settings_for(mosquitto, tmp_path, STATE="change")
    async with running(connector, settings, clock), plain_client(mosquitto.port) as client:
        for value in (1, 1, 2, 2, 2.0, True):
            connector.read({"a": value})
        await client.messages("meter/values", 6)
        clock.forward(61)
        connector.read({"a": True})
        connector.read({"a": True})
        await client.messages("meter/values", 8)
        connector.read({"end": 1})
        await client.message("meter/messages/end/value")
        told = [(seen.json["value"], seen.json["sequence"]) for seen in client.on("meter/messages/a/value")]
        assert told == [(1, 1), (2, 3), (2.0, 5), (True, 6), (True, 7)]


async def test_a_silent_sensor_turns_stale_and_the_next_reading_makes_it_good(
    mosquitto: Mosquitto, tmp_path: Path
) -> None:
    connector = ScriptedConnector(ROOM)
    clock = VirtualClock()
    async with running(connector, settings_for(mosquitto, tmp_path), clock), plain_client(mosquitto.port) as client:
        connector.read({"room": 20.0})
        await client.message("meter/messages/room/value", value=20.0)
        await clock.advance(29)
        assert len(client.on("meter/messages/room/value")) == 1
        await clock.advance(3)
        assert await client.message("meter/messages/room/value", quality="stale") == {
            "value": 20.0,
            "timestamp": START_MS,
            "quality": "stale",
            "sequence": 1,
        }
        connector.read({"room": 20.5})
        assert "quality" not in await client.message("meter/messages/room/value", value=20.5)


async def test_state_follows_a_clock_that_was_set_back(mosquitto: Mosquitto, tmp_path: Path) -> None:
    connector = ScriptedConnector()
    clock = VirtualClock()
    clock.set_by(365 * 86400)  # before the first NTP answer
    async with running(connector, settings_for(mosquitto, tmp_path), clock), plain_client(mosquitto.port) as client:
        connector.read({"a": 1})
        await client.message("meter/messages/a/value", value=1)
        clock.set_by(-365 * 86400)
        connector.read({"a": 2})
        assert (await client.message("meter/messages/a/value", value=2))["timestamp"] == START_MS
        connector.read({"a": 3}, timestamp_ms=START_MS - 1000)
        connector.read({"a": 4})
        await client.message("meter/messages/a/value", value=4)
        assert [seen.json["value"] for seen in client.on("meter/messages/a/value")] == [1, 2, 4], (
            "late data is no state"
        )
        assert [m["values"]["a"] for m in await client.messages("meter/values", 4)] == [1, 2, 3, 4]


async def test_raw_messages_are_published_when_asked_also_those_that_make_no_sense(
    mosquitto: Mosquitto, tmp_path: Path
) -> None:
    connector = ScriptedConnector()
    settings = settings_for(mosquitto, tmp_path, SEND_RAW_MESSAGE_TO_DB="TRUE")
    async with running(connector, settings), plain_client(mosquitto.port) as client:
        connector.read({"a": 1}, timestamp_ms=5)
        connector.tell("nonsense")
        connector.tell({"a bug": "in the decoder"})
        connector.read({"a": 2})
        raw = await client.messages("meter/raw_message_to_db", 4)
        assert raw[0]["raw_message"] == {"values": {"a": 1}, "timestamp": 5, "device": ""}
        assert raw[0]["connector_version"] == __version__
        assert [message["raw_message"] for message in raw[1:3]] == ["nonsense", {"a bug": "in the decoder"}]
        assert abs(raw[0]["timestamp"] - SYSTEM_CLOCK.now_ms()) < 60_000
        assert [m["values"]["a"] for m in await client.messages("meter/values", 2)] == [1, 2]
        assert connector.entered == 1


async def test_values_that_are_none_are_left_out_and_the_rest_arrives(mosquitto: Mosquitto, tmp_path: Path) -> None:
    connector = ScriptedConnector()
    async with running(connector, settings_for(mosquitto, tmp_path)), plain_client(mosquitto.port) as client:
        connector.read({"nan": float("nan"), "bytes": b"x", "half": "\ud800", "\ud800": 1, "good": "ü", "big": 10**30})
        assert (await client.message("meter/values"))["values"] == {"good": "ü", "big": 10**30}
        assert connector.entered == 1


async def test_a_raw_message_that_is_no_json_is_counted_and_its_values_arrive(
    mosquitto: Mosquitto, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    connector = ScriptedConnector()
    settings = settings_for(mosquitto, tmp_path, SEND_RAW_MESSAGE_TO_DB="TRUE")
    name = "wattbus_bad_raw_messages_total"
    before = metrics.REGISTRY.get_sample_value(name, {"service": NAME}) or 0.0
    async with running(connector, settings), plain_client(mosquitto.port) as client:
        wrongs = [b"x", float("nan"), float("inf"), "\ud800", {1: 2}, {"\ud800": 1}, {b"k": 1}, object()]
        for n, wrong in enumerate(wrongs):
            connector.read({"n": n, "wrong": wrong})
        connector.read({"n": 8})
        assert [message["values"]["n"] for message in await client.messages("meter/values", 9)] == list(range(9))
        [raw] = await client.messages("meter/raw_message_to_db", 1)
        assert raw["raw_message"]["values"] == {"n": 8}
        assert connector.entered == 1
    assert metrics.REGISTRY.get_sample_value(name, {"service": NAME}) == before + 8
    assert caplog.text.count("is not published (1 so far): b'x' at values.wrong is not JSON") == 1


# -- the datapoint map


async def test_a_datapoint_map_rules_moves_empties_and_goes(mosquitto: Mosquitto, tmp_path: Path) -> None:
    connector = ScriptedConnector(ROOM, SETPOINT)
    async with running(connector, settings_for(mosquitto, tmp_path)), plain_client(mosquitto.port) as client:
        connector.read({"room": 1, "other": 2})
        await client.message("meter/messages/other/value")

        chosen = {
            "sensor": {"room": "meter/messages/0001/value", "not yet seen": "meter/messages/0002/value"},
            "actuator": {"meter/messages/0003/value": "setpoint"},
        }
        await client.publish("meter/datapoint_map", chosen, retain=True)
        await client.message("meter/messages/0001/value", value=1)
        await client.until(lambda: client.on("meter/messages/other/value")[-1].payload == b"")
        await client.until(lambda: client.on("meter/messages/room/value")[-1].payload == b"")
        connector.read({"room": 3, "other": 4, "not yet seen": 5})
        assert (await client.message("meter/values", sequence=2))["values"] == {"room": 3, "not yet seen": 5}
        await client.message("meter/messages/0002/value", value=5)
        await client.until(lambda: client.last("meter/datapoints")[1]["topic"] == "meter/messages/0003/value")
        await client.publish("meter/messages/0003/value", {"value": 20, "timestamp": 1})
        await client.message("meter/messages/0003/result", outcome="applied")
        kept = {topic for topic in await retained(mosquitto.port) if "/messages/" in topic}
        assert kept == {"meter/messages/0001/value", "meter/messages/0002/value"}

        await client.publish("meter/datapoint_map", {"sensor": {}, "actuator": {}}, retain=True)
        await client.until(lambda: client.on("meter/messages/0001/value")[-1].payload == b"")
        await client.until(lambda: client.on("meter/messages/0002/value")[-1].payload == b"")
        connector.read({"room": 6})
        assert {topic for topic in await retained(mosquitto.port) if "/messages/" in topic} == set()

        await client.publish("meter/datapoint_map", b"", retain=True)
        connector.read({"room": 7})
        await client.message("meter/messages/room/value", value=7)
        assert [m["values"] for m in await client.messages("meter/values", 3)][2] == {"room": 7}
        assert len(client.last("meter/available_datapoints")["sensor"]) == 3, "always complete"


async def test_sensors_that_swap_their_topics_are_told_again(mosquitto: Mosquitto, tmp_path: Path) -> None:
    connector = ScriptedConnector()
    async with running(connector, settings_for(mosquitto, tmp_path)), plain_client(mosquitto.port) as client:
        connector.read({"a": 1, "b": 2})
        await client.message("meter/messages/b/value", value=2)
        swapped = {"a": "meter/messages/b/value", "b": "meter/messages/a/value"}
        await client.publish("meter/datapoint_map", {"sensor": swapped, "actuator": {}})
        await client.message("meter/messages/b/value", value=1)
        await client.message("meter/messages/a/value", value=2)


async def test_a_map_that_makes_no_sense_changes_nothing_and_is_counted(mosquitto: Mosquitto, tmp_path: Path) -> None:
    connector = ScriptedConnector(ROOM, SETPOINT)
    async with running(connector, settings_for(mosquitto, tmp_path)), plain_client(mosquitto.port) as client:
        before = bad_messages("datapoint_map")
        nonsense: list[Any] = [b"{", b"[]", {"sensor": {}}, {"sensor": {"room": 1}, "actuator": {}}]
        for bad in nonsense:
            await client.publish("meter/datapoint_map", bad)
        await client.until(lambda: bad_messages("datapoint_map") == before + 4)
        connector.read({"room": 1})
        await client.message("meter/messages/room/value", value=1)
        # A map that can be followed in part is followed in part; a sensor's topic never takes commands.
        part = {
            "sensor": {"room": "meter/messages/x/value", "other": "with/#/wildcard"},
            "actuator": {"meter/messages/x/value": "setpoint", "": "setpoint", "meter/a": "nobody", "s": "setpoint"},
        }
        await client.publish("meter/datapoint_map", part)
        await client.message("meter/messages/x/value", value=1)
        await client.until(lambda: bad_messages("datapoint_map") == before + 8)
        await client.publish("s", {"value": 20, "timestamp": 1})
        await client.message("s/result", outcome="applied")
        connector.read({"room": 2, "other": 3})
        await client.message("meter/messages/x/value", value=2)
        assert connector.written == [("setpoint", 20)]


async def test_a_sensor_that_the_map_leaves_out_may_turn_stale_in_peace(mosquitto: Mosquitto, tmp_path: Path) -> None:
    connector = ScriptedConnector(ROOM)
    clock = VirtualClock()
    async with running(connector, settings_for(mosquitto, tmp_path), clock), plain_client(mosquitto.port) as client:
        connector.read({"room": 1})
        await client.message("meter/messages/room/value", value=1)
        await client.publish("meter/datapoint_map", {"sensor": {}, "actuator": {}})
        await passing(clock, lambda: client.on("meter/messages/room/value")[-1].payload == b"")
        await clock.advance(60)
        connector.tell(LinkDown("cable"))
        await client.message("meter/status", detail="cable")
        assert health.of(NAME).faults(ready=False) == {}, "no task has failed"
        await client.publish("meter/datapoint_map", b"")
        await passing(clock, lambda: (client.last("meter/messages/room/value") or {}).get("quality") == "offline")


# -- status_publisher


async def test_status_and_heartbeat_tell_the_truth(mosquitto: Mosquitto, tmp_path: Path) -> None:
    connector = ScriptedConnector(ROOM)
    clock = VirtualClock()
    async with plain_client(mosquitto.port) as client:
        async with running(connector, settings_for(mosquitto, tmp_path), clock):
            first = await client.message("meter/status")
            assert (first["state"], first["detail"]) == ("degraded", "connecting: no answer yet")
            beat = await client.message("meter/heartbeat")
            assert beat["next_heartbeats_timestamp"] - beat["this_heartbeats_timestamp"] == 30_000
            connector.read({"room": 1})
            online = await client.message("meter/status", state="online")
            assert (online["version"], online["session"]) == (__version__, beat["session"])
            assert len(online["instance"]) == 8
            await clock.advance(31)
            await client.message("meter/heartbeat", sequence=1)
            connector.tell(LinkDown("no answer"))
            await client.message("meter/status", state="degraded", detail="no answer")
            await client.message("meter/messages/room/value", quality="offline")
        goodbye = await client.message("meter/status", state="offline")
        assert (goodbye["detail"], goodbye["sequence"]) == ("stopped", 1)


async def test_the_last_will_says_offline_and_claims_no_number(mosquitto: Mosquitto, tmp_path: Path) -> None:
    connector = ScriptedConnector()
    async with (
        plain_client(mosquitto.port) as client,
        running(connector, settings_for(mosquitto, tmp_path)) as runtime,
    ):
        connector.read({"a": 1})
        await client.message("meter/values")
        assert runtime._bus._client is not None
        runtime._bus.backoff.first_s = runtime._bus.backoff.longest_s = 1.0
        sock = runtime._bus._client._client.socket()
        assert sock is not None
        sock.shutdown(2)  # type: ignore[attr-defined]
        will = await client.message("meter/status", state="offline")
        assert (will["detail"], will["sequence"]) == ("the connection was lost", None)
        await client.until(lambda: client.last("meter/status")["state"] == "online")


async def test_log_records_are_published(mosquitto: Mosquitto, tmp_path: Path) -> None:
    connector = ScriptedConnector()
    async with running(connector, settings_for(mosquitto, tmp_path)), plain_client(mosquitto.port) as client:
        connector.tell("nonsense")
        record = await client.message("meter/logs", level=logging.WARNING)
        assert set(record) == {"timestamp", "msg", "emitter", "level"}
        assert "'nonsense' is not a frame of ours" in record["msg"]


async def test_a_restart_is_no_twin(mosquitto: Mosquitto, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(2):
        async with running(ScriptedConnector(), settings_for(mosquitto, tmp_path)) as runtime:
            await mosquitto.kill()
            await mosquitto.start()
            async with asyncio.timeout(SOON):
                while runtime._bus.counters.connects < 2:
                    await asyncio.sleep(0.01)
    assert "another service" not in caplog.text


async def test_wrong_settings_that_the_connector_finds_end_it(mosquitto: Mosquitto, tmp_path: Path) -> None:
    connector = ScriptedConnector()
    connector.tell(ExceptionGroup("both", [LinkDown("x"), ConfigError("METER_ID: there is no such meter")]))
    with pytest.raises(ConfigError, match="METER_ID"):
        async with asyncio.timeout(SOON):
            await run_connector(connector, settings_for(mosquitto, tmp_path))


# -- trouble


async def test_an_unparseable_payload_on_every_topic_changes_nothing_but_a_counter(
    mosquitto: Mosquitto, tmp_path: Path
) -> None:
    connector = ScriptedConnector(ROOM, SETPOINT)
    async with running(connector, settings_for(mosquitto, tmp_path)), plain_client(mosquitto.port) as client:
        await client.message_list("meter/datapoints", 2)
        await asyncio.sleep(0)
        kinds = ["datapoint_map", "status", "history"]
        before = {kind: bad_messages(kind) for kind in kinds}
        bad = [b"\xff\xfe", b"{", b"[" * 100_000, b'"text"', b"NaN", b"[1e999]"]
        topics = ["meter/datapoint_map", "meter/status", "history/status", "history/receipts/meter"]
        for payload in bad:
            for topic in topics:
                await client.publish(topic, payload)
            await client.publish("meter/messages/setpoint-set/value", payload)
            await client.publish("meter/datapoints", payload)
        await client.until(lambda: bad_messages("history") == before["history"] + 2 * len(bad))
        await client.until(lambda: len(client.on("meter/messages/setpoint-set/result")) == len(bad))
        outcomes = {seen.json["outcome"] for seen in client.on("meter/messages/setpoint-set/result")}
        assert outcomes == {"rejected"}
        assert bad_messages("datapoint_map") == before["datapoint_map"] + len(bad)
        assert bad_messages("status") == before["status"] + len(bad)
        connector.read({"room": 1})
        await client.message("meter/messages/room/value", value=1)
        await client.publish("meter/messages/setpoint-set/value", {"value": 20})
        await client.message("meter/messages/setpoint-set/result", outcome="applied")
        assert connector.entered == 1


class PlainHistory:
    """Records readings and publishes receipts as wire.md says, through any number of broker restarts."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.have: dict[str, RangeSet] = {}
        self.values: dict[tuple[str, int], Any] = {}
        self.redelivered = 0
        self.dropped: dict[str, RangeSet] = {}
        self.subscribed = asyncio.Event()

    def note(self, seen: Seen) -> str:
        message = seen.json
        have = self.have.setdefault(message["session"], RangeSet())
        for first, last in message.get("dropped", []):
            have.add(first, last)
            self.dropped.setdefault(message["session"], RangeSet()).add(first, last)
        if message["sequence"]:
            self.redelivered += message["sequence"] in have
            have.add(message["sequence"])
            self.values[message["session"], message["sequence"]] = message["values"]
        return str(message["session"])

    def receipt(self, session: str) -> dict[str, Any]:
        have = self.have[session]
        upto = have.last or 0
        return {"session": session, "upto": upto, "missing": have.gaps(1, upto)}

    async def run(self) -> None:
        while True:
            with contextlib.suppress(aiomqtt.MqttError, OSError):
                async with plain_client(self.port, "+/values") as client:
                    self.subscribed.set()
                    await client.publish("history/status", {"state": "online", "timestamp": 1}, retain=True)
                    await self._answer(client)
            await asyncio.sleep(0.05)

    async def _answer(self, client: PlainClient) -> None:
        due = set(self.have)
        client.on_message = lambda seen: due.add(self.note(seen))
        for seen in client.seen:
            due.add(self.note(seen))
        while True:
            sessions = sorted(due)
            due.clear()
            for session in sessions:
                await client.publish("history/receipts/meter", self.receipt(session), retain=True)
            await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def plain_history(port: int) -> AsyncIterator[PlainHistory]:
    history = PlainHistory(port)
    task = asyncio.create_task(history.run())
    await history.subscribed.wait()
    try:
        yield history
    finally:
        task.cancel()
        await asyncio.wait([task])


async def test_a_broker_killed_twice_and_back_without_its_state_costs_nothing(
    mosquitto: Mosquitto, tmp_path: Path
) -> None:
    connector = ScriptedConnector(replace(ROOM, expected_interval_s=None), SETPOINT)  # it may be silent at the end
    clock = VirtualClock()
    numbers = count(1)

    async def read_for_ever() -> None:
        while True:
            for _ in range(20):
                connector.read({"counter": next(numbers)})
            await asyncio.sleep(0.01)

    async with (
        plain_history(mosquitto.port) as history,
        running(connector, settings_for(mosquitto, tmp_path), clock) as runtime,
    ):
        reading = asyncio.create_task(read_for_ever())
        for round_number in (1, 2):
            async with asyncio.timeout(SOON):
                while len(history.values) < 500 * round_number:
                    await pass_time(clock)
            await mosquitto.kill()
            while runtime._bus.connected:
                await pass_time(clock)
            await mosquitto.start()
        async with asyncio.timeout(SOON):
            while len(history.values) < 1500:
                await pass_time(clock)
        reading.cancel()
        await asyncio.wait([reading])
        connector.read({"counter": 0})
        async with asyncio.timeout(PATIENCE_S):
            while len(runtime._outbox) or not len(history.values) or connector._script.qsize():
                await pass_time(clock)
        async with plain_client(mosquitto.port) as client:
            await passing(clock, lambda: len(client.last("meter/datapoints") or []) == 3)
            announced = client.last("meter/datapoints")
            assert [entry["key"] for entry in announced] == ["room", "setpoint", "counter"]
            assert (await client.message("meter/available_datapoints"))["actuator"] == {"setpoint": 21.0}
            await client.message("meter/status", state="online")
            await client.message("meter/messages/counter/value")
            await client.publish("meter/messages/setpoint-set/value", {"value": 20, "timestamp": 1})
            await client.message("meter/messages/setpoint-set/result", outcome="applied")
    [session] = history.have
    assert history.have[session].ranges() == [(1, len(history.values))]
    values = [history.values[session, sequence]["counter"] for sequence in range(1, len(history.values))]
    assert values == list(range(1, len(history.values))), "nothing missing, nothing twice"
    assert not history.dropped


async def test_a_connector_that_stops_hands_over_to_the_next(mosquitto: Mosquitto, tmp_path: Path) -> None:
    settings = settings_for(mosquitto, tmp_path)
    await mosquitto.stop()
    connector = ScriptedConnector()
    runtime = quick_reconnect(Runtime(connector, settings))
    task = asyncio.create_task(runtime.run())
    for number in range(100):
        connector.read({"a": number})
    async with asyncio.timeout(SOON):
        while runtime._outbox.last_sequence < 100:
            await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.wait([task])
    await mosquitto.start()
    second = ScriptedConnector()
    clock = VirtualClock()
    async with plain_history(mosquitto.port) as history, running(second, settings, clock) as runtime:
        second.read({"a": 100})
        async with asyncio.timeout(SOON):
            while len(history.values) < 101 or len(runtime._outbox):
                await pass_time(clock)
    assert sorted(values["a"] for values in history.values.values()) == list(range(101))
    assert history.redelivered == 0
    assert not list((tmp_path / "data" / "outbox" / NAME / "values").glob("*.readings"))


async def test_what_fell_out_of_a_full_outbox_is_reported_by_number(mosquitto: Mosquitto, tmp_path: Path) -> None:
    settings = settings_for(mosquitto, tmp_path, OUTBOX_MAX_BYTES=str(64 * 1024))
    await mosquitto.stop()
    connector = ScriptedConnector()
    clock = VirtualClock()
    runtime = quick_reconnect(Runtime(connector, settings, clock))
    task = asyncio.create_task(runtime.run())
    for number in range(2000):
        connector.read({"a": number})
    async with asyncio.timeout(SOON):
        while runtime._outbox.last_sequence < 2000:
            await asyncio.sleep(0.01)
    assert runtime._outbox.size <= 64 * 1024
    await mosquitto.start()
    async with plain_history(mosquitto.port) as history, asyncio.timeout(SOON):
        while len(runtime._outbox) or not history.values:
            await pass_time(clock)
    task.cancel()
    await asyncio.wait([task])
    [session] = history.have
    lost = 2000 - len(history.values)
    assert 0 < lost < 2000
    assert history.dropped[session].ranges() == [(1, lost)]
    assert history.have[session].ranges() == [(1, 2000)]


async def test_without_a_history_the_outbox_empties_after_the_grace_period(
    mosquitto: Mosquitto, tmp_path: Path
) -> None:
    connector = ScriptedConnector()
    clock = VirtualClock()
    async with (
        running(connector, settings_for(mosquitto, tmp_path), clock) as runtime,
        plain_client(mosquitto.port) as client,
    ):
        for number in range(10):
            connector.read({"a": number})
        await client.messages("meter/values", 10)
        await clock.advance(50)
        assert len(runtime._outbox) == 10
        await clock.advance(15)
        await client.until(lambda: len(runtime._outbox) == 0)
        connector.read({"a": 10})
        await client.until(lambda: len(client.on("meter/values")) == 11 and len(runtime._outbox) == 0)
        await client.publish("history/status", {"state": "online", "timestamp": 1}, retain=True)
        await client.until(lambda: (tmp_path / "data/outbox/meter/history-seen").exists())
        connector.read({"a": 11})
        await client.messages("meter/values", 12)
        assert len(runtime._outbox) == 1, "it waits for its receipt now"


async def test_one_of_several_devices_that_goes_turns_only_its_own_datapoints_offline(
    mosquitto: Mosquitto, tmp_path: Path
) -> None:
    connector = ScriptedConnector()
    async with running(connector, settings_for(mosquitto, tmp_path)), plain_client(mosquitto.port) as client:
        connector.read({"a": 1}, device="1")
        connector.read({"b": 2}, device="2")
        await client.message("meter/messages/b/value")
        assert connector.link is not None
        connector.link.unit("2", up=False, reason="time-out")
        offline = await client.message("meter/messages/b/value", quality="offline")
        assert offline["value"] == 2
        assert (await client.message("meter/status", detail="2: time-out"))["state"] == "degraded"
        connector.read({"a": 3}, device="1")
        await client.message("meter/messages/a/value", value=3)
        connector.link.unit("2", up=True)
        connector.read({"b": 4}, device="2")
        assert "quality" not in await client.message("meter/messages/b/value", value=4)
        await client.until(lambda: client.last("meter/status")["state"] == "online")
        assert not any("quality" in seen.json for seen in client.on("meter/messages/a/value"))


async def test_a_command_for_an_actuator_that_is_gone_is_answered(mosquitto: Mosquitto, tmp_path: Path) -> None:
    """The broker keeps the subscriptions of the process before; a sender must hear that nobody acts on them."""
    settings = settings_for(mosquitto, tmp_path)
    async with plain_client(mosquitto.port) as client:
        async with running(ScriptedConnector(SETPOINT), settings):
            await client.message("meter/datapoints")
        await client.publish("meter/messages/setpoint-set/value", {"value": 20, "timestamp": 1, "id": "x"})
        async with running(ScriptedConnector(ROOM), settings):
            result = await client.message("meter/messages/setpoint-set/result")
            assert (result["id"], result["outcome"]) == ("x", "rejected")


async def test_a_bug_in_the_connector_is_counted_and_the_process_lives(
    mosquitto: Mosquitto, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    connector = ScriptedConnector(ROOM)
    clock = VirtualClock()
    async with running(connector, settings_for(mosquitto, tmp_path), clock), plain_client(mosquitto.port) as client:
        connector.read({"room": 1})
        await client.message("meter/messages/room/value", value=1)
        connector.tell(ZeroDivisionError("of all things"))
        status = await client.message("meter/status", detail="a bug in the connector: ZeroDivisionError: of all things")
        assert status["state"] == "degraded"
        await client.message("meter/messages/room/value", quality="offline")
        await clock.advance(2)
        await asyncio.wait_for(connector.running.wait(), SOON)
        assert connector.entered == 2
        connector.read({"room": 2})
        await client.message("meter/messages/room/value", value=2)
        await client.until(lambda: client.last("meter/status")["state"] == "online")
    assert "Traceback" in caplog.text


async def test_what_an_earlier_process_announced_and_nobody_sees_any_more_is_cleared(
    mosquitto: Mosquitto, tmp_path: Path
) -> None:
    clock = VirtualClock()
    settings = settings_for(mosquitto, tmp_path)
    async with plain_client(mosquitto.port) as client:
        first = ScriptedConnector()
        async with running(first, settings, clock):
            first.read({"stays": 1, "goes": 2})
            await passing(clock, lambda: len(client.last("meter/datapoints") or []) == 2)
            await client.message("meter/messages/goes/value")
        second = ScriptedConnector()
        async with running(second, settings, clock):
            await clock.advance(3)
            second.tell(LinkDown("it is night"))
            await client.message("meter/status", detail="it is night")
            await clock.advance(0.1)
            assert "meter/messages/goes/value" in await retained(mosquitto.port)
            await clock.advance(5)
            await asyncio.wait_for(second.running.wait(), SOON)
            second.read({"stays": 3})
            await client.message("meter/messages/stays/value", value=3)
            for _ in range(130):
                await clock.advance(5)
                second.read({"stays": 4})
            await client.until(lambda: client.on("meter/messages/goes/value")[-1].payload == b"")
            assert "meter/messages/stays/value" in await retained(mosquitto.port)
