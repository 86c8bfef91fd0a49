"""A Mosquitto of our own as a child process: for `wattbus up`, `wattbus demo` and the tests."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import signal
import socket
from collections.abc import Sequence
from pathlib import Path

from wattbus.errors import ConfigError

log = logging.getLogger(__name__)

# Measured limits: docs/architecture.md. Nothing here drops a message before a quarter of a gigabyte is queued.
LOSSLESS = (
    "autosave_interval 30",
    "max_inflight_messages 100",
    "max_queued_messages 500000",
    "max_queued_bytes 536870912",
    "set_tcp_nodelay true",
    "persistent_client_expiration 14d",
)


def free_port(host: str = "127.0.0.1") -> int:
    """A TCP port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


class Mosquitto:
    """A broker that listens on the loopback address, anonymous, with its state in `directory` (None: without)."""

    def __init__(
        self,
        directory: Path | None = None,
        port: int | None = None,
        options: Sequence[str] = LOSSLESS,
        configuration_directory: Path | None = None,
    ) -> None:
        self.host = "127.0.0.1"
        self.port = port or free_port()
        self._directory = directory
        self._options = options
        self._configuration_directory = configuration_directory or directory
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start it and wait until it listens. Raises ConfigError when it cannot."""
        executable = shutil.which("mosquitto", path=None) or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")
        if executable is None:
            raise ConfigError("mosquitto is not installed: install it, or set MQTT_BROKER_HOST to a broker")
        if self._configuration_directory is None:
            raise ConfigError("the embedded broker needs a folder for its configuration")
        configuration, descriptors = self._write_configuration(self._configuration_directory)
        # A parent that is killed cannot stop its broker: the kernel does it, where util-linux knows how to ask it to.
        with_parent = [setpriv, "--pdeathsig", "TERM"] if (setpriv := shutil.which("setpriv")) else []
        self._process = await asyncio.create_subprocess_exec(
            *with_parent,
            executable,
            "-c",
            str(configuration),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            pass_fds=descriptors,
            start_new_session=True,  # Ctrl-C reaches us first; we stop it when everybody has said goodbye
        )
        for descriptor in descriptors:
            os.close(descriptor)
        await self._wait_until_it_listens(self._process)

    def _write_configuration(self, directory: Path) -> tuple[Path, Sequence[int]]:
        """Its file; on a disk that takes nothing more a file in memory, and the descriptor that carries it."""
        content = "\n".join(self._lines()) + "\n"
        file = directory / "mosquitto.conf"
        try:
            directory.mkdir(parents=True, exist_ok=True)
            file.write_text(content, encoding="utf-8")
        except OSError as error:
            log.error("%s cannot be written, the broker starts without it: %s", file, error.strerror)
            descriptor = os.memfd_create("mosquitto.conf", 0)
            os.write(descriptor, content.encode())
            return Path(f"/proc/self/fd/{descriptor}"), [descriptor]
        return file, []

    def _lines(self) -> list[str]:
        lines = [f"listener {self.port} {self.host}", "allow_anonymous true", "user root", *self._options]
        if self._directory is not None:
            lines += ["persistence true", f"persistence_location {self._directory.resolve()}/"]
        return lines

    async def _wait_until_it_listens(self, process: asyncio.subprocess.Process) -> None:
        while process.returncode is None:
            try:
                _, writer = await asyncio.open_connection(self.host, self.port)
            except OSError:
                await asyncio.sleep(0.02)
                continue
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
            return
        raise ConfigError(f"mosquitto ended with code {process.returncode}; is port {self.port} taken?")

    @property
    def pid(self) -> int | None:
        """Its process id, None while it does not run."""
        return self._process.pid if self._process else None

    async def wait(self) -> int:
        """Wait until it ends; its exit code."""
        return await self._process.wait() if self._process else 0

    async def stop(self) -> None:
        """SIGTERM, and SIGKILL if it has not ended after 10 s."""
        await self._end(signal.SIGTERM)

    async def kill(self) -> None:
        """SIGKILL: what a power cut does to it."""
        await self._end(signal.SIGKILL)

    async def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None or process.returncode is not None:
            return
        process.send_signal(how)
        try:
            async with asyncio.timeout(10):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
