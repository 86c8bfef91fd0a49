"""Thousands of datapoints: what it costs to describe, announce and mark them."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from tests.support.connector import ScriptedConnector
from tests.support.effort import calls_of
from tests.wattbus.runtime.one_connector import ROOM, SETPOINT, passing, running, settings_for
from wattbus.connector import Datapoint, DatapointType, Quantity
from wattbus.mqtt.embedded_broker import Mosquitto
from wattbus.mqtt.messages import AvailableDatapoints
from wattbus.runtime import announcer, state_topics
from wattbus.runtime.announcement_payloads import AnnouncementPayloads
from wattbus.runtime.datapoint_registry import DatapointRegistry
from wattbus.testing.clock import VirtualClock
from wattbus.testing.mqtt import plain_client

MANY = 3000


def street(devices: int) -> DatapointRegistry:
    registry = DatapointRegistry("c")
    for device in range(devices):
        registry.describe([Datapoint(f"d{device}__{n}", device=f"d{device}", expected_interval_s=60) for n in range(3)])
    return registry


def test_a_device_finds_its_sensors_however_many_others_there_are() -> None:
    few, many = street(10), street(1000)
    assert list(many.sensors_of("d7")) == ["d7__0", "d7__1", "d7__2"]
    assert list(many.sensors_of("nobody")) == []
    assert calls_of(lambda: list(many.sensors_of("d7"))) == calls_of(lambda: list(few.sensors_of("d7")))
    assert calls_of(lambda: many.shortest_interval_s) == calls_of(lambda: few.shortest_interval_s)
    assert many.shortest_interval_s == 60


def test_what_is_described_anew_moves_to_its_device() -> None:
    registry = street(2)
    registry.describe([Datapoint("d0__0", device="d1", expected_interval_s=5), Datapoint("x", "actuator", device="d1")])
    assert list(registry.sensors_of("d0")) == ["d0__1", "d0__2"]
    assert list(registry.sensors_of("d1")) == ["d1__0", "d1__1", "d1__2", "d0__0"]
    assert registry.shortest_interval_s == 5
    registry.describe([Datapoint("d0__0", device="d1")])
    assert registry.shortest_interval_s == 60
    assert DatapointRegistry("c").shortest_interval_s is None


def test_one_more_datapoint_costs_one_piece() -> None:
    registry = street(MANY // 3)
    first = calls_of(registry.announcement.make_pieces)
    registry.describe([Datapoint("one more")])
    assert calls_of(registry.announcement.make_pieces) < first / 1000
    assert not registry.announcement.make_pieces(1)
    described = json.loads(registry.announcement.descriptions())
    assert len(described) == MANY + 1
    assert described[-1] == {"key": "one more", "type": "sensor", "topic": "c/messages/one more/value"} | described[-1]


def test_pieces_are_made_a_few_at_a_time() -> None:
    registry = street(100)
    assert registry.announcement.make_pieces(100)
    assert registry.announcement.make_pieces(199)
    assert not registry.announcement.make_pieces(100)


def test_a_datapoint_that_cannot_be_described_does_not_hide_the_others(caplog: pytest.LogCaptureFixture) -> None:
    """A connector's mistake: NaN is no example, and nobody else's datapoints are to blame."""
    known: dict[tuple[DatapointType, str], Datapoint] = {
        ("sensor", key): Datapoint(key, example_value=float("nan") if key == "b" else 1.5) for key in "abc"
    }
    payloads = AnnouncementPayloads(lambda identity: (known[identity], f"t/{identity[1]}"))
    payloads.outdated(known)
    assert [entry["key"] for entry in json.loads(payloads.descriptions())] == ["a", "c"]
    available = AvailableDatapoints.model_validate_json(payloads.available())
    assert (available.sensor, available.actuator) == ({"a": 1.5, "c": 1.5}, {})
    assert caplog.text.count("the datapoint 'b' cannot be described") == 1


async def test_long_announcements_come_less_often_and_actuators_do_not_wait(
    mosquitto: Mosquitto, tmp_path: Path
) -> None:
    connector = ScriptedConnector()
    clock = VirtualClock()
    async with running(connector, settings_for(mosquitto, tmp_path), clock), plain_client(mosquitto.port) as client:
        connector.read({f"k{number}": {"x": Quantity(number, "kW.h", "y" * 200)} for number in range(MANY)})
        await passing(clock, lambda: len(client.last("meter/datapoints") or []) == MANY)
        size = sum(len(client.on(f"meter/{topic}")[-1].payload) for topic in ("datapoints", "available_datapoints"))
        pause_s = size / announcer.BYTES_PER_S
        assert 5 < pause_s < 60
        announced = len(client.on("meter/datapoints"))
        assert connector.link is not None
        for number in range(5):
            connector.link.announce([Datapoint(f"more {number}")])
            await clock.advance(0.5)
        connector.link.announce([SETPOINT])
        await clock.advance(2)
        await client.publish("meter/messages/setpoint-set/value", {"value": 20, "timestamp": 1, "id": "x"})
        assert (await client.message("meter/messages/setpoint-set/result"))["outcome"] == "applied"
        assert len(client.on("meter/datapoints")) == announced
        await clock.advance(pause_s)
        await client.message_list("meter/datapoints", MANY + 6)
        assert len(client.on("meter/datapoints")) == announced + 1, "all of it at once"


async def test_thousands_of_states_are_published_in_slices(
    mosquitto: Mosquitto, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state_topics, "MESSAGES_AT_ONCE", 10)
    connector = ScriptedConnector(ROOM)
    clock = VirtualClock()
    async with (
        running(connector, settings_for(mosquitto, tmp_path), clock) as runtime,
        plain_client(mosquitto.port) as client,
    ):
        connector.read({f"k{number}": number for number in range(100)})
        await client.message("meter/messages/k99/value")
        before = runtime._bus.counters.published
        runtime._state.mark_all("offline")
        assert runtime._bus.counters.published == before, "whoever marks goes on at once"
        slices = []
        while sum(slices) < 100:
            await asyncio.sleep(0)
            slices.append(runtime._bus.counters.published - before - sum(slices))
        assert max(slices) <= 11, "and so does everybody else, between the slices"
        marked = [f"meter/messages/k{number}/value" for number in range(100)]
        await client.until(lambda: all(client.last(topic).get("quality") == "offline" for topic in marked))
