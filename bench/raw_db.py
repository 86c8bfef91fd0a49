"""How fast raw_db is: raw messages through a real Mosquitto into a database, committed.

    python -m bench.raw_db [--messages 40000] [--bytes 300] [--connectors 4] [--directory DIR] [--database URL]

Publishers run in processes of their own. What is measured: from the start of publishing until all messages are
committed, in messages per second; then how long it takes to read them back. The database is a SQLite file in the folder
unless a URL is given; there it must be empty, and keeps what was written.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import tempfile
import time
from multiprocessing.synchronize import Barrier
from pathlib import Path

from raw_db.service import run
from raw_db.settings import Settings
from wattbus.jsontext import dumps
from wattbus.mqtt import topics
from wattbus.mqtt.client import MqttClient
from wattbus.mqtt.embedded_broker import Mosquitto
from wattbus.mqtt.messages import RawMessage
from wattbus.mqtt.packets import Outgoing
from wattbus.settings import BrokerSettings
from wattbus.storage import open_raw_reader

PAGE = 1000
START_MS = 1_700_000_000_000


def message(timestamp_ms: int, size: int) -> bytes:
    """Registers as the Modbus connector reads them, in a payload of about `size` bytes."""
    registers: list[int] = []
    while len(dumps(registers)) < size - 110:
        registers.append((timestamp_ms * 7919 + len(registers) * 104_729) % 65_536)
    raw = {"read_holding_registers": {"0": registers}}
    return RawMessage(raw_message=raw, timestamp=timestamp_ms, connector_version="0.1.0").payload()


async def publish(port: int, connector: str, messages: int, size: int, start_line: Barrier) -> None:
    """Publish as fast as the broker takes them, once all publishers are connected."""
    outgoing = [Outgoing(topics.raw_message(connector), message(START_MS + n, size)) for n in range(messages)]
    bus = MqttClient(BrokerSettings(mqtt_broker_port=port), connector)
    running = asyncio.create_task(bus.run())
    await bus.wait_connected()
    start_line.wait()
    last = None
    for one in outgoing:
        last = await bus.publish_soon(one)
    if last is not None:
        await last
    running.cancel()
    await asyncio.wait([running])


def publisher(port: int, connector: str, messages: int, size: int, start_line: Barrier) -> None:
    asyncio.run(publish(port, connector, messages, size, start_line))


async def until_online(port: int) -> None:
    bus = MqttClient(BrokerSettings(mqtt_broker_port=port), "listener")
    running = asyncio.create_task(bus.run())
    await bus.subscribe(["raw-db/status"])
    async for delivery in bus.deliveries():
        delivery.acknowledge()
        if b'"online"' in delivery.payload:
            break
    running.cancel()
    await asyncio.wait([running])


async def measure(messages: int, size: int, connectors: int, directory: Path, database: str) -> None:
    broker = Mosquitto(configuration_directory=directory)
    await broker.start()
    settings = Settings(
        mqtt_broker_port=broker.port, data_directory=directory, database_url=database, raw_db_retention_days=0
    )
    service = asyncio.create_task(run(settings))
    await until_online(broker.port)
    reader = await open_raw_reader(settings.url)
    each = messages // connectors
    context = multiprocessing.get_context("spawn")
    start_line = context.Barrier(connectors + 1)
    for n in range(connectors):
        context.Process(target=publisher, args=(broker.port, f"bench{n}", each, size, start_line)).start()
    await asyncio.to_thread(start_line.wait)
    started = time.monotonic()
    while sum(known.messages for known in await reader.connectors()) < each * connectors:  # noqa: ASYNC110
        await asyncio.sleep(0.05)
    seconds = time.monotonic() - started
    print(f"{each * connectors} raw messages of {len(message(START_MS, size))} bytes in {seconds:.2f} s: "
          f"{each * connectors / seconds:,.0f} messages/s")  # fmt: skip
    service.cancel()
    await asyncio.wait([service])
    started = time.monotonic()
    cursor = None
    while page := await reader.messages("bench0", at_most=PAGE, after=cursor):
        cursor = page[-1].cursor
    print(f"{each} read back in pages of {PAGE} in {time.monotonic() - started:.2f} s")
    used = sum(known.bytes_used for known in await reader.connectors())
    await reader.close()
    await broker.stop()
    on_disk = "" if database else f"{(directory / 'raw.db').stat().st_size / 2**20:.1f} MiB in the file, "
    print(f"{on_disk}{used / 2**20:.1f} MiB as counted")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=40_000)
    parser.add_argument("--bytes", type=int, default=300)
    parser.add_argument("--connectors", type=int, default=4)
    parser.add_argument("--directory", type=Path, help="where broker and database lie; default: a temporary folder")
    parser.add_argument("--database", default="", help="postgresql://user:password@host:port/name, empty")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.directory) as directory:
        asyncio.run(measure(given.messages, given.bytes, given.connectors, Path(directory), given.database))


if __name__ == "__main__":
    main()
