"""The far end of a serial line that is not there: a pseudo-terminal, for simulators and tests."""

from __future__ import annotations

import asyncio
import contextlib
import os
import termios
import tty
from collections.abc import AsyncIterator
from pathlib import Path
from types import TracebackType

MOST_UNREAD_BYTES = 64 * 1024


def is_free_for_link(path: Path) -> bool:
    """Nothing is there, or a link that a pseudo-terminal has left; a link to a real device is somebody's."""
    return not path.exists() or (path.is_symlink() and path.resolve().is_relative_to("/dev/pts"))


class PseudoTerminal:
    """A pseudo-terminal, opened at once, whose other end programs open as `path` like a serial port.

    `link` is a name for it that stays the same, a symbolic link; OSError when something else is there. Like a real
    line it does not wait: what nobody reads is lost once the system's buffer (some kB) is full. `close()` is
    unplugging: who has the port open notices at once. Also an (async) context manager.
    """

    def __init__(self, link: str | Path | None = None) -> None:
        self._master, self._slave = os.openpty()  # ours of the slave keeps the master alive while nobody has it open
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        self.device = os.ttyname(self._slave)
        self.link = Path(link) if link else None
        if self.link is not None:
            self._make_link(self.link)
        self.path = str(self.link or self.device)
        self.lost_bytes = 0
        self._closed = False
        self._unread = bytearray()
        self._arrived = asyncio.Event()
        asyncio.get_running_loop().add_reader(self._master, self._readable)

    def write(self, data: bytes) -> None:
        """Say something; what does not fit into the system's buffer is lost, and counted in `lost_bytes`."""
        if self._closed:
            return
        written = 0
        with contextlib.suppress(BlockingIOError):
            while written < len(data):
                written += os.write(self._master, data[written:])
        self.lost_bytes += len(data) - written

    async def read(self) -> bytes:
        """What the other side has written, at least one byte; b"" once this is closed."""
        while not self._unread and not self._closed:
            self._arrived.clear()
            await self._arrived.wait()
        data = bytes(self._unread)
        self._unread.clear()
        return data

    async def chunks(self) -> AsyncIterator[bytes]:
        """All that the other side writes, until this is closed."""
        while data := await self.read():
            yield data

    @property
    def baudrate(self) -> int:
        """What the other side has set, in bit/s; 0 when it is none of the usual rates."""
        speed = termios.tcgetattr(self._slave)[4]
        rates = (1200, 2400, 4800, 9600, 19200, 38400, 57600, 115200, 230400)
        return next((rate for rate in rates if getattr(termios, f"B{rate}") == speed), 0)

    def close(self) -> None:
        """Unplug it; the link goes too, unless another one has taken its place."""
        if self._closed:
            return
        self._closed = True
        self._arrived.set()
        asyncio.get_running_loop().remove_reader(self._master)
        os.close(self._slave)
        os.close(self._master)
        if self.link is not None and self.link.is_symlink() and str(self.link.readlink()) == self.device:
            self.link.unlink()

    async def __aenter__(self) -> PseudoTerminal:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _make_link(self, link: Path) -> None:
        try:
            if link.is_symlink() and is_free_for_link(link):
                link.unlink()
            link.symlink_to(self.device)
        except OSError:
            os.close(self._slave)
            os.close(self._master)
            raise

    def _readable(self) -> None:
        try:
            data = os.read(self._master, 4096)
        except OSError:
            return
        if len(self._unread) + len(data) <= MOST_UNREAD_BYTES:
            self._unread += data
        else:
            self.lost_bytes += len(data)
        self._arrived.set()
