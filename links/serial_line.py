"""A byte line: over a serial port, a USB device named by its ids, `socket://` or `rfc2217://`.

    port = SerialPort("/dev/ttyUSB0", baudrate=38400)           # links.serial_port; the setting's type is SerialUrl
    async with open_line(port) as line:                         # LinkDown says in plain words why not
        await line.write(b"v")
        data = await line.read()                                # at least one byte; LinkDown when the line is gone

The runtime enters a connector's `run()` again after `LinkDown`, so opening again after unplugging needs no code. What
belongs to it: `links.serial_splitter.Lines` cuts bytes into lines, `links.serial_silence.SilenceWatch` notices a line
that stands and says nothing, `links.serial_pty.PseudoTerminal` is the far end for tests, `links.serial_stage.stage`
for simulators.

serialx is imported in this file alone. Its traps [serialx 1.15, read in its source]: its stream reader trips over a
pause when a network line breaks, so the protocol here is our own; a lost device is reported as OSError(EIO), also where
a reader would expect an end of file; `socket://` gives no way to the socket, so asyncio opens that one.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import socket
import termios
from collections.abc import AsyncIterator
from typing import Any, cast

import serialx
from serialx.platforms.serial_rfc2217 import RFC2217SerialTransport
from serialx.platforms.serial_rfc2217.types import Rfc2217Command, SetLinestateMaskCmd, SetModemstateMaskCmd

from links.serial_faults import opening_failed, went_away
from links.serial_port import Address, DevicePath, NetworkAddress, SerialPort, UsbDevice
from links.serial_usb import find_usb_port
from wattbus.errors import LinkDown

PAUSE_ABOVE_BYTES = 64 * 1024  # unread bytes; beyond it the operating system holds the rest, then the sender waits
CLOSE_S = 5.0
# A far end that vanished without a word is noticed after a minute of silence, and at once when it was written to.
KEEP_ALIVE = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3, "TCP_USER_TIMEOUT": 30_000}


@contextlib.asynccontextmanager
async def open_line(port: SerialPort) -> AsyncIterator[Line]:
    """Open a line and close it at the end. Raises LinkDown.

    Everything, name resolution included, takes at most `port.open_timeout_s`.
    """
    incoming = _Incoming()
    address = port.address
    try:
        async with asyncio.timeout(port.open_timeout_s):
            transport = await _connect(port, address, incoming)
    except TimeoutError as error:
        raise LinkDown(f"{port.url}: no answer within {port.open_timeout_s:g} s") from error
    except (OSError, serialx.SerialException, ValueError) as error:
        raise LinkDown(f"{port.url}: {opening_failed(error, address)}") from error
    line = Line(port, transport, incoming)
    try:
        yield line
    finally:
        transport.abort()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_S):
                await incoming.closed.wait()


class Line:
    """An open line. One task reads; any task may write, one write at a time."""

    def __init__(self, port: SerialPort, transport: asyncio.Transport, incoming: _Incoming) -> None:
        self.name = port.url
        self.bytes_received = 0
        self.bytes_sent = 0
        self._port = port
        self._transport = transport
        self._incoming = incoming
        self._writing = asyncio.Lock()

    async def read(self, most: int = PAUSE_ABOVE_BYTES) -> bytes:
        """One to `most` bytes, as soon as there are any. Raises LinkDown when the line is gone and all is read."""
        data = await self._incoming.read(most)
        if not data:
            raise LinkDown(self._why_gone())
        self.bytes_received += len(data)
        return data

    async def write(self, data: bytes) -> None:
        """Hand `data` over and wait until the operating system has all of it. Raises LinkDown."""
        async with self._writing:
            if self._incoming.is_lost:
                raise LinkDown(self._why_gone())
            try:
                self._transport.write(data)
                async with asyncio.timeout(self._port.write_timeout_s):
                    await self._incoming.writable.wait()
            except TimeoutError:
                self._transport.abort()  # part of it may be on its way: the rest of this line is worth nothing
                taken = f"{self.name}: does not take what is written to it ({self._port.write_timeout_s:g} s)"
                raise LinkDown(taken) from None
            except OSError as error:
                raise LinkDown(f"{self.name}: {went_away(error, self._port.address)}") from error
            if self._incoming.is_lost:
                raise LinkDown(self._why_gone())
            self.bytes_sent += len(data)

    async def set_modem_lines(self, *, dtr: bool | None = None, rts: bool | None = None) -> bool:
        """Set DTR or RTS; false where the port has none (pseudo-terminals, `socket://`). Raises LinkDown."""
        if not isinstance(self._transport, serialx.BaseSerialTransport) or not self._has_modem_lines():
            return False
        try:
            async with asyncio.timeout(self._port.write_timeout_s):
                await self._transport.set_modem_pins(dtr=dtr, rts=rts)
        except (OSError, serialx.SerialException) as error:  # TimeoutError is an OSError
            raise LinkDown(f"{self.name}: cannot set DTR or RTS: {error}") from error
        return True

    async def pulse(self, *, dtr: bool = True, rts: bool = False, seconds: float = 0.25) -> bool:
        """Take DTR (and RTS) away for a moment: resets boards that are wired like an Arduino. As set_modem_lines."""
        low = {name: False for name, chosen in (("dtr", dtr), ("rts", rts)) if chosen}
        there = await self.set_modem_lines(**low)
        if there:
            await asyncio.sleep(seconds)
            await self.set_modem_lines(**dict.fromkeys(low, True))
        return there

    def _has_modem_lines(self) -> bool:
        """A pseudo-terminal refuses to tell of them; serialx hides that. RFC 2217 always has them."""
        if isinstance(self._port.address, NetworkAddress):
            return self._port.address.scheme == "rfc2217"
        try:
            fcntl.ioctl(cast(serialx.BaseSerialTransport, self._transport).serial.fileno(), termios.TIOCMGET, bytes(4))
        except (OSError, AssertionError):  # the latter is serialx' way to say that the port is closed
            return False
        return True

    def _why_gone(self) -> str:
        return f"{self.name}: {went_away(self._incoming.error, self._port.address)}"


class _Incoming(asyncio.Protocol):
    """What comes in, bounded; whether there is room to write; whether the line is lost, and why."""

    def __init__(self) -> None:
        self.closed = asyncio.Event()
        self.writable = asyncio.Event()
        self.writable.set()
        self.is_lost = False
        self.error: Exception | None = None
        self._transport: asyncio.Transport | None = None
        self._unread = bytearray()
        self._arrived = asyncio.Event()
        self._paused = False

    async def read(self, most: int) -> bytes:
        """Up to `most` bytes; none when the line is lost."""
        while not self._unread and not self.is_lost:
            self._arrived.clear()
            await self._arrived.wait()
        data = bytes(self._unread[:most])
        del self._unread[:most]
        if self._paused and not self.is_lost and len(self._unread) <= PAUSE_ABOVE_BYTES // 4:
            self._paused = False
            cast(asyncio.Transport, self._transport).resume_reading()
        return data

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._unread += data
        self._arrived.set()
        if not self._paused and len(self._unread) > PAUSE_ABOVE_BYTES and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()

    def pause_writing(self) -> None:
        self.writable.clear()

    def resume_writing(self) -> None:
        self.writable.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_lost = True
        self.error = exc
        self.writable.set()
        self._arrived.set()
        self.closed.set()


class _Rfc2217(RFC2217SerialTransport):
    """Does not wait for an answer to which changes of its state the far end should tell.

    pyserial's server, which much of the world runs, never answers that (RFC 2217 section 3 asks for it).
    """

    async def _send_and_wait(self, cmd: Rfc2217Command) -> Rfc2217Command:
        if isinstance(cmd, SetLinestateMaskCmd | SetModemstateMaskCmd):
            self._send_command(cmd)
            return cmd
        return await super()._send_and_wait(cmd)


async def _connect(port: SerialPort, address: Address, incoming: _Incoming) -> asyncio.Transport:
    loop = asyncio.get_running_loop()
    if isinstance(address, NetworkAddress) and address.scheme == "socket":
        plain, _ = await loop.create_connection(lambda: incoming, address.host, address.port)
        _keep_alive(plain)
        plain.set_write_buffer_limits(high=0)
        return plain
    transport, _ = await serialx.create_serial_connection(
        loop,
        lambda: incoming,
        _serialx_url(port.url, address),
        port.baudrate,
        parity=serialx.Parity(port.parity),
        stopbits=serialx.StopBits(port.stopbits),
        xonxoff=port.xonxoff,
        rtscts=port.rtscts,
        exclusive=port.exclusive and not isinstance(address, NetworkAddress),
        byte_size=port.bytesize,
        dtr_on_open=serialx.PinState.convert(port.dtr),
        rts_on_open=serialx.PinState.convert(port.rts),
        connect_timeout=port.open_timeout_s,
        transport_cls=_Rfc2217 if isinstance(address, NetworkAddress) else None,
    )
    if isinstance(address, NetworkAddress):
        _keep_alive(getattr(transport, "_tcp_transport", None))
    with contextlib.suppress(RuntimeError):  # serialx, when the far end has closed just now; the first read tells
        transport.set_write_buffer_limits(high=0)
    return transport


def _serialx_url(url: str, address: Address) -> str:
    if isinstance(address, UsbDevice):
        return find_usb_port(address)
    return address.path if isinstance(address, DevicePath) else url


def _keep_alive(transport: asyncio.BaseTransport | None) -> None:
    """Ask the operating system to notice a far end that vanished."""
    connection: Any = transport.get_extra_info("socket") if transport is not None else None
    if connection is None:
        return
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in KEEP_ALIVE.items():
        if hasattr(socket, name):  # macOS names some of them differently
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
