"""raw_db on a real Mosquitto with a real SQLite file, and a client that plays the connectors."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from raw_db.service import run
from raw_db.settings import Settings
from wattbus import metrics
from wattbus.bus import Bus, Outgoing
from wattbus.mosquitto import Mosquitto
from wattbus.retry import Backoff
from wattbus.settings import BrokerSettings
from wattbus.storage import DatabaseAway, StoredRawMessage, open_raw_reader

SOON = 30  # seconds: a bound that only a hang reaches
NOW = (time.time_ns() // 10**9 - 86_400) * 1000  # ms, yesterday: retention leaves it alone


class Client:
    """Plays connectors, and remembers what raw_db said of itself."""

    def __init__(self, port: int) -> None:
        self.bus = Bus(BrokerSettings(mqtt_broker_port=port), "client", backoff=Backoff(0.05, 0.2))
        self.states: list[str] = []
        self._heard = asyncio.Event()

    async def listen(self) -> None:
        await self.bus.subscribe(["raw-db/status"])
        async for delivery in self.bus.deliveries():
            delivery.acknowledge()
            self.states.append(json.loads(delivery.payload)["state"])
            self._heard.set()

    async def until_state(self, state: str) -> None:
        async with asyncio.timeout(SOON):
            while self.states[-1:] != [state]:
                self._heard.clear()
                await self._heard.wait()

    async def publish(self, topic: str, message: Any) -> None:
        payload = message if isinstance(message, bytes) else json.dumps(message).encode()
        await self.bus.publish(Outgoing(topic, payload))

    async def raw(self, at: int, text: str, connector: str = "meter") -> None:
        """A raw message in our form, `at` ms after NOW."""
        payload = f'{{"raw_message":{text},"timestamp":{NOW + at},"connector_version":"0.1.0"}}'
        await self.publish(f"{connector}/raw_message_to_db", payload.encode())


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
    return Settings(mqtt_broker_port=mosquitto.port, data_directory=tmp_path)


@contextlib.asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[asyncio.Task[None]]:
    """raw_db in this process; it must still run at the end, and then end at once."""
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
async def raw_db(settings: Settings, client: Client) -> AsyncIterator[asyncio.Task[None]]:
    async with running(settings) as task:
        await client.until_state("online")
        yield task


async def stored(settings: Settings, connector: str = "meter") -> list[StoredRawMessage]:
    """What is in the database, in the order of time; nothing while there is no such database."""
    try:
        reader = await open_raw_reader(settings.url)
    except DatabaseAway:
        return []
    try:
        return await reader.messages(connector)
    finally:
        await reader.close()


async def until_stored(settings: Settings, number: int, connector: str = "meter") -> list[StoredRawMessage]:
    """Wait until that many raw messages are in the database."""
    found: list[StoredRawMessage] = []
    try:
        async with asyncio.timeout(SOON):
            while len(found := await stored(settings, connector)) < number:
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"{len(found)} of {number} raw messages of {connector} are stored") from None
    return found


async def until(holds: Callable[[], bool]) -> None:
    """Wait for an effect, e.g. on a metric."""
    async with asyncio.timeout(SOON):
        while not holds():
            await asyncio.sleep(0.01)


def metric(name: str, **labels: str) -> float:
    return metrics.REGISTRY.get_sample_value(f"wattbus_raw_{name}", {"service": "raw-db", **labels}) or 0.0
