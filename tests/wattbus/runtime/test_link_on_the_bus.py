"""What others see of a connector's link, on a real broker; and who may speak to the device at all."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.connector import ScriptedConnector
from tests.wattbus.runtime.one_connector import NAME, ROOM, SOON, passing, quick_reconnect, running, settings_for
from wattbus import metrics
from wattbus.connector import Datapoint
from wattbus.errors import LinkDown
from wattbus.mqtt.embedded_broker import Mosquitto
from wattbus.runtime.connector_runtime import Runtime
from wattbus.service import health, name_lock
from wattbus.service.lifecycle import in_service
from wattbus.testing.clock import START_MS, VirtualClock
from wattbus.testing.mqtt import plain_client, retained

HOUR_MS = 3_600_000
GAS = Datapoint("gas", data_format="generic_numeric", expected_interval_s=3600, min_value=0, device="meter")
POWER = Datapoint("power", data_format="generic_numeric", expected_interval_s=1)


async def test_the_status_names_the_state_of_the_link(mosquitto: Mosquitto, tmp_path: Path) -> None:
    connector = ScriptedConnector(ROOM)
    clock = VirtualClock()
    async with (
        plain_client(mosquitto.port) as client,
        running(connector, settings_for(mosquitto, tmp_path), clock) as runtime,
    ):
        await client.message("meter/status", link="connecting", detail="connecting: no answer yet")
        connector.answer()
        await client.message("meter/status", link="connected", detail="connected: no value has come yet")
        assert "link" in health.of(NAME).faults(ready=True)
        connector.read({"room": 1})
        await client.message("meter/status", link="up", state="online", detail="")
        assert "link" not in health.of(NAME).faults(ready=True)
        assert metrics.REGISTRY.get_sample_value("wattbus_link_up", {"service": NAME}) == 1.0
        await passing(clock, lambda: runtime._link.link_state == "silent")
        silent = await client.message("meter/status", link="silent", state="degraded")
        assert silent["detail"].startswith("silent for 1"), "ten intervals of ten seconds"
        assert [condition["name"] for condition in silent["conditions"]] == ["link"]
        await passing(clock, connector.running.is_set)
        connector.tell(LinkDown("no route to host"))
        await client.message("meter/status", link="down", detail="no route to host")
        assert metrics.REGISTRY.get_sample_value("wattbus_link_up", {"service": NAME}) == 0.0
    await_offline = [seen.json for seen in client.on("meter/status") if seen.json["state"] == "offline"]
    assert all("link" not in status for status in await_offline), "of a process that has ended nobody knows"


async def test_all_devices_that_are_away_are_named_where_there_is_room(mosquitto: Mosquitto, tmp_path: Path) -> None:
    connector = ScriptedConnector()
    async with running(connector, settings_for(mosquitto, tmp_path)), plain_client(mosquitto.port) as client:
        connector.read({"a": 1})
        await client.message("meter/status", state="online")
        assert connector.link is not None
        for number in range(1000):
            connector.link.unit(f"d{number}", up=False, reason="time-out")
        said = "1000 devices are away: d0: time-out; d1: time-out; d2: time-out; and 997 more"
        await client.message("meter/status", state="degraded", detail=said)
        away = health.of(NAME).in_detail()
        assert (away["link"], len(away["devices_away"])) == ("up", 1000)
        assert away["devices_away"]["d999"]["reason"] == "time-out"
        assert metrics.REGISTRY.get_sample_value("wattbus_devices_away", {"service": NAME}) == 1000


# -- what is said again


async def test_a_device_that_repeats_its_own_time_is_there_again(mosquitto: Mosquitto, tmp_path: Path) -> None:
    """A gas meter's reading of this hour, which the electricity meter sends again with each telegram."""
    connector = ScriptedConnector(GAS, POWER)
    clock = VirtualClock()
    hour_ms = START_MS // HOUR_MS * HOUR_MS
    async with running(connector, settings_for(mosquitto, tmp_path), clock), plain_client(mosquitto.port) as client:
        for value in (5.0, -1.0):  # the second one is implausible
            connector.read({"gas": value}, timestamp_ms=hour_ms)
            await client.message("meter/messages/gas/value", value=value)
            connector.tell(LinkDown("cable out"))
            await passing(clock, lambda: (client.last("meter/messages/gas/value") or {}).get("quality") == "offline")
            await passing(clock, connector.running.is_set)
            connector.read({"power": 1.0})
            await client.message("meter/messages/power/value")
            assert client.last("meter/messages/gas/value")["quality"] == "offline", "of gas nothing was heard yet"
            connector.read({"gas": value}, timestamp_ms=hour_ms)
            await client.until(lambda: client.last("meter/messages/gas/value").get("quality") != "offline")
        assert client.last("meter/messages/gas/value")["quality"] == "implausible", "as it was before"
        kept = json.loads((await retained(mosquitto.port))["meter/messages/gas/value"])
        assert (kept["value"], kept["quality"]) == (-1.0, "implausible")
        values = [message["values"] for message in await client.messages("meter/values", 4)]
        assert [value["gas"] for value in values if "gas" in value] == [5.0, -1.0], "a repetition is no news to history"


async def test_a_repetition_makes_no_value_younger(mosquitto: Mosquitto, tmp_path: Path) -> None:
    """The gas meter's radio is dead: the electricity meter repeats its last reading for ever."""
    connector = ScriptedConnector(GAS)
    clock = VirtualClock()
    async with running(connector, settings_for(mosquitto, tmp_path), clock), plain_client(mosquitto.port) as client:
        connector.read({"gas": 5.0}, timestamp_ms=START_MS)
        await client.message("meter/messages/gas/value", value=5.0)
        for _ in range(60 * 3 + 1):
            connector.read({"gas": 5.0}, timestamp_ms=START_MS)
            await clock.advance(60)
        await client.message("meter/messages/gas/value", quality="stale")
        connector.tell(LinkDown("cable out"))
        await client.message("meter/messages/gas/value", quality="offline")
        await passing(clock, connector.running.is_set)
        connector.read({"gas": 5.0}, timestamp_ms=START_MS)
        await client.until(lambda: client.last("meter/messages/gas/value")["quality"] == "stale")


# -- what an earlier process left


async def test_what_an_earlier_process_left_as_good_turns_offline_when_the_device_is_away(
    mosquitto: Mosquitto, tmp_path: Path
) -> None:
    clock = VirtualClock()
    settings = settings_for(mosquitto, tmp_path)
    known = Datapoint("known", device="1")
    async with plain_client(mosquitto.port) as client:
        first = ScriptedConnector(known, ROOM)
        async with running(first, settings, clock):
            first.read({"known": 1, "room": 20.5, "discovered": {"x": "text"}})
            await client.until(lambda: client.on("meter/messages/discovered__x/value"))
            await passing(clock, lambda: len(client.last("meter/datapoints") or []) == 3)
        left = await retained(mosquitto.port)
        second = ScriptedConnector(known, ROOM)
        async with running(second, settings, clock):
            assert second.link is not None
            second.link.unit("1", up=False, reason="time-out")
            topic = "meter/messages/known/value"
            await passing(clock, lambda: client.last(topic).get("quality") == "offline")
            assert client.last(topic) == {**json.loads(left[topic]), "quality": "offline"}
            assert "quality" not in client.last("meter/messages/room/value"), "it may only take its time"
            second.read({"room": 21.0})
            await client.message("meter/messages/room/value", value=21.0)
            second.tell(LinkDown("no answer"))
            await passing(clock, lambda: client.last("meter/messages/discovered__x/value").get("quality") == "offline")
            await passing(clock, lambda: client.last("meter/messages/room/value").get("quality") == "offline")
            assert client.last("meter/messages/room/value")["value"] == 21.0
            await passing(clock, second.running.is_set)
            second.read({"known": 2, "discovered": {"x": "new"}})
            for topic, value in (("known", 2), ("discovered__x", "new")):
                await client.message(f"meter/messages/{topic}/value", value=value)
            before = len(client.on("meter/who"))
            second.tell(LinkDown("no answer"))
            await passing(clock, lambda: client.last("meter/messages/known/value").get("quality") == "offline")
            assert len(client.on("meter/who")) == before, "who was heard is not looked for again"


# -- who may speak to the device


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(name_lock, "LOOK_AGAIN_S", 0.2)
    monkeypatch.setattr(name_lock, "UNKNOWN_AT_MOST_S", 0.3)


async def enters(connector: ScriptedConnector) -> None:
    async with asyncio.timeout(SOON):
        await connector.running.wait()


@pytest.mark.usefixtures("impatient")
async def test_who_waits_for_its_name_does_not_poll(mosquitto: Mosquitto, tmp_path: Path) -> None:
    first, second = ScriptedConnector(), ScriptedConnector()
    async with running(first, settings_for(mosquitto, tmp_path / "1")):
        runtime = quick_reconnect(Runtime(second, settings_for(mosquitto, tmp_path / "2")))
        waiting = asyncio.create_task(in_service(NAME, runtime.run))
        try:
            lock = runtime._status_publisher.name_lock
            assert lock is not None
            async with asyncio.timeout(SOON):
                await lock.withdrawn()
            await asyncio.sleep(0.5)  # longer than it waits for a broker that says nothing
            assert second.entered == 0
            assert first.running.is_set()
        except BaseException:
            waiting.cancel()
            raise
    try:
        await enters(second)
    finally:
        waiting.cancel()
        await asyncio.wait([waiting])


@pytest.mark.usefixtures("impatient")
async def test_of_two_that_polled_while_the_broker_was_away_one_goes_on(mosquitto: Mosquitto, tmp_path: Path) -> None:
    await mosquitto.stop()
    connectors = [ScriptedConnector(), ScriptedConnector()]
    tasks = []
    for number, connector in enumerate(connectors):
        runtime = quick_reconnect(Runtime(connector, settings_for(mosquitto, tmp_path / str(number))))
        tasks.append(asyncio.create_task(in_service(NAME, runtime.run)))
    try:
        for connector in connectors:
            await enters(connector)
            connector.read({"a": 1})
        await mosquitto.start()
        async with asyncio.timeout(SOON):
            while sum(connector.running.is_set() for connector in connectors) != 1:
                await asyncio.sleep(0.01)
        [idle] = [index for index, connector in enumerate(connectors) if not connector.running.is_set()]
        tasks[1 - idle].cancel()
        await enters(connectors[idle])
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


@pytest.fixture
def swallowing_port() -> Iterator[int]:
    """An address that swallows packets: a listener whose backlog is full."""
    with ExitStack() as sockets:
        listener = sockets.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            filling = sockets.enter_context(socket.socket())
            filling.setblocking(False)
            filling.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


@pytest.mark.usefixtures("impatient")
async def test_without_a_broker_the_device_is_polled_all_the_same(
    mosquitto: Mosquitto, tmp_path: Path, swallowing_port: int
) -> None:
    await mosquitto.stop()
    for port in (mosquitto.port, swallowing_port):
        connector = ScriptedConnector()
        settings = settings_for(mosquitto, tmp_path / str(port), MQTT_BROKER_PORT=str(port))
        runtime = quick_reconnect(Runtime(connector, settings))
        task = asyncio.create_task(in_service(NAME, runtime.run))
        try:
            await enters(connector)
            connector.read({"a": 1})
            async with asyncio.timeout(SOON):
                while not len(runtime._outbox):
                    await asyncio.sleep(0.01)
        finally:
            task.cancel()
            await asyncio.wait([task])
