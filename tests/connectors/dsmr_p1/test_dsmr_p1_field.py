"""What meters in the field send beside the standards, as their owners reported it, and brothers of each."""

from __future__ import annotations

from typing import Any

import pytest

from connectors.dsmr_p1 import codec, meter_time
from connectors.dsmr_p1.cipher import CannotOpen, Keys, decrypt_frame, encrypt_frame
from connectors.dsmr_p1.clock_zone import STEADY, ClockZone
from connectors.dsmr_p1.codec import Options, decode
from connectors.dsmr_p1.crc import crc16, crc16_x25, right_crc
from connectors.dsmr_p1.damage_share import DamageShare
from connectors.dsmr_p1.encrypted_frames import FAILURES_TO_TELL, FrameFinder, KeyDoubt
from connectors.dsmr_p1.meter_time import CENTRAL, HOUR_MS
from connectors.dsmr_p1.odd_lines import GONE_AFTER, OddLines
from connectors.dsmr_p1.settings import Settings
from tests.connectors.dsmr_p1.conftest import settings_for, telegram
from tests.connectors.dsmr_p1.oracle import ms
from tests.connectors.dsmr_p1.test_dsmr_p1_stream import Ear
from wattbus.errors import ConfigError, DecodeError

# A Holley DTSD545 in Hungary: lines as ndokter/dsmr_parser, issue 91, has them; the CRC of the one there is cut off.
HOLLEY = """\
/HLY5\\D545-METER

1-3:0.2.8(50)
0-0:1.0.0(220203113815W)
1-0:1.8.0(00003668.743*kWh)
1-0:2.8.0(00003468.951*kWh)
1-0:15.8.0(00007137.694*kWh )
1-0:32.7.0(000238.20*V)
1-0:13.7.0(0.999)
!""".replace("\n", "\r\n")


AUTO = Options()


def with_x25(text: str) -> str:
    return text + f"{crc16_x25(text.encode('latin-1')):04X}\r\n"


def with_arc(text: str) -> str:
    return text + f"{crc16(text.encode('latin-1')):04X}\r\n"


def of_lines(*lines: str, options: Options = AUTO) -> dict[str, Any]:
    readings = decode("/XXX5TEST\r\n\r\n" + "\r\n".join(lines) + "\r\n!\r\n", options)
    return {key: said.value for one in readings for key, said in one.values.items() if key != "identification"}


# -- the meter's clock keeps another zone's time -----------------------------------------------------------------------


def clocks_moment(clock: str, zone: str) -> int | None:
    return decode({"telegram": HOLLEY.replace("220203113815W", clock)[:-1] + "!\r\n"}, options_in(zone))[0].timestamp_ms


def options_in(zone: str) -> Options:
    return settings_for(DSMR_TIME_ZONE=zone).options


@pytest.mark.parametrize(
    ("clock", "zone", "moment"),
    [
        ("230808113811S", "Europe/Vilnius", "2023-08-08T08:38:11"),  # a Lithuanian meter
        ("230108113811W", "Europe/Vilnius", "2023-01-08T09:38:11"),
        ("231029033000S", "Europe/Helsinki", "2023-10-29T00:30:00"),  # the hour that comes twice, there at three
        ("231029033000W", "Europe/Helsinki", "2023-10-29T01:30:00"),
        ("230808113811S", "Europe/Lisbon", "2023-08-08T10:38:11"),
        ("230808113811", "Europe/Istanbul", "2023-08-08T08:38:11"),  # no summer time
        ("230808113811S", "Europe/Amsterdam", "2023-08-08T09:38:11"),
    ],
)
def test_a_zone_of_ones_own(clock: str, zone: str, moment: str) -> None:
    assert clocks_moment(clock, zone) == ms(moment + "+00:00")


@pytest.mark.parametrize("zone", ["Europe/Vilnus", "America/New_York", "../etc/passwd"])
def test_a_zone_that_is_none_of_europe(zone: str) -> None:
    with pytest.raises(ConfigError, match=r"DSMR_TIME_ZONE.*Europe/Vilnius"):
        settings_for(DSMR_TIME_ZONE=zone)


def test_times_of_gas_and_of_peaks_are_in_the_same_zone() -> None:
    lines = ["0-0:1.0.0(230808113811S)", "0-1:24.1.0(003)", "0-1:24.2.1(230808110000S)(00001.000*m3)"]
    text = "\r\n".join(["/XXX5TEST", "", "1-3:0.2.8(50)", *lines, "!", ""])
    readings = decode(text, options_in("Europe/Vilnius"))
    assert readings[-1].timestamp_ms == ms("2023-08-08T08:00:00+00:00")
    assert of_lines("0-0:97.97.1(230808110000S)", options=options_in("Europe/Vilnius")) == {
        "0-0:97.97.1": "2023-08-08T08:00:00Z"
    }


@pytest.mark.parametrize(("off_h", "way"), [(1, "1 h ahead of"), (-1, "1 h behind"), (2, "2 h ahead of")])
def test_steady_hours_off_are_told_and_not_corrected_unasked(off_h: int, way: str) -> None:
    zone, now = ClockZone(CENTRAL), ms("2026-08-08T08:38:11+00:00")
    for number in range(STEADY):
        assert zone.fault == ""
        zone.compare(now + number * 1000 + off_h * HOUR_MS - 40_000, now + number * 1000)
    assert zone.fault == f"the meter's clock is steadily {way} the time of reception: see DSMR_TIME_ZONE"
    assert zone.winter_hours is None
    for number in range(STEADY):
        zone.compare(now + number * 1000, now + number * 1000)
    assert zone.fault == ""


def test_a_clock_that_is_off_by_something_else_is_no_zone() -> None:
    zone, now = ClockZone(None), ms("2026-08-08T08:38:11+00:00")
    for off_ms in [HOUR_MS // 2] * 30 + [HOUR_MS, 0] * 30 + [20 * HOUR_MS] * 30:
        zone.compare(now + off_ms, now)
    assert zone.zone is None


def test_the_zone_is_found_by_choice_and_stands_in_the_raw_message() -> None:
    zone, now = ClockZone(None), ms("2026-08-08T08:38:11+00:00")
    for _ in range(STEADY):
        assert zone.winter_hours is None
        zone.compare(now + HOUR_MS, now)
    assert zone.winter_hours == 2
    text = HOLLEY.replace("220203113815W", "260808113811S") + "\r\n"
    options = options_in("auto")
    assert decode({"telegram": text, "received": now, "zone_hours": 2}, options)[0].timestamp_ms == now
    assert decode({"telegram": text, "received": now}, options)[0].timestamp_ms is None, "not an hour in the future"
    with pytest.raises(DecodeError, match="zone_hours"):
        decode({"telegram": text, "zone_hours": "2"}, options)


# -- CRCs --------------------------------------------------------------------------------------------------------------


def test_the_check_values_of_both_crcs() -> None:
    """[reveng's catalogue of parametrised CRC algorithms: CRC-16/ARC, CRC-16/IBM-SDLC, also called X-25.]"""
    assert (crc16(b"123456789"), crc16_x25(b"123456789")) == (0xBB3D, 0x906E)
    assert (crc16_x25(b""), right_crc(b"123456789", 0x906F)) == (0, "")


def test_a_meter_with_the_other_crc() -> None:
    ear, text = Ear(), with_x25(HOLLEY)
    assert ear.hear(text.encode() * 2) == [text, text]
    values = {key: said.value for key, said in decode(text, Options())[0].values.items()}
    assert values["energy_import_kwh"] == 3668.743
    assert [value for key, value in values.items() if "15.8.0" in key or "absolute" in key] == [7137.694]
    with pytest.raises(DecodeError, match="CRC"):
        decode(text.replace("3668", "3669"), Options())


def test_the_other_crc_is_believed_when_it_stays() -> None:
    """Damage is right by it once in 65,536 times."""
    good, other = with_arc(HOLLEY), with_x25(HOLLEY)
    ear = Ear()
    assert ear.hear(good.encode() + other.encode() * 2 + good.encode()) == [good, good]
    assert ear.damaged == ["its CRC is wrong"] * 2
    assert ear.hear(other.encode() * 5) == [other] * 3, "another meter, perhaps"


def test_a_crc_by_no_known_rule_is_believed_by_choice_and_says_so() -> None:
    texts = [HOLLEY.replace("3668", f"366{digit}") + f"123{digit}\r\n" for digit in range(4)]
    plain, by_choice = Ear(), Ear()
    by_choice.trust = type(plain.trust)(form_is_enough=True)
    assert plain.hear("".join(texts).encode()) == []
    assert by_choice.hear("".join(texts).encode()) == texts
    assert by_choice.hear(texts[0].replace("1-0:13.7.0(0.999)\r\n", "").encode()) == []
    raw = {"telegram": texts[0], "received": None, "unverified": True}
    assert all(reading.is_unverified for reading in decode(raw, Options()))
    assert not any(reading.is_unverified for reading in decode(with_x25(HOLLEY), Options(form_is_enough=True)))
    with pytest.raises(DecodeError, match="CRC"):
        decode(texts[0], Options())


# -- bytes above 0x7F --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sign", [with_arc, with_x25])
@pytest.mark.parametrize(
    ("message", "said"),
    [("\xff" * 40, {}), ("\xff\xff41\xff", {"message": "A"}), ("F" * 80, {}), ("caf\xe9", {"message": "caf\xe9"})],
)
def test_bytes_above_0x7f_cost_no_other_line(sign: Any, message: str, said: dict[str, str]) -> None:
    text = sign(HOLLEY.replace("1-0:13.7.0", f"0-0:96.13.0({message})\r\n1-0:13.7.0"))
    ear = Ear()
    assert ear.hear(text.encode("latin-1")) == [text]
    values = {key: one.value for key, one in decode(text, Options())[0].values.items()}
    assert values["voltage_l1_v"] == 238.2
    assert {key: value for key, value in values.items() if key == "message"} == said


def test_bytes_above_0x7f_from_a_meter_without_crc() -> None:
    text = HOLLEY.replace("1-0:13.7.0", "0-0:96.13.0(\xff\xff\xff)\r\n1-0:13.7.0") + "\r\n"
    ear = Ear()
    assert ear.hear(text.encode("latin-1")) == []
    assert ear.hear(text.encode("latin-1"), 10) == [text, text]


def test_a_byte_above_0x7f_in_a_value_costs_that_line_alone() -> None:
    text = HOLLEY.replace("000238.20", "00023\xb8.20")
    telegram = codec.parse(with_arc(text))
    assert telegram.odd == ["1-0:32.7.0(00023\xb8.20*V)"]
    assert len(telegram.plain) == 5


# -- damage ------------------------------------------------------------------------------------------------------------


def test_a_share_of_damage_is_judged_though_it_is_never_ten_in_a_row() -> None:
    share = DamageShare()
    for number in range(88):
        if number % 8 == 7:
            share.good(900)
        else:
            share.damaged("its CRC is wrong")
    assert share.fault.endswith("of the last 40 telegrams were damaged: its CRC is wrong")
    for _ in range(40):
        share.good(900)
    assert share.fault == ""


def test_one_damaged_telegram_in_ten_is_life() -> None:
    share = DamageShare()
    for number in range(400):
        share.good(900) if number % 10 else share.damaged("its CRC is wrong")
        assert share.fault == ""


def test_telegrams_whose_beginning_is_missing_count_as_damaged() -> None:
    share = DamageShare()
    for _ in range(40):
        share.good(900)
        share.dropped(700)
        share.dropped(100)
    assert "its beginning or its end is missing" in share.fault


# -- line ends ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sign", [with_arc, with_x25])
def test_lf_line_ends_with_the_crc_of_cr_lf(sign: Any) -> None:
    text = sign(HOLLEY).replace("\r\n", "\n")
    assert Ear().hear(text.encode() * 2) == [text, text]
    assert decode(text, Options())[0].values["energy_import_kwh"].value == 3668.743


@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_telegrams_without_a_line_end_behind_their_crc(size: int) -> None:
    one, two = with_arc(HOLLEY), with_arc(HOLLEY.replace("3668", "3669"))
    stream = (one.rstrip() + two.rstrip()).encode()
    ear = Ear()
    for place in range(0, len(stream), size):
        ear.hear(stream[place : place + size])
    assert ear.believed == [one, two], "the second at once, too"
    assert ear.finder.dropped_bytes == 0
    assert [len(decode(raw, Options())) for raw in codec.raw_messages(stream.decode().splitlines(keepends=True))] == [
        1,
        1,
    ]


def test_telegrams_without_crc_and_line_end() -> None:
    text = HOLLEY + "\r\n"
    ear = Ear()
    assert ear.hear((HOLLEY * 3).encode()) == [text, text]
    assert ear.hear(HOLLEY.encode(), 10) == [text]


# -- lines -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "values"),
    [
        ("1-0:1.8.1(000123.456kWh)", {"energy_import_tariff_1_kwh": 123.456}),
        ("1-0:1.7.0(00.538 kW)", {"power_import_kw": 0.538}),
        ("1-0:81.7.4(-1.5A)", {"1-0:81.7.4": -1.5}),
        ("0-1:24.2.1(170102190000W)(00123.4m3)", {"mbus_1__volume_m3": 123.4}),
        ("1-0:1.6.0(632525252525W)(00.000*kW)", {}),
        ("1-0:1.6.0(000101000000W)(00.000*kW)", {}),
        ("0-1:24.2.1(700101010000W)(00000000)", {}),
        ("0-1:24.2.3(632525252525W)(00000.000)", {}),
        ("0-1:24.2.1(632525252525S)(00007.000*m3)", {"mbus_1__volume_m3": 7.0}),
        ("0-0:97.97.0(12A)", {"0-0:97.97.0": "12A"}),
        ("0-0:96.13.0(FFFFFFFFFFFFFFFF)", {}),
    ],
)
def test_lines_that_are_written_otherwise(line: str, values: dict[str, Any]) -> None:
    assert of_lines(line) == values


def test_a_belgian_peak_that_was_not_yet_is_no_datapoint() -> None:
    said = of_lines("0-0:96.1.4(50217)", "1-0:1.6.0(632525252525W)(00.000*kW)")
    assert said == {"p1_version": "50217"}
    said = of_lines("0-0:96.1.4(50217)", "1-0:1.6.0(632525252525W)(01.500*kW)")
    assert said == {"p1_version": "50217", "demand_import_peak_month_kw": 1.5}


@pytest.mark.parametrize(
    ("line", "is_odd"),
    [
        ("nothing that is a line", True),
        ("1-0:1.7.0(broken*kW)", True),
        ("1-0:1.7.0(00.5*kW", True),
        ("1-0:1.7.0(*kW)", False),
        ("0-0:96.13.0()", False),
        ("0-0:98.1.0(0)(1-0:1.6.0)(1-0:1.6.0)", False),
        ("0-1:24.2.1(632525252525W)(00000.000)", False),
        ("", False),
    ],
)
def test_lines_of_no_known_form(line: str, is_odd: bool) -> None:
    text = f"/XXX5TEST\r\n\r\n0-0:96.1.4(50217)\r\n{line}\r\n1-0:1.8.1(1.5*kWh)\r\n!\r\n"
    assert codec.parse(text).odd == ([line] if is_odd else [])


def test_odd_lines_are_listed_once_each_and_bounded() -> None:
    odd = OddLines()
    odd.take(["1-0:1.7.0(broken*kW)"])
    assert odd.fault == "1 line of no known form left out: '1-0:1.7.0(broken*kW)'"
    odd.take([f"strange {letter}{number}" for letter in "abcdefgh" for number in range(10)])
    assert odd.fault.startswith("9 lines of no known form left out: '1-0:1.7.0(broken*kW)', 'strange a0', ")
    assert odd.fault.endswith(", …")
    for number in range(1000):
        odd.take(["x" * number])
    assert len(odd.fault) < 500
    for _ in range(GONE_AFTER):
        odd.take([])
    assert odd.fault == ""


@pytest.mark.parametrize("name", ["V2_2", "V3", "V4_2", "V5", "FLUVIUS_V171", "SAGEMCOM_T210_D_R", "ESY5Q3DA1004_V304"])
def test_recorded_telegrams_have_no_odd_lines(name: str) -> None:
    text = telegram(name)
    assert codec.parse(text[: text.index("\n", text.rindex("!"))]).odd == []  # more than a telegram stands in one file


# -- frames that open --------------------------------------------------------------------------------------------------

KEYS = Keys(b"k" * 16, b"a" * 16)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("\x0f\x00\x00\x01\x00\x0c\x07\xe7", "what they open is a binary DLMS message"),
        ("\xc2\x00", "what they open is a binary DLMS message"),
        ("hello", "what they open is not a telegram: it begins with 68656c6c"),
    ],
)
def test_a_frame_that_opens_and_holds_no_telegram_says_so(content: str, said: str) -> None:
    doubt, finder = KeyDoubt(), FrameFinder(KEYS)
    told = []
    for counter in range(FAILURES_TO_TELL):
        [opened] = finder.feed(encrypt_frame(content, KEYS, b"SYSTEMID", counter + 1))
        told.append(doubt.failed(opened))
    assert said in told[-1]
    assert "is not the key" not in told[-1]
    with pytest.raises(CannotOpen, match="the keys are right"):
        decrypt_frame(encrypt_frame(content, KEYS, b"SYSTEMID", 1), KEYS)


def test_encrypted_telegrams_may_have_the_other_crc_and_high_bytes() -> None:
    text = with_x25(HOLLEY.replace("1-0:13.7.0", "0-0:96.13.0(\xff\xff)\r\n1-0:13.7.0"))
    frame = encrypt_frame(text, KEYS, b"SYSTEMID", 1)
    assert decrypt_frame(frame, KEYS) == text
    assert decrypt_frame(frame, Keys(KEYS.encryption, None)) == text


def test_settings() -> None:
    assert (Settings.model_fields["dsmr_crc"].default, settings_for().options.zone) == ("check", CENTRAL)
    assert settings_for(DSMR_CRC="form", DSMR_TIME_ZONE="AUTO").options == Options(zone=None, form_is_enough=True)
    assert meter_time.zone("Europe/Vilnius").winter_ms == 2 * HOUR_MS
