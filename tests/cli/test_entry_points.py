"""Services in packages of their own, found by the entry-point group `wattbus.services`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from wattbus.cli import discovery
from wattbus.cli.settings_docs import document
from wattbus.errors import ConfigError

SETTINGS = """
from wattbus.settings import ConnectorSettings

class Settings(ConnectorSettings):
    wanted: int
"""

Install = Callable[..., Path]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Installs a distribution with these entry points (name → package) and files, as pip leaves it."""
    monkeypatch.syspath_prepend(str(tmp_path))
    packages: set[str] = set()

    def install(distribution: str, entries: dict[str, str], files: dict[str, str]) -> Path:
        described = tmp_path / f"{distribution.replace('-', '_')}-1.5.dist-info"
        described.mkdir()
        (described / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.5\n")
        lines = "".join(f"{name} = {package}\n" for name, package in entries.items())
        (described / "entry_points.txt").write_text(f"[wattbus.services]\n{lines}")
        for name, content in files.items():
            file = tmp_path / name
            packages.add(Path(name).parts[0])
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(content)
        return tmp_path

    yield install
    for name in [name for name in sys.modules if name.partition(".")[0] in packages]:
        del sys.modules[name]


def attic(**changed: str) -> dict[str, str]:
    files = {"__init__": "", "settings": SETTINGS, "connector": "def create(settings): return settings.wanted\n"}
    return {f"attic/{name}.py": content for name, content in {**files, **changed}.items()}


def test_a_connector_in_a_package_of_its_own(install: Install) -> None:
    install("attic-sensors", {"Attic-Sensor": "attic"}, {**attic(), "attic/simulator.py": "HERE = 1\n"})
    assert "attic_sensor" in discovery.names()
    for name in ("attic_sensor", "attic-sensor"):
        service, create = discovery.find_connector(name)
        assert (service.name, service.kind, service.package) == ("attic_sensor", "connector", "attic")
        created: object = create(discovery.settings_class(name)(connector_name="x", wanted=5))
        assert created == 5
    simulator = discovery.part("attic_sensor", "simulator")
    assert simulator is not None and simulator.HERE == 1
    assert discovery.part("attic_sensor", "codec") is None


def test_a_service_that_is_not_a_connector_deep_in_a_package(install: Install) -> None:
    service = "async def run(settings): ...\n"
    settings = SETTINGS.replace("ConnectorSettings", "ServiceSettings")
    files = {"house/__init__.py": "", "house/roof/__init__.py": ""}
    install(
        "house", {"roof": "house.roof"}, {**files, "house/roof/settings.py": settings, "house/roof/service.py": service}
    )
    found = discovery.find("roof")
    assert (found.kind, found.package, found.create) == ("service", "house.roof", None)


def test_names_are_found_without_importing(install: Install) -> None:
    install("attic", {"attic": "attic"}, attic(__init__="raise AssertionError('imported')\n"))
    assert {"attic", "modbus_tcp"} <= set(discovery.names())
    assert "attic" not in discovery.names(own=True)


def test_settings_of_others_are_not_in_our_documentation(install: Install) -> None:
    install("attic", {"attic": "attic"}, attic())
    assert "attic" not in document()


@pytest.mark.parametrize(
    ("files", "told"),
    [
        (attic(settings="1 / 0\n"), "cannot be loaded: ZeroDivisionError: division by zero"),
        (attic(__init__="def broken(:\n"), "cannot be loaded: SyntaxError: invalid syntax (__init__.py, line 1)"),
        (attic(connector="import attic.nowhere\n"), "cannot be loaded: No module named 'attic.nowhere'"),
        (attic(connector=""), "there is no create in attic.connector"),
        (attic(settings="class Settings: ...\n"), "its Settings are not derived from wattbus.settings"),
        ({}, "cannot be loaded: No module named 'attic'"),
    ],
    ids=["raises", "syntax", "module of its own", "no create", "other settings", "nothing there"],
)
def test_a_broken_one_says_whose_it_is_and_disturbs_nobody(install: Install, files: dict[str, str], told: str) -> None:
    install("attic-sensors", {"attic": "attic"}, files)
    with pytest.raises(ConfigError) as caught:
        discovery.find("attic")
    assert told in str(caught.value)
    assert "the package attic of the distribution attic-sensors 1.5" in str(caught.value)
    assert discovery.find("modbus_tcp").name == "modbus_tcp"
    assert "attic" in discovery.names()


def test_a_library_that_it_needs_is_missing(install: Install) -> None:
    install("attic-sensors", {"attic": "attic"}, attic(connector="import a_library_that_nobody_has\n"))
    with pytest.raises(ConfigError) as caught:
        discovery.find("attic")
    assert str(caught.value) == (
        "attic needs the library a_library_that_nobody_has, which is not installed: "
        "it belongs to the package attic of the distribution attic-sensors 1.5"
    )


def test_two_of_one_name_are_an_error_that_names_both(install: Install) -> None:
    root = Path(discovery.__file__).parents[2]
    install("attic", {"Modbus-TCP": "attic", "cellar": "attic"}, attic())
    install("basement", {"cellar": "basement"}, {"basement/__init__.py": ""})
    with pytest.raises(ConfigError) as caught:
        discovery.find("modbus-tcp")
    assert str(caught.value) == (
        f"modbus_tcp is the name of several services: {root / 'connectors' / 'modbus_tcp'} and "
        "the package attic of the distribution attic 1.5; remove or rename all but one"
    )
    with pytest.raises(ConfigError, match=r"cellar is the name of several services: .*attic 1.5 and .*basement 1.5"):
        discovery.find("cellar")
    assert discovery.find("history").name == "history"


def test_an_entry_point_for_a_folder_of_the_project_is_not_a_second_one(install: Install) -> None:
    install("ours", {"socket": "connectors.socket"}, {})
    assert discovery.find("socket").package == "connectors.socket"


def test_other_peoples_folders_beside_an_installed_wattbus_are_not_services(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In site-packages everybody may have a package `accounts` with settings.py and service.py."""
    import wattbus

    for package in ("history", "accounts"):
        (tmp_path / package).mkdir()
        for name in ("__init__.py", "service.py", "settings.py"):
            (tmp_path / package / name).write_text("from wattbus.settings import ServiceSettings\n")
    described = tmp_path / "wattbus-0.1.0.dist-info"
    described.mkdir()
    (described / "METADATA").write_text("Metadata-Version: 2.1\nName: wattbus\nVersion: 0.1.0\n")
    (described / "top_level.txt").write_text("wattbus\nhistory\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(wattbus, "__file__", str(tmp_path / "wattbus" / "__init__.py"))
    names = discovery.names()
    assert "history" in names and "accounts" not in names
