"""Which worker runs what: what shares a browser or a building is never torn apart, and what takes long begins first."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support import schedule

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("one", "other", "together"),
    [
        ("tests/api/page/test_screens.py::a", "tests/api/page/test_setting.py::b", True),
        ("tests/api/page/test_screens.py::a", "tests/api/page/test_memory.py::b", False),
        ("tests/containers/test_building.py::a", "tests/containers/test_building.py::b", True),
        ("tests/links/test_modbus.py::a", "tests/links/test_modbus.py::b[1]", True),
        ("tests/links/test_modbus.py::a", "tests/links/test_serial_line.py::a", False),
        ("tests/e2e/test_nothing_is_lost.py::a", "tests/e2e/test_nothing_is_lost.py::b", False),
    ],
)
def test_what_stays_together(one: str, other: str, together: bool) -> None:
    assert (schedule.scope_of(one) == schedule.scope_of(other)) == together


def test_what_takes_long_begins_first() -> None:
    rooms = ["tests/links/test_modbus.py::a", "tests/cli/test_up.py::a", "tests/e2e/test_nothing_is_lost.py::a"]
    assert sorted(rooms, key=schedule.rank) == rooms[::-1]


@pytest.mark.parametrize("place", sorted({*schedule.FIRST, *schedule.TOGETHER, *schedule.APART, *schedule.ALONE}))
def test_every_place_is_there(place: str) -> None:
    assert [*ROOT.glob(f"{place}*")]


@pytest.mark.parametrize("place", schedule.APART)
def test_what_is_torn_apart_shares_nothing(place: str) -> None:
    folder = ROOT / place
    for file in [folder] if folder.is_file() else folder.glob("*.py"):
        assert not re.search(r"^@pytest.*fixture.*scope=", file.read_text(encoding="utf-8"), re.MULTILINE)
