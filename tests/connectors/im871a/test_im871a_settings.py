"""Meters and keys as people write them, and what they are told when it is wrong."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from connectors.im871a.connector import create
from connectors.im871a.meters_config import read_meters
from connectors.im871a.settings import Settings
from tests.connectors.im871a.conftest import settings_for
from wattbus.errors import ConfigError
from wattbus.settings import load, read_env_file, unknown_variables

ROOM = Path(__file__).parents[3] / "connectors" / "im871a"
KEY = "000102030405060708090a0b0c0d0e0f"


def test_the_env_example_is_complete_and_loads() -> None:
    path = ROOM / ".env.example"
    create(load(Settings, read_env_file(path)))
    text = path.read_text()
    own = set(Settings.model_fields) - {"service_name"}
    assert [name for name in sorted(own) if name.upper() not in text] == []
    assert unknown_variables(Settings, set(read_env_file(path))) == {}
    assert all(field.description for field in Settings.model_fields.values())


def test_its_examples_and_defaults_are_right(tmp_path: Path) -> None:
    """The lines that begin with # load as well, and those without an example show the default."""
    lines = (ROOM / ".env.example").read_text().splitlines()
    copy = tmp_path / ".env"
    copy.write_text("\n".join(re.sub(r"^#(?=[A-Z0-9_]+=)", "", line) for line in lines))
    shown = read_env_file(copy)
    settings, default = load(Settings, shown), load(Settings, {"CONNECTOR_NAME": "wmbus"})
    examples = {"im871a_meters", "im871a_meters_file", "recalc_gateway_id"}
    differing = {name for name in Settings.model_fields if getattr(settings, name) != getattr(default, name)}
    assert differing == examples


@pytest.mark.parametrize(
    "written",
    [
        f'{{"1234567": {{"key": "{KEY}"}}}}',
        f"{{'1234567': {{key: '{KEY.upper()}'}}}}",
        f"'01234567': '{KEY[:16]} {KEY[16:]}'",
        f"01234567:\n  key: {KEY}\n  name: ''\n",
    ],
)
def test_one_meter_in_many_spellings(written: str) -> None:
    [(meter, config)] = settings_for(IM871A_METERS=written).im871a_meters.items()
    assert (meter, config.key_bytes) == ("01234567", bytes(range(16)))


@pytest.mark.parametrize(
    ("written", "fault"),
    [
        ('{"32666857": {"key": "9A25"}}', "IM871A_METERS.32666857.key: a key has 32 hexadecimal digits"),
        ('{"meter": {}}', "'meter' is no meter: expected its eight digits"),
        ('{"123456789": {}}', "is no meter"),
        ('{"1": {}, "00000001": {}}', "a meter is there twice"),
        ('{"1": {"kye": ""}}', "IM871A_METERS.1.kye"),
        ("'1': {key: 12345678901234567890123456789012}", "write the key in quotes"),
        ("'1': 12345678901234567890123456789012", "write the key in quotes"),
        ('{"1": {"silent_seconds": -1}}', "IM871A_METERS.1.silent_seconds"),
        (f'{{"1": {{"key": "{KEY[:-1]}g"}}}}', "32 characters, not all of them such digits"),
        (f'{{"{KEY}": "1"}}', "a text of 32 characters is no meter"),
        ("[]", "IM871A_METERS"),
        ("{", "IM871A_METERS: not valid JSON"),
    ],
)
def test_what_is_wrong_is_named(written: str, fault: str) -> None:
    with pytest.raises(ConfigError) as caught:
        settings_for(IM871A_METERS=written)
    assert fault in str(caught.value)


@pytest.mark.parametrize("written", ['{"1": {}}', '{"1": null}', '{"1": ""}', '{"1": {"key": ""}}', "1:"])
def test_a_meter_without_key(written: str) -> None:
    [(meter, config)] = settings_for(IM871A_METERS=written).im871a_meters.items()
    assert (meter, config.key_bytes) == ("00000001", None)


def test_empty_paths_are_none() -> None:
    settings = settings_for(IM871A_METERS_FILE="", IM871A_SIMULATE_FILE="", IM871A_METERS="")
    assert (settings.im871a_meters_file, settings.im871a_simulate_file, settings.im871a_meters) == (None, None, {})


def test_no_key_is_shown() -> None:
    wrong = KEY[:-1] + "g"
    with pytest.raises(ConfigError) as caught:
        settings_for(IM871A_METERS={"1": {"key": wrong}})
    assert wrong not in str(caught.value)
    with pytest.raises(ValueError, match="32 hexadecimal") as other:
        read_meters(f'{{"1": "{wrong}"}}')
    assert wrong not in str(other.value)
    for in_the_wrong_place in (f'{{"{KEY}": {{}}}}', f'{{"1": {{"name": {{"{KEY}": 1}}}}}}'):
        with pytest.raises(ConfigError) as caught:
            settings_for(IM871A_METERS=in_the_wrong_place)
        assert KEY not in str(caught.value)
    assert KEY not in repr(settings_for(IM871A_METERS={"1": {"key": KEY}}))
