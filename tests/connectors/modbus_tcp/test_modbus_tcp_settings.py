"""Wrong configuration is refused before anything is contacted, naming the path to the entry."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from connectors.modbus_tcp.connector import create
from connectors.modbus_tcp.settings import Settings
from wattbus.errors import ConfigError
from wattbus.settings import load, read_env_file, unknown_variables

ROOM = Path(__file__).parents[3] / "connectors" / "modbus_tcp"
MINIMUM = {"CONNECTOR_NAME": "modbus", "POLL_SECONDS": "5", "MODBUS_MASTER_IP": "192.0.2.1"}
REGISTERS = {"address": 1, "count": 1, "unit": 1, "datatypes": ">h"}


def loaded(config: Any, **variables: str) -> Settings:
    text = config if isinstance(config, str) else json.dumps(config)
    return load(Settings, {**MINIMUM, "MODBUS_CONFIG": text, **variables})


def faults(config: Any, **variables: str) -> str:
    with pytest.raises(ConfigError) as caught:
        loaded(config, **variables)
    return str(caught.value)


def test_the_configuration_of_bemcoms_demo_is_taken_as_it_is() -> None:
    settings = loaded(
        '{"read_input_registers": [{"address": 1,"count":1,"unit": 1,"datatypes": "e"}],'
        '"write_register": [{"address": 1,"unit": 1,"datatypes": "<e","example_value": "22.0"}]}',
        MODBUS_MAX_RETRIES="3",
        MODBUS_RETRY_WAIT_SECONDS="15",
        MODBUS_POLL_BREAK="0",
        MODBUS_DISCONNECT_BETWEEN_POLLS="TRUE",
    )
    assert settings.modbus_config.read_input_registers[0].datatypes == "e"
    assert settings.modbus_config.write_register[0].example_value == "22.0"
    assert settings.modbus_disconnect_between_polls


def test_yaml_says_the_same() -> None:
    settings = loaded("read_coils:\n- {address: 10, count: 3, unit: 1}\n")
    assert settings.modbus_config.read_coils[0].count == 3


def test_unknown_methods_are_dropped_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        settings = loaded({"read_fifo_queue": [{}], "read_coils": [{"address": 1, "count": 1, "unit": 1}]})
    assert len(settings.modbus_config.read_coils) == 1
    assert "ignored read_fifo_queue" in caplog.text


@pytest.mark.parametrize(
    ("config", "fault"),
    [
        (
            {"read_coils": [{"address": 70000, "count": 1, "unit": 1}]},
            "MODBUS_CONFIG.read_coils[0].address: Input should",
        ),
        ({"read_coils": [{"address": -1, "count": 1, "unit": 1}]}, "MODBUS_CONFIG.read_coils[0].address: Input should"),
        ({"read_coils": [{"address": 1, "count": 0, "unit": 1}]}, "MODBUS_CONFIG.read_coils[0].count: Input should"),
        ({"read_coils": [{"address": 1, "count": 1}]}, "MODBUS_CONFIG.read_coils[0].unit is required"),
        ({"read_coils": [{"address": 1, "count": 1, "unit": 256}]}, "MODBUS_CONFIG.read_coils[0].unit: Input should"),
        ({"read_coils": [{"address": 1, "count": 1, "unit": 1, "datatypes": "h"}]}, "read_coils[0].datatypes: Extra"),
        (
            {"read_coils": [{"address": 65535, "count": 2, "unit": 1}]},
            "MODBUS_CONFIG.read_coils[0]: address 65535 and 2",
        ),
        ({"read_coils": {"address": 1}}, "MODBUS_CONFIG.read_coils: Input should be a valid"),
        ([1], "MODBUS_CONFIG: expected an object"),
        ({"read_holding_registers": [{**REGISTERS, "scaling": 2}]}, "read_holding_registers[0].scaling: Extra inputs"),
        (
            {"read_holding_registers": [REGISTERS, {**REGISTERS, "address": 2, "datatypes": ">f"}]},
            "MODBUS_CONFIG.read_holding_registers[1]: count is 1, and datatypes '>f' take 2 registers: they must agree",
        ),
        ({"read_holding_registers": [{**REGISTERS, "datatypes": ">z"}]}, "[0].datatypes: 'z' is no struct type"),
        ({"read_holding_registers": [{**REGISTERS, "datatypes": ">b"}]}, "[0].datatypes: '>b' takes 1 bytes"),
        ({"read_holding_registers": [{**REGISTERS, "word_order": "middle"}]}, "[0].word_order: Input should be 'big'"),
        (
            {"read_holding_registers": [{**REGISTERS, "scaling_factors": {"2": 0.1}}]},
            "[0]: scaling_factors: 2 is not the address of a value here (values are at 1)",
        ),
        (
            {"read_holding_registers": [{**REGISTERS, "scaling_factors": {"1": 0}}]},
            "scaling_factors.1: a scaling factor is",
        ),
        (
            {"read_holding_registers": [{**REGISTERS, "datatypes": ">2s", "scaling_factors": {"1": 2}}]},
            "[0]: scaling_factors: the value at 1 is not a number",
        ),
        ({"read_holding_registers": [{**REGISTERS, "units": {"7": "V"}}]}, "[0]: units: 7 is not the address"),
        (
            {"read_holding_registers": [REGISTERS, {**REGISTERS, "count": 2, "datatypes": ">f"}]},
            "MODBUS_CONFIG: read_holding_registers[1]: the key read_holding_registers__1__1 is already taken by "
            "read_holding_registers[0]",
        ),
        (
            {"read_holding_registers": [{**REGISTERS, "count": 2, "datatypes": ">BBh"}]},
            "the key read_holding_registers__1__2 is already taken by read_holding_registers[0]",
        ),
        (
            {"write_register": [{"address": 1, "unit": 1, "datatypes": ">f"}]},
            "MODBUS_CONFIG.write_register[0]: datatypes '>f' take 2 registers, and write_register writes one: use "
            "write_registers",
        ),
        (
            {"write_registers": [{"address": 1, "unit": 1, "datatypes": ">200h"}]},
            "200 registers cannot be written at once",
        ),
        ({"write_registers": [{"address": 1, "unit": 1, "datatypes": ">h2s"}]}, "a text must be the only value"),
        ({"write_coils": [{"address": 1, "unit": 1, "count": 2000}]}, "write_coils[0].count: Input should be less"),
        (
            {"write_register": [{"address": 1, "unit": 1, "datatypes": ">h", "min_value": 5, "max_value": 1}]},
            "write_register[0]: min_value is above max_value",
        ),
    ],
)
def test_a_fault_is_told_with_its_place(config: Any, fault: str) -> None:
    assert fault in faults(config)


@pytest.mark.parametrize(
    ("variables", "fault"),
    [
        ({"POLL_SECONDS": "0"}, "POLL_SECONDS: Input should be greater than 0"),
        ({"MODBUS_FRAMING": "ascii"}, "MODBUS_FRAMING: Input should be 'tcp' or 'rtu'"),
        ({"MODBUS_MAX_REGISTERS_PER_REQUEST": "126"}, "MODBUS_MAX_REGISTERS_PER_REQUEST: Input should be less"),
        ({"MODBUS_MAX_RETRIES": "0"}, "MODBUS_MAX_RETRIES: Input should be greater"),
        ({"MODBUS_CA_FILE": "/ca.pem"}, "MODBUS_CA_FILE: only with MODBUS_TLS=TRUE"),
        ({"MODBUS_TLS": "TRUE", "MODBUS_KEY_FILE": "/key.pem"}, "MODBUS_KEY_FILE: only with MODBUS_CERT_FILE"),
    ],
)
def test_other_settings_name_themselves(variables: dict[str, str], fault: str) -> None:
    assert fault in faults({"read_coils": []}, **variables)


@pytest.mark.parametrize("name", ["MODBUS_CA_FILE", "MODBUS_CERT_FILE"])
def test_certificates_that_cannot_be_read_are_refused_before_anything_is_contacted(name: str) -> None:
    settings = loaded(
        {"read_coils": [{"address": 1, "count": 1, "unit": 1}]}, MODBUS_TLS="TRUE", **{name: "/nowhere.pem"}
    )
    with pytest.raises(ConfigError, match=name):
        create(settings)


def test_a_configuration_with_nothing_in_it_is_refused() -> None:
    with pytest.raises(ConfigError, match="nothing to read or write"):
        create(loaded({}))


def test_the_env_example_is_complete_and_loads() -> None:
    path = ROOM / ".env.example"
    settings = load(Settings, read_env_file(path))
    create(settings)
    text = path.read_text()
    own = set(Settings.model_fields) - {"service_name"}
    assert [name for name in sorted(own) if name.upper() not in text] == []
    assert unknown_variables(Settings, set(read_env_file(path))) == {}
    assert all(field.description for field in Settings.model_fields.values())
