"""What the tests of this connector share."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from connectors.modbus_tcp.connector import ModbusTcp, create
from connectors.modbus_tcp.settings import Settings
from links.modbus_server import ModbusServer
from wattbus.connector import Datapoint
from wattbus.jsontext import JsonValue, dumps
from wattbus.settings import load
from wattbus.testing.waiting import PATIENCE_S


@dataclass
class RecordingLink:
    """The runtime's side of the contract, which only remembers."""

    raw: list[JsonValue] = field(default_factory=list)
    units: list[tuple[str, bool, str]] = field(default_factory=list)
    is_connected: bool = False
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def emit(self, raw: JsonValue, timestamp_ms: int | None = None) -> None:
        dumps(raw)  # JSON, or it raises
        self.raw.append(raw)
        self.changed.set()

    def connected(self) -> None:
        self.is_connected = True
        self.changed.set()

    def announce(self, datapoints: Iterable[Datapoint]) -> None:
        raise AssertionError("everything is known from settings")

    def unit(self, name: str, up: bool, reason: str = "") -> None:
        self.units.append((name, up, reason))
        self.changed.set()

    async def until(self, arrived: Callable[[RecordingLink], bool]) -> None:
        """Wait until it is so."""
        async with asyncio.timeout(PATIENCE_S):
            while not arrived(self):
                self.changed.clear()
                await self.changed.wait()

    def of_unit(self, unit: int) -> list[JsonValue]:
        return [raw for raw in self.raw if raw["unit"] == unit]


def settings_for(config: Mapping[str, Any], port: int = 502, **variables: str) -> Settings:
    given = {
        "CONNECTOR_NAME": "modbus-test",
        "MODBUS_MASTER_IP": "127.0.0.1",
        "MODBUS_MASTER_PORT": str(port),
        "POLL_SECONDS": "0.05",
        "MODBUS_TIMEOUT_SECONDS": "0.15",
        "MODBUS_RETRY_WAIT_SECONDS": "0.01",
        "MODBUS_CONFIG": json.dumps(config),
    }
    return load(Settings, {**given, **variables})


@dataclass
class Running:
    """A connector whose `run` is under way."""

    connector: ModbusTcp
    link: RecordingLink
    task: asyncio.Task[None]

    async def ended(self) -> list[BaseException]:
        """What `run` ended with."""
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.wait([self.task])
        error = self.task.exception()
        return list(error.exceptions) if isinstance(error, BaseExceptionGroup) else [error] if error else []


@asynccontextmanager
async def running(server: ModbusServer, config: Mapping[str, Any], **variables: str) -> AsyncIterator[Running]:
    connector = create(settings_for(config, server.port, **variables))
    link = RecordingLink()
    task = asyncio.create_task(connector.run(link))
    try:
        yield Running(connector, link, task)
    finally:
        task.cancel()
        await asyncio.wait([task])


Run = Callable[..., Awaitable[Any]]


@pytest.fixture
def run_connector() -> Any:
    return running


@pytest.fixture
def make_settings() -> Any:
    return settings_for
