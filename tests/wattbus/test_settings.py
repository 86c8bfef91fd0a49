"""Settings: typed, from variables and files, with errors that say what to change."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, Field

from wattbus.errors import ConfigError
from wattbus.settings import ConnectorSettings, Settings, from_environment, load, read_env_file, unknown_variables


class Register(BaseModel):
    address: int = Field(ge=0)
    unit: int = 1


class Whole(BaseModel):
    registers: dict[int, Register] = Field(default_factory=dict)
    on: str = ""

    model_config = ConfigDict(extra="forbid")


class Example(ConnectorSettings):
    registers: dict[str, list[Register]] = Field(default_factory=dict)
    by_number: dict[int, Register] = Field(default_factory=dict)
    whole: Whole = Whole()


def loaded(**variables: str) -> Example:
    return load(Example, {"CONNECTOR_NAME": "c", **variables})


def fault(**variables: str) -> str:
    with pytest.raises(ConfigError) as wrong:
        loaded(**variables)
    return str(wrong.value)


def test_variables_win_over_defaults_and_empty_ones_count_as_not_given() -> None:
    assert load(Example, {"CONNECTOR_NAME": "c"}, HTTP_PORT="8080").http_port == 8080
    assert load(Example, {"CONNECTOR_NAME": "c", "HTTP_PORT": "9090"}, HTTP_PORT="8080").http_port == 9090
    empty = loaded(HTTP_PORT="", MQTT_BROKER_PORT="", MQTT_USERNAME="", MQTT_PASSWORD="", DEBUG="", REGISTERS="")
    assert (empty.http_port, empty.mqtt_broker_port, empty.mqtt_username, empty.mqtt_password) == (
        None,
        1883,
        None,
        None,
    )
    assert loaded(loglevel="debug").loglevel == "DEBUG"


def test_the_environment_wins_over_the_env_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / ".env"
    file.write_text('CONNECTOR_NAME=from-file\nPOLL="${HOME} $x"\nexport A=1 # why\nEMPTY=\nALONE\n')
    monkeypatch.setenv("CONNECTOR_NAME", "from-environment")
    variables = from_environment(file)
    assert variables["CONNECTOR_NAME"] == "from-environment"
    assert (variables["POLL"], variables["A"], variables["EMPTY"]) == ("${HOME} $x", "1", "")
    assert read_env_file(tmp_path / "nothing") == {}
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match=r"cannot read"):
        read_env_file(file)


@pytest.mark.parametrize("text", ["TRUE", "True", "true", "1", "yes", "on"])
def test_booleans_as_people_write_them(text: str) -> None:
    assert loaded(READ_ONLY=text).read_only
    assert not loaded(READ_ONLY="FALSE").read_only
    assert fault(READ_ONLY="maybe").startswith("READ_ONLY: ")


@pytest.mark.parametrize(
    "text",
    [
        '{"input": [{"address": 3}, {"address": 4, "unit": 2}]}',
        "input:\n  - address: 3\n  - {address: 4, unit: 2}\n",
    ],
)
def test_structures_may_be_json_or_yaml(text: str) -> None:
    assert loaded(REGISTERS=text).registers == {"input": [Register(address=3), Register(address=4, unit=2)]}


@pytest.mark.parametrize("text", ['{"8": {"address": 3}}', "8: {address: 3}", "{8: {address: 3}}", "'8': {address: 3}"])
def test_keys_of_yaml_are_text_as_in_json(text: str) -> None:
    assert loaded(BY_NUMBER=text).by_number == {8: Register(address=3)}


def test_a_model_takes_yaml_whose_keys_are_no_text() -> None:
    """pydantic-settings trips over such keys when the setting's type is a model."""
    assert fault(WHOLE="1: 2") == "WHOLE.1: Extra inputs are not permitted"
    whole = loaded(WHOLE="registers: {8: {address: 3}}\non: 'yes'").whole
    assert whole == Whole(registers={8: Register(address=3)}, on="yes"), "`on` is a key like any other"
    assert fault(WHOLE="? [1, 2]\n: 3") == "WHOLE: a key must be text (line 1, column 3)"


def test_a_key_that_is_there_twice_is_no_key_that_is_lost() -> None:
    assert (
        fault(BY_NUMBER="8: {address: 3}\n8: {address: 4}")
        == "BY_NUMBER: the key '8' is there twice (line 2, column 1)"
    )
    assert fault(BY_NUMBER='{"8": {}, "8": {}}') == "BY_NUMBER: the key '8' is there twice (line 1, column 11)"
    merged = "8: &first {address: 3, unit: 4}\n9: {<<: *first, address: 5}"
    assert loaded(BY_NUMBER=merged).by_number[9] == Register(address=5, unit=4), "YAML's merge repeats on purpose"


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"REGISTERS": '{"input": [{"address": -3}]}'}, "REGISTERS.input[0].address: "),
        ({"REGISTERS": '{"input": [{}]}'}, "REGISTERS.input[0].address is required"),
        ({"REGISTERS": '{"input": ['}, "REGISTERS: not valid JSON"),
        ({"REGISTERS": "a: b: c"}, "REGISTERS: neither JSON nor YAML (line 1, column 5)"),
        ({"REGISTERS": "a: 2020-13-45"}, "REGISTERS: neither JSON nor YAML"),
        ({"REGISTERS": "a: !!timestamp b"}, "REGISTERS: neither JSON nor YAML"),
        ({"REGISTERS": "[" * 1_500}, "REGISTERS: not valid JSON"),
        ({"MQTT_BROKER_PORT": "99999"}, "MQTT_BROKER_PORT: "),
        ({"CONNECTOR_NAME": "Not This/One"}, "CONNECTOR_NAME: use lower case letters"),
        ({"CONNECTOR_NAME": ""}, "CONNECTOR_NAME"),
        ({"STATE": "sometimes"}, "STATE: "),
        ({"HEARTBEAT_SECONDS": "0"}, "HEARTBEAT_SECONDS: "),
    ],
)
def test_errors_name_the_variable_and_the_path(variables: dict[str, str], words: str) -> None:
    assert words in fault(**variables)


def test_every_fault_has_its_line() -> None:
    lines = fault(MQTT_BROKER_PORT="x", STATE="y").splitlines()
    assert sorted(line.split(":")[0] for line in lines) == ["MQTT_BROKER_PORT", "STATE"]
    with pytest.raises(ConfigError, match="CONNECTOR_NAME is required and not set"):
        load(Example, {})


def test_any_setting_can_be_read_from_a_file(tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text("s3cret\n")
    read = loaded(MQTT_PASSWORD_FILE=str(secret))
    assert read.mqtt_password is not None
    assert read.mqtt_password.get_secret_value() == "s3cret"
    structure = tmp_path / "registers.yaml"
    structure.write_text("input: [{address: 1}]\n")
    assert loaded(REGISTERS_FILE=str(structure)).registers == {"input": [Register(address=1)]}
    assert "MQTT_PASSWORD and MQTT_PASSWORD_FILE are both set" in fault(
        MQTT_PASSWORD="x", MQTT_PASSWORD_FILE=str(secret)
    )
    assert "MQTT_PASSWORD_FILE: cannot read" in fault(MQTT_PASSWORD_FILE=str(tmp_path / "nowhere"))
    assert loaded(MQTT_CA_FILE="/etc/ca.pem").mqtt_ca_file == "/etc/ca.pem", "a setting of that name itself"


def test_no_secret_is_shown(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    given = loaded(MQTT_PASSWORD="s3cret")
    logging.getLogger().warning("%s %r", given, given)
    assert "s3cret" not in f"{given} {given!r} {given.model_dump()} {given.model_dump_json()} {caplog.text}"
    for variables in ({"MQTT_BROKER_PORT": "s3cret"}, {"REGISTERS": '{"input": [{"address": "s3cret"}]}'}):
        assert "s3cret" not in fault(**variables)


def test_unknown_variables_are_found_with_what_was_meant() -> None:
    names = {"CONNECTOR_NAME", "MQTT_PASSWORD_FILE", "SERVICE", "HEARTBEAT_SECOND", "NODE_RED_URL", "connector_name"}
    assert unknown_variables(Example, names) == {"HEARTBEAT_SECOND": "HEARTBEAT_SECONDS", "NODE_RED_URL": ""}


def test_the_process_leaks_nothing_into_a_service(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MQTT_BROKER_HOST", "elsewhere")
    assert loaded().mqtt_broker_host == "127.0.0.1"


def test_every_setting_is_documented() -> None:
    undocumented: list[Any] = [name for name, field in ConnectorSettings.model_fields.items() if not field.description]
    assert undocumented == []
    assert issubclass(ConnectorSettings, Settings)
