"""What goes into the image of one service: its requirements, and the packages of this project that it is made of.

    python contents.py requirements SERVICE      # prints them, one per line; without SERVICE those that all share
    python contents.py copy SERVICE FROM TO      # copies the packages, and what is needed to build a wheel of them
    python contents.py services                  # prints the services that an image can be made of

Runs while an image is built, before anything is installed: standard library only.
"""

from __future__ import annotations

import ast
import shutil
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

SHARED = ("wattbus", "links")  # that a service may import beside itself
HEARTS = ("connector.py", "service.py", "__main__.py")  # one of these makes a folder a service
NOT_FOR_IMAGES = shutil.ignore_patterns("__pycache__", "*.env", ".env")


def requirements(project: Path, service: str = "") -> list[str]:
    """The requirements that all services share, or those that only this service has."""
    described = tomllib.loads(project.read_text(encoding="utf-8"))["project"]
    shared: list[str] = described["dependencies"]
    if not service:
        return shared
    groups: dict[str, list[str]] = described["optional-dependencies"]
    return groups.get(service, [])


def services(source: Path) -> list[str]:
    """The services of a project, connectors included."""
    folders = [*source.glob("*/__init__.py"), *source.glob("connectors/*/__init__.py")]
    found = [path.parent for path in folders if any(path.with_name(heart).is_file() for heart in HEARTS)]
    return sorted(folder.name for folder in found if folder.name not in SHARED)


def package(source: Path, service: str) -> Path:
    """The service's folder. Ends the program when there is none."""
    for folder in (source / "connectors" / service, source / service):
        if service and (folder / "__init__.py").is_file():
            return folder
    sys.exit(f"SERVICE={service}: there is no package connectors/{service} or {service}")


def imported(folder: Path) -> set[str]:
    """The top-level packages that the modules of a folder import."""
    return {name.partition(".")[0] for path in folder.rglob("*.py") for name in _imports(path)}


def _imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module


def packages(source: Path, service: str) -> list[Path]:
    """The folders of the service and of what it shares with others."""
    own = package(source, service)
    shared = [source / name for name in SHARED if name == "wattbus" or name in imported(own)]
    return [*shared, own]


def copy(source: Path, target: Path, service: str) -> None:
    """A project with this one service in it."""
    for folder in packages(source, service):
        place = target / folder.relative_to(source)
        shutil.copytree(folder, place, ignore=NOT_FOR_IMAGES)
        if folder.parent != source:
            for name in ("__init__.py", "py.typed"):
                shutil.copy(folder.parent / name, place.parent)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(source / name, target)


def _say(lines: list[str]) -> None:
    sys.stdout.write("".join(f"{line}\n" for line in lines))


def main(command: str, service: str = "", *places: str) -> None:
    if command == "requirements":
        _say(requirements(Path("pyproject.toml"), service))
    elif command == "services":
        _say(services(Path.cwd()))
    elif command == "copy":
        source, target = (Path(place) for place in places)
        copy(source, target, service)
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main(*sys.argv[1:])
