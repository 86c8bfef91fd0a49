"""A room with everything around it, as real processes: device, connector, history, controller, API with its page."""

from __future__ import annotations

import asyncio
import copy
import json
import struct
from pathlib import Path
from typing import Any

import aiohttp

from tests.e2e.house import House, Process
from tests.support.ports import free_port
from wattbus.cli.demo import REGISTERS

TIME_FACTOR = 900  # the room follows a new setpoint within seconds
TEMPERATURE, POWER = "read_input_registers__1__1", "read_input_registers__1__12"
SETPOINT, SWITCH, MISSING = "write_register__1__1", "write_coil__1__1", "write_register__1__50"

# A register that the device does not have, and that nobody set limits for; and a switch.
MORE: dict[str, list[dict[str, Any]]] = {
    "write_register": [
        {"address": 50, "unit": 1, "datatypes": "<e", "example_value": "1.0", "description": "Missing register"}
    ],
    "write_coil": [{"address": 1, "unit": 1, "example_value": True, "description": "Heat pump may run"}],
}


class Building(House):
    """The connector is called `room`, as in the house."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, poll_seconds=0.5)
        common = {"MQTT_BROKER_HOST": self.broker.host, "MQTT_BROKER_PORT": str(self.broker.port)}
        self.device = self.process(
            "demo_device", {"DEMO_DEVICE_PORT": str(self.device_port), "TIME_FACTOR": str(TIME_FACTOR), **common}
        )
        self.controller = self.process("controller", common)
        self.api_port = free_port()
        self.api = self.process("api", {"API_PORT": str(self.api_port), **common})

    def process(self, service: str, variables: dict[str, str], name: str = "", before: str = "") -> Process:
        if service == "modbus_tcp":
            variables = {**variables, "MODBUS_CONFIG": json.dumps(registers()), "MODBUS_MERGE_REQUESTS": "TRUE"}
        return super().process(service, variables, name, before)

    @property
    def processes(self) -> list[Process]:
        return [*super().processes, self.controller, self.api]

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.api_port}"

    async def ids(self) -> dict[str, int]:
        """Key → id, when the API knows them all."""
        async with aiohttp.ClientSession() as session:
            while True:
                try:
                    async with session.get(f"{self.address}/datapoint/") as answer:
                        listed = await answer.json() if answer.status == 200 else []
                    found = {entry["key_in_connector"]: entry["id"] for entry in listed}
                    if {TEMPERATURE, SETPOINT, SWITCH} <= found.keys() and None not in found.values():
                        return found
                except aiohttp.ClientError:
                    pass
                await asyncio.sleep(0.1)

    async def device_setpoint(self) -> float:
        """Asked from the device itself, by mbpoll; its half floats have their bytes in little-endian order."""
        process = await asyncio.create_subprocess_exec(
            "mbpoll", "-m", "tcp", "-p", str(self.device_port), "-1", "-0", "-t", "4:hex", "-r", "1", "127.0.0.1",
            stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        output, _ = await process.communicate()
        word = int(output.decode().split("[1]:")[1].split()[0], 16)
        return float(struct.unpack("<e", word.to_bytes(2, "big"))[0])


def registers() -> dict[str, Any]:
    """Those of the demo, and more."""
    found: dict[str, Any] = copy.deepcopy(dict(REGISTERS))
    for method, entries in MORE.items():
        found.setdefault(method, []).extend(entries)
    return found
