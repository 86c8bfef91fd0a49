"""The file of meters as editors, people and Kubernetes change it."""

from __future__ import annotations

import asyncio
import json
import logging
from pathlib import Path

import pytest

from connectors.im871a import meters_file
from connectors.im871a.meters_file import MetersFile
from connectors.im871a.registry import MeterRegistry
from connectors.im871a.simulated_air import EXAMPLE_METER, ExampleMeter
from tests.connectors.im871a.conftest import METERS, connector_for, listening
from wattbus.errors import ConfigError
from wattbus.testing.clock import VirtualClock
from wattbus.testing.waiting import PATIENCE_S

KEY = METERS[EXAMPLE_METER]["key"]
ONE, TWO = f"'1': {KEY}\n", f"'2': {KEY}\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "meters.yaml"
    path.write_text(ONE)
    return path


def followed(path: Path) -> tuple[MetersFile, MeterRegistry]:
    meters = MeterRegistry(("file",))
    file = MetersFile(path, meters, VirtualClock())
    file.start()
    return file, meters


def look(file: MetersFile, times: int = 2) -> None:
    for _ in range(times):
        file.look()


def test_a_change_counts_at_the_second_look(path: Path) -> None:
    file, meters = followed(path)
    assert meters.ids == ["00000001"]
    path.write_text(ONE + TWO)
    file.look()
    assert meters.ids == ["00000001"]
    file.look()
    assert meters.ids == ["00000001", "00000002"]


def test_an_editor_that_empties_it_before_it_writes(path: Path) -> None:
    file, meters = followed(path)
    path.write_text("")
    file.look()
    path.write_text(ONE + f"'2': {KEY[:10]}")
    file.look()
    path.write_text(ONE + TWO)
    look(file)
    assert meters.ids == ["00000001", "00000002"]


def test_emptied_for_good(path: Path) -> None:
    file, meters = followed(path)
    path.write_text("")
    look(file)
    assert meters.ids == []


def test_another_file_in_its_place(path: Path) -> None:
    file, meters = followed(path)
    new = path.with_suffix(".new")
    new.write_text(TWO)
    new.replace(path)
    look(file)
    assert meters.ids == ["00000002"]


def test_a_link_that_points_elsewhere_now(tmp_path: Path) -> None:
    """As Kubernetes and the secrets of containers change a mounted file: ..data is another folder, at once."""
    for name, text in (("first", ONE), ("second", TWO)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "meters.yaml").write_text(text)
    (tmp_path / "..data").symlink_to("first")
    (tmp_path / "meters.yaml").symlink_to("..data/meters.yaml")
    file, meters = followed(tmp_path / "meters.yaml")
    assert meters.ids == ["00000001"]
    (tmp_path / "..new").symlink_to("second")
    (tmp_path / "..new").rename(tmp_path / "..data")
    look(file)
    assert meters.ids == ["00000002"]


def test_gone_and_back(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    file, meters = followed(path)
    for _ in range(2):
        path.unlink()
        look(file, 5)
        assert meters.ids == ["00000001"]
        path.write_text(ONE)
        look(file)
    assert caplog.text.count("cannot read it: No such file or directory; the meters stay as they were") == 2
    assert caplog.text.count("has changed: 1 meters in it") == 2


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"'1': {key: '00'}", "a key has 32 hexadecimal digits"),
        (b"\xff\xfe", "it is not text"),
        (b"- 1\n- 2\n", "valid dictionary"),
        (b"{", "not valid JSON"),
        (b"'1': 1\n'1': 2\n", "there twice"),
        (b"#" * 5000, "more than 4096 bytes"),
    ],
)
def test_what_makes_no_sense_is_told_once_and_changes_nothing(
    content: bytes, fault: str, path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(meters_file, "LARGEST_BYTES", 4096)
    file, meters = followed(path)
    path.write_bytes(content)
    look(file, 5)
    assert meters.ids == ["00000001"]
    assert caplog.text.count(fault) == 1
    path.write_text(TWO)
    look(file)
    assert meters.ids == ["00000002"]
    path.write_bytes(content)
    with pytest.raises(ConfigError, match="IM871A_METERS_FILE"):
        connector_for(IM871A_METERS_FILE=str(path))


def test_at_the_start_it_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"IM871A_METERS_FILE: .*: cannot read it: No such file or directory"):
        connector_for(IM871A_METERS_FILE=str(tmp_path / "none"))
    with pytest.raises(ConfigError, match="cannot read it: Is a directory"):
        connector_for(IM871A_METERS_FILE=str(tmp_path))


async def test_a_key_is_changed_in_it_while_the_stick_listens(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meters_file, "LOOK_EVERY_S", 0.05)
    path.write_text(json.dumps({EXAMPLE_METER: {"key": "00" * 16}}))
    async with listening(IM871A_METERS_FILE=str(path)) as scene:
        accompany = asyncio.create_task(scene.connector.accompany())
        meter = ExampleMeter()
        await scene.hears(*(meter.telegram() for _ in range(3)))
        assert list(scene.link.away) == [EXAMPLE_METER]
        path.write_text(json.dumps(METERS))
        async with asyncio.timeout(PATIENCE_S):
            while scene.connector.meters.get(EXAMPLE_METER).name != "main meter":  # type: ignore[union-attr]
                await asyncio.sleep(0.02)
        await scene.hears(meter.telegram())
        assert scene.link.away == {}
        assert scene.link.values[f"{EXAMPLE_METER}__energy_kwh"] == 1234.6
        accompany.cancel()
