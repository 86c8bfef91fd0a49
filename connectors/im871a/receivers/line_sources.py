"""Where lines of text with telegrams come from.

tcp://host:port              we connect
tcp-listen://address:port    programs and gateways connect to us, at most 20 at once
udp-listen://address:port    one datagram, one or more whole lines
serial                       the port that IM871A_PORT names
stdin                        another program's output: `rtl_wmbus … | wattbus run im871a`
mqtt:topic                   of the broker of this connector; `+` and `#` as MQTT has them
mqtt://host:port/topic       of another broker; mqtts:// with TLS
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn, Protocol
from urllib.parse import urlsplit

from links.serial_line import open_line
from links.serial_port import SerialPort
from links.serial_splitter import Lines
from wattbus.errors import LinkDown
from wattbus.mqtt.client import MqttClient
from wattbus.settings import BrokerSettings

FORMS = (
    "tcp://host:port, tcp-listen://address:port, udp-listen://address:port, serial, stdin, mqtt:topic or "
    "mqtt://host:port/topic"
)
MOST_CONNECTIONS = 20
CHUNK_BYTES = 4096
BROKER_AWAY_S = 10.0  # of a broker: longer, and the link is down
SCHEMES = {"tcp": None, "tcp-listen": None, "udp-listen": None, "mqtt": 1883, "mqtts": 8883}

TakeLine = Callable[[bytes], None]
Connected = Callable[[], None]  # the other side is there


@dataclass(frozen=True, slots=True)
class LineAddress:
    """What a name in the form above means."""

    scheme: str
    host: str = ""
    port: int = 0
    topic: str = ""


def parse_address(text: str) -> LineAddress:
    """Raises ValueError, which says what is expected."""
    if text in ("serial", "stdin"):
        return LineAddress(text)
    if text.startswith("mqtt:") and not text.startswith("mqtt://"):
        return _with_topic(LineAddress("mqtt", topic=text.removeprefix("mqtt:")))
    # `#` in a topic is no fragment here.
    parts = urlsplit(text.replace("#", "%23"))
    if parts.scheme not in SCHEMES:
        raise ValueError(f"{text!r} is not known; expected {FORMS}")
    try:
        port = parts.port or SCHEMES[parts.scheme]
    except ValueError:
        port = None
    if not parts.hostname or not port:
        raise ValueError(f"{text!r} needs host and port; expected {FORMS}")
    if parts.username or parts.password:
        raise ValueError("user and password have settings of their own: IM871A_LINES_USERNAME, IM871A_LINES_PASSWORD")
    address = LineAddress(parts.scheme, parts.hostname, port, parts.path.replace("%23", "#").removeprefix("/"))
    return _with_topic(address) if parts.scheme.startswith("mqtt") else address


def _with_topic(address: LineAddress) -> LineAddress:
    levels = address.topic.split("/")
    if not address.topic or "#" in levels[:-1] or any(len(one) > 1 and set(one) & set("+#") for one in levels):
        raise ValueError(f"{address.topic!r} is not a topic filter; expected mqtt:topic or mqtt://host:port/topic")
    return address


class LineSource(Protocol):
    """Gives lines for as long as `run` runs. `run` raises LinkDown."""

    async def run(self, connected: Connected, take: TakeLine) -> NoReturn: ...


class LineOverPort:
    """A byte line: a serial port, or a TCP connection that we make."""

    def __init__(self, port: SerialPort) -> None:
        self._port = port

    async def run(self, connected: Connected, take: TakeLine) -> NoReturn:
        async with open_line(self._port) as line:
            connected()  # receivers need not say anything for hours
            lines = Lines()
            while True:
                for text in lines.feed(await line.read()):
                    take(text)


class LinesFromClients:
    """Programs and gateways connect to us. `started` is told the address."""

    def __init__(self, host: str, port: int, started: Callable[[str, int], None] = lambda host, port: None) -> None:
        self._host, self._port, self._started = host, port, started

    async def run(self, connected: Connected, take: TakeLine) -> NoReturn:
        writers: set[asyncio.StreamWriter] = set()
        tasks: set[asyncio.Task[None]] = set()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            if len(writers) >= MOST_CONNECTIONS:
                writer.transport.abort()
                return
            writers.add(writer)
            tasks.add(task)
            lines = Lines()
            try:
                with contextlib.suppress(OSError):
                    while data := await reader.read(CHUNK_BYTES):
                        for text in lines.feed(data):
                            take(text)
                for text in lines.feed(b"\n"):  # the last line need not have an end
                    take(text)
            finally:
                writers.discard(writer)
                tasks.discard(task)
                writer.transport.abort()

        try:
            server = await asyncio.start_server(serve, self._host, self._port)
        except OSError as error:
            raise LinkDown(f"cannot listen on {self._host}:{self._port}: {error.strerror or error}") from None
        try:
            self._started(*server.sockets[0].getsockname()[:2])
            connected()
            await asyncio.Event().wait()
        finally:
            server.close()
            for writer in list(writers):
                writer.transport.abort()
            if tasks:
                await asyncio.wait(tasks)
        raise AssertionError("unreachable")


class LinesFromDatagrams:
    """UDP. `started` is told the address."""

    def __init__(self, host: str, port: int, started: Callable[[str, int], None] = lambda host, port: None) -> None:
        self._host, self._port, self._started = host, port, started

    async def run(self, connected: Connected, take: TakeLine) -> NoReturn:
        class Protocol(asyncio.DatagramProtocol):
            def datagram_received(self, data: bytes, addr: object) -> None:
                for text in data.splitlines():
                    take(text)

        try:
            transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
                Protocol, local_addr=(self._host, self._port)
            )
        except OSError as error:
            raise LinkDown(f"cannot listen on {self._host}:{self._port}: {error.strerror or error}") from None
        try:
            self._started(*transport.get_extra_info("sockname")[:2])
            connected()
            await asyncio.Event().wait()
        finally:
            transport.close()
        raise AssertionError("unreachable")


class LinesFromStandardInput:
    """Another program's output through a pipe."""

    def __init__(self, descriptor: int | None = None) -> None:
        self._descriptor = descriptor

    async def run(self, connected: Connected, take: TakeLine) -> NoReturn:
        descriptor = sys.stdin.fileno() if self._descriptor is None else self._descriptor
        reader = asyncio.StreamReader()
        # Closing the transport closes what it reads, and run() may be entered again.
        pipe = os.fdopen(os.dup(descriptor), "rb", buffering=0)
        try:
            transport, _ = await asyncio.get_running_loop().connect_read_pipe(
                lambda: asyncio.StreamReaderProtocol(reader), pipe
            )
        except ValueError:
            pipe.close()
            raise LinkDown(
                "standard input is a file: telegrams are read from a pipe (cat FILE | wattbus run …)"
            ) from None
        try:
            connected()
            lines = Lines()
            while data := await reader.read(CHUNK_BYTES):
                for text in lines.feed(data):
                    take(text)
            for text in lines.feed(b"\n"):
                take(text)
        finally:
            transport.close()
        raise LinkDown("standard input has ended: has the program in front of the pipe stopped?")


class LinesFromTopic:
    """What another program publishes. Raises ConfigError when its certificates cannot be read."""

    def __init__(self, broker: BrokerSettings, client_id: str, topic: str) -> None:
        self._broker, self._client_id, self._topic = broker, client_id, topic

    async def run(self, connected: Connected, take: TakeLine) -> NoReturn:
        client = MqttClient(self._broker, self._client_id)
        await client.subscribe([self._topic])
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(client.run(), name="broker with telegrams")
            tasks.create_task(self._watch(client, connected), name="whether that broker is there")
            while True:
                for message in await client.next_deliveries(100):
                    if not message.retain:  # an old telegram is no news
                        for text in message.payload.splitlines():
                            take(text)
                    message.acknowledge()

    async def _watch(self, client: MqttClient, connected: Connected) -> NoReturn:
        """Raises LinkDown when the broker is away for long."""
        gone = asyncio.Event()
        client.on_disconnect(gone.set)
        while True:
            try:
                async with asyncio.timeout(BROKER_AWAY_S):
                    await client.wait_connected()
            except TimeoutError:
                raise LinkDown(f"broker {self._broker.mqtt_broker_host}: {client.fault}") from None
            connected()
            await gone.wait()
            gone.clear()
