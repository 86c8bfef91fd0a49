"""Settings of history, and the file that shows them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import history
from history.settings import Settings
from wattbus.errors import ConfigError
from wattbus.settings import load, read_env_file, unknown_variables

EXAMPLE = Path(history.__file__).parent / ".env.example"


def test_the_example_is_complete_and_loads(tmp_path: Path) -> None:
    shown = set(re.findall(r"^#?([A-Z_]+)=", EXAMPLE.read_text(encoding="utf-8"), flags=re.MULTILINE))
    assert shown == {name.upper() for name in Settings.model_fields}
    everything = tmp_path / "all.env"
    everything.write_text(re.sub(r"^#([A-Z_]+=)", r"\1", EXAMPLE.read_text(encoding="utf-8"), flags=re.MULTILINE))
    for file in (EXAMPLE, everything):
        variables = read_env_file(file)
        assert unknown_variables(Settings, set(variables)) == {}
        assert load(Settings, variables) == Settings()


@pytest.mark.parametrize("given", ["meter, heat-pump", '["meter", "heat-pump"]', "- meter\n- heat-pump"])
def test_connectors_are_a_list(given: str) -> None:
    assert load(Settings, {"HISTORY_CONNECTORS": given}).history_connectors == ["meter", "heat-pump"]


def test_a_connector_that_cannot_be_a_name_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"HISTORY_CONNECTORS\[1\]: use lower case"):
        load(Settings, {"HISTORY_CONNECTORS": "meter, +"})


def test_the_database_is_a_file_in_the_data_directory_unless_it_is_named(tmp_path: Path) -> None:
    assert load(Settings, {"DATA_DIRECTORY": str(tmp_path)}).url == f"sqlite:///{tmp_path}/history.db"
    assert load(Settings, {"DATABASE_URL": "sqlite:////x.db"}).url == "sqlite:////x.db"
