"""build_docker_image.sh: tests first, then docker.

Here with a small project and a docker that only notes down how it was called; that images come out of it is in
test_building.py.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BILL_OF_CELLAR = [
    "docker create wattbus/cellar:latest",
    "docker cp --quiet THIS:/usr/local/share/wattbus/sbom.cdx.json PROJECT/build/sbom/cellar.cdx.json",
    "docker rm THIS",
]
NOTING = '#!/bin/sh\necho "{name} $*" >>"{log}"\n[ "$1" != create ] || echo THIS\nexit {code}\n'


class Project:
    """A copy of the script in a project whose tests pass or fail as wanted."""

    def __init__(self, folder: Path, tests_exit_with: int = 0) -> None:
        self.folder = folder
        self._log = folder / "log"
        for heart in (
            "connectors/cellar/connector.py",
            "history/service.py",
            "wattbus/service/lifecycle.py",
            "broker/__main__.py",
        ):
            (folder / heart).parent.mkdir(parents=True)
            (folder / heart).write_text("")
            (folder / heart).with_name("__init__.py").write_text("")
        for tests in ("tests/connectors/cellar", "tests/history", "tests/wattbus", "tests/raw_db"):
            (folder / tests).mkdir(parents=True)
        (folder / "containers").mkdir()
        shutil.copy(ROOT / "containers/contents.py", folder / "containers")
        shutil.copy(ROOT / "build_docker_image.sh", folder)
        self._command("test", folder, tests_exit_with)
        self._command("docker", folder / "bin", 0)

    def _command(self, name: str, folder: Path, code: int) -> None:
        folder.mkdir(exist_ok=True)
        (folder / name).write_text(NOTING.format(name=name, log=self._log, code=code))
        (folder / name).chmod(0o755)

    def build(self, *arguments: str, **environment: str) -> tuple[int, list[str], str]:
        """Exit code, what was called, and what was said."""
        path = f"{self.folder / 'bin'}:{os.environ['PATH']}"
        done = subprocess.run(
            [self.folder / "build_docker_image.sh", *arguments],
            env={"PATH": path, **environment},
            capture_output=True,
            text=True,
            check=False,
        )
        called = self._log.read_text().replace(f" {self.folder}", " PROJECT") if self._log.exists() else ""
        return done.returncode, called.splitlines(), done.stderr


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def test_the_service_and_what_it_shares_are_tested_first(project: Project) -> None:
    code, called, _ = project.build("cellar")
    assert (code, called) == (
        0,
        [
            "test tests/connectors/cellar tests/wattbus",
            "docker build --tag wattbus/cellar:latest --build-arg SERVICE=cellar PROJECT",
            *BILL_OF_CELLAR,
        ],
    )


def test_nothing_is_built_when_tests_fail(tmp_path: Path) -> None:
    code, called, said = Project(tmp_path, tests_exit_with=3).build("history")
    assert (code, called) == (1, ["test tests/history tests/wattbus"])
    assert said.splitlines()[-1] == "The tests failed: no image is built."


def test_all_of_them(project: Project) -> None:
    _, called, _ = project.build()
    assert called[0] == "test tests/connectors/cellar tests/history tests/wattbus"
    assert [line.split()[3] for line in called if line.startswith("docker build")] == [
        "wattbus/broker:latest",
        "wattbus/cellar:latest",
        "wattbus/history:latest",
    ]


def test_tags_platform_and_push(project: Project) -> None:
    _, called, _ = project.build(
        "--tag", "1.0", "--tag", "latest", "--prefix", "registry.example/house",
        "--platform", "linux/arm64,linux/amd64", "--push", "history", "--", "--network", "host",
    )  # fmt: skip
    assert called[1] == (
        "docker build --tag registry.example/house/history:1.0 --tag registry.example/house/history:latest "
        "--platform linux/arm64,linux/amd64 --push --build-arg SERVICE=history --network host PROJECT"
    )


def test_the_bill_of_materials_goes_where_it_is_wanted(project: Project, tmp_path: Path) -> None:
    place = tmp_path / "bills of materials"
    _, called, said = project.build("--sbom", str(place), "--platform", "linux/arm64", "--tag", "1.0", "cellar")
    assert called[2:] == [
        "docker create --platform linux/arm64 wattbus/cellar:1.0",
        f"docker cp --quiet {BILL_OF_CELLAR[1].split()[3]} PROJECT/bills of materials/cellar.cdx.json",
        "docker rm THIS",
    ]
    assert place.is_dir() and str(place / "cellar.cdx.json") in said


def test_several_platforms_need_a_registry(project: Project) -> None:
    code, called, said = project.build("--platform", "linux/arm64,linux/amd64", "history")
    assert (code, called) == (2, [])
    assert "add --push" in said


def test_untested_images_are_built_with_a_warning(tmp_path: Path) -> None:
    code, called, said = Project(tmp_path, tests_exit_with=3).build("--skip-tests", "history")
    assert code == 0 and called[0].startswith("docker build")
    assert said.startswith("WARNING: nobody has tested")


def test_dashes_and_underscores_are_equal(project: Project) -> None:
    (project.folder / "history").rename(project.folder / "raw_db")
    assert project.build("raw-db")[1][1].split()[3] == "wattbus/raw_db:latest"


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["attic"], "There is no service attic (there are: broker cellar history)"),
        (["--tags", "1"], "There is no option --tags"),
        (["--tag"], "--tag needs a TAG"),
    ],
)
def test_what_is_not_understood_is_refused(project: Project, arguments: list[str], complaint: str) -> None:
    code, called, said = project.build(*arguments)
    assert code != 0 and called == []
    assert complaint in said


def test_where_packages_come_from_is_passed_on(project: Project) -> None:
    configuration = project.folder / "pip.conf"
    configuration.write_text("[global]\n")
    _, called, _ = project.build(
        "history", PIP_INDEX_URL="https://packages.example", BUILD_PACKAGES="gcc", PIP_CONFIG_FILE=str(configuration)
    )
    assert "--build-arg BUILD_PACKAGES=gcc --build-arg PIP_INDEX_URL=https://packages.example" in called[1]
    assert "--secret id=pip_conf,src=" in called[1]


def test_the_list(project: Project) -> None:
    done = subprocess.run(
        [project.folder / "build_docker_image.sh", "--list"], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["broker", "cellar", "history"]
