"""raw_db on a real Mosquitto with a real database, and a client that plays the connectors."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from raw_db.service import run
from raw_db.settings import Settings
from tests.support import recording
from tests.support.postgres import postgres_server, postgres_url  # noqa: F401
from tests.support.recording import NOW as NOW
from tests.support.recording import SOON as SOON
from tests.support.recording import RecordedClient, in_this_process
from tests.support.recording import until as until
from wattbus import metrics
from wattbus.mqtt.embedded_broker import Mosquitto
from wattbus.storage import DatabaseAway, StoredRawMessage, open_raw_reader


class Client(RecordedClient):
    """Plays connectors, and remembers what raw_db said of itself."""

    service = "raw-db"

    async def raw(self, at: int, text: str, connector: str = "meter") -> None:
        """A raw message in our form, `at` ms after NOW."""
        payload = f'{{"raw_message":{text},"timestamp":{NOW + at},"connector_version":"0.1.0"}}'
        await self.publish(f"{connector}/raw_message_to_db", payload.encode())


def playing(port: int) -> AbstractAsyncContextManager[Client]:
    return recording.playing(Client(port))


def running(settings: Settings) -> AbstractAsyncContextManager[asyncio.Task[None]]:
    """raw_db in this process; it must still run at the end, and then end at once."""
    return in_this_process(run(settings))


@pytest.fixture
async def client(mosquitto: Mosquitto) -> AsyncIterator[Client]:
    async with playing(mosquitto.port) as client:
        yield client


@pytest.fixture
def settings(mosquitto: Mosquitto, tmp_path: Path) -> Settings:
    return Settings(mqtt_broker_port=mosquitto.port, data_directory=tmp_path)


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


def metric(name: str, **labels: str) -> float:
    return metrics.REGISTRY.get_sample_value(f"wattbus_raw_{name}", {"service": "raw-db", **labels}) or 0.0
