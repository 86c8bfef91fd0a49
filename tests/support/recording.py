"""For services that record what is on the bus: a client that plays everybody else, and the service in this process."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, TypeVar

from wattbus.mqtt.client import MqttClient
from wattbus.mqtt.packets import IncomingMessage, Outgoing
from wattbus.retry import Backoff
from wattbus.settings import BrokerSettings
from wattbus.testing.waiting import PATIENCE_S

SOON = PATIENCE_S
NOW = (time.time_ns() // 10**9 - 86_400) * 1000  # ms, yesterday: retention leaves it alone


class RecordedClient:
    """Plays connectors and plain MQTT clients, and remembers what `service` said of itself."""

    service: str

    def __init__(self, port: int) -> None:
        self.bus = MqttClient(BrokerSettings(mqtt_broker_port=port), "client", backoff=Backoff(0.05, 0.2))
        self.states_of: dict[str, list[str]] = defaultdict(list)  # by service
        self._heard = asyncio.Event()

    @property
    def states(self) -> list[str]:
        return self.states_of[self.service]

    def topics(self) -> list[str]:
        return ["+/status"]

    def take(self, delivery: IncomingMessage) -> None:
        """What is no status."""

    async def listen(self) -> None:
        await self.bus.subscribe(self.topics())
        async for delivery in self.bus.deliveries():
            delivery.acknowledge()
            service, _, rest = delivery.topic.partition("/")
            if rest == "status" and delivery.payload:
                self.states_of[service].append(json.loads(delivery.payload)["state"])
            elif rest != "status":
                self.take(delivery)
            self._heard.set()

    async def until(self, met: Callable[[], bool]) -> None:
        """Wait until what was heard meets this."""
        async with asyncio.timeout(SOON):
            while not met():
                self._heard.clear()
                await self._heard.wait()

    async def until_state(self, state: str, service: str = "") -> None:
        """Wait until `service`, the usual one if none is named, is in this state."""
        await self.until(lambda: self.states_of[service or self.service][-1:] == [state])

    async def publish(self, topic: str, message: Any, *, retain: bool = False, qos: int = 1) -> None:
        """Bytes as they are, anything else as JSON."""
        payload = message if isinstance(message, bytes) else json.dumps(message).encode()
        await self.bus.publish(Outgoing(topic, payload, qos=qos, retain=retain))


C = TypeVar("C", bound=RecordedClient)


@contextlib.asynccontextmanager
async def playing(client: C) -> AsyncIterator[C]:
    """The client, when it is connected."""
    tasks = [asyncio.create_task(client.bus.run()), asyncio.create_task(client.listen())]
    try:
        async with asyncio.timeout(SOON):
            await client.bus.wait_connected()
        yield client
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


@contextlib.asynccontextmanager
async def in_this_process(service: Coroutine[Any, Any, None]) -> AsyncIterator[asyncio.Task[None]]:
    """A service; it must still run at the end, and then end."""
    task = asyncio.create_task(service)
    try:
        yield task
        assert not task.done()
    finally:
        task.cancel()
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.wait([task])
    with contextlib.suppress(asyncio.CancelledError):
        task.result()


async def in_a_process(service: str, **settings: Any) -> asyncio.subprocess.Process:
    """`run()` of a service with these settings, in a process that a test may kill."""
    program = (
        "import asyncio, importlib, json, sys\n"
        "module, settings = sys.argv[1], json.loads(sys.argv[2])\n"
        "service, of = (importlib.import_module(f'{module}.{part}') for part in ('service', 'settings'))\n"
        "asyncio.run(service.run(of.Settings(**settings)))"
    )
    return await asyncio.create_subprocess_exec(sys.executable, "-c", program, service, json.dumps(settings))


async def until(holds: Callable[[], bool]) -> None:
    """Wait for an effect, e.g. on a metric."""
    async with asyncio.timeout(SOON):
        while not holds():
            await asyncio.sleep(0.01)
