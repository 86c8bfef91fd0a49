"""What the tests of this connector share."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from connectors.socket.connector import SocketConnector, create
from connectors.socket.settings import Settings
from connectors.socket.simulator import TalkingServer
from wattbus import metrics
from wattbus.connector import Datapoint
from wattbus.errors import DecodeError, causes
from wattbus.jsontext import JsonValue, dumps
from wattbus.readings import flatten
from wattbus.settings import load

NAME = "lines"


@dataclass
class RecordingLink:
    """The runtime's side of the contract: decodes, and remembers."""

    connector: SocketConnector
    raw: list[JsonValue] = field(default_factory=list)
    values: list[dict[str, Any]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    units: list[tuple[str, bool, str]] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def emit(self, raw: JsonValue, timestamp_ms: int | None = None) -> None:
        dumps(raw)  # JSON, or it raises
        self.raw.append(raw)
        try:
            for reading in self.connector.decode(raw):
                self.values.append(flatten(reading).values)
        except DecodeError as error:
            self.faults.append(str(error))
        self.changed.set()

    def announce(self, datapoints: Iterable[Datapoint]) -> None:
        raise AssertionError("datapoints are discovered")

    def unit(self, name: str, up: bool, reason: str = "") -> None:
        self.units.append((name, up, reason))
        self.changed.set()

    async def until(self, arrived: Callable[[RecordingLink], bool], seconds: float = 10) -> None:
        """Wait until it is so; a test that waits in vain fails."""
        async with asyncio.timeout(seconds):
            while not arrived(self):
                self.changed.clear()
                await self.changed.wait()

    async def until_values(self, number: int, seconds: float = 10) -> list[dict[str, Any]]:
        """Wait for so many readings."""
        await self.until(lambda link: len(link.values) >= number, seconds)
        return self.values

    async def until_faults(self, number: int) -> list[str]:
        await self.until(lambda link: len(link.faults) >= number)
        return self.faults


def settings_for(**variables: str) -> Settings:
    return load(Settings, {"CONNECTOR_NAME": NAME, **variables})


@dataclass
class Running:
    """A connector whose `run` is under way."""

    connector: SocketConnector
    link: RecordingLink
    task: asyncio.Task[None]

    @property
    def port(self) -> int:
        assert self.connector.address is not None
        return self.connector.address[1]

    async def ended(self) -> str:
        """What `run` ended with."""
        async with asyncio.timeout(10):
            await asyncio.wait([self.task])
        error = self.task.exception()
        assert error is not None
        [cause] = causes(error)
        return f"{type(cause).__name__}: {cause}"


@asynccontextmanager
async def running(**variables: str) -> AsyncIterator[Running]:
    """With these settings; a listener on any free port of this machine listens when the body begins."""
    is_client = "SERVER_IP" in variables
    given = variables if is_client else {"LISTEN_HOST": "127.0.0.1", "LISTEN_PORT": "0", **variables}
    connector = create(settings_for(**given))
    link = RecordingLink(connector)
    task = asyncio.create_task(connector.run(link))
    try:
        if not is_client:
            async with asyncio.timeout(10):
                listening = asyncio.ensure_future(connector.is_listening.wait())
                await asyncio.wait([listening, task], return_when=asyncio.FIRST_COMPLETED)
                listening.cancel()
        yield Running(connector, link, task)
    finally:
        task.cancel()
        await asyncio.wait([task])


@asynccontextmanager
async def client_of(server: TalkingServer, **variables: str) -> AsyncIterator[Running]:
    """A client of this server."""
    async with running(SERVER_IP=server.host, SERVER_PORT=str(server.port), **variables) as client:
        yield client


def counted(name: str, **labels: str) -> float:
    """A counter of this connector."""
    return metrics.REGISTRY.get_sample_value(f"wattbus_{name}_total", {"service": NAME, **labels}) or 0.0


def connect(port: int, host: str = "127.0.0.1") -> socket.socket:
    """A plain socket of the standard library; what it does is done at once on this machine."""
    return socket.create_connection((host, port), timeout=10)


async def eventually(holds: Callable[[], bool]) -> None:
    """Wait for an effect that nobody tells, such as a counter."""
    async with asyncio.timeout(10):
        while not holds():
            await asyncio.sleep(0.01)
