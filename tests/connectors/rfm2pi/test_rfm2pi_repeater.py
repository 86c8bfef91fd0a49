"""The repeater: lines from anywhere become packets, or an answer that says why not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from connectors.rfm2pi import repeater
from connectors.rfm2pi.board import NotConfirmed
from connectors.rfm2pi.repeater import LONGEST_LINE, MOST_CLIENTS, Repeater, parse_packet
from tests.connectors.rfm2pi.conftest import until
from wattbus.errors import CommandRejected
from wattbus.testing.link import WITHIN_S, RecordingLink


@pytest.mark.parametrize(
    ("line", "packet"),
    [
        ("1,2,3,20s", (b"\x01\x02\x03", 20, False)),
        ("00,16,02,00,s", (b"\x00\x10\x02\x00", 0, False)),
        (" 255,5a ", (b"\xff", 5, True)),
    ],
)
def test_packets(line: str, packet: tuple[bytes, int, bool]) -> None:
    assert parse_packet(line) == packet


@pytest.mark.parametrize(
    "line",
    ["", "4b", "210g", "123z", "s", "20s", "1,2", "1,256,s", "1,,2,s", "1,2,s;4b", "1,2,s4b", "-1,s", "1, 2,s", "१,s"],
)
def test_anything_else_is_refused(line: str) -> None:
    with pytest.raises(CommandRejected):
        parse_packet(line)


class Radio:
    """What a board would send; it can be told to refuse."""

    def __init__(self) -> None:
        self.sent: list[tuple[bytes, int, bool]] = []
        self.fault: Exception | None = None

    async def send(self, data: bytes, node: int = 0, *, acknowledge: bool = False) -> None:
        if self.fault is not None:
            raise self.fault
        self.sent.append((data, node, acknowledge))


@asynccontextmanager
async def listening(radio: Radio, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[int]:
    monkeypatch.setattr(repeater, "PAUSE_S", 0.01)
    port: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(Repeater("127.0.0.1", 0, radio.send).run(RecordingLink(), port.set_result))
    try:
        async with asyncio.timeout(WITHIN_S):
            yield await port
    finally:
        task.cancel()
        await asyncio.wait([task])


async def ask(port: int, data: bytes) -> list[bytes]:
    """What a client gets for its lines."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    writer.write_eof()
    answers = (await reader.read()).splitlines()
    writer.close()
    return answers


async def test_every_line_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    radio = Radio()
    async with listening(radio, monkeypatch) as port:
        answers = await ask(port, b"1,2,20s\r\n4b\r\n\xff\xfe\r\n3,s\n" + b"1," * LONGEST_LINE + b"s\n")
        assert answers == [
            b"ok",
            b"error: expected bytes and a node, such as 1,2,3,20s",
            b"error: expected bytes and a node, such as 1,2,3,20s",
            b"ok",
            b"error: the line is too long",
        ]
        assert radio.sent == [(b"\x01\x02", 20, False), (b"\x03", 0, False)]
        radio.fault = NotConfirmed("no answer")
        assert await ask(port, b"1,s\n") == [b"error: no answer"]


async def test_a_line_in_pieces_and_a_rest_without_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    radio = Radio()
    async with listening(radio, monkeypatch) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for piece in (b"1,", b"2,2", b"0s\r", b"\n9,s"):
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.01)
        assert await reader.readline() == b"ok\r\n"
        writer.close()
        assert await ask(port, b"3,s\n") == [b"ok"]
        assert radio.sent == [(b"\x01\x02", 20, False), (b"\x03", 0, False)]


async def test_too_many_clients_are_turned_away_and_come_in_later(monkeypatch: pytest.MonkeyPatch) -> None:
    radio = Radio()
    async with listening(radio, monkeypatch) as port:
        clients = [await asyncio.open_connection("127.0.0.1", port) for _ in range(MOST_CLIENTS)]
        for reader, writer in clients:  # they are all served
            writer.write(b"1,s\n")
            assert await reader.readline() == b"ok\r\n"
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        assert await reader.read() == b"error: too many clients\r\n"
        writer.close()
        for _, writer in clients:
            writer.close()
            await writer.wait_closed()

        async def comes_in() -> bool:
            return await ask(port, b"3,s\n") == [b"ok"]

        async with asyncio.timeout(WITHIN_S):
            while not await comes_in():
                await asyncio.sleep(0.01)
        assert radio.sent == [(b"\x01", 0, False)] * MOST_CLIENTS + [(b"\x03", 0, False)]


async def test_a_silent_client_is_not_kept_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repeater, "IDLE_S", 0.05)
    async with listening(Radio(), monkeypatch) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        assert await reader.read() == b""
        writer.close()


async def test_packets_are_paced(monkeypatch: pytest.MonkeyPatch) -> None:
    radio = Radio()
    async with listening(radio, monkeypatch) as port:
        monkeypatch.setattr(repeater, "PAUSE_S", 0.05)
        start = asyncio.get_running_loop().time()
        answers = await asyncio.gather(*(ask(port, b"1,s\n" * 2) for _ in range(3)))
        assert answers == [[b"ok", b"ok"]] * 3
        assert asyncio.get_running_loop().time() - start >= 6 * 0.05


async def test_the_end_of_the_connector_ends_its_clients(monkeypatch: pytest.MonkeyPatch) -> None:
    radio = Radio()
    async with listening(radio, monkeypatch) as port:
        reader, _ = await asyncio.open_connection("127.0.0.1", port)
        await until(lambda: True)
    async with asyncio.timeout(WITHIN_S):
        assert await reader.read() == b""
