"""Datagrams."""

from __future__ import annotations

import socket

import pytest

from tests.connectors.socket.conftest import Running, counted, eventually, running

UDP = {"SOCKET_MODE": "udp"}


def send(run: Running, *datagrams: bytes) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for datagram in datagrams:
            sender.sendto(datagram, ("127.0.0.1", run.port))


async def test_a_datagram_is_whole_with_or_without_a_line_end() -> None:
    async with running(**UDP) as run:
        await run.link.until(lambda link: link.is_connected)
        send(run, b"14 15 26", b"14 15 27\r\n", b"15 1\n16 2\n", b"", b"nonsense", b"17 3")
        await run.link.until_values(5)
    assert run.link.readings[:2] == [{"14__1": 15, "14__2": 26}, {"14__1": 15, "14__2": 27}]
    assert run.link.readings[2:] == [{"15__1": 1}, {"16__1": 2}, {"17__1": 3}]
    assert len(run.link.faults) == 1


@pytest.mark.parametrize("parse_as", ["JSON", "YAML"])
async def test_a_datagram_is_one_text(parse_as: str) -> None:
    async with running(PARSE_AS=parse_as, **UDP) as run:
        send(run, b'{"t": 21.5}', b"{", b"22.5", b'{"t": [1, 2]}\n')
        await run.link.until_values(3)
    assert run.link.readings == [{"t": 21.5}, {"value": 22.5}, {"t__0": 1, "t__1": 2}]
    assert len(run.link.faults) == 1


async def test_several_objects_in_a_datagram_when_the_framing_says_so() -> None:
    async with running(PARSE_AS="JSON", SOCKET_FRAMING="json", **UDP) as run:
        send(run, b'{"t": 1}{"t": 2}{"t": ', b"3}", b'{"t": 4}')
        await run.link.until_values(3)
    assert run.link.readings == [{"t": 1}, {"t": 2}, {"t": 4}]
    assert len(run.link.faults) == 2


async def test_too_long_too_many_and_strangers_are_dropped_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    before = counted("socket_refused", limit="rate")
    async with running(RECV_BUFSIZE="50", SOCKET_MAX_MESSAGES_PER_SECOND="5", **UDP) as run:
        send(run, b"14 " + b"1" * 100, *(b"14 %d" % number for number in range(30)))
        await run.link.until_values(4)
        assert await run.link.until_faults(1) == ["longer than 50 bytes (RECV_BUFSIZE)"]
        assert [value["14__1"] for value in run.link.readings] == [0, 1, 2, 3]
        await eventually(lambda: counted("socket_refused", limit="rate") - before >= 20)
    assert caplog.text.count("exceeds SOCKET_MAX_MESSAGES_PER_SECOND; datagrams are dropped (said once)") == 1
    strangers = counted("socket_refused", limit="address")
    async with running(SOCKET_ALLOWED_NETWORKS="10.0.0.0/8", **UDP) as run:
        send(run, b"14 1", b"14 2")
        await eventually(lambda: counted("socket_refused", limit="address") - strangers == 2)
    assert run.link.raw == []


async def test_a_burst_is_taken() -> None:
    async with running(**UDP) as run:
        send(run, *(b"14 %d" % number for number in range(500)))
        values = await run.link.until_values(500)
    assert [value["14__1"] for value in values] == list(range(500))


async def test_a_port_that_is_taken_is_a_link_that_is_down() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        async with running(LISTEN_PORT=str(port), **UDP) as run:
            assert await run.ended() == f"cannot listen on 127.0.0.1:{port}: Address already in use"
