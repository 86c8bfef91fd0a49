"""Licence, changes, hooks, types: what the papers beside the code say is so."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

PROJECT = Path(__file__).parents[2]
DESCRIBED = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))
SHIPPED = [name.rstrip("*") for name in DESCRIBED["tool"]["setuptools"]["packages"]["find"]["include"]]


def text_of(name: str) -> str:
    return (PROJECT / name).read_text(encoding="utf-8")


def test_the_licence_is_named() -> None:
    project = DESCRIBED["project"]
    assert (project["license"], project["license-files"]) == ("MIT", ["LICENSE"])
    assert text_of("LICENSE").startswith("MIT License\n")
    assert all(f"Copyright (c) 2026 {author['name']}\n" in text_of("LICENSE") for author in project["authors"])


def test_every_package_is_shipped_and_typed() -> None:
    assert set(SHIPPED) == {path.parent.name for path in PROJECT.glob("*/__init__.py")} - {"tests", "bench"}
    assert [name for name in SHIPPED if not (PROJECT / name / "py.typed").is_file()] == []
    assert "py.typed" in DESCRIBED["tool"]["setuptools"]["package-data"]["*"]


def test_the_version_has_its_changes() -> None:
    headings = re.findall(r"^## (.*)$", text_of("CHANGELOG.md"), re.MULTILINE)
    assert headings[0] == "Not released"
    assert re.fullmatch(re.escape(DESCRIBED["project"]["version"]) + r" \(\d{4}-\d\d-\d\d\)", headings[1])


def test_hooks_run_what_the_tests_lint() -> None:
    [local] = yaml.safe_load(text_of(".pre-commit-config.yaml"))["repos"]
    hooks = local["hooks"]
    assert [hook["entry"] for hook in hooks] == ["scripts/lint check", "scripts/lint format", "scripts/lint types"]
    assert all(hook["language"] == "system" for hook in hooks)
    assert '"$root/scripts/lint"\n' in text_of("test")


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"])
def test_links_lead_somewhere(name: str) -> None:
    targets = re.findall(r"\]\(([^)#:]+?)(?:#[^)]*)?\)", text_of(name))
    assert [target for target in targets if not (PROJECT / target).exists()] == []


def test_the_linter_says_what_it_knows() -> None:
    done = subprocess.run([PROJECT / "scripts/lint", "spelling"], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "Usage: scripts/lint" in done.stderr or "run ./test once" in done.stderr
