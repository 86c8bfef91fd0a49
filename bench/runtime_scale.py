"""What a connector with many devices costs its event loop: devices that go away, discovery, a reconnect, doing nothing.

    python -m bench.runtime_scale [--devices 1000] [--each 10] [--discovered 10000] [--directory DIR]

The connector runs in this process on a real Mosquitto; who counts what it publishes runs in another one. *Held* is the
longest time for which the loop served nobody else, in seconds of processor time of this thread, so that other work on
the machine does not count.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import multiprocessing
import tempfile
import time
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from wattbus.connector import Datapoint, Link, Reading, Scalar
from wattbus.jsontext import JsonValue
from wattbus.mqtt.client import MqttClient
from wattbus.mqtt.embedded_broker import Mosquitto
from wattbus.mqtt.packets import IncomingMessage
from wattbus.runtime.connector_runtime import Runtime
from wattbus.settings import BrokerSettings, ConnectorSettings, load

REASON = "no answer within 3 s: read_holding_registers 19000…19010 of unit 17"
TURN_S = 0.002


@dataclass
class Counted:
    """What was on the bus. `last_offline`: monotonic seconds."""

    offline: int = 0
    last_offline: float = 0.0
    announcements: int = 0
    announced_bytes: int = 0
    longest_status: int = 0


async def count(port: int, pipe: Connection) -> None:
    counted = Counted()

    def take(message: IncomingMessage) -> None:
        if message.topic.endswith("datapoints"):
            counted.announcements += message.topic == "c/datapoints"
            counted.announced_bytes += len(message.payload)
        elif message.topic == "c/status":
            counted.longest_status = max(counted.longest_status, len(message.payload))
        elif b'"offline"' in message.payload:
            counted.offline += 1
            counted.last_offline = time.monotonic()

    client = MqttClient(BrokerSettings(mqtt_broker_port=port), "counter")
    for topic in ("c/datapoints", "c/available_datapoints", "c/status", "c/messages/+/value"):
        client.watch(topic, take, qos=0)
    running = asyncio.create_task(client.run())
    await client.wait_connected()
    pipe.send(counted)
    while await asyncio.to_thread(pipe.recv):
        pipe.send(counted)
    running.cancel()


def counter(port: int, pipe: Connection) -> None:
    asyncio.run(count(port, pipe))


class Many:
    """A connector of `devices` devices with `each` sensors, known beforehand or discovered."""

    def __init__(self, devices: int, each: int, *, discovered: bool, per_second: int = 0) -> None:
        self.devices, self.each = devices, each
        self.link: Link | None = None
        self._discovered = discovered
        self._per_second = per_second
        self.done = asyncio.Event()

    def datapoints(self) -> Iterable[Datapoint]:
        if self._discovered:
            return []
        return [
            Datapoint(
                f"d{device}__{number}", data_format="generic_numeric", expected_interval_s=60, device=f"d{device}"
            )
            for device in range(self.devices)
            for number in range(self.each)
        ]

    async def run(self, link: Link) -> None:
        self.link = link
        for device in range(self.devices):
            link.emit(device)
            await asyncio.sleep(1 / self._per_second if self._per_second else 0)
        self.done.set()
        await asyncio.Event().wait()

    def decode(self, raw: JsonValue) -> Iterable[Reading]:
        return [Reading({f"d{raw}": {str(number): float(raw) for number in range(self.each)}}, device=f"d{raw}")]

    async def write(self, key: str, value: Scalar) -> None:
        raise AssertionError("nothing is written")


class Loop:
    """The longest hold since `begin()`, and the processor time."""

    def __init__(self) -> None:
        self.held_s = 0.0
        self.turn_s = TURN_S
        self._begun = time.thread_time()

    def begin(self) -> None:
        self.held_s, self._begun = 0.0, time.thread_time()

    @property
    def used_s(self) -> float:
        return time.thread_time() - self._begun

    async def watch(self) -> None:
        while True:
            before = time.thread_time()
            await asyncio.sleep(self.turn_s)
            self.held_s = max(self.held_s, time.thread_time() - before)


@contextlib.asynccontextmanager
async def running(connector: Many, directory: Path) -> AsyncIterator[tuple[Loop, Connection, Mosquitto]]:
    broker = Mosquitto(configuration_directory=directory)
    await broker.start()
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=counter, args=(broker.port, there))
    process.start()
    await asyncio.to_thread(here.recv)
    variables = {"CONNECTOR_NAME": "c", "MQTT_BROKER_PORT": str(broker.port), "DATA_DIRECTORY": str(directory / "data")}
    loop = Loop()
    watching = asyncio.create_task(loop.watch())
    runtime = asyncio.create_task(Runtime(connector, load(ConnectorSettings, variables)).run())
    try:
        await asyncio.wait_for(connector.done.wait(), 300)
        yield loop, here, broker
    finally:
        for task in (runtime, watching):
            task.cancel()
        await asyncio.wait([runtime, watching])
        here.send(False)
        await asyncio.to_thread(process.join, 10)
        await broker.stop()


async def counted(pipe: Connection) -> Counted:
    pipe.send(True)
    found: Counted = await asyncio.to_thread(pipe.recv)
    return found


async def devices_go(devices: int, each: int, directory: Path) -> None:
    connector = Many(devices, each, discovered=False)
    async with running(connector, directory) as (loop, pipe, _):
        assert connector.link is not None
        loop.turn_s = 1.0  # who looks often is busy itself
        await asyncio.sleep(5)
        loop.begin()
        await asyncio.sleep(5)
        print(f"{devices} devices x {each} sensors: doing nothing takes {loop.used_s / 5 * 1000:.1f} ms per second")
        loop.turn_s = TURN_S
        await asyncio.sleep(1.5)
        loop.begin()
        started = time.monotonic()
        for device in range(devices):
            connector.link.unit(f"d{device}", False, REASON)
        calls_s = loop.used_s
        found = await counted(pipe)
        while found.offline < devices * each and time.monotonic() - started < 120:
            await asyncio.sleep(0.05)
            found = await counted(pipe)
        await asyncio.sleep(1)
        print(
            f"  all go away at once: held {max(calls_s, loop.held_s) * 1000:.0f} ms, {loop.used_s:.2f} s of processor "
            f"time; all {found.offline} are offline on the bus after {found.last_offline - started:.1f} s; "
            f"longest status {(await counted(pipe)).longest_status} bytes"
        )


async def discovery(devices: int, each: int, directory: Path) -> None:
    connector = Many(devices, each, discovered=True, per_second=100)
    async with running(connector, directory) as (loop, pipe, broker):
        held_s, used_s = loop.held_s, loop.used_s
        await asyncio.sleep(40)
        found = await counted(pipe)
        print(
            f"{devices * each} datapoints discovered, {100 * each} a second: held "
            f"{max(held_s, loop.held_s) * 1000:.0f} ms, {used_s:.1f} s of processor time; "
            f"{found.announcements} announcements, {found.announced_bytes / 1e6:.1f} MB"
        )
        loop.begin()
        await broker.kill()
        await broker.start()
        await asyncio.sleep(10)
        print(f"  the broker is started anew: held {loop.held_s * 1000:.0f} ms, {loop.used_s:.1f} s of processor time")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--devices", type=int, default=1000)
    parser.add_argument("--each", type=int, default=10, help="sensors of each device")
    parser.add_argument("--discovered", type=int, default=10_000, help="datapoints that are discovered")
    parser.add_argument("--directory", type=Path, help="where broker and outbox lie; default: a temporary folder")
    given = parser.parse_args()
    for name, measure, devices in (
        ("go", devices_go, given.devices),
        ("discovery", discovery, given.discovered // given.each),
    ):
        with tempfile.TemporaryDirectory(dir=given.directory) as directory:
            folder = Path(directory) / name
            folder.mkdir()
            asyncio.run(measure(devices, given.each, folder))


if __name__ == "__main__":
    main()
