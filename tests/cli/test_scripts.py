"""./demo, ./test and .ci/run: what can be seen of them without installing anything."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from wattbus.testing.waiting import PATIENCE_S

ROOT = Path(__file__).parents[2]
SCRIPTS = ("demo", "test", ".ci/run")


def prepared(script: str, folder: Path, path: str) -> subprocess.CompletedProcess[str]:
    """Run shell lines after prepare.sh, with only these folders to find programs in."""
    lines = f'set -euo pipefail; root={folder}; . "{ROOT}/scripts/prepare.sh"; PATH={path}; {script}'
    return subprocess.run(["/bin/bash", "-c", lines], capture_output=True, text=True, timeout=PATIENCE_S, check=False)


@pytest.mark.parametrize("name", SCRIPTS)
def test_can_be_run_and_is_well_formed(name: str) -> None:
    assert os.access(ROOT / name, os.X_OK)
    files = [str(ROOT / name), str(ROOT / "scripts" / "prepare.sh")]
    assert subprocess.run(["/bin/bash", "-n", *files], check=False).returncode == 0


def test_says_what_is_missing(tmp_path: Path) -> None:
    wanted = "mosquitto mosquitto-clients python3-venv libmodbus-dev mbpoll"
    told = prepared(f"missing_packages {wanted}", tmp_path, str(tmp_path))
    assert told.stdout.split() == wanted.split()


def test_without_apt_it_ends_and_names_the_packages(tmp_path: Path) -> None:
    told = prepared("need_packages mosquitto mosquitto-clients", tmp_path, str(tmp_path))
    assert told.returncode == 1
    assert told.stderr.splitlines()[0] == "Missing: mosquitto mosquitto-clients"


def test_takes_the_newest_python_that_works(tmp_path: Path) -> None:
    for name, code in (("python3.14", 127), ("python3.13", 0), ("python3.12", 0), ("python3", 0)):
        (tmp_path / name).write_text(f"#!/bin/sh\nexit {code}\n")
        (tmp_path / name).chmod(0o755)
    assert prepared("find_python", tmp_path, str(tmp_path)).stdout.strip() == "python3.13"


def test_installs_again_only_when_something_changed(tmp_path: Path) -> None:
    """A stand-in for the environment's Python writes down what it is asked to install."""
    programs = tmp_path / ".venv" / "bin"
    programs.mkdir(parents=True)
    (programs / "python").write_text(f'#!/bin/sh\ncase "$*" in *install*) echo "$@" >> {tmp_path}/asked ;; esac\n')
    (programs / "wattbus").write_text("")
    for program in programs.iterdir():
        program.chmod(0o755)
    (tmp_path / "pyproject.toml").write_text("one")
    (tmp_path / "constraints.txt").write_text("pinned==1")

    def installs() -> int:
        told = prepared("install_project demo history,modbus_tcp", tmp_path, "/usr/bin:/bin")
        assert told.returncode == 0, told.stderr
        return len((tmp_path / "asked").read_text().splitlines())

    assert [installs(), installs()] == [1, 1]
    (tmp_path / "constraints.txt").write_text("pinned==2")
    assert [installs(), installs()] == [2, 2]
    assert (tmp_path / "asked").read_text().splitlines()[0].endswith(f"--editable {tmp_path}[history,modbus-tcp]")
