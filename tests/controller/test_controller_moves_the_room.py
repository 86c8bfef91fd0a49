"""The whole way down, as processes: setpoint and schedule → controller → Modbus connector → heat pump → room."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.controller.conftest import now_ms
from tests.controller.desk import plan, wish
from tests.e2e.house import MODBUS_CONFIG, SETPOINT, TEMPERATURE, Process
from tests.support.ports import free_port
from wattbus.mqtt.embedded_broker import Mosquitto
from wattbus.testing.mqtt import PlainClient, plain_client

SENSOR = f"room/messages/{TEMPERATURE}/value"
ACTUATOR = f"room/messages/{SETPOINT}-set/value"
PREVIEW = f"controller/preview/{ACTUATOR}"


class Rooms:
    """Demo device, connector `room` and controller."""

    def __init__(self, folder: Path, broker: Mosquitto) -> None:
        port = str(free_port())
        common = {
            "MQTT_BROKER_HOST": broker.host,
            "MQTT_BROKER_PORT": str(broker.port),
            "DATA_DIRECTORY": str(folder / "data"),
        }
        pair = [{"sensor": f"room/{TEMPERATURE}", "actuator": f"room/{SETPOINT}"}]
        variables: dict[str, dict[str, str]] = {
            "demo_device": {"DEMO_DEVICE_PORT": port, "TIME_FACTOR": "1800"},
            "modbus_tcp": {
                "CONNECTOR_NAME": "room",
                "MODBUS_MASTER_IP": "127.0.0.1",
                "MODBUS_MASTER_PORT": port,
                "MODBUS_CONFIG": json.dumps(MODBUS_CONFIG),
                "MODBUS_RETRY_WAIT_SECONDS": "1",
                "POLL_SECONDS": "0.1",
                "STALE_AFTER_INTERVALS": "100",  # a busy machine may skip three polls of 0.1 s
            },
            "controller": {
                "CONTROLLED_DATAPOINTS": json.dumps(pair),
                "CONTROLLER_HYSTERESIS": "0.5",
                "CONTROLLER_SETTLE_SECONDS": "0.2",
            },
        }
        self.device, self.connector, self.controller = (
            Process(service, {**common, **own}, folder / f"{service}.log") for service, own in variables.items()
        )

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        processes = (self.device, self.connector, self.controller)
        for process in processes:
            await process.start()
        try:
            yield
            assert all(process.alive for process in processes)
        finally:
            codes = [await process.stop() for process in reversed(processes)]
        assert codes == [0, 0, 0]


async def give(client: PlainClient, kind: str, *items: dict[str, Any]) -> None:
    topic = f"{ACTUATOR.removesuffix('value')}{kind}"
    await client.publish(topic, {kind: list(items), "timestamp": now_ms()}, retain=True)


def commands(client: PlainClient) -> list[Any]:
    return [seen.json["value"] for seen in client.on(ACTUATOR)]


@pytest.fixture
async def client(mosquitto: Mosquitto) -> AsyncIterator[PlainClient]:
    async with plain_client(mosquitto.port) as client:
        yield client


async def test_a_setpoint_with_tolerance_and_a_schedule_move_the_room(
    client: PlainClient, mosquitto: Mosquitto, tmp_path: Path
) -> None:
    rooms = Rooms(tmp_path, mosquitto)
    async with rooms.running():
        await client.message("room/status", state="online")
        await client.message(SENSOR)
        await client.message(PREVIEW)

        def measured() -> float:
            return float(client.last(SENSOR)["value"])

        # The optimiser wants as much heat as the tolerance allows; the person wants 21.
        await give(client, "setpoint", wish(None, None, 21.0, min_value=19, max_value=25))
        await client.until(lambda: commands(client) == [21.0])
        await client.until(lambda: measured() < 21.5)
        await give(client, "schedule", plan(None, None, 30.0))
        await client.until(lambda: measured() > 25)
        await client.until(lambda: commands(client)[:3] == [21.0, 30.0, 21.0])
        await client.until(lambda: measured() < 24.5)
        await client.until(lambda: commands(client)[:4] == [21.0, 30.0, 21.0, 30.0])
        reasons = [seen.json["reason"] for seen in client.on("controller/decisions")]
        assert any("outside 19…25" in reason for reason in reasons)
        assert any("is within 19…25" in reason for reason in reasons)

        # The setpoint goes; a connector that was killed gets the schedule's value once more.
        await give(client, "setpoint")
        await give(client, "schedule", plan(None, None, 18.0))
        await client.until(lambda: commands(client)[-1] == 18.0 and measured() < 18.5)
        await client.until(lambda: client.last(PREVIEW)["sent"]["outcome"] == "applied")
        before = len(commands(client))
        await rooms.connector.kill()
        await client.message("room/status", state="offline")
        await rooms.connector.start()
        await client.until(lambda: len(commands(client)) > before)
        assert commands(client)[before:] == [18.0]
        await client.until(lambda: client.on("controller/decisions")[-1].json["cause"] == "return")

        # A controller that was killed goes on where it was.
        await client.until(lambda: client.last(PREVIEW)["sent"]["outcome"] == "applied")
        change_ms = now_ms() + 2500
        await give(client, "schedule", plan(None, change_ms, 18.0), plan(change_ms, None, 20.0))
        await client.until(lambda: client.last(PREVIEW)["coming"])
        await rooms.controller.kill()
        await rooms.controller.start()
        await client.until(lambda: commands(client)[-1] == 20.0)
        assert commands(client)[before:] == [18.0, 20.0]
        await client.until(lambda: measured() > 19.5)
