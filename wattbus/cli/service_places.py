"""Where services lie: folders of the project, folders in `connectors`, packages that others have installed.

A folder is a service by what lies in it, `settings.py` and `service.py` or `connector.py`, and by where it is: beside
`wattbus` in a checkout, among the packages of the distribution `wattbus` when it is installed (other people's folders
stand beside it then), or in `connectors`, which is a package of ours wherever a part of it lies. A package of its own
names its services in the entry-point group `wattbus.services`:

    [project.entry-points."wattbus.services"]
    thermometer = "my_package.thermometer"      # which has the modules settings, and connector or service

Nothing here imports a service, so a broken one does not disturb the others.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import EntryPoint, PackageNotFoundError, distribution, entry_points
from pathlib import Path

import wattbus

GROUP = "wattbus.services"
DISTRIBUTION = "wattbus"


@dataclass(frozen=True, slots=True)
class Place:
    """A package with a service in it; `source` says to people where it is. `own`: it is in a folder, not installed."""

    name: str
    package: str
    source: str
    own: bool = True


def plain(name: str) -> str:
    """A service's name as it is compared: dashes and underscores are equal, and so are upper and lower case."""
    return name.strip().lower().replace("-", "_")


def places() -> dict[str, list[Place]]:
    """Name → its places; more than one where several services want the same name."""
    found: dict[str, list[Place]] = {}
    for place in [*_own_rooms(), *_connectors(), *_installed()]:
        known = found.setdefault(place.name, [])
        if not any(
            place.package == other.package and (place.source == other.source or not place.own) for other in known
        ):
            known.append(place)
    return found


def _own_rooms() -> Iterator[Place]:
    home = Path(wattbus.__file__).parents[1]
    for name in sorted(_own_packages(home)):
        if _is_service(home / name, "service.py"):
            yield Place(name, name, str(home / name))


def _own_packages(home: Path) -> set[str]:
    """The top-level packages of this project: what lies in a checkout, else what the distribution says."""
    if (home / "pyproject.toml").is_file():
        return {folder.parent.name for folder in home.glob("*/__init__.py")}
    try:
        return set((distribution(DISTRIBUTION).read_text("top_level.txt") or "").split())
    except PackageNotFoundError:
        return set()


def _connectors() -> Iterator[Place]:
    try:
        folders = list(importlib.import_module("connectors").__path__)
    except ModuleNotFoundError:  # an image with one service in it
        return
    for folder in dict.fromkeys(folders):
        for heart in sorted(Path(folder).glob("*/connector.py")):
            if _is_service(heart.parent, heart.name):
                yield Place(heart.parent.name, f"connectors.{heart.parent.name}", str(heart.parent))


def _is_service(folder: Path, heart: str) -> bool:
    return folder.name.isidentifier() and all((folder / name).is_file() for name in (heart, "settings.py"))


def _installed() -> Iterator[Place]:
    for entry in entry_points(group=GROUP):
        yield Place(plain(entry.name), entry.value, f"the package {entry.value} of {_distribution(entry)}", own=False)


def _distribution(entry: EntryPoint) -> str:
    return f"the distribution {entry.dist.name} {entry.dist.version}" if entry.dist else "an unknown distribution"
