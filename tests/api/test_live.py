"""The live model: what messages mean, what is dropped, and that nothing grows without bound."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from api import live as live_module
from api.changes import Change, Changes
from api.datapoints import KnownDatapoint
from api.live import DatapointState, Live
from api.reading import LONGEST_VALUE, BusReader
from tests.api.conftest import Api, eventually, now_ms
from wattbus.jsontext import dumps
from wattbus.mqtt.client import MqttClient
from wattbus.mqtt.packets import IncomingMessage
from wattbus.settings import BrokerSettings
from wattbus.storage import StoredPlan, StoredValue
from wattbus.testing.clock import START_MS, VirtualClock
from wattbus.testing.mqtt import PlainClient
from wattbus.testing.waiting import PATIENCE_S

TOPIC = "meter/messages/power/value"
POWER = KnownDatapoint(1, "meter", "sensor", "power", TOPIC)


class Told:
    """A live model that is told messages."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.live = Live(Changes(), self.clock)
        self._reader = BusReader(self.live, "api", self.clock)

    def tell(self, topic: str, message: Any, retain: bool = False) -> None:
        payload = message if isinstance(message, bytes) else dumps(message)
        self._reader.read(
            IncomingMessage(topic, payload, 0, retain, False, None, None, None, MqttClient(BrokerSettings(), "x"), 0, 0)
        )


@pytest.fixture
async def told() -> Told:
    return Told()


async def test_the_last_of_everything(told: Told) -> None:
    told.tell(TOPIC, {"value": 1, "timestamp": 5})
    told.tell(TOPIC, {"value": 2.5, "timestamp": 6, "quality": "stale", "sequence": 9})
    told.tell("meter/messages/power/setpoint", {"setpoint": [], "timestamp": 7})
    told.tell("meter/messages/power/schedule", {"schedule": None, "timestamp": 8})
    state = told.live.state_of(POWER)
    assert state.value == StoredValue(6, 2.5, "stale")
    assert (state.setpoint, state.schedule) == (StoredPlan(7, []), StoredPlan(8, None))
    told.tell(TOPIC, {"value": 3})  # a person without a clock
    assert told.live.state_of(POWER).value == StoredValue(START_MS, 3)
    for kind in ("value", "setpoint"):
        told.tell(f"meter/messages/power/{kind}", b"", retain=True)  # taken off the broker
    assert told.live.state_of(POWER) == DatapointState(schedule=StoredPlan(8, None))


BAD = [b"{", b"[]", b"1", b'{"value": NaN, "timestamp": 1}', b'{"value": 1, "timestamp": "x"}', b"\xff", b"[" * 9999]
TOPICS = [
    TOPIC, "meter/messages/power/setpoint", "meter/messages/power/schedule", "meter/messages/power/result",
    "meter/status", "meter/heartbeat", "meter/datapoints", "meter/available_datapoints", "meter/datapoint_map",
    "meter/logs",
]  # fmt: skip


async def test_what_makes_no_sense_is_dropped(told: Told) -> None:
    for topic in TOPICS:
        for payload in BAD:
            told.tell(topic, payload)
    told.tell(TOPIC, {"value": "x" * LONGEST_VALUE, "timestamp": 1})
    told.tell("meter/preview", b"{")
    told.tell("meter/something", b"{")
    assert told.live.states == {}
    assert told.live.previews == {}
    connector = told.live.connectors["meter"]
    assert (connector.status, connector.heartbeat, connector.available) == (None, None, None)
    assert not connector.described
    assert not connector.logs


async def test_values_are_as_good_as_their_connector_and_changes_say_so(told: Told) -> None:
    pump = KnownDatapoint(2, "meter", "actuator", "pump", "meter/messages/pump-set/value")
    told.tell("meter/heartbeat", {"this_heartbeats_timestamp": 0, "next_heartbeats_timestamp": 30_000})
    for topic in (TOPIC, pump.topic or ""):
        told.tell(topic, {"value": 1, "timestamp": 5})
    told.live.look_at_lives()

    def qualities() -> tuple[str | None, str | None]:
        states = (told.live.state_of(POWER).value, told.live.state_of(pump).value)
        power, command = (state.quality if state else "none" for state in states)
        return power, command

    with told.live.changes.subscribed() as listener:
        assert qualities() == (None, None)
        await told.clock.advance(61)
        told.live.look_at_lives()
        assert qualities() == ("offline", None), "a command has no quality"
        assert {Change("connector", "meter"), Change("value", TOPIC)} <= set(listener.taken())
        told.tell("meter/heartbeat", {"this_heartbeats_timestamp": 0, "next_heartbeats_timestamp": 30_000})
        assert qualities() == (None, None)
        assert Change("value", TOPIC) in listener.taken()
        told.live.bus_is(False)
        assert qualities() == ("offline", None), "without a broker nothing can be known"
        await told.clock.advance(3600)
        told.live.bus_is(True)
        assert qualities() == (None, None), "heartbeats that we missed were not missed by the connector"
        assert Change("value", TOPIC) in listener.taken()


async def test_a_connector_speaks_for_its_own_topics_only(told: Told) -> None:
    keys = {"own": "meter/messages/own/value", "other": "boiler/messages/x/value", "wild": "meter/messages/+/value"}
    told.tell("meter/datapoints", [{"key": key, "type": "sensor", "topic": topic} for key, topic in keys.items()])
    described = told.live.connectors["meter"].described or ()
    assert [entry.key for entry in described] == ["own"]


async def test_how_a_connector_is(told: Told) -> None:
    beat = {"this_heartbeats_timestamp": START_MS, "next_heartbeats_timestamp": START_MS + 30_000}
    told.tell("meter/heartbeat", beat)
    connector = told.live.connectors["meter"]
    await told.clock.advance(59)
    assert told.live.condition("meter") == "online"  # a late beat is no death
    await told.clock.advance(2)
    assert told.live.condition("meter") == "offline"
    told.tell("meter/status", {"state": "degraded", "timestamp": 1}, retain=True)
    assert told.live.condition("meter") == "offline", "a retained status is no sign of life"
    told.tell("meter/status", {"state": "degraded", "timestamp": 2})
    assert told.live.condition("meter") == "degraded"
    assert connector.last_heard_ms == START_MS + 61_000
    assert connector.is_connector
    told.tell("history/status", {"state": "online", "timestamp": 1})
    assert not told.live.connectors["history"].is_connector


async def test_nothing_grows_without_bound(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_module, "MOST_CONNECTORS", 3)
    monkeypatch.setattr(live_module, "MOST_TOPICS", 5)
    for number in range(10):
        told.tell(f"c{number}/status", {"state": "online", "timestamp": 1})
        told.tell(f"c/messages/k{number}/value", {"value": 1, "timestamp": 1})
    for number in range(500):
        told.tell("c0/logs", {"timestamp": number, "msg": "x" * 5000, "emitter": "e", "level": 20})
    live = told.live
    assert (len(live.connectors), len(live.states), live.left_out) == (3, 5, 12)
    assert (len(live.connectors["c0"].logs), len(live.connectors["c0"].logs[0].msg)) == (100, 2000)


async def test_a_slow_listener_gets_each_change_once() -> None:
    changes = Changes()
    with changes.subscribed() as slow, changes.subscribed(lambda change: change.kind == "logs") as other:
        for _ in range(1000):
            changes.tell("value", "a")
            changes.tell("value", "b")
        assert slow.taken() == [Change("value", "a"), Change("value", "b")]
        changes.tell("logs", "meter")
        async with asyncio.timeout(PATIENCE_S):
            assert await slow.changes() == await other.changes() == [Change("logs", "meter")]
        assert slow.taken() == []
    assert changes.listeners == 0


async def test_bad_messages_on_the_bus_are_counted(api: Api, client: PlainClient) -> None:
    for topic in TOPICS:
        await client.publish(topic, b"\x00nonsense")
    await client.publish("meter/available_datapoints", {"sensor": {"power": 1}, "actuator": {}})
    await client.publish(TOPIC, {"value": 5, "timestamp": now_ms()})
    await api.id_of("power")
    await eventually(lambda: _counted(api, 'wattbus_api_bad_messages_total{kind="value",service="api"}'), "counted")


async def _counted(api: Api, name: str) -> bool:
    return name in await api.get("/metrics/")


async def test_connectors_over_rest(api: Api, client: PlainClient) -> None:
    await client.publish("meter/available_datapoints", {"sensor": {"power": 1}, "actuator": {}}, retain=True)
    await client.publish("meter/status", {"state": "degraded", "timestamp": 1, "detail": "no device"}, retain=True)
    await client.publish("meter/logs", {"timestamp": 1, "msg": "hello", "emitter": "main", "level": 20}, qos=0)
    await api.id_of("power")

    async def with_logs() -> Any:
        found = await api.get("/connector/meter")
        return found if found["logs"] else None

    found = await eventually(with_logs)
    assert found.items() >= {"state": "degraded", "detail": "no device", "datapoints": 1, "is_chosen": False}.items()
    assert found["logs"] == [{"timestamp": 1, "msg": "hello", "emitter": "main", "level": 20}]
    assert 0 <= found["age_s"] < 60
    assert [entry["name"] for entry in await api.get("/connector/")] == ["meter"]  # history and api are none
