"""Between a connector and its simulator: what both say goes through here, is held back, or is torn off."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator
from tempfile import TemporaryDirectory
from typing import Literal, Protocol

from links.serial_pty import PseudoTerminal
from wattbus.testing.far_ends import Address, Medium

TEAR = struct.pack("ii", 1, 0)  # no lingering: a reset
# pass: both ways. hold: what the device says is kept. late: the device hears nothing more, and as soon as the
# connector says something, it gets what was kept.
Manner = Literal["pass", "hold", "late"]


class _Line(Protocol):
    """One end of a line that a connector has open."""

    def write(self, data: bytes) -> None: ...
    async def read(self) -> bytes: ...
    def close(self, politely: bool = ..., /) -> None: ...


class Relay:
    """`address` is where the connector finds the device."""

    def __init__(self, device: tuple[str, int]) -> None:
        self.address: Address = ""
        self.manner: Manner = "pass"
        self.heard = asyncio.Event()  # the connector has said something
        self._device = device
        self.reached = asyncio.Event()  # the device, by the first line
        self._open: dict[_Line, asyncio.Event] = {}

    async def tear(self, *, politely: bool = False) -> None:
        """All lines break; new ones can be had. `politely`: the device closes its connections, else they are reset."""
        for line, gone in list(self._open.items()):
            line.close(politely)
            await gone.wait()

    async def carry(self, near: _Line) -> None:
        """Carry one line until one of its ends is closed."""
        kept = bytearray()
        self._open[near] = gone = asyncio.Event()
        try:
            with contextlib.suppress(OSError):
                reader, far = await asyncio.open_connection(*self._device)
                self.reached.set()
                ways = [
                    asyncio.create_task(self._to_device(near, far, kept)),
                    asyncio.create_task(self._to_connector(reader, near, kept)),
                ]
                try:
                    await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    for way in ways:
                        way.cancel()
                    far.transport.abort()
                    await asyncio.wait(ways)
        finally:
            near.close()
            del self._open[near]
            gone.set()

    async def _to_device(self, near: _Line, far: asyncio.StreamWriter, kept: bytearray) -> None:
        with contextlib.suppress(OSError):
            while data := await near.read():
                self.heard.set()
                if self.manner == "late":
                    near.write(bytes(kept))
                    kept.clear()
                else:
                    far.write(data)

    async def _to_connector(self, reader: asyncio.StreamReader, near: _Line, kept: bytearray) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(4096):
                if self.manner == "pass":
                    near.write(bytes(kept) + data)
                    kept.clear()
                else:
                    kept += data


class _Connection:
    """The connector's TCP connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    def write(self, data: bytes) -> None:
        self._writer.write(data)

    async def read(self) -> bytes:
        return await self._reader.read(4096)

    def close(self, politely: bool = False, /) -> None:
        if politely:
            self._writer.close()
            return
        connection: socket.socket | None = self._writer.get_extra_info("socket")
        if connection is not None and connection.fileno() >= 0:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, TEAR)
        self._writer.transport.abort()


class _Port(PseudoTerminal):
    """The connector's serial port; unplugging has no manners."""

    def close(self, politely: bool = False, /) -> None:
        super().close()


@contextlib.asynccontextmanager
async def relay(medium: Medium, device: tuple[str, int]) -> AsyncIterator[Relay]:
    """A relay before a device that speaks TCP."""
    made = Relay(device)
    async with {"tcp": _tcp, "serial": _serial}[medium](made):
        yield made
        made.manner = "pass"


@contextlib.asynccontextmanager
async def _tcp(made: Relay) -> AsyncIterator[None]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await made.carry(_Connection(reader, writer))

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    made.address = server.sockets[0].getsockname()[:2]
    try:
        yield
    finally:
        server.close()
        await made.tear()


@contextlib.asynccontextmanager
async def _serial(made: Relay) -> AsyncIterator[None]:
    """A port that is plugged in again, at the same path, when it was torn off."""
    with TemporaryDirectory() as folder:
        made.address = f"{folder}/ttyUSB0"

        async def plugged() -> None:
            while True:
                await made.carry(_Port(f"{folder}/ttyUSB0"))
                await asyncio.sleep(0.1)

        plugging = asyncio.create_task(plugged())
        try:
            await made.reached.wait()
            await asyncio.sleep(0.1)  # until the device has noticed
            yield
        finally:
            plugging.cancel()
            await asyncio.wait([plugging])
