"""Where a simulated serial device plays: a pseudo-terminal, and TCP when a port is given."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from links.serial_port import DevicePath, SerialPort
from links.serial_pty import PseudoTerminal, is_free_for_link

MOST_UNSENT_BYTES = 256 * 1024


class Stage:
    """What the device says goes to everybody who listens; what anybody says comes to the device."""

    def __init__(self, terminal: PseudoTerminal, hears: Callable[[bytes], None]) -> None:
        self.terminal = terminal
        self.hears = hears
        self._clients: dict[asyncio.StreamWriter, asyncio.Task[None] | None] = {}

    def say(self, data: bytes) -> None:
        """To the pseudo-terminal and all connections; who does not read is left."""
        self.terminal.write(data)
        for writer in list(self._clients):
            if writer.transport.get_write_buffer_size() > MOST_UNSENT_BYTES:
                writer.transport.abort()
            else:
                writer.write(data)

    async def listen(self) -> None:
        """What comes over the pseudo-terminal, for ever."""
        async for data in self.terminal.chunks():
            self.hears(data)

    async def client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, from its begin to its end."""
        self._clients[writer] = asyncio.current_task()
        try:
            with contextlib.suppress(OSError):
                while data := await reader.read(1000):
                    self.hears(data)
        finally:
            del self._clients[writer]
            writer.close()

    async def end(self) -> None:
        """Close all connections, and wait until nobody listens to them any more."""
        tasks = [task for task in self._clients.values() if task is not None]
        for writer in list(self._clients):
            writer.transport.abort()
        if tasks:
            await asyncio.wait(tasks)


@contextlib.asynccontextmanager
async def stage(
    named: SerialPort,
    hears: Callable[[bytes], None],
    host: str = "127.0.0.1",
    port: int = 0,
    started: Callable[[str, int], None] | None = None,
) -> AsyncIterator[Stage]:
    """A stage for as long as the context lasts. `port` 0: no TCP.

    The pseudo-terminal's name is that of `named` when that is a path outside /dev that is free. `started` is told the
    path and 0, then address and port of TCP.
    """
    async with PseudoTerminal(_link(named)) as terminal, asyncio.TaskGroup() as tasks:
        scene = Stage(terminal, hears)
        listening = tasks.create_task(scene.listen(), name="simulated device")
        server = await asyncio.start_server(scene.client, host, port) if port else None
        try:
            if started is not None:
                started(terminal.path, 0)
                if server is not None:
                    started(*server.sockets[0].getsockname()[:2])
            yield scene
        finally:
            listening.cancel()
            if server is not None:
                server.close()
            await scene.end()


def _link(port: SerialPort) -> Path | None:
    if not isinstance(port.address, DevicePath):
        return None
    path = Path(port.address.path)
    return path if is_free_for_link(path) and not path.is_relative_to("/dev") and path.parent.is_dir() else None
