"""What a repeater says again is left out; what a meter says again is not."""

from __future__ import annotations

import json

import pytest

from connectors.im871a import duplicates
from connectors.im871a.duplicates import Duplicates, without_marks
from connectors.im871a.simulated_air import ExampleMeter
from connectors.im871a.telegram import read_header
from tests.connectors.im871a.conftest import METERS, listening, telegram_in_clear
from tests.connectors.im871a.telegram_data import reference
from wattbus.testing.clock import VirtualClock


def known(heard: Duplicates, telegram: bytes) -> bool:
    return heard.is_known(telegram, read_header(telegram))


def changed(telegram: bytes, place: int, bits: int) -> bytes:
    return telegram[:place] + bytes([telegram[place] | bits]) + telegram[place + 1 :]


# Extended link layer with a session (its communication control field is byte 11), short and long transport header
# (access number, status, then the configuration field: bytes 13 and 21).
EXTENDED = ExampleMeter().telegram()
SHORT = telegram_in_clear("00000001", "7a 2a 00 0000 0406 d2040000")
SHORT_MODE_5 = telegram_in_clear("00000001", "7a 2a 00 1005" + 16 * "aa")
LONG = telegram_in_clear("00000001", "72 02000000 2d2c 30 02 2a 00 0000 0406 d2040000")


@pytest.mark.parametrize(
    ("telegram", "place", "marks"),
    [(EXTENDED, 11, 0x12), (SHORT, 13, 0x03), (SHORT_MODE_5, 13, 0x03), (LONG, 21, 0x03)],
)
def test_what_a_repeater_marks_is_the_same_telegram(telegram: bytes, place: int, marks: int) -> None:
    heard = Duplicates(60, VirtualClock())
    assert not known(heard, telegram)
    assert known(heard, telegram)
    assert known(heard, changed(telegram, place, marks))
    other = 0x20 if place == 11 else 0x04  # static instead of spontaneous content
    assert not known(heard, bytes([*telegram[:place], telegram[place] ^ other, *telegram[place + 1 :]]))


def test_the_repeater_may_be_heard_first() -> None:
    heard = Duplicates(60, VirtualClock())
    assert not known(heard, changed(EXTENDED, 11, 0x10))
    assert known(heard, EXTENDED)


def test_in_mode_7_the_same_bits_say_something_else() -> None:
    """There they are part of the content index (EN 13757-7:2018 section 7.7.5)."""
    telegram = telegram_in_clear("00000001", "7a 2a 00 1007 10" + 16 * "aa")
    assert without_marks(changed(telegram, 13, 0x01)) != without_marks(telegram)


def test_after_its_time_it_is_news_again() -> None:
    clock = VirtualClock()
    heard = Duplicates(60, clock)
    assert not known(heard, EXTENDED)
    clock.forward(59)
    assert known(heard, EXTENDED)
    clock.forward(1)
    assert not known(heard, EXTENDED)


def test_nothing_is_left_out_when_that_is_wanted() -> None:
    heard = Duplicates(0, VirtualClock())
    assert [known(heard, EXTENDED) for _ in range(3)] == [False, False, False]


def test_a_meter_without_access_number_may_say_the_same_again() -> None:
    """Its telegram changes only when its reading does: else its readings would seem to stop."""
    telegram = telegram_in_clear("00000001", "78 0406 d2040000")
    heard = Duplicates(60, VirtualClock())
    assert [known(heard, telegram) for _ in range(3)] == [False, False, False]


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duplicates, "MOST_TELEGRAMS", 10)
    heard = Duplicates(1e9, VirtualClock())
    meter = ExampleMeter()
    telegrams = [meter.telegram() for _ in range(11)]
    assert not any(known(heard, telegram) for telegram in telegrams)
    assert known(heard, telegrams[-1])
    assert not known(heard, telegrams[0])


def test_every_recorded_telegram_is_new_once() -> None:
    captured = json.loads(reference("wmbus-omnipower/omnipower_captured.json").read_text())["telegrams"]
    telegrams = {bytes.fromhex(one["telegram"]) for one in captured}
    heard = Duplicates(60, VirtualClock())
    assert not any(known(heard, telegram) for telegram in telegrams)
    assert all(known(heard, telegram) for telegram in telegrams)


async def test_a_repeater_on_the_air() -> None:
    async with listening(IM871A_METERS=METERS) as scene:
        meter = ExampleMeter()
        first, second = meter.telegram(), meter.telegram()
        await scene.hears(first, first, changed(first, 11, 0x10), second)
        assert [raw["telegram"] for raw in scene.link.raw] == [first.hex(), second.hex()]
        assert scene.link.faults == []


async def test_of_a_telegram_that_only_the_repeater_was_heard_with() -> None:
    """The mark is no part of what was encrypted."""
    async with listening(IM871A_METERS=METERS) as scene:
        await scene.hears(changed(ExampleMeter().telegram(), 11, 0x10))
        assert scene.link.values["20000001__power_w"] == 2000
