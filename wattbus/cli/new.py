"""`wattbus new`: a connector that works, with its tests, to be changed into another one."""

from __future__ import annotations

import argparse
import keyword
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from wattbus.cli import discovery
from wattbus.cli.commands import Commands, command
from wattbus.cli.service_places import plain
from wattbus.errors import ConfigError

TEMPLATES = Path(__file__).with_name("new_connector")
MODULES = ("__init__.py", "settings.py", "codec.py", "connector.py", "simulator.py")
TESTS = ("test_codec.py", "test_conformance.py")


def add(commands: Commands) -> None:
    parser = command(
        commands,
        "new",
        "write a new connector that works, with its tests",
        "Write a connector for a simulated device, with settings, simulator, README and tests that pass, to be\n"
        "changed into the one you want (docs/add-a-connector.md). In a checkout of Wattbus it also gets its\n"
        "dependency group, its container and its place in the documentation; --package makes a package of its own,\n"
        "which Wattbus finds when it is installed. Nothing that exists is overwritten.",
        "  wattbus new thermometer\n  wattbus new thermometer --package ~/wattbus-thermometer",
        execute,
    )
    parser.add_argument("name", metavar="NAME", help="lower case letters, digits and underscores")
    parser.add_argument("--package", type=Path, metavar="DIR", help="write a package of its own into this folder")


def execute(arguments: argparse.Namespace) -> int:
    name = plain(arguments.name)
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or keyword.iskeyword(name):
        raise ConfigError(f"new: {arguments.name!r}: expected letters, digits and underscores, such as heat_pump")
    if arguments.package:
        written = write_package(name, arguments.package)
        after = f"cd {arguments.package} && pip install -e '.[dev]' && pytest"
    else:
        written = write_into_checkout(name, Path.cwd())
        after = f"./test tests/connectors/{name}"
    for path in written:
        print(path)
    print(f"Its tests: {after}", file=sys.stderr)
    return 0


def write_into_checkout(name: str, root: Path) -> list[Path]:
    """Folder, tests, dependency group, container, line in README.md and docs/settings.md. Raises ConfigError."""
    if not (root / "connectors" / "__init__.py").is_file() or 'name = "wattbus"' not in _text(root / "pyproject.toml"):
        raise ConfigError("new: this folder is not a checkout of Wattbus; --package DIR makes a package of its own")
    if name in discovery.names():
        raise ConfigError(f"new: there is a service {name} already")
    words = _words(name, f"connectors.{name}")
    folder, tests = root / "connectors" / name, root / "tests" / "connectors" / name
    files = {
        **{folder / module: module for module in MODULES},
        folder / "README.md": "README.md",
        folder / ".env.example": "env.example",
        **{tests / test.replace("test_", f"test_{name}_"): test for test in TESTS},
    }
    written = _write(files, words)
    (tests / "__init__.py").touch()
    _insert(root / "pyproject.toml", r"^controller = \[", f"{name} = []\n")
    _insert(root / "docker-compose.yml", r"^  # --- Tools ", _filled("compose.yml", words))
    _insert(root / "docker-compose.yml", r"^  pgadmin:\n\Z", f"  {words['dash']}:\n")
    _insert(root / "README.md", r"^\nNone of them was tried", f"| [{name}](connectors/{name}/README.md) | {name} |\n")
    changed = [root / "pyproject.toml", root / "docker-compose.yml", root / "README.md", root / "docs" / "settings.md"]
    environment = {**os.environ, "PYTHONPATH": f"{root}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    subprocess.run([sys.executable, "-m", "wattbus.cli.settings_docs"], cwd=root, env=environment, check=True)
    return [*written, tests / "__init__.py", *changed]


def write_package(name: str, root: Path) -> list[Path]:
    """A package of its own. Raises ConfigError."""
    package = f"wattbus_{name}"
    files = {
        root / "pyproject.toml": "pyproject.toml",
        root / "README.md": "README.md",
        root / ".env.example": "env.example",
        **{root / package / module: module for module in MODULES},
        **{root / "tests" / test: test for test in TESTS},
    }
    return _write(files, _words(name, package))


def _words(name: str, package: str) -> dict[str, str]:
    camel = "".join(part.capitalize() for part in name.split("_"))
    return {"name": name, "NAME": name.upper(), "Class": camel, "dash": name.replace("_", "-"), "package": package}


def _write(files: Mapping[Path, str], words: Mapping[str, str]) -> list[Path]:
    if there := [path for path in files if path.exists()]:
        raise ConfigError(f"new: {there[0]} is there already; nothing was written")
    for path, template in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(_filled(template, words), encoding="utf-8")
    return list(files)


def _filled(template: str, words: Mapping[str, str]) -> str:
    text = _text(TEMPLATES / f"{template}.template")
    text = re.sub(r"\{\{(\w+)\}\}", lambda match: words[match[1]], text)
    return re.sub(r"(?:^from (?:wattbus|connectors).*\n)+", _sorted_lines, text, count=1, flags=re.MULTILINE)


def _sorted_lines(block: re.Match[str]) -> str:
    """Imports in their order, whatever the package is called."""
    return "".join(sorted(block[0].splitlines(keepends=True), key=lambda line: line.split()[1]))


def _insert(path: Path, before: str, text: str) -> None:
    """Insert text before the one place that this pattern describes. Raises ConfigError."""
    content = _text(path)
    place = re.search(before, content, re.MULTILINE)
    if place is None:
        raise ConfigError(f"new: {path}: there is no place for this:\n{text}")
    path.write_text(content[: place.start()] + text + content[place.start() :], encoding="utf-8")


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""
