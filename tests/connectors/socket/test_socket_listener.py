"""Devices connect to us: real sockets, in every way that they are opened, cut and abused."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
import socket
import struct
import sys
import time

import pytest

from connectors.socket import devices, listener
from connectors.socket.connector import create
from tests.connectors.socket.conftest import connect, counted, running, settings_for
from wattbus.errors import CommandRejected
from wattbus.testing.waiting import PATIENCE_S

RESET = struct.pack("ii", 1, 0)  # SO_LINGER: closing sends a reset

# What OemGateway's example for its socket listener does (its frame ends in CR LF), in the Python of today.
EXAMPLE_CLIENT = """
import socket, sys
frame = '14 15 26' + '\\r\\n'
s = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
s.connect(('127.0.0.1', int(sys.argv[1])))
s.send(frame.encode())
s.close()
"""


async def test_the_example_client_of_oemgateway_works_as_it_is() -> None:
    async with running() as run:
        await run.link.until(lambda link: link.is_connected)  # it listens: nobody has to come at once
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", EXAMPLE_CLIENT, str(run.port))
        assert await run.link.until_values(1) == [{"14__1": 15, "14__2": 26}]
        assert await process.wait() == 0
    assert run.link.raw == [{"peer": "127.0.0.1", "text": "14 15 26"}]


async def test_a_thousand_clients_that_open_send_and_close() -> None:
    def send(first: int) -> None:
        for number in range(first, first + 250):
            with socket.create_connection(("127.0.0.1", run.port), timeout=PATIENCE_S) as client:
                client.send(f"14 {number}\r\n".encode())

    async with running() as run:
        await asyncio.gather(*(asyncio.to_thread(send, 250 * part) for part in range(4)))
        values = await run.link.until_values(1000)
    assert sorted(value["14__1"] for value in values) == list(range(1000))
    assert run.link.reasons == []


async def test_a_connection_may_stay_and_say_more() -> None:
    async with running() as run:
        with connect(run.port) as first, connect(run.port) as second:
            first.sendall(b"14 1\r\n")
            second.sendall(b"15 1\r\n")
            await run.link.until_values(2)
            first.sendall(b"14 2\r\n14 3\n14 4\r")
            await run.link.until_values(5)
    assert sorted(map(repr, run.link.readings)) == sorted(
        map(repr, [{"14__1": 1}, {"15__1": 1}, {"14__1": 2}, {"14__1": 3}, {"14__1": 4}])
    )


async def test_byte_by_byte() -> None:
    async with running() as run:
        _, writer = await asyncio.open_connection("127.0.0.1", run.port)
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in b"14 15 26\r\n15 1\n":
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0)
        assert await run.link.until_values(2) == [{"14__1": 15, "14__2": 26}, {"15__1": 1}]
        writer.close()


@pytest.mark.parametrize("torn", [False, True])
async def test_a_line_that_is_cut_gives_no_value_and_the_next_connection_does(torn: bool) -> None:
    before = counted("socket_dropped_bytes")
    async with running() as run:
        with connect(run.port) as client:
            client.sendall(b"14 15 26\r\n14 15 2")
            await run.link.until_values(1)
            if torn:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        assert await run.link.until_faults(1) == ["cut: the connection ended inside a message"]
        with connect(run.port) as client:
            client.sendall(b"14 15 27\r\n")
        assert await run.link.until_values(2) == [{"14__1": 15, "14__2": 26}, {"14__1": 15, "14__2": 27}]
    assert run.link.raw[1]["text"] == "14 15 2"
    assert counted("socket_dropped_bytes") - before == 7


async def test_noise_wrong_bytes_and_endless_lines_cost_themselves_alone() -> None:
    async with running(RECV_BUFSIZE="100") as run:
        with connect(run.port) as client:
            client.sendall(
                b"\xff\x00\x80 GET / HTTP/1.1\r\n14 15\xff 26\r\n14 1x 26\r\n" + b"9 " * 5000 + b"\r\n14 15 26\r\n"
            )
            assert await run.link.until_values(1) == [{"14__1": 15, "14__2": 26}]
    assert run.link.reasons == [
        "'\ufffd\\x00\ufffd' is no node (a whole number)",
        "'15\ufffd' is not a number",
        "'1x' is not a number",
        "longer than 100 bytes (RECV_BUFSIZE)",
    ]
    assert [len(raw.get("text", raw.get("hex"))) for raw in run.link.raw[:4]] == [36, 18, 8, 100]


async def test_who_is_in_no_allowed_network_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    before = counted("socket_refused", limit="address")
    async with running(SOCKET_ALLOWED_NETWORKS="192.168.0.0/24, ::1") as run:
        for _ in range(3):
            with connect(run.port) as client, contextlib.suppress(ConnectionError):
                client.sendall(b"14 15 26\r\n")
                assert await asyncio.get_running_loop().run_in_executor(None, client.recv, 10) == b""
    assert run.link.raw == []
    assert counted("socket_refused", limit="address") - before == 3
    said = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert said == ["127.0.0.1: is not in SOCKET_ALLOWED_NETWORKS; it is refused (said once)"]


async def test_ipv4_and_ipv6_on_one_port() -> None:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            pass
    except OSError as error:
        pytest.skip(f"no IPv6 on this machine: {error}")
    async with running(LISTEN_HOST="::") as run:
        for host in ("127.0.0.1", "::1"):
            with connect(run.port, host) as client:
                client.sendall(b"14 1\n")
        await run.link.until_values(2)
    assert sorted(raw["peer"] for raw in run.link.raw) == ["127.0.0.1", "::1"]


async def test_a_sender_beyond_its_rate_waits_and_loses_nothing(caplog: pytest.LogCaptureFixture) -> None:
    before = counted("socket_refused", limit="rate")
    async with running(SOCKET_MAX_MESSAGES_PER_SECOND="200") as run:
        _, writer = await asyncio.open_connection("127.0.0.1", run.port)
        for number in range(0, 400, 4):
            writer.write(b"".join(b"14 %d\r\n" % each for each in range(number, number + 4)))
            await writer.drain()
            await asyncio.sleep(0)
        writer.close()
        values = await run.link.until_values(400)
    assert [value["14__1"] for value in values] == list(range(400))
    assert counted("socket_refused", limit="rate") > before
    assert [record.message for record in caplog.records if "exceeds" in record.message] == [
        "127.0.0.1: exceeds SOCKET_MAX_MESSAGES_PER_SECOND; it has to wait (said once)"
    ]


async def test_a_flood_in_one_packet_makes_the_next_wait() -> None:
    async with running(SOCKET_MAX_MESSAGES_PER_SECOND="100") as run:
        with connect(run.port) as client:
            clock = time.monotonic
            started = clock()
            client.sendall(b"14 1\n" * 150)
            await run.link.until_values(150)
            client.sendall(b"14 2\n")
            await run.link.until_values(151)
            assert clock() - started > 0.45  # 50 too many at 100 per second


async def test_a_newcomer_gets_the_place_of_the_one_that_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    """A device that lost its power leaves its connection behind; the others are heard all the same."""
    monkeypatch.setattr(listener, "GIVES_WAY_AFTER_S", 0.3)
    before = counted("socket_refused", limit="clients")
    async with running(SOCKET_MAX_CLIENTS="2") as run, contextlib.AsyncExitStack() as stack:
        clock = time.monotonic
        started = clock()
        lost = stack.enter_context(connect(run.port))
        lost.sendall(b"1 1\n")
        await run.link.until_values(1)
        busy = stack.enter_context(connect(run.port))
        busy.sendall(b"2 1\n")
        await run.link.until_values(2)
        newcomer = stack.enter_context(connect(run.port))
        newcomer.sendall(b"3 1\n")
        busy.sendall(b"2 2\n")
        await run.link.until_values(4)
        assert {"3__1": 1} in run.link.readings
        assert clock() - started > 0.3  # nobody was silent for long enough before: it had to wait
        busy.sendall(b"2 3\n")
        await run.link.until_values(5)
        lost.setblocking(True)
        assert await asyncio.to_thread(lost.recv, 10) == b""  # it was asked to leave
    assert counted("socket_refused", limit="clients") > before


async def test_a_place_that_gets_free_is_given_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "GIVES_WAY_AFTER_S", 10 * PATIENCE_S)
    async with running(SOCKET_MAX_CLIENTS="1") as run:
        with connect(run.port) as first:
            first.sendall(b"1 1\n")
            await run.link.until_values(1)
            with connect(run.port) as second:
                second.sendall(b"2 1\n")
                first.close()
                async with asyncio.timeout(PATIENCE_S):
                    assert await run.link.until_values(2) == [{"1__1": 1}, {"2__1": 1}]


async def test_who_connects_and_says_nothing_gives_way_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "MUTE_GIVES_WAY_AFTER_S", 0.02)
    monkeypatch.setattr(listener, "GIVES_WAY_AFTER_S", 10 * PATIENCE_S)
    async with running(SOCKET_MAX_CLIENTS="2") as run, contextlib.AsyncExitStack() as stack:
        speaker = stack.enter_context(connect(run.port))
        speaker.sendall(b"1 1\n")
        await run.link.until_values(1)
        for _ in range(10):
            stack.enter_context(connect(run.port)).sendall(b"9")
        stack.enter_context(connect(run.port)).sendall(b"2 1\n")
        async with asyncio.timeout(PATIENCE_S):
            await run.link.until_values(2)
        speaker.sendall(b"1 2\n")
        assert await run.link.until_values(3) == [{"1__1": 1}, {"2__1": 1}, {"1__1": 2}]


async def test_who_has_sent_something_is_heard_however_late_we_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that hangs for longer than the patience with mute connections costs no message."""
    monkeypatch.setattr(listener, "MUTE_GIVES_WAY_AFTER_S", 0.001)
    async with running(SOCKET_MAX_CLIENTS="2") as run:
        for number in range(10):
            with connect(run.port) as client:
                client.sendall(b"14 %d\n" % number)
        async with asyncio.timeout(PATIENCE_S):
            while len(run.link.raw) < 10:
                time.sleep(0.002)  # the loop hangs, in each of its turns  # noqa: ASYNC251
                await asyncio.sleep(0)
    assert sorted(reading["14__1"] for reading in run.link.readings) == list(range(10))


async def test_an_idle_connection_is_closed_and_a_half_line_does_not_keep_it(caplog: pytest.LogCaptureFixture) -> None:
    async with running(SOCKET_IDLE_SECONDS="0.3") as run:
        with connect(run.port) as client:
            client.sendall(b"14 1\n14")
            await run.link.until_values(1)
            assert await asyncio.to_thread(client.recv, 10) == b""
        assert await run.link.until_faults(1) == ["cut: the connection ended inside a message"]
    assert "127.0.0.1: has sent no message for 0.3 s; the connection is closed (said once)" in caplog.text


async def test_lines_without_the_key_are_dropped_and_the_key_is_kept_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    key = "0123456789abcdef0123456789abcdef"
    async with running(LISTEN_APIKEY=key, SOCKET_SILENCE_SECONDS="60") as run:
        with connect(run.port) as client:
            lines = [f"{key} 14 15 26", "14 15 27", f"{key[:-1]} 14 15 28", f"14 15 29 {key}", f"{key} 14 1x"]
            client.sendall("".join(f"{line}\r\n" for line in lines).encode() + key.encode()[:20])
            await run.link.until_values(2)
        await run.link.until_faults(2)
    assert run.link.readings == [{"14__1": 15, "14__2": 26}, {"14__1": 15, "14__2": 29}]
    assert key[:16] not in repr(run.link.raw) + caplog.text + repr(run.link.reasons)
    assert caplog.text.count("without the right LISTEN_APIKEY") == 1


async def test_lines_that_come_in_one_message_are_never_made_one_line_by_taking_out_their_keys() -> None:
    settings = {"LISTEN_APIKEY": "0123456789", "SOCKET_FRAMING": "pause", "SOCKET_PAUSE_SECONDS": "0.05"}
    async with running(**settings) as run:
        with connect(run.port) as client:
            client.sendall(b"0123456789 14 15 26\r\n0123456789 14 16 27\r\n")
            assert "several lines in one message" in (await run.link.until_faults(1))[0]
            client.sendall(b"0123456789 14 15 26\r\n")
            assert await run.link.until_values(1) == [{"14__1": 15, "14__2": 26}]
    assert "0123456789" not in repr(run.link.raw)


async def test_the_key_stands_between_separators_like_any_value() -> None:
    async with running(LISTEN_APIKEY="0123456789", VALUES_SEPARATOR=",", PARSE_AS="NUMBERS") as run:
        with connect(run.port) as client:
            client.sendall(b"0123456789, 1,2\r\n3,4\r\n5,6,0123456789\r\n")
            assert await run.link.until_values(2) == [{"1": 1, "2": 2}, {"1": 5, "2": 6}]


@pytest.fixture
def _looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "LOOK_EVERY_S", 0.05)


@pytest.mark.usefixtures("_looks_often")
async def test_a_node_that_falls_silent_is_told_and_told_again_when_it_is_back() -> None:
    nodes = '{"14": {"name": "attic", "silence_seconds": 0.5}, "15": {"silence_seconds": 0.5}, "16": {}}'
    async with running(SOCKET_NODES=nodes) as run:
        with connect(run.port) as client:
            client.sendall(b"14 1\n16 1\n17 1\n")
            await run.link.until(lambda link: len(link.units) == 2)
            assert sorted(run.link.units) == [("15", False, "silent for 0.5 s"), ("attic", False, "silent for 0.5 s")]
            client.sendall(b"14 nonsense\n14 2\n")
            await run.link.until(lambda link: len(link.units) == 3)
            assert run.link.units[2] == ("attic", True, "")


async def test_json_with_the_senders_address_in_front() -> None:
    async with running(PARSE_AS="JSON", SOCKET_PREFIX_PEER="TRUE") as run:
        with connect(run.port) as client:
            client.sendall(b'{"t": 21.5}{"t"')
            client.sendall(b': 22, "s": "}{"}\n')
            assert await run.link.until_values(2) == [
                {"127.0.0.1__t": 21.5},
                {"127.0.0.1__t": 22, "127.0.0.1__s": "}{"},
            ]


@pytest.mark.usefixtures("_looks_often")
async def test_senders_that_nothing_tells_apart_are_one_device(caplog: pytest.LogCaptureFixture) -> None:
    async with running(PARSE_AS="JSON", SOCKET_SILENCE_SECONDS="0.4") as run:
        await run.link.until(lambda link: link.units == [("sender", False, "silent for 0.4 s")])
        for address in ("127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.1"):
            with socket.create_connection(("127.0.0.1", run.port), source_address=(address, 0)) as client:
                client.sendall(b'{"t": 1}')
        await run.link.until_values(4)
        assert run.link.units[1] == ("sender", True, "")
    said = [record.message for record in caplog.records if "nothing tells apart" in record.message]
    assert len(said) == 1
    assert said[0].startswith("127.0.0.1 and 127.0.0.")


async def test_a_port_that_is_taken_is_a_link_that_is_down() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        async with running(LISTEN_PORT=str(port)) as run:
            assert await run.ended() == f"cannot listen on 127.0.0.1:{port}: Address already in use"


async def test_an_address_that_is_not_ours_is_a_link_that_is_down() -> None:
    async with running(LISTEN_HOST="192.0.2.1") as run:
        assert "cannot listen on 192.0.2.1:0: Cannot assign requested address" in await run.ended()


async def test_the_port_is_free_again_when_it_ends() -> None:
    async with running() as run:
        port = run.port
        with connect(port) as client:
            client.sendall(b"14 1\n")
            await run.link.until_values(1)
    with pytest.raises(ConnectionRefusedError):
        connect(port)
    async with running(LISTEN_PORT=str(port)) as again:
        assert again.port == port


async def test_nothing_can_be_written() -> None:
    connector = create(settings_for())
    assert list(connector.datapoints()) == []
    with pytest.raises(CommandRejected, match="receives only"):
        await connector.write("14__1", 5)


async def test_socat_is_a_device_too() -> None:
    """A peer that none of us wrote: one line from a shell, over TCP and over UDP."""
    if shutil.which("socat") is None:
        pytest.skip("socat is not installed")
    for mode, kind in (("listener", "TCP"), ("udp", "UDP")):
        async with running(SOCKET_MODE=mode) as run:
            socat = await asyncio.create_subprocess_exec(
                "socat", "-u", "-", f"{kind}:127.0.0.1:{run.port}", stdin=asyncio.subprocess.PIPE
            )
            await socat.communicate(b"98 3.8 1.6 5.2 80.3\r\n")
            assert await run.link.until_values(1) == [{"98__1": 3.8, "98__2": 1.6, "98__3": 5.2, "98__4": 80.3}]


async def test_text_in_another_encoding_is_taken_counted_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    before = counted("socket_replaced_characters")
    async with running(PARSE_AS="JSON") as run:
        with connect(run.port) as client:
            client.sendall(b'{"room": "K\xfcche", "t": 21.5}' * 2)
            assert await run.link.until_values(2) == [{"room": "K\ufffdche", "t": 21.5}] * 2
    assert counted("socket_replaced_characters") - before == 2
    said = [record.getMessage() for record in caplog.records if "SOCKET_ENCODING" in record.getMessage()]
    assert said == ["127.0.0.1: sends characters that are not in SOCKET_ENCODING=utf-8; they are replaced (said once)"]


async def test_an_array_that_never_ends_over_tcp() -> None:
    async with running(PARSE_AS="JSON", SOCKET_PAUSE_SECONDS="0.05") as run:
        with connect(run.port) as client:
            client.sendall(b'[\n{"t":1},\n{"t":2},\n')
            assert await run.link.until_values(2) == [{"t": 1}, {"t": 2}]
            client.sendall(b'{"t":3},\n')
            assert await run.link.until_values(3) == [{"t": 1}, {"t": 2}, {"t": 3}]
