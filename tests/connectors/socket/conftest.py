"""What the tests of this connector share."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from connectors.socket.connector import SocketConnector, create
from connectors.socket.settings import Settings
from connectors.socket.simulator import TalkingServer
from wattbus import metrics
from wattbus.settings import load
from wattbus.testing.link import WITHIN_S, RecordingLink, entered
from wattbus.testing.waiting import PATIENCE_S

NAME = "lines"


@dataclass
class LineLink(RecordingLink):
    """Waits for so many readings or faults, and gives them."""

    async def until_values(self, number: int) -> list[dict[str, Any]]:
        await self.until(lambda link: len(link.readings) >= number)
        return self.readings

    async def until_faults(self, number: int) -> list[str]:
        await self.until(lambda link: len(link.faults) >= number)
        return self.reasons

    @property
    def reasons(self) -> list[str]:
        """What was wrong with each message that made no sense."""
        return [str(fault) for fault in self.faults]


def settings_for(**variables: str) -> Settings:
    return load(Settings, {"CONNECTOR_NAME": NAME, **variables})


@dataclass
class Running:
    """A connector whose `run` is under way."""

    connector: SocketConnector
    link: LineLink
    task: asyncio.Task[None]
    ended: Callable[[], Awaitable[str]]

    @property
    def port(self) -> int:
        assert self.connector.address is not None
        return self.connector.address[1]


@asynccontextmanager
async def running(**variables: str) -> AsyncIterator[Running]:
    """With these settings; a listener on any free port of this machine listens when the body begins."""
    is_client = "SERVER_IP" in variables
    given = variables if is_client else {"LISTEN_HOST": "127.0.0.1", "LISTEN_PORT": "0", **variables}
    connector = create(settings_for(**given))
    link = LineLink(connector)
    async with entered(connector, link) as run:
        if not is_client:
            async with asyncio.timeout(WITHIN_S):
                listening = asyncio.ensure_future(connector.is_listening.wait())
                await asyncio.wait([listening, run.task], return_when=asyncio.FIRST_COMPLETED)
                listening.cancel()
        yield Running(connector, link, run.task, run.ended)


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
    return socket.create_connection((host, port), timeout=PATIENCE_S)


async def eventually(holds: Callable[[], bool]) -> None:
    """Wait for an effect that nobody tells, such as a counter."""
    async with asyncio.timeout(WITHIN_S):
        while not holds():
            await asyncio.sleep(0.01)
