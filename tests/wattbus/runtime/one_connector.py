"""One connector in this process, on a real broker: what the tests of the runtime start from."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from tests.support.connector import ScriptedConnector
from wattbus.clock import SYSTEM_CLOCK, Clock
from wattbus.connector import Datapoint
from wattbus.mqtt.embedded_broker import Mosquitto
from wattbus.runtime.connector_runtime import Runtime
from wattbus.service.lifecycle import in_service
from wattbus.settings import ConnectorSettings, load
from wattbus.testing.clock import VirtualClock
from wattbus.testing.waiting import PATIENCE_S

NAME = "meter"
SOON = PATIENCE_S

ROOM = Datapoint("room", data_format="generic_numeric", unit="Cel", min_value=-40, max_value=60, expected_interval_s=10)
SETPOINT = Datapoint("setpoint", "actuator", "continuous_numeric", "Cel", min_value=5, max_value=30, example_value=21.0)


def settings_for(mosquitto: Mosquitto, folder: Path, **variables: str) -> ConnectorSettings:
    given = {
        "CONNECTOR_NAME": NAME,
        "MQTT_BROKER_PORT": str(mosquitto.port),
        "DATA_DIRECTORY": str(folder / "data"),
        **variables,
    }
    return load(ConnectorSettings, given)


def quick_reconnect(runtime: Runtime) -> Runtime:
    runtime._bus.backoff.first_s, runtime._bus.backoff.longest_s = 0.05, 0.2
    return runtime


@contextlib.asynccontextmanager
async def running(
    connector: ScriptedConnector, settings: ConnectorSettings, clock: Clock = SYSTEM_CLOCK, *, settled: bool = True
) -> AsyncIterator[Runtime]:
    runtime = quick_reconnect(Runtime(connector, settings, clock))
    task = asyncio.create_task(in_service(settings.name, runtime.run))
    try:
        async with asyncio.timeout(SOON):
            await runtime._bus.wait_connected()
            await connector.running.wait()
            while settled and runtime._commands.in_gap:  # the first things after a connect are not done yet
                await asyncio.sleep(0)
        yield runtime
    finally:
        task.cancel()
        await asyncio.wait([task])
    assert task.cancelled(), f"the connector ended by itself: {task.exception()}"


async def pass_time(clock: VirtualClock) -> None:
    """Wait for others in real time, while virtual time goes faster."""
    await clock.advance(0.25)
    await asyncio.sleep(0.01)


async def passing(clock: VirtualClock, condition: Callable[[], Any]) -> None:
    """Let time pass until a condition holds."""
    async with asyncio.timeout(SOON):
        while not condition():
            await pass_time(clock)
