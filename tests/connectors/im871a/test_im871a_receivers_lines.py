"""Telegrams as lines: over TCP both ways, UDP, a serial port, standard input, and MQTT."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest

from connectors.im871a.receivers import line_sources
from connectors.im871a.receivers.choosing import UNREADABLE
from connectors.im871a.receivers.line_sources import (
    LineAddress,
    LinesFromClients,
    LinesFromStandardInput,
    parse_address,
)
from connectors.im871a.simulated_air import EXAMPLE_METER, ExampleMeter
from links.serial_pty import PseudoTerminal
from tests.connectors.im871a.conftest import METERS, connector_for
from wattbus.errors import LinkDown
from wattbus.mqtt.client import MqttClient
from wattbus.mqtt.packets import Outgoing
from wattbus.settings import BrokerSettings
from wattbus.testing.link import WITHIN_S, RecordingLink, entered

ENERGY = f"{EXAMPLE_METER}__energy_kwh"


def line_of(meter: ExampleMeter) -> bytes:
    return f"T1;1;1;2026-01-01 00:00:00.000;-60;;;0x{meter.telegram().hex()}\n".encode()


@contextlib.asynccontextmanager
async def hearing_lines(source: str, **variables: Any) -> AsyncIterator[RecordingLink]:
    more = {"IM871A_METERS": METERS, "IM871A_RECEIVER": "lines", "IM871A_LINES_FROM": source, **variables}
    connector = connector_for(variables.pop("port", "/dev/ttyUSB0"), **{k: v for k, v in more.items() if k != "port"})
    link = RecordingLink(connector)
    async with entered(connector, link):
        yield link


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    with socket.socket(socket.AF_INET, kind) as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def unreadable() -> float:
    [metric] = UNREADABLE.collect()
    return sum(one.value for one in metric.samples if one.name.endswith("_total"))


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("serial", LineAddress("serial")),
        ("stdin", LineAddress("stdin")),
        ("tcp://10.0.0.5:9022", LineAddress("tcp", "10.0.0.5", 9022)),
        ("tcp-listen://0.0.0.0:9022", LineAddress("tcp-listen", "0.0.0.0", 9022)),
        ("udp-listen://[::]:9022", LineAddress("udp-listen", "::", 9022)),
        ("mqtt:rtl_wmbus/+/raw", LineAddress("mqtt", topic="rtl_wmbus/+/raw")),
        ("mqtt://house/wmbus/#", LineAddress("mqtt", "house", 1883, "wmbus/#")),
        ("mqtts://house:8884/a/b", LineAddress("mqtts", "house", 8884, "a/b")),
    ],
)
def test_addresses(text: str, address: LineAddress) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize(
    "text",
    ["", "tcp", "tcp://host", "tcp://:1", "http://host:1", "mqtt:", "mqtt://host", "mqtt:a/#/b", "mqtt:a+/b",
     "tcp://host:99999", "mqtt://me:secret@host/a"],
)  # fmt: skip
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected|IM871A_LINES"):
        parse_address(text)


async def test_a_server_that_we_connect_to() -> None:
    meter, gone = ExampleMeter(), asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"rtl_wmbus: started\n" + line_of(meter))
        await reader.read()
        writer.close()
        gone.set()

    before = unreadable()
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with hearing_lines(f"tcp://127.0.0.1:{port}") as link:
        await link.until(lambda link: bool(link.raw))
        assert link.is_connected
        assert link.values[ENERGY] == 1234.57
        assert link.values[f"{EXAMPLE_METER}__rssi_dbm"] == -60
        assert unreadable() == before + 1
    await gone.wait()
    server.close()


async def test_programs_that_connect_to_us_and_the_last_line_without_an_end() -> None:
    meter, port = ExampleMeter(), free_port()
    async with hearing_lines(f"tcp-listen://127.0.0.1:{port}") as link:
        await link.until(lambda link: link.is_connected)
        for number in (1, 2):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(line_of(meter) + line_of(meter).rstrip())
            writer.close()
            await link.until(lambda link, number=number: len(link.raw) == 2 * number)
    with pytest.raises(OSError, match="Connect"):
        await asyncio.open_connection("127.0.0.1", port)


async def test_a_port_that_is_taken_is_said() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        source = LinesFromClients("127.0.0.1", taken.getsockname()[1])
        with pytest.raises(LinkDown, match="cannot listen on"):
            await source.run(lambda: None, lambda line: None)


async def test_only_so_many_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line_sources, "MOST_CONNECTIONS", 1)
    port = free_port()
    async with hearing_lines(f"tcp-listen://127.0.0.1:{port}") as link:
        await link.until(lambda link: link.is_connected)
        _, first = await asyncio.open_connection("127.0.0.1", port)
        first.write(line_of(ExampleMeter()))
        await link.until(lambda link: len(link.raw) == 1)
        reader, second = await asyncio.open_connection("127.0.0.1", port)
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
        first.close()
        second.close()


async def test_datagrams() -> None:
    meter, port = ExampleMeter(), free_port(socket.SOCK_DGRAM)
    async with hearing_lines(f"udp-listen://127.0.0.1:{port}") as link:
        await link.until(lambda link: link.is_connected)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as device:
            device.sendto(line_of(meter) + line_of(meter), ("127.0.0.1", port))
        await link.until(lambda link: len(link.raw) == 2)


async def test_a_serial_port() -> None:
    async with PseudoTerminal() as terminal, hearing_lines("serial", port=terminal.path) as link:
        await link.until(lambda link: link.is_connected)
        terminal.write(line_of(ExampleMeter()))
        await link.until(lambda link: bool(link.raw))


async def test_standard_input_through_a_pipe_and_its_end() -> None:
    ours, theirs = os.pipe()
    lines: list[bytes] = []
    os.write(theirs, b"one\ntwo")
    os.close(theirs)
    try:
        for _ in range(2):  # run() is entered again
            with pytest.raises(LinkDown, match="standard input has ended"):
                await LinesFromStandardInput(ours).run(lambda: None, lines.append)
    finally:
        os.close(ours)
    assert lines == [b"one", b"two"]


async def test_a_file_as_standard_input_is_said(tmp_path: Any) -> None:
    with (tmp_path / "telegrams").open("w+b") as file, pytest.raises(LinkDown, match="read from a pipe"):
        await LinesFromStandardInput(file.fileno()).run(lambda: None, lambda line: None)


@pytest.mark.parametrize("is_ours", [True, False])
async def test_what_a_program_publishes_at_our_broker_or_another(
    is_ours: bool, broker_settings: BrokerSettings
) -> None:
    meter, port = ExampleMeter(), broker_settings.mqtt_broker_port
    program = MqttClient(broker_settings, "rtl_wmbus")
    running = asyncio.create_task(program.run())
    await program.wait_connected()
    await program.publish(Outgoing("wmbus/raw", line_of(meter), retain=True))
    source = "mqtt:wmbus/+" if is_ours else f"mqtt://127.0.0.1:{port}/wmbus/+"
    async with hearing_lines(source, MQTT_BROKER_PORT=str(port if is_ours else free_port())) as link:
        await link.until(lambda link: link.is_connected)
        async with asyncio.timeout(WITHIN_S):
            while not link.raw:
                await program.publish(Outgoing("wmbus/raw", line_of(meter)))
                await asyncio.sleep(0.05)
        assert link.values[ENERGY] > 1234.57, "the retained one is old"
    await program.publish(Outgoing("wmbus/raw", b"", retain=True))
    running.cancel()
    await asyncio.wait([running])


async def test_a_broker_that_is_away_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line_sources, "BROKER_AWAY_S", 0.2)
    port = free_port()
    connector = connector_for(IM871A_RECEIVER="lines", IM871A_LINES_FROM=f"mqtt://127.0.0.1:{port}/wmbus")
    async with entered(connector) as running:
        assert "broker 127.0.0.1" in await running.ended()


async def test_a_source_that_is_there_and_says_nothing_is_not_connected_again() -> None:
    port = free_port()
    connector = connector_for(
        IM871A_RECEIVER="lines", IM871A_LINES_FROM=f"tcp-listen://127.0.0.1:{port}", IM871A_SILENT_SECONDS="0.1"
    )
    for is_connected in (True, False):
        link = RecordingLink(connector)
        async with entered(connector, link) as running:
            assert "silent" in await running.ended()
            assert link.is_connected == is_connected
