"""`wattbus run SERVICE` as a process."""

from __future__ import annotations

import asyncio
import signal
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.cli.conftest import (
    SOON,
    Doorbell,
    completed,
    connector_variables,
    env_text,
    simulated_device,
    watching,
    wattbus,
)
from tests.support.ports import free_port
from wattbus.cli import main
from wattbus.mqtt.embedded_broker import Mosquitto


async def test_wrong_settings_end_it_before_anything_is_contacted(tmp_path: Path, doorbell: Doorbell) -> None:
    variables = connector_variables(doorbell.port, doorbell.port, POLL_SECONDS="often")
    del variables["CONNECTOR_NAME"]
    command = await completed("run", "modbus_tcp", cwd=tmp_path, **variables)
    assert command.process.returncode == 2
    assert command.faults[0] == "CONNECTOR_NAME is required and not set"
    assert command.faults[1].startswith("POLL_SECONDS: Input should be a valid number")
    assert doorbell.visits == 0
    assert list(tmp_path.iterdir()) == []


async def test_what_only_the_connector_finds_wrong_ends_it_as_well(tmp_path: Path, doorbell: Doorbell) -> None:
    variables = connector_variables(doorbell.port, doorbell.port, MODBUS_CONFIG="{}")
    command = await completed("run", "modbus-tcp", cwd=tmp_path, **variables)
    assert (command.process.returncode, doorbell.visits) == (2, 0)
    assert command.faults == ["MODBUS_CONFIG: there is nothing to read or write in it"]


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
async def test_ends_with_a_goodbye(tmp_path: Path, mosquitto: Mosquitto, how: signal.Signals) -> None:
    async with simulated_device(tmp_path) as device, watching(mosquitto.port, "meter/#") as bus:
        async with wattbus("run", "modbus_tcp", cwd=tmp_path, **connector_variables(device, mosquitto.port)) as command:
            value = await bus.message("meter/messages/read_input_registers__1__1/value")
            assert isinstance(value["value"], float)
            assert await command.terminated(how) == 0
        status = await bus.message("meter/status", lambda status: status["state"] == "offline")
        assert status["detail"] == "stopped"


async def test_ends_within_seconds_when_nobody_answers(tmp_path: Path) -> None:
    nobody = free_port()
    async with wattbus("run", "modbus_tcp", cwd=tmp_path, **connector_variables(nobody, nobody)) as command:
        await command.line(" link: ")
        assert await command.terminated() == 0


async def test_serves_health_when_a_port_is_given(tmp_path: Path, mosquitto: Mosquitto) -> None:
    port = free_port()
    variables = {"HTTP_PORT": str(port), "MQTT_BROKER_PORT": str(mosquitto.port)}
    async with wattbus("run", "history", cwd=tmp_path, **variables) as command:
        async with asyncio.timeout(SOON):
            while (answer := await asyncio.to_thread(_asked, f"http://127.0.0.1:{port}/readyz")) != 200:
                assert answer in (None, 503)
                await asyncio.sleep(0.02)
        assert await asyncio.to_thread(_asked, f"http://127.0.0.1:{port}/metrics") == 200
        assert await command.terminated() == 0


def _asked(url: str) -> int | None:
    try:
        with urllib.request.urlopen(url, timeout=SOON) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return None


async def test_tells_of_variables_in_the_file_that_nobody_knows(tmp_path: Path) -> None:
    (tmp_path / "meter.env").write_text(
        env_text(connector_variables(1)) + "MODBUS_MASTER_PROT=5\nCUSTOM_ENV_VARR=x\nMQTT_TOPIC_LOGS=y\nDEBUG=FALSE\n"
    )
    variables = {"SOMETHING_ELSE": "1", "POLL_SECONDS": "5"}
    command = await completed("check", "modbus_tcp", "--env-file", "meter.env", "--show", cwd=tmp_path, **variables)
    assert command.process.returncode == 0
    told = [line.partition("meter.env: ")[2] for line in command.errors if "meter.env: " in line]
    assert told == [
        "MODBUS_MASTER_PROT: there is no such setting; do you mean MODBUS_MASTER_PORT?",
        "accepted without effect: CUSTOM_ENV_VARR (it never had one), MQTT_TOPIC_LOGS (topics follow from the names)",
    ]
    assert "POLL_SECONDS=5.0" in command.output, "the environment wins over the file"


async def test_a_named_file_must_be_there(tmp_path: Path) -> None:
    command = await completed("run", "history", "--env-file", "nothing.env", cwd=tmp_path)
    assert (command.process.returncode, command.faults) == (2, ["--env-file: there is no file nothing.env"])


async def test_reads_the_file_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("HISTORY_RETENTION_DAYS=7\n")
    command = await completed("check", "history", "--show", cwd=tmp_path)
    assert "HISTORY_RETENTION_DAYS=7.0" in command.output


async def test_an_unknown_service_is_told_with_the_closest_name(tmp_path: Path) -> None:
    command = await completed("run", "modbus", cwd=tmp_path)
    assert command.process.returncode == 2
    assert command.faults[0].startswith("there is no service 'modbus'; do you mean modbus_tcp?")


@pytest.mark.parametrize("name", ["", "run", "up", "demo", "check", "datapoints", "decode", "simulate"])
def test_help_comes_with_an_example(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*name.split(), "--help"])
    assert ended.value.code == 0
    _, _, example = capsys.readouterr().out.partition("\nexample")
    assert f"wattbus {name}" in example
