"""Addresses at which something is wrong. Each is a context manager that gives the address.

An `Address` is host and port of TCP, or the path of a serial port.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Literal

from links.serial_pty import PseudoTerminal

Medium = Literal["tcp", "serial"]
Address = tuple[str, int] | str
FarEnd = Callable[[], AbstractAsyncContextManager[Address]]

NOWHERE = "192.0.2.1"  # reserved for documentation [RFC 5737]: nobody has it, nobody routes it
CHUNKS, CHUNK_BYTES = 60, 3000
NONSENSE_EVERY_S = 0.05


@contextlib.asynccontextmanager
async def dead() -> AsyncIterator[Address]:
    """Nobody has this address; depending on the network that is said at once, or never."""
    yield NOWHERE, 9


@contextlib.asynccontextmanager
async def refusing() -> AsyncIterator[Address]:
    """A machine that lives, and nobody listens at the port."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[:2]


@contextlib.asynccontextmanager
async def swallowing() -> AsyncIterator[Address]:
    """Packets vanish: a listener whose backlog is full."""
    with contextlib.ExitStack() as sockets:
        listener = sockets.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            filling = sockets.enter_context(socket.socket())
            filling.setblocking(False)
            filling.connect_ex(listener.getsockname())
        yield listener.getsockname()[:2]


@contextlib.asynccontextmanager
async def silent() -> AsyncIterator[Address]:
    """Accepts connections, takes what is said, never answers."""
    async with _serving(_say_nothing) as address:
        yield address


@contextlib.asynccontextmanager
async def babbling() -> AsyncIterator[Address]:
    """Accepts connections and says what makes no sense: bytes of all kinds, and lines without an end."""
    async with _serving(_babble) as address:
        yield address


@contextlib.asynccontextmanager
async def absent_port() -> AsyncIterator[Address]:
    """The cable is not plugged in."""
    with tempfile.TemporaryDirectory() as folder:
        yield str(Path(folder) / "ttyUSB7")


@contextlib.asynccontextmanager
async def silent_port() -> AsyncIterator[Address]:
    """A serial port at whose other end nobody says anything."""
    async with PseudoTerminal() as terminal:
        yield terminal.path


@contextlib.asynccontextmanager
async def babbling_port() -> AsyncIterator[Address]:
    """A serial port with another speed, or a broken cable."""
    async with PseudoTerminal() as terminal:

        async def babble() -> None:
            for chunk in nonsense():
                terminal.write(chunk)
                await asyncio.sleep(NONSENSE_EVERY_S)

        speaking = asyncio.create_task(babble())
        try:
            yield terminal.path
        finally:
            speaking.cancel()
            await asyncio.wait([speaking])


NOBODY: Mapping[Medium, Mapping[str, FarEnd]] = {
    "tcp": {"dead": dead, "refusing": refusing, "swallowing": swallowing},
    "serial": {"absent": absent_port},
}
SILENT: Mapping[Medium, FarEnd] = {"tcp": silent, "serial": silent_port}
BABBLING: Mapping[Medium, FarEnd] = {"tcp": babbling, "serial": babbling_port}


def nonsense() -> list[bytes]:
    """The same at each run: random bytes, printable ones, long stretches of one byte, and text of all kinds."""
    source = random.Random(1)
    kinds = [
        lambda: source.randbytes(CHUNK_BYTES),
        lambda: bytes(source.randrange(32, 127) for _ in range(CHUNK_BYTES)),
        lambda: bytes([source.randrange(256)]) * CHUNK_BYTES,
        lambda: b'{"a": [NaN, 1e999, "\xff"], "a": \n}\r\n0 / 00 ! ? -1 1,2;3 OK 300 1\r\n' * (CHUNK_BYTES // 70),
    ]
    return [kinds[number % len(kinds)]() for number in range(CHUNKS)]


@contextlib.asynccontextmanager
async def _serving(say: Callable[[asyncio.StreamWriter], Coroutine[Any, Any, None]]) -> AsyncIterator[Address]:
    connections: set[asyncio.Task[None] | None] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.add(asyncio.current_task())
        speaking = asyncio.create_task(say(writer))
        try:
            with contextlib.suppress(OSError):
                while await reader.read(4096):
                    pass
        finally:
            speaking.cancel()
            writer.transport.abort()
            connections.discard(asyncio.current_task())

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[:2]
    finally:
        server.close()
        for connection in [*connections]:
            if connection is not None:
                connection.cancel()


async def _say_nothing(_: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


async def _babble(writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        for chunk in nonsense():
            writer.write(chunk)
            await writer.drain()
            await asyncio.sleep(NONSENSE_EVERY_S)
    await asyncio.Event().wait()
