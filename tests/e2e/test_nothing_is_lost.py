"""The worst days of this field, on real processes and real sockets; the device's own counter is the judge."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import secrets
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

import pytest
from paho.mqtt.client import MQTTMessage

from history.service import run as run_history
from history.settings import Settings as HistorySettings
from tests.e2e.house import COUNTER, House, listening, until
from wattbus.connector import Datapoint, Link, Reading, Scalar
from wattbus.mqtt.client import MqttClient
from wattbus.polling import PollClock
from wattbus.runtime.connector_runtime import run_connector
from wattbus.service.lifecycle import in_service
from wattbus.settings import ConnectorSettings, load

# What was sent and not confirmed is sent again after this time without any progress: half a minute for buildings.
REPEATS_SOON = "from wattbus.runtime import retransmission; retransmission.NO_RECEIPT_S = 2.0"


async def test_a_broker_killed_twice_and_restarted_without_its_state(tmp_path: Path) -> None:
    async with House(tmp_path).running() as house:
        await house.further(polls=20)
        for _ in range(2):
            await house.broker.kill()
            await house.polled(times=10)  # readings are taken while there is no broker
            await house.broker.start()
            await house.further(polls=20)
        await house.nothing_is_missing()
        async with listening(house.broker.port, "+/status") as listener:
            await listener.until(lambda: {"room/status", "history/status"} <= listener.last.keys())
            assert listener.last["room/status"]["state"] == "online"
            assert listener.last["history/status"]["state"] == "online"


async def test_history_killed_in_the_middle_of_a_batch(tmp_path: Path) -> None:
    async with House(tmp_path, poll_seconds=0.01).running() as house:
        for _ in range(3):
            await house.further(polls=30)
            await house.history.kill()
            await house.history.start()
        await house.nothing_is_missing()


async def test_history_away_for_a_while_and_the_broker_killed_meanwhile(tmp_path: Path) -> None:
    async with House(tmp_path).running() as house:
        await house.further(polls=10)
        await house.history.stop()
        await house.polled(times=20)
        await house.broker.kill()  # what it had queued for history is gone
        await house.broker.start()
        await house.polled(times=20)
        await house.history.start()
        await house.nothing_is_missing()


async def test_the_connector_stopped_and_started_while_history_is_away(tmp_path: Path) -> None:
    """What waits in the outbox survives a clean stop in its file."""
    house = House(tmp_path)
    house.connector = house.connector_to(house.device_port, before=REPEATS_SOON)
    async with house.running():
        await house.further(polls=10)
        await house.history.stop()
        stored = len(house.counters())
        await house.broker.kill()
        await house.polled(times=20)
        assert await house.connector.stop() == 0
        asked = await house.ask_the_counter()
        await house.broker.start()
        await house.connector.start()
        await house.history.start()
        # A poll that was under way when the connector was told to stop has an answer that nobody took.
        answered = set(range(1, asked - 1)) - house.asked
        await until(lambda: answered <= set(house.counters()), "what waited in the file", house.tell)
        await house.until_stored(asked + 5)
        counters = house.counters()
        assert len(counters) == len(set(counters)) > stored


class Tap:
    """A network between connector and device that can swallow requests without closing anything."""

    def __init__(self, port: int) -> None:
        self._device_port = port
        self.swallows = False
        self.port = 0

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[Tap]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            device_reader, device_writer = await asyncio.open_connection("127.0.0.1", self._device_port)
        except OSError:
            writer.close()
            return
        await asyncio.gather(
            self._carry(reader, device_writer, swallowing=True), self._carry(device_reader, writer, swallowing=False)
        )

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, swallowing: bool) -> None:
        with contextlib.suppress(OSError):
            while chunk := await reader.read(4096):
                if not (swallowing and self.swallows):
                    writer.write(chunk)
                    await writer.drain()
        writer.close()


async def test_a_device_that_is_half_open_then_gone_then_back(tmp_path: Path) -> None:
    house = House(tmp_path)
    async with Tap(house.device_port).open() as tap:
        house.connector = house.connector_to(tap.port)
        async with house.running(), listening(house.broker.port, "room/#") as listener:
            await house.further(polls=10)

            def state() -> str:
                status = listener.last.get("room/status") or {}
                return str(status.get("state"))

            await listener.until(lambda: state() == "online")
            at_the_start = house.connector.log.count("link: over after")  # it may have been there before its device
            tap.swallows = True
            await listener.until(lambda: state() == "degraded")
            topic = f"room/messages/{COUNTER}/value"
            assert listener.last[topic]["quality"] == "offline"
            tap.swallows = False
            await listener.until(lambda: state() == "online")
            await house.nothing_is_missing()

            before = len(house.counters())
            await house.device.kill()
            await listener.until(lambda: state() == "degraded")
            await house.device.start()  # its counter starts again at 1
            await listener.until(lambda: state() == "online")
            await until(lambda: len(house.counters()) >= before + 10, "ten polls of the new device", house.tell)
            afterwards = house.counters()[before:]
            rest = afterwards[afterwards.index(1) :]
            assert rest == list(range(1, len(rest) + 1))
            assert house.connector.alive, house.tell()
            assert house.connector.log.count("link: over after") - at_the_start <= 2, house.tell()


async def test_an_unparseable_payload_on_every_subscribed_topic(tmp_path: Path) -> None:
    nonsense = (b"", b"{", b"\xff\xfe", b"[1,2]", b'{"value": NaN, "timestamp": 1}', b"null", b'"text"', b"9" * 400)
    targets = (
        "room/values", "room/messages/x/value", "room/messages/x/setpoint", "room/messages/x/schedule",
        "room/messages/x/result", "room/datapoint_map", "room/status", "room/datapoints", "history/status",
        "history/receipts/room", "room/messages/write_register__1__1-set/value", "room/available_datapoints",
    )  # fmt: skip
    async with House(tmp_path).running() as house, listening(house.broker.port, "room/+/+/result") as listener:
        await house.further(polls=10)
        for target in targets:
            for payload in nonsense:
                await listener.client.publish(target, payload, qos=1)
        await house.further(polls=10)
        await house.nothing_is_missing()
        result = "room/messages/write_register__1__1-set/result"
        await listener.until(lambda: result in listener.last)
        assert listener.last[result]["outcome"] == "rejected"


# -- connectors that run in the tests' own process --------------------------------------------------------------------


class Counting:
    """A device that is nothing but a counter: each message says the next number."""

    def __init__(self, poll_seconds: float = 0.02, burst: int = 0, bug_every: int = 0) -> None:
        self.given = 0
        self._poll_seconds = poll_seconds
        self._burst = burst
        self._bug_every = bug_every

    def datapoints(self) -> Iterable[Datapoint]:
        return []

    async def run(self, link: Link) -> None:
        while self._burst:
            for _ in range(min(500, self._burst)):
                self._burst -= 1
                self._give(link)
            await asyncio.sleep(0)
        async for _ in PollClock(self._poll_seconds):
            self._give(link)
            if self._bug_every and self.given % self._bug_every == 0:
                raise ZeroDivisionError("a bug inside a connector")

    def _give(self, link: Link) -> None:
        self.given += 1
        link.emit({"count": self.given})

    def decode(self, raw: dict[str, int]) -> Iterable[Reading]:
        return [Reading({"count": raw["count"], "half": raw["count"] / 2})]

    async def write(self, key: str, value: Scalar) -> None:
        raise AssertionError("there is nothing to write")


@contextlib.asynccontextmanager
async def counting(connector: Counting, house: House, folder: str = "data") -> AsyncIterator[asyncio.Task[None]]:
    settings = load(
        ConnectorSettings,
        {
            "CONNECTOR_NAME": "counter",
            "MQTT_BROKER_PORT": str(house.broker.port),
            "DATA_DIRECTORY": str(house.folder / folder),
        },
    )
    task = asyncio.create_task(in_service("counter", lambda: run_connector(connector, settings)))
    try:
        yield task
    finally:
        assert not task.done(), "the connector ended"
        task.cancel()
        await asyncio.wait([task])


def _counts(house: House) -> list[int]:
    return [int(number) for number in house.stored("counter", "count")]


async def test_a_stock_mosquitto_under_a_burst_of_20000_readings(tmp_path: Path) -> None:
    """Without our configuration Mosquitto acknowledges everything and silently drops most of it."""
    house = House(tmp_path, options=())
    await house.broker.start()
    await house.history.start()
    connector = Counting(poll_seconds=0.1, burst=20_000)
    async with listening(house.broker.port, "history/#") as listener:
        await listener.until(lambda: "history/status" in listener.last)
    async with counting(connector, house):
        burst = set(range(1, 20_001))
        await until(lambda: burst <= set(_counts(house)), "20,000 readings in the database", house.tell)
        stored = _counts(house)
        assert len(stored) == len(set(stored))
    await house.history.stop()
    await house.broker.stop()


async def test_a_bug_raised_inside_a_connector(tmp_path: Path) -> None:
    house = House(tmp_path)
    await house.broker.start()
    await house.history.start()
    connector = Counting(bug_every=10)
    async with counting(connector, house), listening(house.broker.port, "counter/status") as listener:
        await until(lambda: len(_counts(house)) >= 25, "readings in spite of two bugs", house.tell)
        stored = _counts(house)
        assert stored == list(range(1, len(stored) + 1))
        told = [status for _, status in listener.all]
        assert any("ZeroDivisionError" in status["detail"] and status["state"] == "degraded" for status in told)
    await house.history.stop()
    await house.broker.stop()


class Lossy(MqttClient):
    """A bus that throws a fifth of all deliveries away as if they had been processed."""

    thrown_away = 0

    def _received(self, message: MQTTMessage) -> None:
        if message.qos and random.random() < 0.2:
            type(self).thrown_away += 1
            assert self._client is not None
            self._client._client.ack(message.mid, message.qos)
        else:
            super()._received(message)


async def test_a_fifth_of_all_deliveries_thrown_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wattbus.recording.recorder.MqttClient", Lossy)
    monkeypatch.setattr("wattbus.runtime.connector_runtime.MqttClient", Lossy)
    house = House(tmp_path)
    await house.broker.start()
    settings = load(
        HistorySettings, {"MQTT_BROKER_PORT": str(house.broker.port), "DATA_DIRECTORY": str(tmp_path / "data")}
    )
    recording = asyncio.create_task(in_service("history", lambda: run_history(settings)))
    connector = Counting(poll_seconds=0.01)
    async with counting(connector, house):
        await until(lambda: connector.given >= 500, "500 readings given")
        given = connector.given
        await until(lambda: set(range(1, given + 1)) <= set(_counts(house)), "all of them in the database")
        stored = _counts(house)
        assert len(stored) == len(set(stored))
        assert Lossy.thrown_away > 100
    recording.cancel()
    await asyncio.wait([recording])
    await house.broker.stop()


async def test_value_topics_in_bemcoms_form_are_recorded_beside_our_readings(tmp_path: Path) -> None:
    async with House(tmp_path).running() as house, listening(house.broker.port, "nothing") as bemcom:
        await house.further(polls=5)
        for number in range(50):
            payload = json.dumps({"value": number, "timestamp": 1_600_000_000_000 + number})
            await bemcom.client.publish("bemcom-connector/messages/7/value", payload, qos=0, retain=True)
            await bemcom.client.publish("bemcom-connector/messages/8/value", payload.encode(), qos=1)
            await bemcom.client.publish("bemcom-connector/messages/8/value", payload.encode(), qos=1)  # redelivered
        await house.further(polls=5)
        await until(lambda: len(house.stored("bemcom-connector", "8")) == 50, "BEMCom's values", house.tell)
        assert house.stored("bemcom-connector", "7") == list(range(50))
        assert house.stored("bemcom-connector", "8") == list(range(50))
        await house.nothing_is_missing()


async def test_a_publisher_with_gaps_that_has_no_outbox_is_told_what_is_missing(tmp_path: Path) -> None:
    """Receipts by the letter of the contract, to a client that is not our runtime."""
    house = House(tmp_path)
    await house.broker.start()
    await house.history.start()
    session = secrets.token_hex(8)
    async with listening(house.broker.port, "history/#") as listener:
        await listener.until(lambda: "history/status" in listener.last)
        for sequence in (1, 2, 5, 6, 9):
            reading = {
                "session": session,
                "sequence": sequence,
                "timestamp": 1000 + sequence,
                "values": {"x": sequence},
            }
            await listener.client.publish("plain/values", json.dumps(reading), qos=1)
        topic = "history/receipts/plain"
        await listener.until(lambda: (listener.last.get(topic) or {}).get("upto") == 9)
        assert listener.last[topic] == {"session": session, "upto": 9, "missing": [[3, 4], [7, 8]]}
        late = {"session": session, "sequence": 3, "timestamp": 1003, "values": {"x": 3}, "dropped": [[7, 8]]}
        await listener.client.publish("plain/values", json.dumps(late), qos=1)
        await listener.until(lambda: listener.last[topic]["missing"] == [[4, 4]])
    await house.history.stop()
    await house.broker.stop()
