"""Finding services by name."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from wattbus.cli import discovery
from wattbus.errors import ConfigError
from wattbus.settings import ConnectorSettings, ServiceSettings

CONNECTOR = """
from wattbus.settings import ConnectorSettings

class Settings(ConnectorSettings):
    wanted: int
"""


@pytest.fixture
def cellar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A connector `cellar` in a folder of its own, as an author outside of the project has it."""
    folder = tmp_path / "connectors" / "cellar"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("")
    (folder / "settings.py").write_text(CONNECTOR)
    (folder / "connector.py").write_text("def create(settings): return settings.wanted\n")
    import connectors

    monkeypatch.setattr(connectors, "__path__", [*connectors.__path__, str(folder.parent)])
    yield folder
    for name in [name for name in sys.modules if name.startswith("connectors.cellar")]:
        del sys.modules[name]


def test_names_are_found_without_importing(cellar: Path) -> None:
    (cellar / "settings.py").write_text("import wattbus.settings\nraise AssertionError('imported')\n")
    assert {"cellar", "demo_device", "history", "modbus_tcp"} <= set(discovery.names())
    assert "wattbus" not in discovery.names() and "tests" not in discovery.names()


@pytest.mark.parametrize("name", ["modbus_tcp", "modbus-tcp", "MODBUS-TCP"])
def test_dashes_and_underscores_are_equal(name: str) -> None:
    service = discovery.find(name)
    assert (service.name, service.kind, service.package) == ("modbus_tcp", "connector", "connectors.modbus_tcp")
    assert service.create is not None and issubclass(service.settings_class, ConnectorSettings)


def test_other_services_create_nothing() -> None:
    history = discovery.find("history")
    assert (history.kind, history.create) == ("service", None)
    assert issubclass(history.settings_class, ServiceSettings)
    with pytest.raises(ConfigError, match="history is not a connector"):
        discovery.find_connector("history")


def test_a_new_connector_is_a_new_folder(cellar: Path) -> None:
    _, create = discovery.find_connector("cellar")
    created: object = create(discovery.settings_class("cellar")(connector_name="x", wanted=5))
    assert created == 5
    assert discovery.part("cellar", "simulator") is None


def test_a_missing_library_is_told_with_its_group(cellar: Path) -> None:
    (cellar / "connector.py").write_text("import a_library_that_nobody_has.part\n")
    with pytest.raises(ConfigError) as caught:
        discovery.find("cellar")
    assert str(caught.value) == (
        "cellar needs the library a_library_that_nobody_has, which is not installed: pip install 'wattbus[cellar]'"
    )


def test_a_missing_module_of_ours_is_a_bug(cellar: Path) -> None:
    (cellar / "connector.py").write_text("import connectors.cellar.nowhere\n")
    with pytest.raises(ModuleNotFoundError):
        discovery.find("cellar")


def test_variables_of_bemcom_are_accepted_in_one_line(cellar: Path) -> None:
    given = ["GF_SECURITY_ADMIN_USER", "MONGO_USERNAME", "WANTD", "CONNECTOR_NAME", "WANTED_FILE", "SERVICE"]
    assert discovery.remarks(discovery.settings_class("cellar"), given) == [
        "WANTD: there is no such setting; do you mean WANTED?",
        "accepted without effect: GF_SECURITY_ADMIN_USER (it is Grafana's own), MONGO_USERNAME (set DATABASE_URL)",
    ]
