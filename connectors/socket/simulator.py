"""The other side, when there is no device: a server for the client, a sender for the listener."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import Self

import yaml

from connectors.socket.connector import framing_of
from connectors.socket.framing import FramingRules
from connectors.socket.settings import Settings
from wattbus.clock import SYSTEM_CLOCK
from wattbus.polling import PollClock

log = logging.getLogger(__name__)

EVERY_S = 1.0
# SO_LINGER with time 0: closing throws away what is under way and sends a reset.
TEAR = struct.pack("ii", 1, 0)


def message(settings: Settings, number: int) -> str:
    """The `number`-th message of the simulated device, in the format of the settings."""
    temperature = round(20 + number % 20 / 10, 1)
    if settings.format == "NUMBERS":
        return (settings.values_separator or " ").join([str(number), str(temperature)])
    if settings.format == "VALUES":
        key = settings.listen_apikey.get_secret_value() if settings.listen_apikey else ""
        time_s = f"{SYSTEM_CLOCK.now_ms() / 1000:.3f}" if settings.values_timestamped else ""
        node = next(iter(settings.socket_nodes), 14) - settings.values_node_offset
        fields = [key, time_s, str(node), "0" if settings.values_targeted else "", str(number), str(temperature)]
        return (settings.values_separator or " ").join(field for field in fields if field)
    if settings.format == "PAIRS":
        key = settings.listen_apikey.get_secret_value() if settings.listen_apikey else ""
        pairs = [key, f"counter={number}", f"temp={temperature}"]
        return (settings.values_separator or " ").join(pair for pair in pairs if pair)
    values = {"device_1": {"temp": temperature, "counter": number}}
    return json.dumps(values) if settings.format == "JSON" else yaml.safe_dump(values)


def framed(text: str, rules: FramingRules) -> bytes:
    """A message as it travels."""
    data = text.encode()
    if rules.name in ("line", "pause"):
        return data.strip() + b"\r\n"
    if rules.name == "length":
        return len(data).to_bytes(rules.length_size, rules.length_order) + data
    return b"---\n" + data if rules.name == "yaml" else data


class TalkingServer:
    """A TCP server that says to everybody who connects what it is told to say, whole or in shreds."""

    def __init__(self) -> None:
        self.host, self.port = "", 0
        self.connects = 0
        self._writers: set[asyncio.StreamWriter] = set()
        self._changed = asyncio.Condition()
        self._server: asyncio.Server | None = None

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> Self:
        """Listen; again on the same port after `stop`."""
        self._server = await asyncio.start_server(self._serve, host, port or self.port)
        self.host, self.port = self._server.sockets[0].getsockname()[:2]
        return self

    async def stop(self) -> None:
        """Nobody is there any more."""
        if self._server is not None:
            self._server.close()
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def connected(self, times: int = 1) -> None:
        """Wait until somebody has connected for the `times`-th time."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.connects >= times and bool(self._writers))

    async def send(self, data: bytes) -> None:
        """Say it to all who are connected."""
        for writer in list(self._writers):
            with contextlib.suppress(ConnectionError):
                writer.write(data)
                await writer.drain()

    def close(self) -> None:
        """Say goodbye to all."""
        for writer in self._writers:
            writer.close()
        self._writers.clear()

    def tear(self) -> None:
        """The line is torn away: a reset, and whatever was under way is lost."""
        for writer in self._writers:
            connection: socket.socket = writer.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, TEAR)
            writer.transport.abort()
        self._writers.clear()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with self._changed:
            self._writers.add(writer)
            self.connects += 1
            self._changed.notify_all()
        try:
            while await reader.read(1024):
                pass
        except ConnectionError:
            pass
        finally:
            self._writers.discard(writer)
            writer.close()


async def simulate(
    settings: Settings, host: str = "127.0.0.1", port: int = 0, started: Callable[[str, int], None] | None = None
) -> None:
    """Say a message every second, for ever.

    For a client: to everybody who connects to `host`:`port`; `started` is told where. For a listener or UDP: to
    `LISTEN_PORT` on `host` (`port` overrides it), with a connection for each message, as OemGateway's example does.
    """
    rules = framing_of(settings)
    if settings.mode == "client":
        async with await TalkingServer().start(host, port) as server:
            if started is not None:
                started(server.host, server.port)
            await _every_second(lambda number: server.send(framed(message(settings, number), rules)))
    target = (host, port or settings.listen_port)
    log.info("messages are sent to %s:%d", *target)
    send = send_datagram if settings.mode == "udp" else send_once
    await _every_second(lambda number: send(*target, framed(message(settings, number), rules)))


async def _every_second(say: Callable[[int], Awaitable[None]]) -> None:
    number = 0
    told = False
    async for _ in PollClock(EVERY_S):
        number += 1
        try:
            await say(number)
            told = False
        except OSError as error:
            if not told:
                log.warning("message %d was not sent: %s", number, error)
            told = True


async def send_once(host: str, port: int, data: bytes) -> None:
    """Connect, say it, close."""
    _, writer = await asyncio.open_connection(host, port)
    writer.write(data)
    await writer.drain()
    writer.close()
    await writer.wait_closed()


async def send_datagram(host: str, port: int, data: bytes) -> None:
    """Send one datagram."""
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, remote_addr=(host, port))
    transport.sendto(data)
    transport.close()
