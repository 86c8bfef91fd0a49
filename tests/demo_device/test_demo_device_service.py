"""The demo device as it is run: mbpoll and our own connector talk to it."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from shutil import which

import pytest

from connectors.modbus_tcp.connector import create
from connectors.modbus_tcp.settings import Settings as ConnectorSettings
from demo_device.room import Room
from demo_device.service import RunningRoom, run
from demo_device.settings import Settings
from tests.connectors.modbus_tcp.conftest import RecordingLink
from wattbus.errors import ConfigError
from wattbus.settings import load, read_env_file, unknown_variables

FOLDER = Path(__file__).parents[2] / "demo_device"
# Character for character from BEMCom's documentation, 02_application_creation.md.
BEMCOMS_CONFIG = (
    '{"read_input_registers": [{"address": 1,"count":1,"unit": 1,"datatypes": "e"}],'
    '"write_register": [{"address": 1,"unit": 1,"datatypes": "<e","example_value": "22.0"}]}'
)


@asynccontextmanager
async def device(**variables: str) -> AsyncIterator[int]:
    where: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    settings = load(Settings, {"DEMO_DEVICE_PORT": "0", **variables})
    task = asyncio.create_task(run(settings, lambda _host, port: where.set_result(port)))
    yield await where
    task.cancel()
    await asyncio.wait([task])


async def mbpoll(port: int, *arguments: str) -> str:
    if which("mbpoll") is None:
        pytest.skip("mbpoll is not installed: the demo device was not tried with it")
    command = ["mbpoll", "-m", "tcp", "-p", str(port), "-0", "-1", *arguments]
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await process.communicate()
    return output.decode()


async def test_mbpoll_reads_and_writes_it() -> None:
    async with device(TIME_FACTOR="0.001") as port:
        assert re.search(r"\[1\]:\s+0x404D", await mbpoll(port, "-t", "3:hex", "-r", "1", "127.0.0.1"))
        outside = await mbpoll(port, "-t", "3:float", "-B", "-r", "10", "127.0.0.1")
        assert re.search(r"\[10\]:\s+2\.4644", outside)  # 6 - 5 cos(2 pi 3 h / 24 h)
        assert "Written 1 references" in await mbpoll(port, "-t", "4:hex", "-r", "1", "127.0.0.1", "0x804D")
        assert re.search(r"\[1\]:\s+0x804D", await mbpoll(port, "-t", "4:hex", "-r", "1", "127.0.0.1"))
        assert "Illegal data value" in await mbpoll(port, "-t", "4:hex", "-r", "1", "127.0.0.1", "0x007E")
        assert "Illegal data address" in await mbpoll(port, "-t", "4:hex", "-r", "2", "127.0.0.1")
        for count in (1, 2):
            counter = await mbpoll(port, "-t", "3:int", "-B", "-r", "100", "127.0.0.1")
            assert re.search(rf"\[100\]:\s+{count}$", counter, re.MULTILINE)


def connector_settings(port: int, config: str) -> ConnectorSettings:
    return load(
        ConnectorSettings,
        {
            "CONNECTOR_NAME": "bemcom-demo-modbus-tcp-connector",
            "POLL_SECONDS": "0.05",
            "MODBUS_MASTER_IP": "127.0.0.1",
            "MODBUS_MASTER_PORT": str(port),
            "MODBUS_CONFIG": config,
        },
    )


async def test_bemcoms_example_configuration_moves_the_room() -> None:
    async with device(TIME_FACTOR="3600") as port:
        connector = create(connector_settings(port, BEMCOMS_CONFIG))
        link = RecordingLink()
        running = asyncio.create_task(connector.run(link))

        def temperature() -> float:
            (reading,) = connector.decode(link.raw[-1])
            return float(reading.values["read_input_registers__1__1"])

        await link.until(lambda _: bool(link.raw) and abs(temperature() - 24.0) < 0.2)
        await connector.write("write_register__1__1", 22.0)
        await link.until(lambda _: abs(temperature() - 22.0) < 0.2)
        running.cancel()
        await asyncio.wait([running])


async def test_the_readmes_full_configuration_reads_everything() -> None:
    text = (FOLDER / "README.md").read_text()
    configs = re.findall(r"MODBUS_CONFIG='(\{.*?\})'$", text, re.DOTALL | re.MULTILINE)
    assert [config for config in configs if config == BEMCOMS_CONFIG]
    async with device() as port:
        connector = create(connector_settings(port, configs[-1]))
        link = RecordingLink()
        running = asyncio.create_task(connector.run(link))
        await link.until(lambda _: len(link.raw) >= 3)
        running.cancel()
        await asyncio.wait([running])
    readings = [reading.values for raw in link.raw for reading in connector.decode(raw)]
    sensors = {datapoint.key for datapoint in connector.datapoints() if datapoint.type == "sensor"}
    assert all(set(reading) == sensors for reading in readings)
    assert [reading["read_input_registers__1__100"] for reading in readings[:3]] == [1, 2, 3]


async def test_a_port_that_is_taken_is_a_config_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings = load(Settings, {"DEMO_DEVICE_PORT": str(taken.getsockname()[1])})
        with pytest.raises(ConfigError, match=r"DEMO_DEVICE_PORT: cannot listen on 127\.0\.0\.1"):
            await run(settings)


def test_time_in_the_room_runs_with_the_clock_and_faster() -> None:
    class HandClock:
        seconds = 0.0

        def now_ms(self) -> int:
            return 0

        def monotonic(self) -> float:
            return self.seconds

        async def sleep(self, seconds: float) -> None:
            raise AssertionError("nobody waits here")

    clock = HandClock()
    running = RunningRoom(Room(), 60, clock)
    begin_s = running.room.time_s
    clock.seconds = 2.5
    running.catch_up()
    running.catch_up()
    assert running.room.time_s - begin_s == pytest.approx(150)


def test_the_env_example_is_complete_and_loads() -> None:
    variables = read_env_file(FOLDER / ".env.example")
    settings = load(Settings, variables)
    assert (settings.service_name, settings.time_factor) == ("demo-device", 60)
    text = (FOLDER / ".env.example").read_text()
    no_bus = {name for name in Settings.model_fields if name.startswith("mqtt_") or name == "data_directory"}
    assert [name for name in Settings.model_fields if name.upper() not in text and name not in no_bus] == []
    assert unknown_variables(Settings, set(variables)) == {}
