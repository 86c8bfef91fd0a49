"""The embedded broker: a Mosquitto of our own, kept alive on one port."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from wattbus.errors import ConfigError
from wattbus.mqtt.embedded_broker import Mosquitto, free_port
from wattbus.retry import Backoff

log = logging.getLogger(__name__)

LEFTOVER_TURNS = 250  # of 20 ms
SETTLED_S = 60.0


@contextlib.contextmanager
def only_user(directory: Path) -> Iterator[None]:
    """Hold the data folder. Raises ConfigError when another process does, or when it cannot be written."""
    file = directory / "in-use.lock"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        lock = file.open("rb+" if file.exists() else "wb+", buffering=0)
    except OSError as error:
        raise ConfigError(f"DATA_DIRECTORY: cannot write into {directory}: {error.strerror}") from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = lock.read().decode("ascii", "replace").strip() or "?"
            raise ConfigError(f"DATA_DIRECTORY: {directory} is in use by the running process {holder}") from None
        with contextlib.suppress(OSError):  # a full disk: the lock holds all the same
            lock.truncate(0)
            lock.write(f"{os.getpid()}\n".encode())
        yield


def broker_directory(data_directory: Path) -> Path:
    return data_directory / "broker"


def remembered_port(data_directory: Path) -> int:
    """The port of the last time if it is free, else a free one: what people typed yesterday works today."""
    with contextlib.suppress(OSError, ValueError):
        port = int((broker_directory(data_directory) / "port").read_text(encoding="utf-8"))
        if _is_free(port) or _leftover(broker_directory(data_directory)) is not None:
            return port
    return free_port()


@contextlib.asynccontextmanager
async def embedded_broker(data_directory: Path, port: int) -> AsyncIterator[None]:
    """A broker on the loopback address, started again whenever it dies. Raises ConfigError when it cannot start."""
    directory = broker_directory(data_directory)
    broker = Mosquitto(directory, port)
    await _start(broker, directory)
    keeping = asyncio.create_task(_keep(broker, directory), name="embedded broker")
    try:
        yield
    finally:
        keeping.cancel()
        await asyncio.wait([keeping])
        await broker.stop()
        with contextlib.suppress(OSError):
            (directory / "pid").unlink(missing_ok=True)


async def _keep(broker: Mosquitto, directory: Path) -> None:
    loop = asyncio.get_running_loop()
    backoff = Backoff(first_s=0.5, longest_s=30.0)
    while True:
        started = loop.time()
        code = await broker.wait()
        if loop.time() - started > SETTLED_S:
            backoff.reset()
        log.error("the embedded broker ended with code %d; it is started again on port %d", code, broker.port)
        while True:
            await asyncio.sleep(backoff.next_s())
            try:
                await _start(broker, directory)
            except ConfigError as error:
                log.error("the embedded broker cannot be started: %s", error)
            else:
                log.info("the embedded broker is back")
                break


async def _start(broker: Mosquitto, directory: Path) -> None:
    await _end_leftover(directory)
    if not _is_free(broker.port):
        raise ConfigError(
            f"MQTT_BROKER_PORT: something listens on port {broker.port} already; if that is a broker to use, "
            "set MQTT_BROKER_HOST=127.0.0.1, too"
        )
    await broker.start()
    _note(directory / "pid", broker.pid)
    _note(directory / "port", broker.port)


def _note(file: Path, number: int | None) -> None:
    """Write a number that is read whole at any moment, also by whoever comes after we were killed here.

    A disk that does not take it is no reason to do without a broker.
    """
    new = file.with_suffix(".new")
    try:
        new.write_text(f"{number}\n", encoding="utf-8")
        new.replace(file)
    except OSError as error:
        log.error("%s cannot be written: %s", file, error.strerror)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _leftover(directory: Path) -> int | None:
    """The process id of the broker that a killed process of ours left behind; the folder is ours alone now."""
    with contextlib.suppress(OSError, ValueError):
        pid = int((directory / "pid").read_text(encoding="utf-8"))
        command_line = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        if str(directory / "mosquitto.conf").encode() in command_line:
            return pid
    return None


async def _end_leftover(directory: Path) -> None:
    for how in (signal.SIGTERM, signal.SIGKILL):
        pid = _leftover(directory)
        if pid is None:
            return
        log.warning("ending the broker (process %d) that an earlier process left behind", pid)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, how)
        for _ in range(LEFTOVER_TURNS):  # it is not our child: there is nothing to wait for
            if _leftover(directory) != pid:
                return
            await asyncio.sleep(0.02)
