"""How fast history is: readings through a real Mosquitto into a database, committed.

    python -m bench.history [--readings 20000] [--values 30] [--connectors 4] [--directory DIR] [--database URL]

Publishers run in processes of their own. What is measured: from the start of publishing until the receipts of all
readings are out, in values per second; then once more with the same readings as another session, so that all values
are there already, as after a long time without receipts. The database is a SQLite file in the folder unless a URL is
given; there it must be empty, and keeps what was written.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import tempfile
import time
from dataclasses import dataclass
from multiprocessing.synchronize import Barrier
from pathlib import Path

from history.service import run
from history.settings import Settings
from wattbus.mqtt import topics
from wattbus.mqtt.client import MqttClient
from wattbus.mqtt.embedded_broker import Mosquitto
from wattbus.mqtt.messages import Receipt, ValuesMessage, parse
from wattbus.mqtt.packets import Outgoing
from wattbus.settings import BrokerSettings
from wattbus.storage import open_store

NEW, AGAIN = "0123456789abcdef", "fedcba9876543210"  # sessions
START_MS = 1_700_000_000_000


@dataclass(frozen=True, slots=True)
class Work:
    """What each of so many connectors publishes."""

    connectors: int
    readings: int
    values: int


async def publish(port: int, connector: str, session: str, work: Work, start_line: Barrier) -> None:
    """Publish numbered readings as fast as the broker takes them, once all publishers are connected."""
    bus = MqttClient(BrokerSettings(mqtt_broker_port=port), connector)
    running = asyncio.create_task(bus.run())
    await bus.wait_connected()
    start_line.wait()
    last = None
    for sequence in range(1, work.readings + 1):
        message = ValuesMessage(
            session=session,
            sequence=sequence,
            timestamp=START_MS + sequence,
            values={f"register__{n}": n + sequence / 8 for n in range(work.values)},
        )
        last = await bus.publish_soon(Outgoing(topics.values(connector), message.payload()))
    if last is not None:
        await last
    running.cancel()
    await asyncio.wait([running])


def publisher(port: int, connector: str, session: str, work: Work, start_line: Barrier) -> None:
    asyncio.run(publish(port, connector, session, work, start_line))


async def receipts(bus: MqttClient, session: str, work: Work) -> None:
    """Wait until every connector's receipt covers all readings of a session."""
    upto: dict[str, int] = {}
    while len(upto) < work.connectors or min(upto.values()) < work.readings:
        for delivery in await bus.next_deliveries(100):
            delivery.acknowledge()
            receipt = parse(Receipt, delivery.payload)
            if receipt.session == session:
                upto[delivery.topic] = receipt.upto


async def measure(work: Work, directory: Path, database: str) -> None:
    broker = Mosquitto(configuration_directory=directory)
    await broker.start()
    settings = Settings(
        mqtt_broker_port=broker.port, data_directory=directory, database_url=database, history_retention_days=0
    )
    service = asyncio.create_task(run(settings))
    listener = MqttClient(BrokerSettings(mqtt_broker_port=broker.port), "listener")
    listening = asyncio.create_task(listener.run())
    await listener.subscribe(["history/receipts/+", "history/status"])
    async for delivery in listener.deliveries():
        delivery.acknowledge()
        if b'"online"' in delivery.payload:
            break
    number = work.connectors * work.readings * work.values
    for what, session in (("new", NEW), ("there already", AGAIN)):
        seconds = await one_session(broker.port, listener, session, work)
        print(f"{number} values, {what}, in {seconds:.2f} s: {number / seconds:,.0f} values/s")
    for task in (service, listening):
        task.cancel()
    await asyncio.wait([service, listening])
    await broker.stop()
    stored = await count(settings.url)
    assert stored == number, f"{stored} rows instead of {number}"


async def one_session(port: int, listener: MqttClient, session: str, work: Work) -> float:
    """Let the publishers publish; the seconds until the last receipt."""
    context = multiprocessing.get_context("spawn")
    start_line = context.Barrier(work.connectors + 1)
    for n in range(work.connectors):
        context.Process(target=publisher, args=(port, f"bench{n}", session, work, start_line)).start()
    await asyncio.to_thread(start_line.wait)
    started = time.monotonic()
    await receipts(listener, session, work)
    return time.monotonic() - started


async def count(url: str) -> int:
    """How many values the database holds."""
    store = await open_store(url)
    found = 0
    for known in await store.datapoints():
        found += sum(int(str(one.value)) for one in await store.aggregate(known.id, 2**40, "count"))
    await store.close()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--readings", type=int, default=20_000)
    parser.add_argument("--values", type=int, default=30)
    parser.add_argument("--connectors", type=int, default=4)
    parser.add_argument("--directory", type=Path, help="where broker and database lie; default: a temporary folder")
    parser.add_argument("--database", default="", help="postgresql://user:password@host:port/name, empty")
    given = parser.parse_args()
    work = Work(given.connectors, given.readings // given.connectors, given.values)
    with tempfile.TemporaryDirectory(dir=given.directory) as directory:
        asyncio.run(measure(work, Path(directory), given.database))


if __name__ == "__main__":
    main()
