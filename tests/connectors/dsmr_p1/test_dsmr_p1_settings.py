"""Wrong settings are refused before anything is contacted; keys do not show; the example file is complete."""

from __future__ import annotations

from pathlib import Path

import pytest

from connectors.dsmr_p1.connector import create
from connectors.dsmr_p1.profiles import PROFILES
from connectors.dsmr_p1.settings import LUXEMBOURGS_AUTHENTICATION_KEY, Settings
from tests.connectors.dsmr_p1.conftest import settings_for
from wattbus.errors import ConfigError
from wattbus.settings import load, read_env_file, unknown_variables

ROOM = Path(__file__).parents[3] / "connectors" / "dsmr_p1"
KEY = "0123456789abcdef0123456789ABCDEF"


def test_a_name_is_all_that_is_needed() -> None:
    settings = load(Settings, {"CONNECTOR_NAME": "meter"})
    assert (settings.dsmr_port, settings.dsmr_version, settings.keys) == ("/dev/ttyUSB0", "auto", None)
    create(settings)


@pytest.mark.parametrize(
    ("given", "version"),
    [("2.2", "2"), ("3", "3"), ("4.2", "4"), ("5.0.2", "5"), ("V5", "5"), ("DSMR 4", "4"), ("AUTO", "auto")],
)
def test_versions_may_be_written_as_people_do(given: str, version: str) -> None:
    assert settings_for(DSMR_VERSION=given).dsmr_version == version


@pytest.mark.parametrize(
    ("variables", "fault"),
    [
        ({"DSMR_PORT": "ttyUSB0"}, "DSMR_PORT: 'ttyUSB0' is no serial port (did you mean /dev/ttyUSB0?)"),
        ({"DSMR_VERSION": "6"}, "DSMR_VERSION: Input should be 'auto', '2', '3', '4' or '5'"),
        ({"DSMR_PROFILE": "holland"}, "DSMR_PROFILE: Input should be 'auto'"),
        ({"DSMR_METER_CLOCK": "yes"}, "DSMR_METER_CLOCK: Input should be 'auto', 'always' or 'never'"),
        ({"DSMR_INTERVAL_SECONDS": "-1"}, "DSMR_INTERVAL_SECONDS: Input should be greater than or equal to 0"),
        ({"DSMR_INTERVAL_SECONDS": "inf"}, "DSMR_INTERVAL_SECONDS: Input should be a finite number"),
        ({"DSMR_INTERVAL_SECONDS": "nan"}, "DSMR_INTERVAL_SECONDS: Input should be a finite number"),
        ({"DSMR_TIMEOUT_SECONDS": "inf"}, "DSMR_TIMEOUT_SECONDS: Input should be a finite number"),
        ({"DSMR_SIMULATE_INTERVAL_SECONDS": "1e-9"}, "DSMR_SIMULATE_INTERVAL_SECONDS: expected 0, or 0.001 or more"),
        ({"DSMR_SIMULATE_INTERVAL_SECONDS": "1e12"}, "DSMR_SIMULATE_INTERVAL_SECONDS: Input should be less than"),
        ({"DSMR_TIMEOUT_SECONDS": "0"}, "DSMR_TIMEOUT_SECONDS: Input should be greater than 1"),
        ({"DSMR_ENCRYPTION_KEY": "0123"}, "DSMR_ENCRYPTION_KEY: expected 32 hexadecimal digits"),
        ({"DSMR_ENCRYPTION_KEY": "0" * 34}, "DSMR_ENCRYPTION_KEY: expected 32 hexadecimal digits"),
        ({"DSMR_ENCRYPTION_KEY": "x" * 32}, "DSMR_ENCRYPTION_KEY: expected 32 hexadecimal digits"),
        ({"DSMR_AUTHENTICATION_KEY": "0123"}, "DSMR_AUTHENTICATION_KEY: expected 32 hexadecimal digits"),
    ],
)
def test_a_fault_names_the_variable(variables: dict[str, str], fault: str) -> None:
    with pytest.raises(ConfigError) as caught:
        settings_for(**variables)
    assert str(caught.value).startswith(fault)
    assert "x" * 32 not in str(caught.value)


def test_keys(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(KEY + "\n")
    settings = settings_for(DSMR_ENCRYPTION_KEY_FILE=str(file))
    assert settings.keys is not None
    assert settings.keys.encryption.hex() == KEY.lower()
    assert settings.keys.authentication == bytes.fromhex(LUXEMBOURGS_AUTHENTICATION_KEY)
    shown = f"{settings!r} {settings.keys!r} {settings.options!r}"
    assert KEY not in shown
    assert settings.keys.encryption.hex() not in shown
    none = settings_for(DSMR_ENCRYPTION_KEY=KEY, DSMR_AUTHENTICATION_KEY="none").keys
    assert none is not None
    assert none.authentication is None


def test_every_profile_can_be_chosen() -> None:
    for name in PROFILES:
        assert settings_for(DSMR_PROFILE=name, DSMR_SIMULATE_PROFILE=name).options.profile == name


def test_the_env_example_is_complete_and_loads() -> None:
    path = ROOM / ".env.example"
    create(load(Settings, read_env_file(path)))
    text = path.read_text()
    own = set(Settings.model_fields) - {"service_name"}
    assert [name for name in sorted(own) if name.upper() not in text] == []
    assert unknown_variables(Settings, set(read_env_file(path))) == {}
    assert all(field.description for field in Settings.model_fields.values())


def test_the_env_example_shows_the_defaults(tmp_path: Path) -> None:
    shown = [line.removeprefix("#") for line in (ROOM / ".env.example").read_text().splitlines() if "=" in line]
    (tmp_path / ".env").write_text("\n".join(line for line in shown if line.split("=")[0].isupper()))
    variables = read_env_file(tmp_path / ".env")
    with_them = load(Settings, variables)
    without = load(Settings, {"CONNECTOR_NAME": variables["CONNECTOR_NAME"]})
    assert with_them == without
