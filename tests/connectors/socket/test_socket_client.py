"""We connect to a server: it sends in shreds, closes, is torn away, or says nothing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from connectors.socket import client as client_module
from connectors.socket.simulator import TalkingServer
from tests.connectors.socket.conftest import client_of, connect, counted, running
from wattbus.retry import Backoff
from wattbus.testing.clock import turns
from wattbus.testing.waiting import PATIENCE_S


@pytest.fixture(autouse=True)
def _soon_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Connects again sooner than the second that it takes in earnest."""
    monkeypatch.setattr(client_module, "Backoff", lambda: Backoff(first_s=0.05))


@pytest.fixture
async def server() -> AsyncIterator[TalkingServer]:
    async with await TalkingServer().start() as server:
        yield server


async def test_one_packet_may_hold_many_messages_and_a_message_many_packets(server: TalkingServer) -> None:
    async with client_of(server) as client:
        await server.connected()
        texts = [json.dumps({"n": number, "s": "ä€" * number}, ensure_ascii=False) for number in range(30)]
        await server.send("".join(texts).encode())
        await client.link.until_values(30)
        for byte in "".join(texts[:5]).encode():
            await server.send(bytes([byte]))
            await asyncio.sleep(0)
        await client.link.until_values(35)
    assert [value["n"] for value in client.link.readings] == [*range(30), *range(5)]
    assert client.link.raw[0]["peer"] == "127.0.0.1"


async def test_noise_and_damage_are_survived_and_counted(server: TalkingServer) -> None:
    dropped = counted("socket_dropped_bytes")
    async with client_of(server, RECV_BUFSIZE="100") as client:
        await server.connected()
        await server.send(b'\xff\xfe{"inner": {"a": 1}, "x": 2}\n{"a": 1}')
        await server.send(b'{"a": 2, "lost": [1, {"a": 3}\n{"a": 4}' + b'{"long": "' + b"x" * 1000 + b'"}{"a": 5}')
        await client.link.until_values(3)
    assert client.link.readings == [{"a": 1}, {"a": 4}, {"a": 5}]
    assert len(client.link.faults) == 3
    assert counted("socket_dropped_bytes") - dropped > 1000


async def test_a_server_that_closes_behind_each_message_is_connected_to_again(server: TalkingServer) -> None:
    async with client_of(server) as client:
        for number in (1, 2):
            await server.connected(number)
            await server.send(b'{"n": %d}' % number)
            await client.link.until_values(number)
            server.close()
        await server.connected(3)
        assert not client.task.done()


async def test_a_server_that_closes_without_a_message_is_down(server: TalkingServer) -> None:
    async with client_of(server) as client:
        await server.connected()
        server.close()
        assert "closed the connection" in await client.ended()


async def test_the_line_is_torn_away_in_the_middle_and_comes_back(server: TalkingServer) -> None:
    async with client_of(server) as client:
        await server.connected()
        await server.send(b'{"n": 1}{"n": 2')
        await client.link.until_values(1)
        server.tear()
        await server.connected(2)
        await server.send(b'{"n": 3}')
        await client.link.until_values(2)
        await server.stop()
        assert await client.ended()
    assert client.link.readings == [{"n": 1}, {"n": 3}]
    assert client.link.reasons == ["cut: the connection ended inside a message"]
    await server.start()
    async with client_of(server) as client:  # the runtime enters again
        await server.connected(3)
        await server.send(b'{"n": 4}')
        assert await client.link.until_values(1) == [{"n": 4}]


@pytest.mark.parametrize("torn", [False, True])
async def test_a_goodbye_ends_a_message_of_framing_pause_and_a_torn_line_does_not(
    server: TalkingServer, torn: bool
) -> None:
    settings = {"PARSE_AS": "VALUES", "SOCKET_FRAMING": "pause", "SOCKET_PAUSE_SECONDS": "60"}
    async with client_of(server, **settings) as client:
        await server.connected()
        await server.send(b"14 15 2")
        await turns()  # on this machine it has arrived now; a reset would discard what is unread
        if torn:
            server.tear()
            assert await client.link.until_faults(1) == ["cut: the connection ended inside a message"]
        else:
            server.close()
            assert await client.link.until_values(1) == [{"14__1": 15, "14__2": 2}]


async def test_who_is_told_to_end_while_the_server_closes_does_end(server: TalkingServer) -> None:
    settings = {"PARSE_AS": "VALUES", "SOCKET_FRAMING": "pause", "SOCKET_PAUSE_SECONDS": "60", "RECV_TIMEOUT": "20"}
    async with client_of(server, **settings) as client:
        await server.connected()
        await server.send(b"14 15 2")
        server.close()
        await client.link.until_values(1)  # it is given while the end of the connection is dealt with
        client.task.cancel()
        await asyncio.wait([client.task], timeout=PATIENCE_S)
        assert client.task.cancelled()


async def test_nobody_there() -> None:
    server = await TalkingServer().start()
    await server.stop()
    async with client_of(server) as client:
        assert "refused" in await client.ended()
    async with running(SERVER_IP="no-such-host.invalid", SERVER_PORT="1") as client:
        assert await client.ended()


async def test_recv_timeout_ends_a_connection_that_gives_no_message(server: TalkingServer) -> None:
    """Half-open, or just mute: both look like this. Bytes that are not a message do not count."""
    async with client_of(server, RECV_TIMEOUT="0.7") as client:
        await server.connected()
        await server.send(b'{"n": 1}')
        await client.link.until_values(1)
        await server.send(b"    ")
        ended = await client.ended()
    assert "silent for 0.7 s" in ended


async def test_recv_timeout_0_wants_a_message_at_once(server: TalkingServer) -> None:
    async with client_of(server, RECV_TIMEOUT="0") as client:
        assert "silent for 0.1 s" in await client.ended()
        assert not client.link.is_connected


@pytest.mark.parametrize("message", [b'{"n": 1}', b"{]}\n"])
async def test_where_a_message_is_due_it_is_the_answer(server: TalkingServer, message: bytes) -> None:
    async with client_of(server, RECV_TIMEOUT="20", SOCKET_FRAMING="line") as client:
        await server.connected()
        assert not client.link.is_connected
        await server.send(message + b"\n")
        await client.link.until(lambda link: link.is_connected)


async def test_a_negative_recv_timeout_waits_for_ever(server: TalkingServer) -> None:
    async with client_of(server, RECV_TIMEOUT="-1") as client:
        await server.connected()
        await client.link.until(lambda link: link.is_connected)
        await asyncio.sleep(0.5)
        assert not client.task.done()
        await server.send(b'{"n": 1}')
        await client.link.until_values(1)


async def test_a_slow_reader_is_not_a_silent_server(server: TalkingServer) -> None:
    """What is beyond the rate waits at the sender, and that silence is ours."""
    async with client_of(server, RECV_TIMEOUT="0.6", SOCKET_MAX_MESSAGES_PER_SECOND="20", PARSE_AS="NUMBERS") as client:
        await server.connected()
        await server.send(b"1\n" * 40)
        await client.link.until_values(40)
        await server.send(b"2\n")
        await client.link.until_values(41)
        assert not client.task.done()


async def test_yaml_by_pause_and_by_marker(server: TalkingServer) -> None:
    async with client_of(server, PARSE_AS="YAML", SOCKET_PAUSE_SECONDS="0.1") as client:
        await server.connected()
        await server.send(b"dummy_dp:\n  sensor_1: 2.0\n")  # as BEMCom's devices send: nothing behind it
        assert await client.link.until_values(1) == [{"dummy_dp__sensor_1": 2.0}]
        await server.send(b"a: 1\n---\na: 2\n...\n")
        assert (await client.link.until_values(3))[1:] == [{"a": 1}, {"a": 2}]


async def test_lengths_find_their_place_again(server: TalkingServer) -> None:
    def framed(text: bytes) -> bytes:
        return len(text).to_bytes(2, "little") + text

    framing = {"SOCKET_FRAMING": "length", "SOCKET_LENGTH_BYTES": "2", "SOCKET_LENGTH_ORDER": "little"}
    async with client_of(server, SOCKET_PAUSE_SECONDS="0.05", **framing) as client:
        await server.connected()
        await server.send(framed(b'{"n": 1}') + b"\xff\xff\xff" + framed(b'{"n": 2}'))
        await client.link.until_faults(1)  # told once the sender has paused
        await server.send(framed(b'{"n": 3}') + framed(b'{"n": 4}'))
        assert await client.link.until_values(3) == [{"n": 1}, {"n": 3}, {"n": 4}]


async def test_lines_of_a_converter_that_is_joined_midway(server: TalkingServer) -> None:
    async with client_of(server, PARSE_AS="VALUES", SOCKET_JOINS_MIDWAY="TRUE") as client:
        await server.connected()
        await server.send(b"5 26\r\n14 15 26\r\n")
        assert await client.link.until_values(1) == [{"14__1": 15, "14__2": 26}]
    assert client.link.reasons == []


async def test_the_talking_server_is_a_server_for_anybody(server: TalkingServer) -> None:
    with connect(server.port) as client:
        await server.connected()
        await server.send(b"hello")
        assert await asyncio.to_thread(client.recv, 10) == b"hello"
