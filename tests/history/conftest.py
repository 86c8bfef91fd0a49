"""A history on a real Mosquitto with a real database, and a client that plays everybody else."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

from history.service import run
from history.settings import Settings
from tests.support import recording
from tests.support.postgres import postgres_server, postgres_url  # noqa: F401
from tests.support.recording import NOW as NOW
from tests.support.recording import SOON as SOON
from tests.support.recording import RecordedClient, in_this_process
from wattbus.mqtt.embedded_broker import Mosquitto
from wattbus.mqtt.messages import Receipt, ValuesMessage, parse
from wattbus.mqtt.packets import IncomingMessage

SESSION = "0123456789abcdef"


class Client(RecordedClient):
    """Plays connectors and plain MQTT clients, and remembers what history said."""

    service = "history"

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self.receipts: list[tuple[str, Receipt]] = []

    def topics(self) -> list[str]:
        return [*super().topics(), "history/receipts/+"]

    def take(self, delivery: IncomingMessage) -> None:
        self.receipts.append((delivery.topic.rpartition("/")[2], parse(Receipt, delivery.payload)))

    async def until_receipt(self, connector: str, upto: int, session: str = SESSION, missing: Any = ()) -> None:
        wanted = (connector, Receipt(session=session, upto=upto, missing=list(missing)))
        await self.until(lambda: wanted in self.receipts)

    async def reading(
        self, sequence: int, connector: str = "meter", session: str = SESSION, dropped: Any = (), **values: Any
    ) -> None:
        message = ValuesMessage(
            session=session, sequence=sequence, timestamp=NOW + sequence, values=values, dropped=list(dropped)
        )
        await self.publish(f"{connector}/values", message.payload())


def playing(port: int) -> AbstractAsyncContextManager[Client]:
    return recording.playing(Client(port))


def running(settings: Settings) -> AbstractAsyncContextManager[asyncio.Task[None]]:
    """History in this process; it must still run at the end, and then end at once."""
    return in_this_process(run(settings))


@pytest.fixture
async def client(mosquitto: Mosquitto) -> AsyncIterator[Client]:
    async with playing(mosquitto.port) as client:
        yield client


@pytest.fixture
def settings(mosquitto: Mosquitto, tmp_path: Path) -> Settings:
    return Settings(mqtt_broker_port=mosquitto.port, data_directory=tmp_path, history_receipt_seconds=0.05)


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
        "SELECT key, time, number, json_value FROM (SELECT * FROM recent UNION ALL SELECT time, datapoint, number,"
        " is_integer, json_value, quality FROM history) JOIN datapoints ON datapoint = id"
        f" WHERE connector = '{connector}'",
    ):
        assert at - NOW not in found.setdefault(key, {}), f"{key} at {at} is there twice"
        found[key][at - NOW] = number if other is None else other
    return found
