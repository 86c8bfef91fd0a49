"""A controller on a real Mosquitto, and a plain client that plays the API and BEMCom's connectors."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from controller.service import Controller
from controller.settings import Settings
from wattbus.mqtt.embedded_broker import Mosquitto
from wattbus.retry import Backoff
from wattbus.testing.mqtt import PlainClient, Seen, plain_client
from wattbus.testing.waiting import PATIENCE_S

PAIRS_TOPIC = "python_controller/controlled_datapoints"


class Building:
    """What a plain client says in the place of API and connectors, and what it has heard. Actuators are numbers."""

    def __init__(self, client: PlainClient) -> None:
        self.client = client

    async def pairs(self, *pairs: tuple[int, int], connector: str = "plain") -> None:
        """(sensor, actuator), as BEMCom's API publishes them."""
        await self.client.publish(PAIRS_TOPIC, [pair(*numbers, connector) for numbers in pairs], qos=2, retain=True)

    async def setpoint(self, number: int, *items: dict[str, Any], connector: str = "plain") -> None:
        message = {"setpoint": list(items), "timestamp": now_ms()}
        await self.client.publish(f"{connector}/messages/{number}/setpoint", message, qos=0, retain=True)

    async def schedule(self, number: int, *items: dict[str, Any], connector: str = "plain") -> None:
        message = {"schedule": list(items), "timestamp": now_ms()}
        await self.client.publish(f"{connector}/messages/{number}/schedule", message, qos=0, retain=True)

    async def sensor(self, number: int, value: Any, connector: str = "plain") -> None:
        message = {"value": value, "timestamp": now_ms()}
        await self.client.publish(f"{connector}/messages/{number}/value", message, qos=0, retain=True)

    async def status(self, state: str, instance: str = "i1", connector: str = "plain") -> None:
        message = {"state": state, "timestamp": now_ms(), "instance": instance}
        await self.client.publish(f"{connector}/status", message, retain=True)

    def commands(self, number: int, connector: str = "plain") -> list[Seen]:
        return self.client.on(f"{connector}/messages/{number}/value")

    def values(self, number: int, connector: str = "plain") -> list[Any]:
        return [command.json["value"] for command in self.commands(number, connector)]

    async def commanded(self, number: int, *values: Any, connector: str = "plain") -> None:
        """Wait until these values, and no others, were commanded."""
        await self.client.until(lambda: self.values(number, connector)[: len(values)] == list(values))
        assert self.values(number, connector) == list(values)

    def preview_of(self, number: int, service: str = "controller") -> Any:
        return self.client.last(f"{service}/preview/plain/messages/{number}/value")

    async def preview(self, number: int, **fields: Any) -> Any:
        """Wait for a preview of this actuator with these fields."""

        def found() -> Any:
            last = self.preview_of(number)
            return last if last and fields.items() <= last.items() else None

        return await self.client.until(found)


def pair(sensor: int, actuator: int, connector: str = "plain") -> dict[str, Any]:
    stem = f"{connector}/messages/{actuator}"
    return {
        "sensor": {"value": f"{connector}/messages/{sensor}/value"},
        "actuator": {"value": f"{stem}/value", "setpoint": f"{stem}/setpoint", "schedule": f"{stem}/schedule"},
    }


def now_ms() -> int:
    return time.time_ns() // 1_000_000


@pytest.fixture
async def building(mosquitto: Mosquitto) -> AsyncIterator[Building]:
    async with plain_client(mosquitto.port) as client:
        yield Building(client)


@pytest.fixture
def settings(mosquitto: Mosquitto, tmp_path: Path) -> Settings:
    return Settings(mqtt_broker_port=mosquitto.port, data_directory=tmp_path, controller_settle_seconds=0.1)


@contextlib.asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[Controller]:
    """A controller in this process; it must still run at the end, and then end."""
    controller = Controller(settings)
    controller._bus.backoff = Backoff(0.05, 0.2)
    task = asyncio.create_task(controller.run())
    try:
        yield controller
        assert not task.done()
    finally:
        task.cancel()
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.wait([task])
    with contextlib.suppress(asyncio.CancelledError):
        task.result()


@pytest.fixture
async def controller(settings: Settings, building: Building) -> AsyncIterator[Controller]:
    async with running(settings) as controller:
        await building.client.message("controller/status", state="online")
        yield controller


def remembered(folder: Path) -> Any:
    """What the file of the controller says."""
    return json.loads((folder / "controller" / "controller.json").read_bytes())
