"""systemd's side of the notification protocol: a datagram socket, and what a service told on it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.cli.conftest import clean_environment
from wattbus.testing.waiting import PATIENCE_S

SOON = PATIENCE_S


@dataclass
class ServiceManager:
    """What was told: (moment, fields). Moments are those of the loop's clock."""

    address: str
    told: list[tuple[float, dict[str, str]]] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)

    def moments(self, name: str) -> list[float]:
        """When a field was told."""
        return [moment for moment, fields in self.told if name in fields]

    @property
    def status(self) -> str:
        return next((fields["STATUS"] for _, fields in reversed(self.told) if "STATUS" in fields), "")

    async def until(self, holds: Callable[[], object]) -> None:
        async with asyncio.timeout(SOON):
            while not holds():
                self.news.clear()
                await self.news.wait()


@contextlib.asynccontextmanager
async def listening() -> AsyncIterator[ServiceManager]:
    """A service manager that listens on a UNIX socket."""
    loop = asyncio.get_running_loop()
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiving:
        manager = ServiceManager(f"{folder}/notify")
        receiving.bind(manager.address)
        receiving.setblocking(False)

        def read() -> None:
            with contextlib.suppress(BlockingIOError):
                while datagram := receiving.recv(65536):
                    lines = datagram.decode().splitlines()
                    manager.told.append((loop.time(), dict(line.split("=", 1) for line in lines)))
            manager.news.set()

        loop.add_reader(receiving, read)
        try:
            yield manager
        finally:
            loop.remove_reader(receiving)


@contextlib.asynccontextmanager
async def started(folder: Path, manager: ServiceManager, **variables: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """`wattbus up FOLDER` as systemd starts it; its log, as the journal gets it, is `journal` beside the folder."""
    file = folder.parent / "journal"
    with file.open("wb") as journal:
        stat = file.stat()
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "wattbus.cli", "up", str(folder)),
            cwd=folder.parent,
            env=clean_environment(
                {"NOTIFY_SOCKET": manager.address, "JOURNAL_STREAM": f"{stat.st_dev}:{stat.st_ino}", **variables}
            ),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=journal,
            stderr=journal,
        )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
