"""Byte lines over real pseudo-terminals, TCP, an RFC 2217 port (pyserial's), and socat."""

import asyncio
import contextlib
import os
import shutil
import socket
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import serial
import serial.rfc2217

from links.serial_line import PAUSE_ABOVE_BYTES, Line, open_line
from links.serial_port import SerialPort
from links.serial_pty import PseudoTerminal
from wattbus.errors import LinkDown
from wattbus.testing.waiting import PATIENCE_S

WITHIN_S = PATIENCE_S


async def read_all(line: Line, count: int) -> bytes:
    data = b""
    async with asyncio.timeout(WITHIN_S):
        while len(data) < count:
            data += await line.read()
    return data


async def why_down(line: Line) -> str:
    with pytest.raises(LinkDown) as caught:
        async with asyncio.timeout(WITHIN_S):
            while True:
                await line.read()
    return str(caught.value)


async def why_not(port: SerialPort) -> str:
    with pytest.raises(LinkDown) as caught:
        async with open_line(port):
            pass
    return str(caught.value)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(WITHIN_S):
        while not condition():
            await asyncio.sleep(0.01)


# -- pseudo-terminals -----------------------------------------------------------------------------------------------


async def test_bytes_both_ways_unchanged(tmp_path: Path) -> None:
    every_byte = bytes(range(256))
    async with PseudoTerminal(tmp_path / "board") as far, open_line(SerialPort(far.path, baudrate=38400)) as line:
        assert far.baudrate == 38400
        far.write(every_byte)
        assert await read_all(line, 256) == every_byte
        await line.write(every_byte)
        heard = b""
        async with asyncio.timeout(WITHIN_S):
            while len(heard) < 256:
                heard += await far.read()
        assert heard == every_byte
        assert (line.bytes_received, line.bytes_sent) == (256, 256)


async def test_a_read_is_as_long_as_asked_for() -> None:
    async with PseudoTerminal() as far, open_line(SerialPort(far.path)) as line:
        far.write(b"abcdef")
        assert [await line.read(2), await line.read(2), await line.read(2)] == [b"ab", b"cd", b"ef"]


async def test_unplugged_while_reading_and_back_under_the_same_path(tmp_path: Path) -> None:
    far = PseudoTerminal(tmp_path / "board")
    async with open_line(SerialPort(far.path)) as line:
        waiting = asyncio.ensure_future(why_down(line))
        await asyncio.sleep(0)
        far.close()
        assert await waiting == f"{far.path}: the device is gone (unplugged?)"
        with pytest.raises(LinkDown, match="gone"):
            await line.write(b"v")
    assert "no such device" in await why_not(SerialPort(far.path))
    async with PseudoTerminal(tmp_path / "board") as again, open_line(SerialPort(again.path)) as line:
        again.write(b"back")
        assert await read_all(line, 4) == b"back"


async def test_one_port_two_programs() -> None:
    async with PseudoTerminal() as far:
        async with open_line(SerialPort(far.path)):
            assert "in use by another process" in await why_not(SerialPort(far.path))
        async with open_line(SerialPort(far.path)):
            pass  # the lock went with the line


async def test_another_program_has_the_port() -> None:
    code = "import serial, sys; s = serial.Serial(sys.argv[1], exclusive=True); print('open', flush=True); input()"
    async with PseudoTerminal() as far:
        other = await asyncio.create_subprocess_exec(
            sys.executable, "-c", code, far.path, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )
        assert other.stdout is not None
        assert await other.stdout.readline() == b"open\n"
        assert "in use by another process" in await why_not(SerialPort(far.path))
        await other.communicate(b"\n")
        async with open_line(SerialPort(far.path)):
            pass


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody without permission")
async def test_no_permission_says_what_to_do() -> None:
    async with PseudoTerminal() as far:
        os.seteuid(65534)
        try:
            assert "no permission; add the user to the group" in await why_not(SerialPort(far.path))
        finally:
            os.seteuid(0)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("/dev/there-is-none", "no such device"),
        ("/etc/hostname", "not a serial port"),
        ("/etc", "a folder, not a serial port"),
        ("usb://ffff:0000", "no such USB device is plugged in"),
    ],
)
async def test_what_is_no_port(url: str, reason: str) -> None:
    assert reason in await why_not(SerialPort(url))


async def test_reading_waits_when_nobody_takes_the_bytes() -> None:
    """A megabyte comes, nobody reads: the line holds little of it, and nothing is lost once somebody does."""
    message = bytes(range(256)) * 4096
    async with PseudoTerminal() as far, open_line(SerialPort(far.path)) as line:
        sent = 0
        quiet = 0
        while quiet < 20:  # the operating system takes no more
            before = far.lost_bytes
            far.write(message[sent : sent + 1024])
            sent += 1024 - (far.lost_bytes - before)
            quiet = quiet + 1 if far.lost_bytes > before else 0
            await asyncio.sleep(0.001)
        assert PAUSE_ABOVE_BYTES < sent < 4 * PAUSE_ABOVE_BYTES
        assert await read_all(line, sent) == message[:sent]
        far.write(b"more")
        assert await read_all(line, 4) == b"more"


async def test_a_far_end_that_takes_nothing() -> None:
    master, slave = os.openpty()
    try:
        async with open_line(SerialPort(os.ttyname(slave), write_timeout_s=0.2)) as line:
            with pytest.raises(LinkDown, match="does not take what is written to it"):
                await line.write(bytes(100_000))
    finally:
        os.close(slave)
        os.close(master)


async def test_a_pseudo_terminal_has_no_modem_lines() -> None:
    async with PseudoTerminal() as far, open_line(SerialPort(far.path, dtr=False, rts=False)) as line:
        assert await line.set_modem_lines(dtr=True, rts=True) is False
        assert await line.pulse() is False


async def test_settings_reach_the_port() -> None:
    """As far as Linux' pseudo-terminals can: they keep eight bits, no parity (RFC 2217 below shows those)."""
    async with PseudoTerminal() as far:
        async with open_line(SerialPort(far.path, baudrate=9600, stopbits=2, xonxoff=True)):
            assert {"9600", "cstopb", "ixon", "-icanon", "-echo", "-opost"} <= await stty(far.device)
        async with open_line(SerialPort(far.path, baudrate=115200, bytesize=7, parity="E")):
            assert {"115200", "-cstopb", "-ixon"} <= await stty(far.device)


async def stty(device: str) -> set[str]:
    process = await asyncio.create_subprocess_exec(
        "stty", "-a", "-F", device, stdout=asyncio.subprocess.PIPE, env={"LANG": "C", "PATH": os.environ["PATH"]}
    )
    return set((await process.communicate())[0].decode().replace(";", " ").split())


@pytest.mark.skipif(shutil.which("socat") is None, reason="socat is not installed")
async def test_a_socat_pair_torn_and_back(tmp_path: Path) -> None:
    a, b = tmp_path / "a", tmp_path / "b"
    for _ in range(2):
        socat = await asyncio.create_subprocess_exec("socat", f"pty,raw,echo=0,link={a}", f"pty,raw,echo=0,link={b}")
        try:
            await until(lambda: a.exists() and b.exists())
            async with open_line(SerialPort(str(a))) as here, open_line(SerialPort(str(b))) as there:
                await there.write(b"OK 10 1 2\r\n")
                assert await read_all(here, 11) == b"OK 10 1 2\r\n"
                await here.write(b"v")
                assert await read_all(there, 1) == b"v"
                socat.kill()
                assert "gone" in await why_down(here)
        finally:
            with contextlib.suppress(ProcessLookupError):
                socat.kill()
            await socat.wait()


# -- TCP ------------------------------------------------------------------------------------------------------------


class FarEnd:
    """A TCP server that keeps what it hears and its connections."""

    def __init__(self) -> None:
        self.heard = b""
        self.writers: list[asyncio.StreamWriter] = []
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(1000):
                self.heard += data
        writer.close()


@pytest.fixture
async def far_end() -> AsyncIterator[FarEnd]:
    far = FarEnd()
    server = await asyncio.start_server(far.serve, "127.0.0.1", 0)
    far.url = f"socket://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    yield far
    server.close()
    for writer in far.writers:
        writer.close()


async def test_tcp_both_ways_and_kept_alive(far_end: FarEnd) -> None:
    async with open_line(SerialPort(far_end.url)) as line:
        await line.write(b"hello")
        await until(lambda: far_end.heard == b"hello")
        far_end.writers[0].write(b"answer")
        assert await read_all(line, 6) == b"answer"
        connection = line._transport.get_extra_info("socket")
        assert connection.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 30
        assert await line.pulse() is False


async def test_tcp_closed_by_the_far_end_after_its_last_words(far_end: FarEnd) -> None:
    async with open_line(SerialPort(far_end.url)) as line:
        await until(lambda: bool(far_end.writers))
        far_end.writers[0].write(b"bye")
        far_end.writers[0].close()
        assert await read_all(line, 3) == b"bye"
        assert await why_down(line) == f"{far_end.url}: the far end has closed the connection"


async def test_tcp_reset(far_end: FarEnd) -> None:
    async with open_line(SerialPort(far_end.url)) as line:
        await until(lambda: bool(far_end.writers))
        far_end.writers[0].transport.abort()
        assert await why_down(line) in (
            f"{far_end.url}: the far end has reset the connection",
            f"{far_end.url}: the far end has closed the connection",
        )


async def test_tcp_line_that_breaks_while_reading_is_paused(far_end: FarEnd) -> None:
    async with open_line(SerialPort(far_end.url)) as line:
        await until(lambda: bool(far_end.writers))
        far_end.writers[0].write(bytes(4 * PAUSE_ABOVE_BYTES))
        await until(lambda: line._incoming._paused)
        far_end.writers[0].close()
        assert len(await read_all(line, 4 * PAUSE_ABOVE_BYTES)) == 4 * PAUSE_ABOVE_BYTES
        assert "closed" in await why_down(line)


@pytest.mark.parametrize("scheme", ["socket", "rfc2217"])
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_connection_refused(scheme: str, host: str) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    assert "connection refused" in await why_not(SerialPort(f"{scheme}://{host}:{port}"))


@pytest.mark.parametrize("host", ["there-is-no-such-host.invalid", "a" * 70 + ".invalid", ".."])
async def test_an_unknown_host(host: str) -> None:
    assert "the host name is not known" in await why_not(SerialPort(f"socket://{host}:1"))


async def test_a_far_end_that_never_speaks_rfc2217(far_end: FarEnd) -> None:
    port = SerialPort(far_end.url.replace("socket", "rfc2217"), open_timeout_s=0.3)
    assert "no answer within 0.3 s" in await why_not(port)


async def test_cancelled_while_opening_leaves_nothing_open(far_end: FarEnd) -> None:
    port = SerialPort(far_end.url.replace("socket", "rfc2217"))
    opening = asyncio.ensure_future(why_not(port))
    await until(lambda: bool(far_end.heard))
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    await until(lambda: far_end.writers[0].is_closing())


# -- RFC 2217, spoken by pyserial -----------------------------------------------------------------------------------


class Rfc2217Port:
    """pyserial's RFC 2217 server in front of its loop-back port: what is written comes back."""

    def __init__(self) -> None:
        self.serial = serial.serial_for_url("loop://", timeout=0)
        self.writers: list[asyncio.StreamWriter] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        port = serial.rfc2217.PortManager(self.serial, writer)
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(1000):
                self.serial.write(b"".join(port.filter(data)))
                writer.write(b"".join(port.escape(self.serial.read(10_000))))
        writer.close()


@pytest.fixture
async def rfc2217() -> AsyncIterator[tuple[Rfc2217Port, str]]:
    far = Rfc2217Port()
    server = await asyncio.start_server(far.serve, "127.0.0.1", 0)
    yield far, f"rfc2217://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    server.close()
    for writer in far.writers:
        writer.close()


async def test_rfc2217_bytes_settings_and_modem_lines(rfc2217: tuple[Rfc2217Port, str]) -> None:
    far, url = rfc2217
    every_byte = bytes(range(256)) + b"\xff\xff"
    async with open_line(SerialPort(url, baudrate=57600, parity="E", bytesize=7, stopbits=2)) as line:
        assert (far.serial.baudrate, far.serial.parity, far.serial.bytesize, far.serial.stopbits) == (57600, "E", 7, 2)
        await line.write(every_byte)
        assert await read_all(line, len(every_byte)) == every_byte
        assert await line.set_modem_lines(dtr=False, rts=False) is True
        assert (far.serial.dtr, far.serial.rts) == (False, False)
        assert await line.pulse(seconds=0.01) is True
        assert far.serial.dtr is True
        inner = line._transport._tcp_transport.get_extra_info("socket")  # type: ignore[attr-defined]
        assert inner.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1


async def test_rfc2217_torn(rfc2217: tuple[Rfc2217Port, str]) -> None:
    far, url = rfc2217
    async with open_line(SerialPort(url)) as line:
        far.writers[0].close()
        assert await why_down(line) == f"{url}: the far end has closed the connection"
        with pytest.raises(LinkDown, match="closed"):
            await line.write(b"v")
