"""What is learnt from several telegrams: rates; thinning; the CRC."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.dsmr_p1 import codec
from connectors.dsmr_p1.crc import crc16
from connectors.dsmr_p1.downsampling import Thinning
from connectors.dsmr_p1.memory import FASTER_FOR, GAPS, Announcements, Rates
from connectors.dsmr_p1.meter_time import CENTRAL, DAY_MS, offset_ms
from tests.connectors.dsmr_p1.conftest import telegram
from tests.connectors.dsmr_p1.oracle import ms

MINUTE_MS = 60_000


# -- CRC ---------------------------------------------------------------------------------------------------------------


def test_the_check_value_of_crc_16_arc() -> None:
    assert crc16(b"123456789") == 0xBB3D  # CRC catalogue, CRC-16/ARC


@given(st.binary(max_size=300))
def test_crc_bit_by_bit(data: bytes) -> None:
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ 0xA001 if crc & 1 else crc >> 1
    assert crc16(data) == crc


# -- rates -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("version", "first_guess"), [("50", 1.0), ("50217", 1.0), ("42", 10.0), ("", 10.0)])
def test_how_often_a_meter_speaks_is_guessed_then_observed(version: str, first_guess: float) -> None:
    rates = Rates()
    assert rates.telegram_s(version) == first_guess
    for number in range(10):
        rates.heard(100.0 + 5.02 * number + 0.3 * (number % 2))
    assert rates.telegram_s(version) == 5.0


def test_a_line_that_was_closed_is_no_slow_meter() -> None:
    rates = Rates()
    for number in range(6):
        rates.heard(1.0 * number)
        rates.heard(1000.0 + number) if number > 5 else None
    rates.paused()
    rates.heard(5000.0)
    assert rates.telegram_s("50") == 1.0


def test_a_pace_that_wavers_is_not_announced_again_and_again() -> None:
    """One that is called too fast makes values stale; so slower counts at once, and faster when it lasts."""
    rates, at_s = Rates(), 0.0
    told = []
    for turn in range(200):
        at_s += 2.0 if turn % 20 < 10 else 1.0
        rates.heard(at_s)
        told.append(rates.telegram_s("50"))
    assert told == [1.0] * GAPS + [2.0] * (200 - GAPS)
    for _ in range(FASTER_FOR + GAPS):
        at_s += 1.0
        rates.heard(at_s)
    assert rates.telegram_s("50") == 1.0


def test_a_gas_meter_whose_clock_was_set_is_not_stale_from_then_on() -> None:
    rates = Rates()
    for minute in (0.0, 60.0, 60.05, 120.0, 180.0, 240.0):
        rates.reading("0-1:24.2.1", round(minute * MINUTE_MS))
    assert rates.reading_s("0-1:24.2.1") == 3600.0


def test_how_often_a_gas_meter_has_news_is_observed() -> None:
    rates = Rates()
    assert rates.reading_s("0-1:24.2.1") == 3600.0
    for minute in (0, 5, 5, 10, 30):
        rates.reading("0-1:24.2.1", minute * MINUTE_MS)
    assert rates.reading_s("0-1:24.2.1") == 300.0
    assert rates.reading_s("0-2:24.2.1") == 3600.0


def test_datapoints_are_announced_once_and_again_when_the_rate_is_known() -> None:
    parsed, rates, announcements = codec.parse(telegram("V5")), Rates(), Announcements(0)
    first = announcements.news(parsed, rates)
    assert {datapoint.expected_interval_s for datapoint in first} == {1.0, 3600.0}
    assert announcements.news(parsed, rates) == []
    for number in range(6):
        rates.heard(10.0 * number)
    assert {datapoint.expected_interval_s for datapoint in announcements.news(parsed, rates)} == {10.0}


# -- thinning ----------------------------------------------------------------------------------------------------------


@given(
    interval_s=st.sampled_from([10, 60, 900, 3600, 86_400]),
    gaps_s=st.lists(st.integers(1, 5000), min_size=2, max_size=300),
)
def test_thinning(interval_s: int, gaps_s: list[int]) -> None:
    at, moments = ms("2026-10-23T12:00:00+00:00"), []
    for gap in gaps_s:
        at += gap * 1000
        moments.append(at)
    thinning: Thinning[int] = Thinning(interval_s)
    kept = [one for moment in moments for one in thinning.take(moment, moment)] + thinning.rest()
    assert kept == sorted(set(kept))
    lasts = {CENTRAL.local_day(moment): moment for moment in moments}
    assert set(lasts.values()) <= set(kept), "the last of every day"
    firsts: dict[tuple[int, int, int], int] = {}
    for moment in moments:
        local = moment + offset_ms(moment)
        firsts.setdefault((CENTRAL.local_day(moment), offset_ms(moment), local % DAY_MS // (interval_s * 1000)), moment)
    if interval_s < 3600:
        assert set(kept) == set(firsts.values()) | set(lasts.values()), "the first of every interval, and no more"


def test_without_an_interval_everything_goes_through() -> None:
    thinning: Thinning[int] = Thinning(0)
    assert [thinning.take(number, 0) for number in range(3)] == [[0], [1], [2]]
    assert thinning.rest() == []
