"""When something was measured: flags, the repeated hour, clocks that are wrong, and the time zone database."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.dsmr_p1 import codec, meter_time
from connectors.dsmr_p1.codec import Options, decode
from connectors.dsmr_p1.memory import OwnTimes
from tests.connectors.dsmr_p1.oracle import ms
from wattbus.connector import Reading

DAY_MS = 86_400_000


def utc(text: str) -> int:
    return ms(text + "+00:00")


def telegram(clock: str, gas: str = "", volume: str = "00001.000*m3", profile_line: str = "1-3:0.2.8(50)") -> str:
    """A Dutch one, or a Belgian one (whose gas meters print no flag), without CRC."""
    lines = ["/XXX5TEST", "", profile_line]
    lines += [f"0-0:1.0.0({clock})"] if clock else []
    lines += ["1-0:1.7.0(00.100*kW)"]
    lines += ["0-1:24.1.0(003)", f"0-1:24.2.1({gas})({volume})"] if gas else []
    return "\r\n".join([*lines, "!", ""])


def main_ms(text: str, received: int | None = None, meter_clock: str = "auto") -> int | None:
    return decode({"telegram": text, "received": received}, Options(meter_clock=meter_clock))[0].timestamp_ms


def gas(readings: list[Reading]) -> tuple[int | None, float] | None:
    for reading in readings:
        if "gas_1__volume_m3" in reading.values:
            return reading.timestamp_ms, reading.values["gas_1__volume_m3"].value
    return None


# -- local time --------------------------------------------------------------------------------------------------------


@given(st.datetimes(datetime(2000, 1, 2), datetime(2089, 12, 30)))
def test_our_rule_is_that_of_the_time_zone_database(moment: datetime) -> None:
    moment = moment.replace(microsecond=0, tzinfo=UTC)
    local = moment.astimezone(ZoneInfo("Europe/Amsterdam"))
    at = round(moment.timestamp() * 1000)
    text = f"{local:%y%m%d%H%M%S}{'S' if local.dst() else 'W'}"
    assert meter_time.printed(at) == text
    wall = meter_time.parse(text)
    assert wall is not None
    assert wall.candidates == (at,)
    unflagged = meter_time.parse(text[:-1])
    assert unflagged is not None
    repeated = local.replace(fold=0).utcoffset() != local.replace(fold=1).utcoffset()
    assert len(unflagged.candidates) == (2 if repeated else 1)
    assert at in unflagged.candidates


@pytest.mark.parametrize("zone", ["Brussels", "Luxembourg", "Stockholm", "Budapest", "Vienna"])
def test_all_these_countries_have_the_same_time(zone: str) -> None:
    there, amsterdam = ZoneInfo(f"Europe/{zone}"), ZoneInfo("Europe/Amsterdam")
    for hours in range(0, 40 * 366 * 24, 5):
        moment = datetime.fromtimestamp(1_230_000_000 + hours * 3600, UTC)
        assert moment.astimezone(there).utcoffset() == moment.astimezone(amsterdam).utcoffset()


NO_TIMES = """
632525252525W 170230120000W 170102240000W 170102236000W 170102235960W 170102161005X 17010216100W 170102161005WW
1701021610-5W ١٧٠١٠٢١٦١٠٠٥W ١٧٠١٠٢١٦١٠٠٥
"""


@pytest.mark.parametrize("text", ["", "1701021610 5W", *NO_TIMES.split()])
def test_what_is_no_time(text: str) -> None:
    assert meter_time.parse(text) is None


def test_the_night_in_which_an_hour_comes_twice() -> None:
    assert main_ms(telegram("261025015959S")) == utc("2026-10-24T23:59:59")
    assert main_ms(telegram("261025020000S")) == utc("2026-10-25T00:00:00")
    assert main_ms(telegram("261025025959S")) == utc("2026-10-25T00:59:59")
    assert main_ms(telegram("261025020000W")) == utc("2026-10-25T01:00:00")
    assert main_ms(telegram("261025030000W")) == utc("2026-10-25T02:00:00")


# -- a flag that contradicts the season --------------------------------------------------------------------------------


def test_in_winter_no_clock_has_summer_time() -> None:
    assert main_ms(telegram("200305122139S")) == utc("2020-03-05T11:21:39")


def test_whether_a_dutch_clock_stayed_in_winter_is_seen_at_reception() -> None:
    july = telegram("260715120000W", "260715115500W")
    assert main_ms(july) == utc("2026-07-15T10:00:00"), "the season counts when nothing else is known"
    received = utc("2026-07-15T11:00:03")
    readings = decode({"telegram": july, "received": received}, Options())
    assert readings[0].timestamp_ms == utc("2026-07-15T11:00:00")
    assert gas(readings) == (utc("2026-07-15T10:55:00"), 1.0), "its gas meter's time is by the same clock"
    assert main_ms(july, received=utc("2026-07-15T10:00:03")) == utc("2026-07-15T10:00:00")


# -- a missing flag ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("clock", "gas_text", "gas_at"),
    [
        ("261025020100S", "261025020000", "2026-10-25T00:00:00"),
        ("261025025900S", "261025025500", "2026-10-25T00:55:00"),
        ("261025020100W", "261025020000", "2026-10-25T01:00:00"),
        ("261025020100W", "261025025500", "2026-10-25T00:55:00"),
        ("261025030100W", "261025025500", "2026-10-25T01:55:00"),
        ("260715120000S", "260715115500", "2026-07-15T09:55:00"),
        ("260115120000W", "260115115500", "2026-01-15T10:55:00"),
    ],
)
def test_a_missing_flag_is_resolved_by_the_clock_of_the_telegram(clock: str, gas_text: str, gas_at: str) -> None:
    assert gas(decode(telegram(clock, gas_text), Options())) == (utc(gas_at), 1.0)


def test_a_missing_flag_is_resolved_by_the_time_of_reception_where_the_meter_has_no_clock() -> None:
    text = telegram("", "261025020000")
    for received, at in (
        ("2026-10-25T00:03:00", "2026-10-25T00:00:00"),
        ("2026-10-25T01:03:00", "2026-10-25T01:00:00"),
    ):
        readings = decode({"telegram": text, "received": utc(received)}, Options())
        assert gas(readings) == (utc(at), 1.0)
        assert readings[0].timestamp_ms is None


def test_without_flags_a_whole_night_comes_out_in_order() -> None:
    """A gas meter that prints every five minutes, and the telegram lags behind by up to four."""
    times = OwnTimes()
    stored: dict[int, float] = {}
    for minute in range(5 * 60):
        clock_ms = utc("2026-10-24T22:00:00") + minute * 60_000
        reading_ms = (clock_ms - 4 * 60_000) // 300_000 * 300_000
        volume = (reading_ms - utc("2026-10-24T21:00:00")) / 1e6
        text = telegram(meter_time.printed(clock_ms), meter_time.printed(reading_ms)[:-1], f"{volume:09.3f}*m3")
        at, value = through(times, text, clock_ms + 1500)
        stored[at] = value
    moments = sorted(stored)
    assert [later - earlier for earlier, later in pairwise(moments)] == [300_000] * (len(moments) - 1)
    assert list(stored.values()) == sorted(stored.values())
    assert stored[utc("2026-10-25T00:30:00")] == 12.6
    assert stored[utc("2026-10-25T01:30:00")] == 16.2


def through(times: OwnTimes, text: str, received: int) -> tuple[int, float]:
    """As the connector does it: learn, put it into the raw message, decode."""
    parsed = codec.parse(text)
    learnt = times.learn(parsed, codec.moment(parsed, received, Options()), received)
    found = gas(decode({"telegram": text, "received": received, "times": learnt}, Options()))
    assert found is not None
    assert found[0] is not None
    return found[0], found[1]


def test_a_reading_that_did_not_change_is_not_a_new_one_in_the_repeated_hour() -> None:
    times = OwnTimes()
    text = "261025020000"
    first = through(times, telegram("261025020100S", text), utc("2026-10-25T00:01:00"))
    same = through(times, telegram("261025020100W", text), utc("2026-10-25T01:01:00"))
    changed = through(times, telegram("261025020200W", text, "00001.200*m3"), utc("2026-10-25T01:02:00"))
    assert first == same == (utc("2026-10-25T00:00:00"), 1.0)
    assert changed == (utc("2026-10-25T01:00:00"), 1.2)


def test_what_was_learnt_stays_in_the_raw_message() -> None:
    at = utc("2026-10-25T00:00:00")
    raw = {"telegram": telegram("261025020500W", "261025020000"), "times": {"0-1:24.2.1": at}}
    assert gas(decode(raw, Options())) == (at, 1.0)


# -- clocks that are wrong ---------------------------------------------------------------------------------------------

NOW = utc("2026-11-21T12:00:00")


@pytest.mark.parametrize("clock", ["000101010000W", "632525252525W", "700101010000W", "681027002758S", "261101120000W"])
def test_a_wrong_clock_is_as_good_as_none(clock: str) -> None:
    readings = decode({"telegram": telegram(clock, "261121110000W"), "received": NOW}, Options())
    assert [reading.timestamp_ms for reading in readings] == [None]
    assert readings[0].values["meter_clock"].value == clock, "people can see it"
    assert gas(readings) == (None, 1.0), "it is this clock that stamps what the gas meter sends"


@pytest.mark.parametrize(
    ("clock", "policy", "received", "is_believed"),
    [
        ("261120141500W", "auto", NOW, True),
        ("261120141500W", "never", NOW, False),
        ("261119121500W", "auto", NOW, False),
        ("261119121500W", "always", NOW, True),
        ("000101010000W", "always", NOW, False),
        ("261119121500W", "auto", None, True),
        ("261119121500W", "auto", utc("1970-01-01T00:02:00"), True),
    ],
)
def test_when_a_clock_is_believed(clock: str, policy: str, received: int | None, is_believed: bool) -> None:
    found = main_ms(telegram(clock), received, policy)
    assert (found is not None) == is_believed


def test_a_gas_meter_a_year_ahead_is_not_believed() -> None:
    """dsmrreader/dsmr-reader, issue 412: a Kaifa on the first of January 2018."""
    text = telegram("180101214355W", "190101210000W", "01269.375*m3")
    readings = decode(text, Options())
    assert readings[0].timestamp_ms == utc("2018-01-01T20:43:55")
    assert gas(readings) == (utc("2018-01-01T20:43:55"), 1269.375)


def test_a_reading_whose_time_is_nonsense_was_made_when_it_was_first_seen() -> None:
    """dsmrreader/dsmr-reader, issue 269: one row per new reading, not one per second."""
    times = OwnTimes()
    seen = [
        through(times, telegram("261121130000W", "681027002758S", volume), NOW + second * 1000)
        for second, volume in enumerate(
            ["01023.855*m3", "01023.855*m3", "01023.855*m3", "01023.900*m3", "01023.900*m3"]
        )
    ]
    assert seen == [(NOW, 1023.855)] * 3 + [(NOW + 3000, 1023.9)] * 2
