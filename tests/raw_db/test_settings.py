"""raw_db's settings, and the names that BEMCom's users have in their files."""

from __future__ import annotations

from pathlib import Path

import pytest

import raw_db
from raw_db.settings import Settings
from wattbus.errors import ConfigError
from wattbus.settings import load, read_env_file, unknown_variables

EXAMPLE = Path(raw_db.__file__).parent / ".env.example"


def test_the_example_is_complete_and_holds_the_defaults(tmp_path: Path) -> None:
    lines = [line.removeprefix("#") for line in EXAMPLE.read_text().splitlines() if "=" in line and line[:2] != "# "]
    (tmp_path / "all.env").write_text("\n".join(lines))
    given = read_env_file(tmp_path / "all.env")
    assert {name.lower() for name in given} == Settings.model_fields.keys()
    assert load(Settings, given) == load(Settings, {})
    assert load(Settings, read_env_file(EXAMPLE)) == load(Settings, {})


def test_bemcoms_topic_setting_keeps_working() -> None:
    bemcom = {"MQTT_TOPIC_ALL_RAW_MESSAGES": "+/raw_message_to_db", "MQTT_BROKER_HOST": "broker"}
    assert unknown_variables(Settings, set(bemcom)) == {}
    assert load(Settings, bemcom).mqtt_topic_all_raw_messages == "+/raw_message_to_db"


@pytest.mark.parametrize("topics", ["", "a+/b", "#/b", "a/#b", "$share/g/+/raw"])
def test_topics_that_are_no_subscription_are_refused(topics: str) -> None:
    with pytest.raises(ConfigError, match="MQTT_TOPIC_ALL_RAW_MESSAGES"):
        load(Settings, {"MQTT_TOPIC_ALL_RAW_MESSAGES": topics})


def test_the_database_is_its_own_unless_one_is_named(tmp_path: Path) -> None:
    assert load(Settings, {"DATA_DIRECTORY": str(tmp_path)}).url == f"sqlite:///{tmp_path}/raw.db"
    assert load(Settings, {"DATABASE_URL": "sqlite:////a/b.db"}).url == "sqlite:////a/b.db"
