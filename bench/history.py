"""How fast history is: readings through a real Mosquitto into a committed SQLite file.

    python -m bench.history [--readings 20000] [--values 30] [--connectors 10] [--directory DIR]

Publishers run in processes of their own. What is measured: from the start of publishing until the receipts of all
readings are out, in values per second.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import multiprocessing
import sqlite3
import tempfile
import time
from multiprocessing.synchronize import Barrier
from pathlib import Path

from history.service import run
from history.settings import Settings
from wattbus import topics
from wattbus.bus import Bus, Outgoing
from wattbus.messages import Receipt, ValuesMessage, parse
from wattbus.mosquitto import Mosquitto
from wattbus.settings import BrokerSettings

SESSION = "0123456789abcdef"


async def publish(port: int, connector: str, readings: int, values: int, start_line: Barrier) -> None:
    """Publish numbered readings as fast as the broker takes them, once all publishers are connected."""
    bus = Bus(BrokerSettings(mqtt_broker_port=port), connector)
    running = asyncio.create_task(bus.run())
    await bus.wait_connected()
    start_line.wait()
    start = time.time_ns() // 1_000_000
    last = None
    for sequence in range(1, readings + 1):
        message = ValuesMessage(
            session=SESSION,
            sequence=sequence,
            timestamp=start + sequence,
            values={f"register__{n}": n + sequence / 8 for n in range(values)},
        )
        last = await bus.publish_soon(Outgoing(topics.values(connector), message.payload()))
    if last is not None:
        await last
    running.cancel()
    await asyncio.wait([running])


def publisher(port: int, connector: str, readings: int, values: int, start_line: Barrier) -> None:
    asyncio.run(publish(port, connector, readings, values, start_line))


async def receipts(bus: Bus, connectors: int, readings: int) -> None:
    """Wait until every connector's receipt covers all readings."""
    upto: dict[str, int] = {}
    while len(upto) < connectors or min(upto.values()) < readings:
        for delivery in await bus.next_deliveries(100):
            delivery.acknowledge()
            upto[delivery.topic] = parse(Receipt, delivery.payload).upto


async def measure(readings: int, values: int, connectors: int, directory: Path) -> None:
    broker = Mosquitto(configuration_directory=directory)
    await broker.start()
    settings = Settings(mqtt_broker_port=broker.port, data_directory=directory)
    service = asyncio.create_task(run(settings))
    listener = Bus(BrokerSettings(mqtt_broker_port=broker.port), "listener")
    listening = asyncio.create_task(listener.run())
    await listener.subscribe(["history/receipts/+", "history/status"])
    async for delivery in listener.deliveries():
        delivery.acknowledge()
        if b'"online"' in delivery.payload:
            break
    each = readings // connectors
    context = multiprocessing.get_context("spawn")
    start_line = context.Barrier(connectors + 1)
    for n in range(connectors):
        context.Process(target=publisher, args=(broker.port, f"bench{n}", each, values, start_line)).start()
    start_line.wait()
    started = time.monotonic()
    await receipts(listener, connectors, each)
    seconds = time.monotonic() - started
    for task in (service, listening):
        task.cancel()
    await asyncio.wait([service, listening])
    await broker.stop()
    with contextlib.closing(sqlite3.connect(directory / "history.db")) as database:
        [(rows,)] = database.execute("SELECT (SELECT count(*) FROM recent) + (SELECT count(*) FROM history)")
    assert rows == each * connectors * values, f"{rows} rows instead of {each * connectors * values}"
    print(f"{rows} values in {seconds:.2f} s: {rows / seconds:,.0f} values/s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--readings", type=int, default=20_000)
    parser.add_argument("--values", type=int, default=30)
    parser.add_argument("--connectors", type=int, default=4)
    parser.add_argument("--directory", type=Path, help="where broker and database lie; default: a temporary folder")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.directory) as directory:
        asyncio.run(measure(given.readings, given.values, given.connectors, Path(directory)))


if __name__ == "__main__":
    main()
