"""A history on a real Mosquitto with a real SQLite file, and a client that plays everybody else."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from history.service import run
from history.settings import Settings
from wattbus.bus import Bus, Outgoing
from wattbus.messages import Receipt, ValuesMessage, parse
from wattbus.mosquitto import Mosquitto
from wattbus.retry import Backoff
from wattbus.settings import BrokerSettings

SOON = 30  # seconds: a bound that only a hang reaches
SESSION = "0123456789abcdef"
NOW = (time.time_ns() // 10**9 - 86_400) * 1000  # ms, yesterday: retention leaves it alone


class Client:
    """Plays connectors and plain MQTT clients, and remembers what history said."""

    def __init__(self, port: int) -> None:
        self.bus = Bus(BrokerSettings(mqtt_broker_port=port), "client", backoff=Backoff(0.05, 0.2))
        self.receipts: list[tuple[str, Receipt]] = []
        self.states: list[str] = []
        self._heard = asyncio.Event()

    async def listen(self) -> None:
        await self.bus.subscribe(["history/receipts/+", "history/status"])
        async for delivery in self.bus.deliveries():
            delivery.acknowledge()
            if delivery.topic == "history/status":
                self.states.append(json.loads(delivery.payload)["state"])
            else:
                self.receipts.append((delivery.topic.rpartition("/")[2], parse(Receipt, delivery.payload)))
            self._heard.set()

    async def until(self, met: Callable[[], bool]) -> None:
        """Wait until what was heard meets this."""
        async with asyncio.timeout(SOON):
            while not met():
                self._heard.clear()
                await self._heard.wait()

    async def until_state(self, state: str) -> None:
        await self.until(lambda: self.states[-1:] == [state])

    async def until_receipt(self, connector: str, upto: int, session: str = SESSION, missing: Any = ()) -> None:
        wanted = (connector, Receipt(session=session, upto=upto, missing=list(missing)))
        await self.until(lambda: wanted in self.receipts)

    async def publish(self, topic: str, message: Any, *, retain: bool = False, qos: int = 1) -> None:
        payload = message if isinstance(message, bytes) else json.dumps(message).encode()
        await self.bus.publish(Outgoing(topic, payload, qos=qos, retain=retain))

    async def reading(
        self, sequence: int, connector: str = "meter", session: str = SESSION, dropped: Any = (), **values: Any
    ) -> None:
        message = ValuesMessage(
            session=session, sequence=sequence, timestamp=NOW + sequence, values=values, dropped=list(dropped)
        )
        await self.publish(f"{connector}/values", message.payload())


@contextlib.asynccontextmanager
async def playing(port: int) -> AsyncIterator[Client]:
    client = Client(port)
    tasks = [asyncio.create_task(client.bus.run()), asyncio.create_task(client.listen())]
    try:
        async with asyncio.timeout(SOON):
            await client.bus.wait_connected()
        yield client
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


@pytest.fixture
async def client(mosquitto: Mosquitto) -> AsyncIterator[Client]:
    async with playing(mosquitto.port) as client:
        yield client


@pytest.fixture
def settings(mosquitto: Mosquitto, tmp_path: Path) -> Settings:
    return Settings(mqtt_broker_port=mosquitto.port, data_directory=tmp_path, history_receipt_seconds=0.05)


@contextlib.asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[asyncio.Task[None]]:
    """History in this process; it must still run at the end, and then end at once."""
    task = asyncio.create_task(run(settings))
    try:
        yield task
        assert not task.done()
    finally:
        task.cancel()
        async with asyncio.timeout(8):
            await asyncio.wait([task])
    with contextlib.suppress(asyncio.CancelledError):
        task.result()


@pytest.fixture
async def history(settings: Settings, client: Client) -> AsyncIterator[asyncio.Task[None]]:
    async with running(settings) as task:
        await client.until_state("online")
        yield task


def rows(directory: Path, query: str) -> list[tuple[Any, ...]]:
    """Ask the database file itself."""
    with contextlib.closing(sqlite3.connect(directory / "history.db")) as database:
        return database.execute(query).fetchall()


def stored(directory: Path, connector: str = "meter") -> dict[str, dict[int, Any]]:
    """Key → time since NOW → value (or JSON text), of one connector; fails if a row is there twice."""
    found: dict[str, dict[int, Any]] = {}
    for key, at, number, other in rows(
        directory,
        "SELECT key, time, number, other FROM (SELECT * FROM recent UNION ALL SELECT time, datapoint, number, whole,"
        f" other, quality FROM history) JOIN datapoints ON datapoint = id WHERE connector = '{connector}'",
    ):
        assert at - NOW not in found.setdefault(key, {}), f"{key} at {at} is there twice"
        found[key][at - NOW] = number if other is None else other
    return found
