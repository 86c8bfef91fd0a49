"""What one connector costs as a process of its own: memory, and the time from its start to its first value on the bus.

    python -m bench.connector_process

A Modbus/TCP connector with one register beside its simulated device and a Mosquitto, all started here. The same figures
of a bare Python that imports the MQTT and JSON libraries stand beside them.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import aiomqtt

from wattbus.mqtt.embedded_broker import Mosquitto, free_port

ROUNDS = 5
CONFIG = {"read_input_registers": [{"address": 1, "count": 1, "unit": 1, "datatypes": "<e"}]}
BARE = "import aiohttp, aiomqtt, orjson, prometheus_client, pydantic_settings, time; print(flush=True); time.sleep(60)"


def resident_mib(process: int) -> float:
    [line] = [one for one in Path(f"/proc/{process}/status").read_text().splitlines() if one.startswith("VmRSS")]
    return int(line.split()[1]) / 1024


def started(command: str, service: str, variables: dict[str, str], *more: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "wattbus.cli", command, service, *more],
        env={**os.environ, **variables},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


async def until_listening(port: int) -> None:
    while True:
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            return
        await asyncio.sleep(0.05)


async def connector(broker: Mosquitto, device_port: int, folder: Path) -> tuple[float, float]:
    """Seconds until the first value, and MiB after it."""
    variables = {
        "CONNECTOR_NAME": "meter",
        "MODBUS_MASTER_IP": "127.0.0.1",
        "MODBUS_MASTER_PORT": str(device_port),
        "MODBUS_CONFIG": json.dumps(CONFIG),
        "MQTT_BROKER_PORT": str(broker.port),
        "DATA_DIRECTORY": str(folder),
        "POLL_SECONDS": "0.5",
    }
    async with aiomqtt.Client("127.0.0.1", broker.port) as client:
        await client.subscribe("meter/values")
        begun = time.perf_counter()
        process = started("run", "modbus_tcp", variables)
        try:
            await anext(aiter(client.messages))
            took = time.perf_counter() - begun
            await asyncio.sleep(2)
            return took, resident_mib(process.pid)
        finally:
            process.terminate()
            process.wait()


def bare() -> tuple[float, float]:
    begun = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-c", BARE], stdout=subprocess.PIPE)
    try:
        assert process.stdout
        process.stdout.readline()
        return time.perf_counter() - begun, resident_mib(process.pid)
    finally:
        process.kill()
        process.wait()


async def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder, port = Path(name), free_port()
        broker = Mosquitto(configuration_directory=folder)
        await broker.start()
        simulator = started("simulate", "modbus_tcp", {"MODBUS_CONFIG": json.dumps(CONFIG)}, "--port", str(port))
        try:
            await until_listening(port)
            ours = [await connector(broker, port, folder / "data") for _ in range(ROUNDS)]
            theirs = [bare() for _ in range(ROUNDS)]
        finally:
            simulator.terminate()
            simulator.wait()
            await broker.stop()
    for what, found in (("connector, to its first value", ours), ("bare Python with its libraries", theirs)):
        seconds, mib = (sorted(values)[ROUNDS // 2] for values in zip(*found, strict=True))
        print(f"{what}: {seconds:.2f} s, {mib:.0f} MiB (median of {ROUNDS})")


if __name__ == "__main__":
    asyncio.run(main())
