"""The picture of the rooms in docs/architecture.md equals what lies in `wattbus/`, and imports follow its arrows."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
LIBRARY = PROJECT / "wattbus"
TOP = "top"
ANYTHING = frozenset({TOP, "mqtt", "service", "runtime", "recording", "storage", "cli", "testing"})
MAY_IMPORT = {
    TOP: frozenset[str](),
    "mqtt": frozenset({TOP}),
    "service": frozenset({TOP, "mqtt"}),
    "runtime": frozenset({TOP, "mqtt", "service"}),
    "storage": frozenset({TOP}),
    "recording": frozenset({TOP, "mqtt", "service", "storage"}),
    "cli": ANYTHING - {"testing"},
    "testing": ANYTHING,
}
SHARED = {"wattbus", "links"}  # that a room of the project may import beside itself


def rooms() -> list[str]:
    return sorted(folder.parent.name for folder in LIBRARY.glob("*/__init__.py"))


def files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.rglob("*.py") if "__pycache__" not in file.parts)


def imported(file: Path) -> Iterator[str]:
    """The full names of the modules that a file imports, also inside of functions."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def room_of(module: str) -> str:
    """The room of `wattbus.<room>.…`; `top` for what stands at its top."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and (LIBRARY / parts[1]).is_dir() else TOP


@pytest.mark.parametrize("file", files(LIBRARY), ids=lambda file: str(file.relative_to(PROJECT)))
def test_imports_go_one_way(file: Path) -> None:
    own = room_of(".".join(file.relative_to(PROJECT).with_suffix("").parts))
    used = {room_of(module) for module in imported(file) if module.split(".")[0] == "wattbus"}
    assert used <= MAY_IMPORT[own] | {own}


@pytest.mark.parametrize("file", files(LIBRARY), ids=lambda file: str(file.relative_to(PROJECT)))
def test_the_library_knows_no_service_and_no_connector(file: Path) -> None:
    services = {folder.parent.name for folder in PROJECT.glob("*/__init__.py")} - {"wattbus", "tests"}
    if room_of(".".join(file.relative_to(PROJECT).parts)) == "testing":
        services -= {"links"}  # far ends of serial lines
    assert not services & {module.split(".")[0] for module in imported(file)}


def test_no_service_imports_another_one() -> None:
    own_rooms = {folder.parent.name for folder in PROJECT.glob("*/__init__.py")} - SHARED - {"tests"}
    for room in sorted(own_rooms):
        for file in files(PROJECT / room):
            used = {module.split(".")[0] for module in imported(file)} & own_rooms
            assert used <= {room}, file


def test_no_connector_imports_another_one() -> None:
    for file in files(PROJECT / "connectors"):
        own = file.relative_to(PROJECT / "connectors").parts[0]
        used = {module.split(".")[1] for module in imported(file) if module.startswith("connectors.")}
        assert used <= {own}, file


def drawn() -> dict[str, set[str]]:
    """Room → files, as the picture in docs/architecture.md has them."""
    picture = (PROJECT / "docs/architecture.md").read_text(encoding="utf-8").split("```")[1]
    library = re.search(r"^wattbus/ .*?(?=^\S)", picture, re.MULTILINE | re.DOTALL)
    assert library
    found: dict[str, set[str]] = {TOP: set()}
    room = TOP
    for line in library[0].splitlines()[1:]:
        if match := re.match(r" {2}(\w+)/ ", line):
            room = match[1]
            found[room] = set()
        names = re.match(r" {2,4}((?:\w+\.py(?:, )?)+)", line)
        if names:
            found[room] |= set(names[1].rstrip(", ").split(", "))
    return found


def test_the_picture_has_every_room_and_every_file_of_the_small_ones() -> None:
    picture = drawn()
    assert sorted(picture.keys() - {TOP}) == rooms()
    for room in (TOP, "mqtt", "service", "runtime", "recording", "testing"):
        folder = LIBRARY if room == TOP else LIBRARY / room
        assert {file.name for file in folder.glob("*.py")} - {"__init__.py"} == picture[room], room


# A connector that has a second interface of its own to a broker speaks to it as everybody does.
BESIDE_THE_TOP = {
    "connectors/im871a/recalc.py": {"mqtt"},
    "connectors/im871a/receivers/line_sources.py": {"mqtt"},
}


@pytest.mark.parametrize(
    "file", [*files(PROJECT / "connectors"), *files(PROJECT / "links")], ids=lambda file: str(file.relative_to(PROJECT))
)
def test_connectors_and_links_need_the_top_alone(file: Path) -> None:
    """What their authors use stands there; the rooms are free to change."""
    used = {room_of(module) for module in imported(file) if module.split(".")[0] == "wattbus"}
    assert used <= {TOP} | BESIDE_THE_TOP.get(str(file.relative_to(PROJECT)), set())
