"""A whole building for the end-to-end tests: broker, demo device, connector and history as real processes.

The judge is the poll counter inside the demo device: it rises with every poll it answers, so the values of that
datapoint in the database must be 1, 2, 3, … without a gap and without a repetition.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sqlite3
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiomqtt

from tests.support.ports import free_port
from wattbus.mqtt.embedded_broker import LOSSLESS, Mosquitto
from wattbus.testing.waiting import PATIENCE_S, patience

SOON = PATIENCE_S
COUNTER = "read_input_registers__1__100"
TEMPERATURE = "read_input_registers__1__1"
SETPOINT = "write_register__1__1"
MODBUS_CONFIG = {
    "read_input_registers": [
        {"address": 1, "count": 1, "unit": 1, "datatypes": "<e"},
        {"address": 100, "count": 2, "unit": 1, "datatypes": ">I"},
    ],
    "write_register": [{"address": 1, "unit": 1, "datatypes": "<e", "example_value": "22.0"}],
}


class Process:
    """One service as its own process, as `wattbus run` starts it. `before` is Python that runs first in it."""

    def __init__(self, service: str, variables: dict[str, str], log: Path, before: str = "") -> None:
        self.service = service
        self._variables = variables
        self._log = log
        self._before = before
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        environment = {**os.environ, **self._variables}
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-c",
                f"{self._before}\nimport sys; from wattbus.cli import main; sys.exit(main())",
                "run",
                self.service,
                env=environment,
                stdout=log,
                stderr=log,
                cwd=self._log.parent,
            )

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.returncode is None

    async def kill(self) -> None:
        """SIGKILL, as a power cut or the out-of-memory killer does it."""
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        await self._process.wait()

    async def stop(self) -> int:
        """SIGTERM; its exit code."""
        if self._process is None:
            return 0
        if self._process.returncode is None:
            self._process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(PATIENCE_S):
            return await self._process.wait()

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace") if self._log.exists() else ""


class House:
    """Broker, device, connector `room`, history; everything below one folder.

    `ask` runs a query on another database than the SQLite file; the services are told its URL by `database_url`.
    """

    def __init__(
        self,
        folder: Path,
        options: tuple[str, ...] = LOSSLESS,
        poll_seconds: float = 0.05,
        *,
        database_url: str = "",
        ask: Callable[[str], list[str]] | None = None,
    ) -> None:
        self.folder = folder
        self.broker = Mosquitto(configuration_directory=folder / "mosquitto", options=options)
        self.device_port = free_port()
        self._poll_seconds = poll_seconds
        self._database_url = database_url
        self._ask = ask
        self.asked: set[int] = set()  # answers of the counter that went to the judge
        self.device = self.process("demo_device", {"DEMO_DEVICE_PORT": str(self.device_port)})
        self.history = self.process("history", {})
        self.connector = self.connector_to(self.device_port)

    def process(self, service: str, variables: dict[str, str], name: str = "", before: str = "") -> Process:
        """A service of this house; `name` is that of its log."""
        common = {"MQTT_BROKER_HOST": self.broker.host, "MQTT_BROKER_PORT": str(self.broker.port)}
        common |= {"DATABASE_URL": self._database_url} if self._database_url else {}
        variables = {"DATA_DIRECTORY": str(self.folder / "data"), **common, **variables}
        return Process(service, variables, self.folder / f"{name or service}.log", before)

    def connector_to(self, port: int, name: str = "room", *, before: str = "", **more: str) -> Process:
        return self.process(
            "modbus_tcp",
            {
                "CONNECTOR_NAME": name,
                "MODBUS_MASTER_IP": "127.0.0.1",
                "MODBUS_MASTER_PORT": str(port),
                "MODBUS_CONFIG": json.dumps(MODBUS_CONFIG),
                "MODBUS_MERGE_REQUESTS": "FALSE",
                "MODBUS_TIMEOUT_SECONDS": "1",
                "MODBUS_RETRY_WAIT_SECONDS": "1",
                "POLL_SECONDS": str(self._poll_seconds),
                "HEARTBEAT_SECONDS": "0.5",
                **more,
            },
            name,
            before,
        )

    @property
    def processes(self) -> list[Process]:
        return [self.device, self.connector, self.history]

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[House]:
        await self.broker.start()
        for process in self.processes:
            await process.start()
        try:
            yield self
        finally:
            for process in reversed(self.processes):
                await process.stop()
            await self.broker.stop()

    def counters(self) -> list[int]:
        """The poll counter's stored values, in the order of time."""
        return [int(value) for value in self.stored("room", COUNTER)]

    def stored(self, connector: str, key: str) -> list[Any]:
        """The numbers that the database has of a datapoint, in the order of time."""
        if self._ask is not None:
            try:
                return [float(number) for number in self._ask(STORED_ELSEWHERE.format(connector=connector, key=key))]
            except RuntimeError:
                return []  # not migrated yet
        path = self.folder / "data" / "history.db"
        if not path.exists():
            return []
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
            try:
                return [row[0] for row in database.execute(STORED, {"connector": connector, "key": key})]
            except sqlite3.OperationalError:
                return []  # not migrated yet

    async def until_stored(self, number: int) -> None:
        """Wait until the database holds the poll counter's value `number`."""
        await until(lambda: (self.counters() or [0])[-1] >= number, f"poll {number} in the database", self.tell)

    async def further(self, polls: int) -> None:
        """Wait until that many further polls are in the database."""
        await self.until_stored((self.counters() or [0])[-1] + polls)

    def tell(self) -> str:
        """The ends of all logs, for a failed test."""
        return "\n".join(f"--- {process._log.name}\n{process.log[-3000:]}" for process in self.processes)

    async def nothing_is_missing(self) -> None:
        """Ask the device how many polls it answered: all of them are in the database, once each."""
        assert all(process.alive for process in self.processes), f"a process ended\n{self.tell()}"
        asked = await self.ask_the_counter()
        await self.until_stored(asked + 5)
        answered = [number for number in range(1, self.counters()[-1] + 1) if number not in self.asked]

        def complete() -> bool:
            return set(answered) <= set(self.counters())

        await until(complete, "every poll in the database", lambda: _gaps(self.counters(), answered, self.tell()))
        counters = [number for number in self.counters() if number <= answered[-1]]
        assert counters == answered, _gaps(counters, answered, self.tell())

    async def polled(self, times: int) -> None:
        """Wait until the connector has polled the device that often, whoever else is there to take it."""
        begun = await self.ask_the_counter()
        ours = 0
        async with asyncio.timeout(SOON):
            while await self.ask_the_counter() - begun - ours < times:
                ours += 1
                await asyncio.sleep(0.05)

    async def ask_the_counter(self) -> int:
        """The device's counter, read by mbpoll. Asking counts as a poll too, one that no connector sees."""
        process = await asyncio.create_subprocess_exec(
            "mbpoll", "-m", "tcp", "-p", str(self.device_port), "-1", "-0", "-B", "-t", "3:int", "-r", "100",
            "127.0.0.1", stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        output, _ = await process.communicate()
        number = int(output.decode().split("[100]:")[1].split()[0])
        self.asked.add(number)
        return number


STORED_ELSEWHERE = (
    "SELECT number FROM history JOIN datapoints ON datapoints.id = datapoint "
    "WHERE connector = '{connector}' AND key = '{key}' AND type = 'sensor' ORDER BY time"
)
STORED = """
SELECT number FROM (
  SELECT time, datapoint, number FROM recent UNION ALL SELECT time, datapoint, number FROM history
) JOIN datapoints ON datapoints.id = datapoint
WHERE connector = :connector AND key = :key AND type = 'sensor' ORDER BY time
"""


def _gaps(counters: list[int], answered: list[int], logs: str) -> str:
    missing = sorted(set(answered) - set(counters))
    twice = sorted(number for number, times in Counter(counters).items() if times > 1)
    return f"missing {missing[:20]} ({len(missing)}), twice {twice[:20]} ({len(twice)})\n{logs}"


async def until(holds: Callable[[], bool], what: str, tell: Callable[[], str] = str) -> None:
    """Wait for an effect that another process has, e.g. in a database."""
    async with patience(what, tell):
        while not holds():
            await asyncio.sleep(0.05)


class Listener:
    """A plain MQTT client, independent of our own bus: remembers the last message of every topic."""

    def __init__(self, client: aiomqtt.Client) -> None:
        self.client = client
        self.last: dict[str, Any] = {}
        self.all: list[tuple[str, Any]] = []
        self._news = asyncio.Event()

    async def listen(self) -> None:
        async for message in self.client.messages:
            payload = bytes(message.payload) if isinstance(message.payload, bytes | bytearray) else b""
            try:
                content = json.loads(payload) if payload else None
            except ValueError:
                content = payload
            self.last[str(message.topic)] = content
            self.all.append((str(message.topic), content))
            self._news.set()

    async def until(self, holds: Callable[[], bool], what: str = "") -> None:
        async with patience(what):
            while not holds():
                self._news.clear()
                await self._news.wait()


@contextlib.asynccontextmanager
async def listening(port: int, topics: str = "#") -> AsyncIterator[Listener]:
    async with aiomqtt.Client("127.0.0.1", port, protocol=aiomqtt.ProtocolVersion.V5) as client:
        await client.subscribe(topics, qos=1)
        listener = Listener(client)
        task = asyncio.create_task(listener.listen())
        try:
            yield listener
        finally:
            task.cancel()
            await asyncio.wait([task])
