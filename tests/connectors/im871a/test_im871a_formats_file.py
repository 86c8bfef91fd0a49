"""Learnt formats of short telegrams outlive a restart, and stand in the raw message."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from connectors.im871a.formats_file import FormatsFile
from connectors.im871a.hearing import Formats
from connectors.im871a.telegram import SeenFormat
from tests.connectors.im871a.conftest import connector_for, listening, telegram_in_clear
from tests.connectors.im871a.test_im871a_telegram_compact import COMPACT, FULL, RECORD_FORMAT
from wattbus.testing.link import WITHIN_S

NUMBER = "12345678"


async def test_what_a_long_telegram_has_shown_reads_short_ones_after_a_restart(tmp_path: Path) -> None:
    kept = tmp_path / "meters-formats.json"
    async with listening(IM871A_METERS={NUMBER: {}}) as scene:
        accompanying = asyncio.create_task(scene.connector.accompany())
        await scene.hears(telegram_in_clear(NUMBER, FULL))
        async with asyncio.timeout(WITHIN_S):
            while not kept.exists():
                await asyncio.sleep(0.01)
        accompanying.cancel()
    async with listening(IM871A_METERS={NUMBER: {}}) as scene:
        accompanying = asyncio.create_task(scene.connector.accompany())
        await scene.hears(telegram_in_clear(NUMBER, COMPACT))
        accompanying.cancel()
        assert scene.link.values[f"{NUMBER}__energy_kwh"] == 0.1234
        [raw] = scene.link.raw
        assert raw["format"] == RECORD_FORMAT.hex()
    alone = connector_for()
    [reading] = alone.decode(raw)
    assert reading.device == NUMBER


def test_a_file_that_makes_no_sense_is_logged_and_costs_only_the_formats(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "formats.json"
    assert FormatsFile(path).read() == {}
    assert caplog.text == ""
    for text in ("", "[]", '{"formats": ["zz"]}', '{"formats": [1]}'):
        path.write_text(text)
        assert FormatsFile(path).read() == {}
        assert "cannot be used" in caplog.text
        caplog.clear()


def test_formats_are_news_once() -> None:
    formats = Formats()
    assert formats.news() == {}
    for _ in range(2):
        formats.learn(SeenFormat(0x3B31, RECORD_FORMAT))
    assert formats.news() == {0x3B31: RECORD_FORMAT}
    formats.learn(SeenFormat(0x3B31, RECORD_FORMAT))
    assert formats.news() == {}


def test_a_folder_that_cannot_be_written_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("")
    FormatsFile(tmp_path / "file" / "formats.json").write({0x3B31: RECORD_FORMAT})
    assert "cannot be kept over a restart" in caplog.text
