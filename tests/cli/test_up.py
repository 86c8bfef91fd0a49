"""`wattbus up` as a process: real services, a real broker that dies, a folder that is in use."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import (
    SOON,
    Command,
    Doorbell,
    completed,
    connector_variables,
    env_text,
    watching,
    wattbus,
)
from tests.support.ports import free_port
from wattbus.cli.broker import embedded_broker
from wattbus.mqtt.embedded_broker import Mosquitto

VALUE_TOPIC = "meter/messages/read_input_registers__1__1/value"


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A folder with history, the demo device and a connector for it."""
    house = tmp_path / "house"
    house.mkdir()
    device_port = free_port()
    variables = connector_variables(device_port)
    del variables["MQTT_BROKER_PORT"]
    (house / "history.env").write_text("HISTORY_RECEIPT_SECONDS=0.1\n")
    (house / "demo_device.env").write_text(f"DEMO_DEVICE_PORT={device_port}\n")
    (house / "modbus_tcp.meter.env").write_text(env_text(variables))
    return house


@asynccontextmanager
async def up(house: Path, **variables: str) -> AsyncIterator[tuple[Command, int]]:
    """A running suite and the port of its embedded broker."""
    async with wattbus("up", "house", cwd=house.parent, **variables) as command:
        line = await command.line("(embedded)")
        yield command, int(line.removesuffix(" (embedded)").rsplit(":", 1)[1])


def broker_process(house: Path) -> int:
    return int((house / "data" / "broker" / "pid").read_text())


def is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def newer_than(upto: int) -> Callable[[Any], bool]:
    return lambda receipt: bool(receipt["upto"] > upto)


async def test_device_to_database_and_a_clean_end(house: Path, doorbell: Doorbell) -> None:
    leaking = {"MQTT_BROKER_HOST": "127.0.0.1", "MQTT_BROKER_PORT": str(doorbell.port), "CONNECTOR_NAME": "leaked"}
    async with up(house, **leaking) as (command, port), watching(port, "#") as bus:
        assert (await bus.message(VALUE_TOPIC))["value"] > 0
        receipt = await bus.message("history/receipts/meter", lambda receipt: receipt["upto"] >= 2)
        assert receipt["missing"] == []
        assert await command.line(f"mosquitto_sub -h 127.0.0.1 -p {port} -v -t '#'")
        broker = broker_process(house)
        assert await command.terminated() == 0
        assert not is_alive(broker)
        assert (await bus.message("meter/status", lambda status: status["state"] == "offline"))["detail"] == "stopped"
    assert doorbell.visits == 0
    assert (house / "data" / "history.db").exists()


async def test_the_embedded_broker_comes_back(house: Path) -> None:
    async with up(house) as (command, port):
        for _ in range(2):
            async with watching(port, VALUE_TOPIC) as bus:
                await bus.message(VALUE_TOPIC)
            killed = broker_process(house)
            os.kill(killed, signal.SIGKILL)
            async with asyncio.timeout(SOON):
                while broker_process(house) == killed:
                    await asyncio.sleep(0.02)
            async with watching(port, "history/receipts/meter", VALUE_TOPIC) as bus:
                upto = (await bus.message("history/receipts/meter"))["upto"]
                await bus.message("history/receipts/meter", newer_than(upto))
        await command.line("the embedded broker ended with code -9; it is started again")
        assert await command.terminated(signal.SIGINT) == 0


async def test_the_brokers_process_id_is_never_half_written(tmp_path: Path) -> None:
    """Who has the file open while it is written anew reads the old number, not nothing."""
    async with embedded_broker(tmp_path, free_port()):
        with (tmp_path / "broker" / "pid").open() as reading:
            os.kill(first := int((tmp_path / "broker" / "pid").read_text()), signal.SIGKILL)
            async with asyncio.timeout(SOON):
                while int((tmp_path / "broker" / "pid").read_text()) == first:
                    await asyncio.sleep(0.02)
            assert int(reading.read()) == first


async def test_a_killed_suite_leaves_nothing_in_the_way(house: Path) -> None:
    async with up(house) as (command, port):
        async with watching(port, VALUE_TOPIC) as bus:
            await bus.message(VALUE_TOPIC)
        command.process.kill()
        await command.ended()
    leftover = broker_process(house)
    assert is_alive(leftover)
    async with up(house) as (command, again):
        assert again == port
        async with watching(again, VALUE_TOPIC) as bus:
            await bus.message(VALUE_TOPIC)
        assert broker_process(house) != leftover
        assert await command.terminated() == 0


async def test_a_folder_has_one_user(house: Path) -> None:
    async with up(house) as (first, _):
        second = await completed("up", "house", cwd=house.parent)
        assert second.process.returncode == 2
        data = house / "data"
        assert second.faults == [f"DATA_DIRECTORY: {data} is in use by the running process {first.process.pid}"]
        assert await first.terminated() == 0


async def test_one_wrong_file_is_left_out_and_said_and_the_others_run(house: Path) -> None:
    http_port = free_port()
    (house / "common.env").write_text(f"HTTP_PORT={http_port}\n")
    (house / "modbus_tcp.other.env").write_text("POLL_SECONDS=5\nMODBUS_CONFIG='{\"read_coils\": []}'\n")
    (house / "nonsense.env").touch()
    async with up(house) as (command, port), watching(port, VALUE_TOPIC) as bus:
        await bus.message(VALUE_TOPIC)
        fault = "modbus_tcp.other.env: MODBUS_MASTER_IP is required and not set"
        assert await command.line(f"NOT RUN: {fault}")
        assert "ERROR" in await command.line(f"{fault}; it is not run, the other services are")
        assert await command.line("nonsense.env: there is no service 'nonsense'")
        answer = await _get(http_port, "/readyz")
        assert answer.startswith("HTTP/1.1 503")
        assert json.loads(answer.partition("\r\n\r\n")[2])["faults"]["modbus-tcp-other"]["settings"] == fault
        assert await command.terminated() == 0


async def test_common_faults_and_no_right_file_at_all_stop_the_start(house: Path, doorbell: Doorbell) -> None:
    common = f"MQTT_BROKER_HOST=127.0.0.1\nMQTT_BROKER_PORT={doorbell.port}\n"
    (house / "common.env").write_text(f"{common}LOGLEVEL=LOUD\n")
    assert (await completed("up", "house", cwd=house.parent)).process.returncode == 2
    (house / "common.env").write_text(common)
    for file in house.glob("*.env"):
        if file.name != "common.env":
            file.unlink()
    (house / "modbus_tcp.other.env").write_text("POLL_SECONDS=5\nMODBUS_CONFIG='{\"read_coils\": []}'\n")
    command = await completed("up", "house", cwd=house.parent)
    assert command.process.returncode == 2
    assert command.faults == ["modbus_tcp.other.env: MODBUS_MASTER_IP is required and not set"]
    assert doorbell.visits == 0
    assert not (house / "data").exists()


async def test_a_port_that_is_taken_is_tried_again(house: Path) -> None:
    """The demo device's port and the one for health are somebody else's when everything starts."""
    http_port, device_port = free_port(), int((house / "demo_device.env").read_text().partition("=")[2])
    (house / "common.env").write_text(f"HTTP_PORT={http_port}\n")

    def refuse(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    others = [await asyncio.start_server(refuse, "127.0.0.1", port) for port in (http_port, device_port)]
    async with up(house) as (command, port), watching(port, VALUE_TOPIC, "meter/status") as bus:
        await command.line("HTTP_PORT: cannot listen")
        await command.line("it is tried again, the other services go on")
        assert await bus.message("meter/status", lambda status: status["state"] == "degraded")
        for other in others:
            other.close()
        await bus.message(VALUE_TOPIC)
        await command.line("health and metrics are served")
        assert '"port"' not in await _get(http_port, "/readyz")
        assert await command.terminated() == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="a file system of its own needs root")
async def test_it_starts_on_a_full_disk_and_records_when_there_is_room(house: Path) -> None:
    data = house / "data"
    data.mkdir()
    mounted = await asyncio.create_subprocess_exec("mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", data)
    if await mounted.wait():
        pytest.skip("no file system can be mounted here")
    try:
        with (data / "filling").open("wb", buffering=0) as filling, contextlib.suppress(OSError):
            while True:
                filling.write(b"x" * 4096)
        async with up(house) as (command, port), watching(port, "#") as bus:
            await bus.message(VALUE_TOPIC)
            status = await bus.message("history/status", lambda status: status["state"] == "degraded")
            assert not status["recording"]
            (data / "filling").unlink()
            receipt = await bus.message("history/receipts/meter", lambda receipt: receipt["upto"] >= 2)
            assert receipt["missing"] == []
            assert await command.terminated() == 0
    finally:
        await (await asyncio.create_subprocess_exec("umount", "-l", data)).wait()


async def test_a_taken_port_is_told(house: Path, doorbell: Doorbell) -> None:
    (house / "common.env").write_text(f"MQTT_BROKER_PORT={doorbell.port}\n")
    command = await completed("up", "house", cwd=house.parent)
    assert command.process.returncode == 2
    assert command.faults[0].startswith(f"MQTT_BROKER_PORT: something listens on port {doorbell.port} already")


async def test_a_service_that_gives_up_later_does_not_take_the_others_along(house: Path, mosquitto: Mosquitto) -> None:
    http_port = free_port()
    (house / "common.env").write_text(
        f"MQTT_BROKER_HOST=127.0.0.1\nMQTT_BROKER_PORT={mosquitto.port}\nHTTP_PORT={http_port}\n"
    )
    (house / "history.env").write_text("DATABASE_URL=nonsense://\n")
    async with wattbus("up", "house", cwd=house.parent) as command, watching(mosquitto.port, VALUE_TOPIC) as bus:
        fault = await command.line("it ends, the other services go on: history.env: DATABASE_URL")
        assert "ERROR" in fault
        await bus.message(VALUE_TOPIC)
        answer = await _get(http_port, "/readyz")
        assert answer.startswith("HTTP/1.1 503")
        assert (
            "history.env: DATABASE_URL" in json.loads(answer.partition("\r\n\r\n")[2])["faults"]["history"]["settings"]
        )
        assert await command.terminated() == 0


async def _get(port: int, path: str) -> str:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    async with asyncio.timeout(SOON):
        answer = (await reader.read()).decode()
    writer.close()
    return answer
