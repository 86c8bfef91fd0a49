"""From a socket to a database: connector and history in this process, a real Mosquitto between them."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path
from typing import Any

import pytest

from connectors.socket import devices
from connectors.socket.connector import SocketConnector, create
from connectors.socket.settings import Settings
from connectors.socket.simulator import TalkingServer
from history.service import run as run_history
from history.settings import Settings as HistorySettings
from tests.connectors.socket.conftest import connect, eventually, settings_for
from tests.support.site import Site
from wattbus.mqtt.embedded_broker import Mosquitto
from wattbus.runtime.connector_runtime import run_connector
from wattbus.settings import load
from wattbus.testing.mqtt import plain_client
from wattbus.testing.waiting import PATIENCE_S

SOON = PATIENCE_S


@contextlib.asynccontextmanager
async def alive(*work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Services that run meanwhile; none of them may end by itself."""
    tasks = [asyncio.create_task(each) for each in work]
    try:
        yield
        assert [task for task in tasks if task.done()] == []
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


class Installation(Site):
    """The connector `lines` and a history on one broker, as tasks of this process: so a test can quicken them."""

    def __init__(self, mosquitto: Mosquitto, folder: Path, **variables: str) -> None:
        super().__init__(folder, mosquitto, "socket", "lines", variables)
        common = {"MQTT_BROKER_PORT": str(mosquitto.port), "DATA_DIRECTORY": str(self.database.parent)}
        self.settings: Settings = settings_for(**common, **variables)
        self.lines: SocketConnector = create(self.settings)
        self._history_settings = load(HistorySettings, {**common, "HISTORY_RECEIPT_SECONDS": "0.1"})

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Both; the body begins when history is there, or it would wait for what came before."""
        port = self.settings.mqtt_broker_port
        async with alive(run_history(self._history_settings), run_connector(self.lines, self.settings)):
            async with plain_client(port, "history/status") as client:
                await client.message("history/status", state="online")
            yield

    async def port(self) -> int:
        async with asyncio.timeout(SOON):
            await self.lines.is_listening.wait()
        assert self.lines.address is not None
        return self.lines.address[1]


def say(port: int, *lines: bytes) -> None:
    """As OemGateway's example: open, send, close."""
    for line in lines:
        with connect(port) as client:
            client.send(line)


async def test_lines_reach_the_database_while_the_broker_is_away_and_connections_are_cut(tmp_path: Path) -> None:
    mosquitto = Mosquitto(tmp_path / "mosquitto")
    await mosquitto.start()
    house = Installation(mosquitto, tmp_path, LISTEN_HOST="127.0.0.1", LISTEN_PORT="0")
    try:
        async with house.running():
            port = await house.port()
            say(port, *(b"14 %d 20.5\r\n" % number for number in range(100)))
            await house.until_stored("14__1", list(range(100)))
            await mosquitto.stop()
            say(port, *(b"14 %d 20.5\r\n" % number for number in range(100, 150)))
            say(port, b"14 999 2", b"\xff\xfe\r\n", b"14 nonsense\r\n")
            await mosquitto.start()
            say(port, *(b"14 %d 20.5\r\n" % number for number in range(150, 200)))
            await house.until_stored("14__1", list(range(200)))
        assert house.stored("14__2") == [20.5] * 200
    finally:
        await mosquitto.stop()


async def test_what_is_seen_on_the_bus(mosquitto: Mosquitto, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "LOOK_EVERY_S", 0.05)
    nodes = '{"10": {"name": "attic", "names": ["temp"], "units": ["Cel"], "scales": [0.1], "silence_seconds": 0.5}}'
    house = Installation(
        mosquitto, tmp_path, LISTEN_HOST="127.0.0.1", LISTEN_PORT="0", SOCKET_NODES=nodes, SEND_RAW_MESSAGE_TO_DB="TRUE"
    )
    async with plain_client(mosquitto.port) as client, house.running():
        port = await house.port()
        say(port, b"10 215\r\n10 2")
        assert (await client.message("lines/messages/attic__temp/value"))["value"] == 21.5
        [datapoint] = await client.message_list("lines/datapoints", 1)
        assert (datapoint["key"], datapoint["unit"]) == ("attic__temp", "Cel")
        whole, cut = await client.messages("lines/raw_message_to_db", 2)
        assert whole["raw_message"] == {"peer": "127.0.0.1", "text": "10 215"}
        assert cut["raw_message"]["fault"] == "cut: the connection ended inside a message"
        await client.message("lines/status", state="degraded", detail="attic: silent for 0.5 s")
        assert (await client.message("lines/messages/attic__temp/value", quality="offline"))["value"] == 21.5
        say(port, b"10 216\r\n")
        await client.until(lambda: client.last("lines/messages/attic__temp/value")["value"] == 21.6)
        await client.until(lambda: client.last("lines/status")["state"] == "online")


async def test_the_line_is_torn_away_and_comes_back(mosquitto: Mosquitto, tmp_path: Path) -> None:
    server = await TalkingServer().start()
    house = Installation(mosquitto, tmp_path, SERVER_IP="127.0.0.1", SERVER_PORT=str(server.port))
    async with server, plain_client(mosquitto.port) as client, house.running():
        async with asyncio.timeout(SOON):
            await server.connected()
        await server.send(b'{"meter": {"power": 1}}{"meter": {"pow')
        await house.until_stored("meter__power", [1])
        server.tear()
        await server.stop()
        await client.until(lambda: client.last("lines/status")["state"] == "degraded")
        assert "refused" in client.last("lines/status")["detail"] or "reset" in client.last("lines/status")["detail"]
        assert (await client.message("lines/messages/meter__power/value", quality="offline"))["value"] == 1
        await server.start()
        async with asyncio.timeout(SOON):
            await server.connected(2)
        await server.send(b'er": 2}}{"meter": {"power": 3}}')  # the rest of a message is none
        await server.send(b'\n{"meter": {"power": 4}}')
        await client.until(lambda: client.last("lines/status")["state"] == "online")
        await house.until_stored("meter__power", [1, 3, 4])


async def test_a_flood_from_outside_stops_nothing(mosquitto: Mosquitto, tmp_path: Path) -> None:
    """Megabytes of noise from one connection; another one is heard meanwhile."""
    house = Installation(mosquitto, tmp_path, LISTEN_HOST="127.0.0.1", LISTEN_PORT="0")
    async with house.running():
        port = await house.port()

        def flood() -> None:
            with socket.create_connection(("127.0.0.1", port)) as noisy:
                for _ in range(200):
                    noisy.sendall(bytes(range(256)) * 64)

        flooding = asyncio.ensure_future(asyncio.to_thread(flood))
        for number in range(20):
            say(port, b"14 %d\r\n" % number)
            await asyncio.sleep(0.02)
        await house.until_stored("14__1", list(range(20)))
        await eventually(flooding.done)
