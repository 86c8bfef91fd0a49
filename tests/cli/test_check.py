"""`wattbus check`: settings, settings without secrets, and the device itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import Field, SecretStr

from links.modbus_server import Faults, ModbusServer, NumberBank
from tests.cli.conftest import Doorbell, completed, connector_variables, env_text, simulated_device
from tests.support.ports import free_port
from wattbus.cli.redaction import redacted_lines
from wattbus.settings import Settings


async def test_contacts_nothing(tmp_path: Path, doorbell: Doorbell) -> None:
    command = await completed("check", "modbus_tcp", cwd=tmp_path, **connector_variables(doorbell.port, doorbell.port))
    assert (command.process.returncode, command.errors) == (0, ["modbus_tcp: the settings are right"])
    assert doorbell.visits == 0


async def test_tells_every_fault(tmp_path: Path) -> None:
    command = await completed("check", "modbus_tcp", cwd=tmp_path, CONNECTOR_NAME="Heat Pump")
    assert command.process.returncode == 2
    assert command.faults[0].startswith("CONNECTOR_NAME: use lower case letters")
    assert "POLL_SECONDS is required and not set" in command.faults


async def test_shows_settings_without_secrets(tmp_path: Path) -> None:
    variables = {"MQTT_PASSWORD": "hidden-1", "DATABASE_URL": "sqlite://user:hidden-2@host/x?password=hidden-3&a=b"}
    command = await completed("check", "history", "--show", cwd=tmp_path, **variables)
    assert "hidden" not in "\n".join(command.output + command.errors)
    assert "MQTT_PASSWORD=********" in command.output
    assert "DATABASE_URL=sqlite://user:********@host/x?password=********&a=b" in command.output
    assert "HISTORY_CONNECTORS=[]" in command.output and "MQTT_TLS=FALSE" in command.output


class Secretive(Settings):
    """Settings with secrets in every place where one was ever seen."""

    plain: str = "seen"
    some_password: str = "hidden"
    secret: SecretStr = SecretStr("hidden")
    api_token: str | None = None
    number: int = 5
    meter_key: int = 1234
    meter_key_file: Path = Path("/run/secrets/key")
    other_key_file: str = "-----BEGIN PRIVATE KEY-----\nhidden"
    url: str = "https://hidden-token@host/a"
    nested: dict[str, object] = Field(
        default={"meters": [{"id": "1", "aes_key": "hidden"}], "url": "mqtt://u:hid@/den@h"}
    )


def test_every_kind_of_secret_is_masked() -> None:
    lines = list(redacted_lines(Secretive()))
    assert not any(part in "\n".join(lines) for part in ("hid", "den", "1234"))
    assert lines == [
        "PLAIN=seen",
        "SOME_PASSWORD=********",
        "SECRET=********",
        "API_TOKEN=",
        "NUMBER=5",
        "METER_KEY=********",
        "METER_KEY_FILE=/run/secrets/key",
        "OTHER_KEY_FILE=********",
        "URL=https://********@host/a",
        'NESTED={"meters":[{"id":"1","aes_key":"********"}],"url":"mqtt://u:********@h"}',
    ]


async def test_probe_prints_the_first_reading(tmp_path: Path, doorbell: Doorbell) -> None:
    async with simulated_device(tmp_path) as device:
        variables = connector_variables(device, doorbell.port)
        command = await completed("check", "modbus_tcp", "--probe", cwd=tmp_path, **variables)
    assert command.process.returncode == 0
    [line] = command.output
    assert line.startswith("read_input_registers__1__1  ")
    assert doorbell.visits == 0, "the broker is not asked"


async def test_probe_says_why_nothing_came(tmp_path: Path) -> None:
    nobody = free_port()
    command = await completed("check", "modbus_tcp", "--probe", cwd=tmp_path, **connector_variables(nobody))
    assert command.process.returncode == 1
    assert command.faults == [f"modbus_tcp: 127.0.0.1:{nobody}: Connection refused"]


@pytest.mark.parametrize(
    ("faults", "words"),
    [
        ({"exceptions": {1: 2}}, "illegal data address (2)"),
        ({"exceptions": {1: 6}}, "server device busy (6)"),
        ({"short": {1}}, "1 bytes of values instead of 2"),
        ({"garbage": {1}}, "no Modbus/TCP header"),
        ({"ignored": {1}}, "no answer within 1 s"),
    ],
)
async def test_probe_says_at_once_which_range_cannot_be_read(
    tmp_path: Path, faults: dict[str, Any], words: str
) -> None:
    async with ModbusServer({1: NumberBank()}, faults=Faults(**faults)) as server:
        variables = connector_variables(server.port, MODBUS_TIMEOUT_SECONDS="1")
        command = await completed("check", "modbus_tcp", "--probe", "--timeout", "60", cwd=tmp_path, **variables)
    assert command.process.returncode == 1
    (line,) = command.faults
    assert "read_input_registers 1 of unit 1: " in line
    assert words in line


async def test_probe_does_not_wait_for_ever(tmp_path: Path, doorbell: Doorbell) -> None:
    variables = connector_variables(doorbell.port, MODBUS_MAX_RETRIES="99")
    command = await completed("check", "modbus_tcp", "--probe", "--timeout", "0.5", cwd=tmp_path, **variables)
    assert command.process.returncode == 1
    assert doorbell.visits > 0


async def test_probe_is_for_connectors(tmp_path: Path) -> None:
    command = await completed("check", "history", "--probe", cwd=tmp_path)
    assert (command.process.returncode, command.faults) == (2, ["history is not a connector"])


async def test_a_whole_folder(tmp_path: Path) -> None:
    (tmp_path / "history.env").write_text("")
    (tmp_path / "modbus_tcp.meter.env").write_text(env_text({"POLL_SECONDS": "0"}))
    command = await completed("check", "--directory", tmp_path, cwd=tmp_path)
    assert command.process.returncode == 2
    assert [fault.split(":")[0] for fault in command.faults] == ["modbus_tcp.meter.env"] * 3


@pytest.mark.parametrize("given", [[], ["history", "--directory", "."]])
async def test_one_thing_at_a_time(tmp_path: Path, given: list[str]) -> None:
    command = await completed("check", *given, cwd=tmp_path)
    assert (command.process.returncode, command.faults) == (2, ["check: give either a SERVICE or --directory DIR"])
