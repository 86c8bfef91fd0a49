"""`wattbus new`: what it writes passes at once, in a checkout and in a package of its own, and breaks nothing else."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from wattbus.cli import main

ROOT = Path(__file__).parents[2]
NOT_COPIED = shutil.ignore_patterns(".git", ".venv", "__pycache__", ".*_cache", "*.egg-info", "data", "bench")


def run(folder: Path, *command: str, path: str = "") -> subprocess.CompletedProcess[str]:
    """A module of Python, as in a shell in this folder."""
    environment = {**os.environ, "PYTHONPATH": path or str(folder)}
    environment.pop("PYTEST_XDIST_WORKER", None)
    return subprocess.run(
        [sys.executable, "-m", *command], cwd=folder, env=environment, capture_output=True, text=True, timeout=300
    )


def passes(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    return done.stdout


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of this checkout with a new connector in it."""
    copy = tmp_path_factory.mktemp("new") / "wattbus"
    shutil.copytree(ROOT, copy, ignore=NOT_COPIED, symlinks=True)
    passes(run(copy, "wattbus.cli", "new", "Heat-Meter"))
    return copy


def test_its_tests_pass(checkout: Path) -> None:
    printed = passes(run(checkout, "pytest", "-q", "-p", "no:cacheprovider", "tests/connectors/heat_meter"))
    assert "skipped" in printed  # a thousand datapoints, of which it has three


def test_no_list_elsewhere_is_broken(checkout: Path) -> None:
    tests = (
        "tests/containers/test_compose_file.py",
        "tests/containers/test_image_contents.py",
        "tests/cli/test_settings_docs.py",
        "tests/cli/test_services.py",
        "tests/docs/test_rooms.py",
    )
    # Building packages takes its time, and these files are of kinds that others have.
    passes(run(checkout, "pytest", "-q", "-p", "no:cacheprovider", "-k", "not left_out", *tests))
    assert "| [heat_meter](connectors/heat_meter/README.md)" in (checkout / "README.md").read_text()
    assert "`HEAT_METER_HOST`" in (checkout / "docs/settings.md").read_text()


@pytest.mark.skipif(importlib.util.find_spec("ruff") is None, reason="ruff is not installed")
def test_it_is_as_the_linter_wants_it(checkout: Path) -> None:
    places = ("connectors/heat_meter", "tests/connectors/heat_meter")
    passes(run(checkout, "ruff", "check", "--no-cache", *places))
    passes(run(checkout, "ruff", "format", "--no-cache", "--check", *places))


def test_nothing_is_overwritten(checkout: Path) -> None:
    done = run(checkout, "wattbus.cli", "new", "heat-meter")
    assert (done.returncode, done.stderr) == (2, "wattbus: new: there is a service heat_meter already\n")


def test_a_package_of_its_own_is_found_and_passes(tmp_path: Path) -> None:
    """A stranger's connector: written, its tests green, run by its name.

    What setuptools makes of its pyproject.toml lies beside it, as after `pip install -e`.
    """
    project = tmp_path / "project"
    passes(run(ROOT, "wattbus.cli", "new", "attic", "--package", str(project)))
    made = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", "import setuptools; setuptools.setup()", "-q", "egg_info"],
        cwd=project, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    passes(made)
    path = f"{project}{os.pathsep}{ROOT}"
    passes(run(project, "pytest", "-q", "-p", "no:cacheprovider", "tests", path=path))
    (tmp_path / ".env").write_text("CONNECTOR_NAME=roof\nATTIC_HOST=127.0.0.1\n")
    done = run(tmp_path, "wattbus.cli", "check", "attic", path=path)
    assert (done.returncode, done.stderr) == (0, "attic: the settings are right\n")
    again = run(ROOT, "wattbus.cli", "new", "attic", "--package", str(project))
    assert again.returncode == 2 and "is there already; nothing was written" in again.stderr


@pytest.mark.parametrize("name", ["1st", "héros", "class", "a b", "a/b", ""])
def test_names_that_cannot_be(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["new", name, "--package", "/nowhere"]) == 2
    assert "expected letters, digits and underscores" in capsys.readouterr().err


def test_only_in_a_checkout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["new", "attic"]) == 2
    assert "this folder is not a checkout of Wattbus" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
