"""Settings of the controller, and its .env.example."""

from __future__ import annotations

from pathlib import Path

import pytest

import controller
from controller.settings import Settings
from wattbus.cli.discovery import find, remarks
from wattbus.errors import ConfigError
from wattbus.settings import load, read_env_file, unknown_variables

ROOM = Path(controller.__file__).parent
# BEMCom's controller: Readme.md of services/controllers/python.
BEMCOM = {
    "MQTT_BROKER_HOST": "broker.example.com",
    "MQTT_BROKER_PORT": "1884",
    "MQTT_TOPIC_CONTROLLED_DATAPOINTS": "my_controller/controlled_datapoints",
    "LOGLEVEL": "DEBUG",
}


def test_the_variables_of_bemcom_work() -> None:
    settings = load(Settings, BEMCOM)
    assert settings.mqtt_topic_controlled_datapoints == "my_controller/controlled_datapoints"
    assert (settings.mqtt_broker_port, settings.level, settings.name) == (1884, "DEBUG", "controller")
    assert remarks(Settings, BEMCOM) == []


def test_everything_beyond_bemcom_is_off() -> None:
    settings = load(Settings, {})
    assert settings.controlled_datapoints == []
    assert settings.controller_no_sensor == "schedule"
    assert (settings.controller_hysteresis, settings.controller_min_dwell_seconds) == (0, 0)
    assert (settings.controller_repeat_seconds, settings.controller_dry_run) == (0, False)
    assert settings.command_expiry_seconds == 60


@pytest.mark.parametrize(
    "text", ['[{"sensor": "knx/1/2/3", "actuator": "knx/2/3/113"}]', "- {sensor: knx/1/2/3, actuator: knx/2/3/113}"]
)
def test_pairs_as_json_or_yaml(text: str) -> None:
    [pair] = load(Settings, {"CONTROLLED_DATAPOINTS": text}).controlled_datapoints
    assert (pair.sensor, pair.actuator) == ("knx/1/2/3", "knx/2/3/113")


@pytest.mark.parametrize(
    ("variable", "value", "fault"),
    [
        (
            "CONTROLLED_DATAPOINTS",
            '[{"sensor": "room", "actuator": "a/b"}]',
            r"\[0\]\.sensor: write it as connector/key",
        ),
        (
            "CONTROLLED_DATAPOINTS",
            '[{"sensor": "+/a", "actuator": "a/b"}]',
            r"\[0\]\.sensor: write it as connector/key",
        ),
        ("CONTROLLED_DATAPOINTS", '[{"sensor": "a/b"}]', r"\[0\]\.actuator is required"),
        ("CONTROLLED_DATAPOINTS", '[{"sensor": "a/b", "actuator": "a/b", "x": 1}]', r"\[0\]\.x: Extra inputs"),
        ("MQTT_TOPIC_CONTROLLED_DATAPOINTS", "a/#", "MQTT_TOPIC_CONTROLLED_DATAPOINTS: name one topic"),
        ("CONTROLLER_NO_SENSOR", "guess", "CONTROLLER_NO_SENSOR: Input should be 'schedule' or 'preferred'"),
        ("COMMAND_EXPIRY_SECONDS", "0", "COMMAND_EXPIRY_SECONDS: Input should be greater"),
    ],
)
def test_a_fault_is_named(variable: str, value: str, fault: str) -> None:
    with pytest.raises(ConfigError, match=fault):
        load(Settings, {variable: value})


def test_it_is_found_as_a_service() -> None:
    service = find("controller")
    assert (service.kind, service.settings_class) == ("service", Settings)


def test_the_env_example_is_complete_and_loads() -> None:
    variables = read_env_file(ROOM / ".env.example")
    settings = load(Settings, variables)
    assert settings.name == "controller"
    text = (ROOM / ".env.example").read_text()
    assert [name for name in Settings.model_fields if name.upper() not in text] == []
    assert unknown_variables(Settings, set(variables)) == {}
