"""What goes into an image, and how it is run: without an engine."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from containers import contents
from wattbus.cli import discovery

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
FINAL_STAGE = DOCKERFILE.rpartition("\nFROM ")[2]


def test_every_service_can_be_an_image() -> None:
    assert set(discovery.names(own=True)) <= set(contents.services(ROOT))


@pytest.mark.parametrize("service", discovery.names(own=True))
def test_an_image_holds_one_service(service: str, tmp_path: Path) -> None:
    contents.copy(ROOT, tmp_path, service)
    folders = {str(path.parent.relative_to(tmp_path)) for path in tmp_path.glob("*/__init__.py")}
    folders |= {str(path.parent.relative_to(tmp_path)) for path in tmp_path.glob("connectors/*/__init__.py")}
    own = str(contents.package(ROOT, service).relative_to(ROOT))
    above = {"connectors"} if own.startswith("connectors/") else set()
    assert folders - {"links"} == {"wattbus", own} | above
    assert ("links" in folders) == bool(re.search(r"^\s*(from|import) links", _source(ROOT / own), re.MULTILINE))


def _source(folder: Path) -> str:
    return "\n".join(path.read_text(encoding="utf-8") for path in folder.rglob("*.py"))


@pytest.mark.parametrize("service", discovery.names(own=True))
def test_a_service_imports_nothing_that_its_image_lacks(service: str) -> None:
    rooms = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests"}
    own = contents.package(ROOT, service)
    assert contents.imported(own) & rooms <= {"wattbus", "links", own.relative_to(ROOT).parts[0]}


def test_its_requirements_are_its_own_only() -> None:
    shared = contents.requirements(ROOT / "pyproject.toml")
    assert any(line.startswith("pydantic") for line in shared)
    modbus = contents.requirements(ROOT / "pyproject.toml", "modbus_tcp")
    assert [re.split(r"[<>=]", line)[0] for line in modbus] == ["pymodbus"]
    assert contents.requirements(ROOT / "pyproject.toml", "controller") == []


def test_settings_of_people_do_not_get_in(tmp_path: Path) -> None:
    project = tmp_path / "project"
    for place in ("wattbus", "connectors", "connectors/cellar"):
        (project / place).mkdir(parents=True, exist_ok=True)
        (project / place / "__init__.py").write_text("")
    for name in (".env", "garage.env", ".env.example", "connector.py"):
        (project / "connectors/cellar" / name).write_text("# SECRET=1\n")
    (project / "pyproject.toml").write_text("")
    (project / "README.md").write_text("")
    (project / "LICENSE").write_text("")
    (project / "connectors/py.typed").write_text("")
    contents.copy(project, tmp_path / "image", "cellar")
    assert {path.name for path in (tmp_path / "image/connectors/cellar").iterdir()} == {
        "__init__.py",
        ".env.example",
        "connector.py",
    }


def test_a_service_that_is_not_there_is_named() -> None:
    command = [sys.executable, ROOT / "containers/contents.py", "copy", "cellar", ROOT, "/nowhere"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "SERVICE=cellar: there is no package connectors/cellar or cellar\n"


# -- the recipe -------------------------------------------------------------------------------------------------------


def test_it_does_not_run_as_root() -> None:
    assert re.findall(r"^USER (.*)$", FINAL_STAGE, re.MULTILINE) == ["10001:10001"]


def test_nothing_is_compiled_or_fetched_in_the_final_stage() -> None:
    instructions = re.sub(r"^#.*$", "", FINAL_STAGE, flags=re.MULTILINE)
    assert not re.search(r"apt-get|pip|gcc|curl|wget|https?://|PIP_|secret", instructions)
    assert "COPY --from=build /venv /venv" in instructions
    assert not re.search(r"^ADD ", DOCKERFILE, re.MULTILINE)


def test_no_password_of_a_package_index_stays_in_an_image() -> None:
    assert "--mount=type=secret,id=pip_conf" in DOCKERFILE
    assert not re.search(r"^(ENV|LABEL).*PIP_(INDEX|EXTRA)", DOCKERFILE, re.MULTILINE)


def test_builds_do_not_see_secrets() -> None:
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert {"**/.env", "**/*.env", ".*"} <= set(ignored)


# -- what is packaged -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("service", discovery.names(own=True))
def test_no_file_is_left_out_of_the_package(service: str, tmp_path: Path) -> None:
    """Examples, scripts, styles, decoders, migrations: what `package-data` does not name is missing in every image."""
    pytest.importorskip("setuptools")
    project, built = tmp_path / "project", tmp_path / "built"
    contents.copy(ROOT, project, service)
    build = [sys.executable, "-W", "ignore", "-c", "import setuptools; setuptools.setup()", "--quiet", "build_py"]
    subprocess.run([*build, "--build-lib", built], cwd=project, check=True, capture_output=True)
    folders = [folder.relative_to(ROOT) for folder in contents.packages(ROOT, service)]
    there, packaged = (
        {path.relative_to(place) for folder in folders for path in (place / folder).rglob("*") if path.is_file()}
        for place in (project, built)
    )
    assert there - packaged == set()
