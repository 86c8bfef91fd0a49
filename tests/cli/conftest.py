"""The command as a process, and Mosquitto's own clients to look at it from outside."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import sys
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.support.runner import RUN
from wattbus.testing.waiting import PATIENCE_S

log = logging.getLogger(__name__)

SOON = PATIENCE_S

MOST_UNREAD = 10_000  # messages on one topic that a watcher holds for its test; the oldest go

REGISTERS = {"read_input_registers": [{"address": 1, "count": 1, "unit": 1, "datatypes": "<e"}]}


@dataclass
class Command:
    """A running `wattbus …`; `output` and `errors` grow while it runs."""

    process: asyncio.subprocess.Process
    output: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    readers: list[asyncio.Task[None]] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)

    async def read(self, stream: asyncio.StreamReader, lines: list[str]) -> None:
        async for line in stream:
            lines.append(line.decode().rstrip("\n"))
            self.news.set()
        self.news.set()

    async def line(self, part: str) -> str:
        """Wait for a line of either stream that has `part` in it."""
        try:
            async with asyncio.timeout(SOON):
                while True:
                    for line in self.output + self.errors:
                        if part in line:
                            return line
                    self.news.clear()
                    await self.news.wait()
        except TimeoutError:
            raise AssertionError(f"no {part!r} in {self.output + self.errors}") from None

    async def ended(self) -> int:
        async with asyncio.timeout(SOON):
            await asyncio.wait(self.readers)
            return await self.process.wait()

    async def terminated(self, how: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(how)
        return await self.ended()

    @property
    def faults(self) -> list[str]:
        return [line.removeprefix("wattbus: ") for line in self.errors if line.startswith("wattbus: ")]


def clean_environment(more: Mapping[str, str]) -> dict[str, str]:
    wanted = ("PATH", "HOME", "LANG", "TMPDIR", "PYTHONPATH", "PYTEST_CURRENT_TEST", RUN)
    return {**{name: os.environ[name] for name in wanted if name in os.environ}, **more}


@asynccontextmanager
async def wattbus(
    *arguments: str | Path, cwd: Path, stdin: str | None = None, **variables: str
) -> AsyncIterator[Command]:
    """Start the command; whatever is left of it at the end is killed."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "wattbus.cli", *map(str, arguments)),
        cwd=cwd,
        env=clean_environment(variables),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdin and process.stdout and process.stderr
    command = Command(process)
    command.readers = [
        asyncio.create_task(command.read(process.stdout, command.output)),
        asyncio.create_task(command.read(process.stderr, command.errors)),
    ]
    if stdin is not None:
        process.stdin.write(stdin.encode())
    process.stdin.close()
    try:
        yield command
    except BaseException:
        log.error("wattbus %s said:\n%s", " ".join(map(str, arguments)), "\n".join(command.output + command.errors))
        raise
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        await asyncio.wait(command.readers)


async def completed(*arguments: str | Path, cwd: Path, stdin: str | None = None, **variables: str) -> Command:
    """Run the command to its end."""
    async with wattbus(*arguments, cwd=cwd, stdin=stdin, **variables) as command:
        await command.ended()
        return command


class Watcher:
    """A `mosquitto_sub`. Messages wait by topic: nobody promises in which order those of several topics come."""

    def __init__(self) -> None:
        self._waiting: defaultdict[str, deque[str]] = defaultdict(lambda: deque(maxlen=MOST_UNREAD))
        self._arrived = asyncio.Event()

    def take(self, topic: str, payload: str) -> None:
        self._waiting[topic].append(payload)
        self._arrived.set()

    async def message(self, topic: str, fits: Callable[[Any], bool] = lambda _: True) -> Any:
        """Wait for the next message on this topic whose JSON fits, and return it."""
        waiting = self._waiting[topic]
        try:
            async with asyncio.timeout(SOON):
                while True:
                    while waiting:
                        payload = waiting.popleft()
                        if payload and fits(parsed := json.loads(payload)):
                            return parsed
                    self._arrived.clear()
                    await self._arrived.wait()
        except TimeoutError:
            raise AssertionError(
                f"nothing on {topic} that fits; there was something on {sorted(self._waiting)}"
            ) from None


@asynccontextmanager
async def watching(port: int, *filters: str) -> AsyncIterator[Watcher]:
    chosen = [part for one in filters for part in ("-t", one)]
    process = await asyncio.create_subprocess_exec(
        *("mosquitto_sub", "-h", "127.0.0.1", "-p", str(port), "-q", "1", "-F", "%t %p", *chosen),
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout
    watcher = Watcher()

    async def read(stream: asyncio.StreamReader) -> None:
        async for line in stream:
            topic, _, payload = line.decode().rstrip("\n").partition(" ")
            watcher.take(topic, payload)

    reading = asyncio.create_task(read(process.stdout))
    try:
        yield watcher
    finally:
        process.kill()
        await process.wait()
        await asyncio.wait([reading])


async def publish(port: int, topic: str, payload: str, *options: str) -> None:
    process = await asyncio.create_subprocess_exec(
        *("mosquitto_pub", "-h", "127.0.0.1", "-p", str(port), "-q", "1", "-t", topic, "-m", payload, *options)
    )
    async with asyncio.timeout(SOON):
        assert await process.wait() == 0


@dataclass
class Doorbell:
    """A port that counts who comes."""

    port: int
    visits: int = 0


@pytest.fixture
async def doorbell() -> AsyncIterator[Doorbell]:
    bell = Doorbell(0)

    def visited(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        bell.visits += 1
        writer.close()

    server = await asyncio.start_server(visited, "127.0.0.1", 0)
    bell.port = server.sockets[0].getsockname()[1]
    async with server:
        yield bell


@asynccontextmanager
async def simulated_device(cwd: Path) -> AsyncIterator[int]:
    """The Modbus connector's own simulator; its port."""
    variables = {"MODBUS_CONFIG": json.dumps(REGISTERS)}
    async with wattbus("simulate", "modbus_tcp", cwd=cwd, **variables) as simulator:
        line = await simulator.line("the simulated device listens on")
        yield int(line.split(";")[0].rsplit(":", 1)[1])
        assert await simulator.terminated(signal.SIGINT) == 0


def connector_variables(device_port: int, broker_port: int = 1, **more: str) -> dict[str, str]:
    return {
        "CONNECTOR_NAME": "meter",
        "MQTT_BROKER_PORT": str(broker_port),
        "MODBUS_MASTER_IP": "127.0.0.1",
        "MODBUS_MASTER_PORT": str(device_port),
        "POLL_SECONDS": "0.2",
        "MODBUS_CONFIG": json.dumps(REGISTERS),
        **more,
    }


def env_text(variables: Mapping[str, str]) -> str:
    return "".join(f"{name}='{value}'\n" for name, value in variables.items())
