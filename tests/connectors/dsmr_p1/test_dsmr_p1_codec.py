"""Telegrams of real meters, against an independent decoding where there is one, else against their own text."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.dsmr_p1 import codec
from connectors.dsmr_p1.cipher import Keys
from connectors.dsmr_p1.codec import Options, decode
from connectors.dsmr_p1.media import MBUS_ROWS
from connectors.dsmr_p1.memory import Announcements, OwnTimes, Rates
from connectors.dsmr_p1.profiles import PROFILES
from tests.connectors.dsmr_p1.conftest import reference, telegram
from tests.connectors.dsmr_p1.oracle import Comparison, ms
from tests.connectors.dsmr_p1.published import FLUVIUS_NO_GAS_YET, LUXEMBOURG_PLAIN, SWEDISH_ELLEVIO, SWEDISH_KAIFA
from wattbus.connector import Reading
from wattbus.errors import DecodeError
from wattbus.flattening import flatten
from wattbus.jsontext import dumps

AUTO = Options()


def plain(readings: list[Reading]) -> dict[int | None, dict[str, Any]]:
    """Time → key → value."""
    return {one.timestamp_ms: {key: said.value for key, said in one.values.items()} for one in readings}


def units(readings: list[Reading]) -> dict[str, str]:
    return {key: said.unit for one in readings for key, said in one.values.items() if said.unit}


# -- the reference data ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["V2_2", "V3", "V4_2", "V5", "FLUVIUS_V171"])
def test_every_value_is_what_an_independent_decoder_says(name: str) -> None:
    theirs = json.loads(reference(f"TELEGRAM_{name}.dsmr_parser.json").read_text())
    assert Comparison(theirs, decode(telegram(name), AUTO)).differences == []


def test_the_comparison_itself_notices_a_difference() -> None:
    theirs = json.loads(reference("TELEGRAM_V5.dsmr_parser.json").read_text())
    theirs["CURRENT_ELECTRICITY_USAGE"]["value"] = 0.245
    del theirs["INSTANTANEOUS_VOLTAGE_L1"]
    theirs["SOMETHING_ELSE"] = {"value": 1}
    assert Comparison(theirs, decode(telegram("V5"), AUTO)).differences == [
        "CURRENT_ELECTRICITY_USAGE: they say 0.245, we say 0.244",
        "only they have SOMETHING_ELSE",
        "only we have voltage_l1_v",
    ]


def test_an_encrypted_telegram_says_what_an_independent_decoder_found_in_it() -> None:
    recorded = json.loads(reference("encrypted_general_global_cipher.json").read_text())
    keys = Keys(bytes.fromhex(recorded["encryption_key"]), bytes.fromhex(recorded["authentication_key"]))
    readings = decode({"frame": recorded["frame_hex"]}, Options(keys=keys))
    assert Comparison(recorded["dsmr_parser_json"], readings).differences == []
    assert plain(readings) == plain(decode(telegram("SAGEMCOM_T210_D_R"), AUTO))


def test_a_heat_meters_telegram_whose_crc_lacks_a_zero() -> None:
    readings = decode(telegram("UNPADDED_CRC"), AUTO)
    at = ms("2026-02-15T19:05:23+00:00")
    assert [one.timestamp_ms for one in readings] == [at, at]
    assert {key: said.value for one in readings for key, said in one.values.items()} == {
        "identification": "NWA-WARMTELINK",
        "p1_version": "50",
        "equipment_id": "ADC3100000158491",
        "heat_1__device_type": 4,
        "heat_1__equipment_id": "621848012D2C0B0C",
        "heat_1__energy_gj": 240.86,
    }
    assert units(readings) == {"heat_1__energy_gj": "GJ"}
    with pytest.raises(DecodeError, match="its CRC is 0B9E, but it is 0B9F"):
        decode(telegram("UNPADDED_CRC").replace("!B9F", "!B9E"), AUTO)


def test_an_easymeters_telegram_which_has_no_crc_and_no_clock() -> None:
    text = telegram("ESY5Q3DA1004_V304")
    (raw,) = codec.raw_messages(text.splitlines())  # what follows its end in the file belongs to no telegram
    readings = decode(raw, AUTO)
    assert plain(readings) == {
        None: {
            "identification": "ESY5Q3DA1004 V3.04",
            "equipment_id": "1336001560",
            "energy_import_kwh": 32549.5061662,
            "power_import_l1_w": 557.29,
            "power_import_l2_w": 521.62,
            "power_import_l3_w": 609.3,
            "power_import_w": 1688.21,
            "status": "80",
            "serial_number": "1ESY1336001560",
        }
    }


# -- published telegrams of other countries ----------------------------------------------------------------------------


def test_a_swedish_telegram() -> None:
    readings = decode(SWEDISH_ELLEVIO, AUTO)
    ((at, values),) = plain(readings).items()
    assert at == ms("2021-02-17T17:40:19+00:00")
    assert values["energy_import_kwh"] == 6678.394
    assert values["reactive_energy_export_kvarh"] == 1020.971
    assert values["reactive_power_export_l3_kvar"] == 0.138
    assert values["current_l1_a"] == 4.2
    assert units(readings)["reactive_energy_export_kvarh"] == "kvar.h"
    assert not [key for key in values if ":" in key]


def test_a_swedish_clock_does_not_know_summer_time() -> None:
    at = decode(SWEDISH_KAIFA, AUTO)[0].timestamp_ms
    assert at == ms("2021-05-24T08:42:10+00:00"), "09:42:10 in UTC+1, though it is May"
    with_s = SWEDISH_KAIFA.replace("210524094210W", "260524094210S")
    assert decode(with_s, AUTO)[0].timestamp_ms == ms("2026-05-24T08:42:10+00:00"), "the flag says nothing there"
    on_time = {"telegram": with_s, "received": ms("2026-05-24T07:42:12+00:00")}
    assert decode(on_time, AUTO)[0].timestamp_ms == ms("2026-05-24T07:42:10+00:00"), "unless it evidently does"


def test_a_luxembourg_telegram() -> None:
    readings = decode(LUXEMBOURG_PLAIN, AUTO)
    ((at, values),) = plain(readings).items()
    assert at == ms("2023-04-18T18:42:22+00:00")
    assert values["logical_device_name"] == "SAG1030700243885"
    assert (values["current_limit_1_a"], values["current_limit_2_a"]) == (40, -40)
    assert values["apparent_power_import_kva"] == 0.595
    assert values["limiter_threshold_kva"] == 27.6
    assert values["mbus_1__breaker_state"] == 0
    assert units(readings)["apparent_power_import_kva"] == "kV.A"
    assert not [key for key in values if ":" in key]


def test_what_belgian_meters_print_before_they_heard_of_a_gas_meter_is_no_value() -> None:
    readings = decode(FLUVIUS_NO_GAS_YET, AUTO)
    ((at, values),) = plain(readings).items()
    assert at == ms("2020-03-05T21:29:45+00:00")
    assert {key for key in values if key.startswith("gas")} == {"gas_1__device_type", "gas_1__valve_state"}


# -- lines -------------------------------------------------------------------------------------------------------------


def of_lines(*lines: str) -> dict[str, Any]:
    """What a telegram without CRC and clock says in these lines, all times taken together."""
    readings = decode("/XXX5TEST\r\n\r\n" + "\r\n".join(lines) + "\r\n!\r\n", AUTO)
    return {key: said.value for one in readings for key, said in one.values.items() if key != "identification"}


@pytest.mark.parametrize(
    ("line", "values"),
    [
        ("1-0:96.99.1(00012*XY)", {"1-0:96.99.1": 12}),
        ("1-0:96.99.1(00012)", {"1-0:96.99.1": "00012"}),
        ("1-0:81.7.4(00012)", {"1-0:81.7.4": 12}),
        ("1-0:81.7.4(-00.120*kvar)", {"1-0:81.7.4": -0.12}),
        ("0-0:97.97.0(1A2B)", {"0-0:97.97.0": "1A2B"}),
        ("0-0:97.97.1(170102192002W)", {"0-0:97.97.1": "2017-01-02T18:20:02Z"}),
        ("0-0:97.97.2(a)(1.5*A)()", {"0-0:97.97.2_1": "a", "0-0:97.97.2_2": 1.5}),
        ("0-0:97.97.3()", {}),
        ("1-0:1.8.0*126(00001.5*kWh)", {"1-0:1.8.0*126": 1.5}),
        ("1-0:1.8.0*255(00001.5*kWh)", {"energy_import_kwh": 1.5}),
        ("F.F(00000000)", {"F.F": "00000000"}),
        ("0-1:99.1.0(12*V)", {"0-1:99.1.0": 12}),
        ("nothing that is a line", {}),
        ("1-0:1.7.0(broken*kW)", {}),
        ("1-0:1.7.0(*kW)", {}),
        ("1-0:1.7.0(nan*kW)", {}),
        ("1-0:1.7.0(1e5*kW)", {}),
        ("0-0:96.14.0(peak)", {"tariff": "peak"}),
    ],
)
def test_any_line_is_decoded_and_nothing_is_invented(line: str, values: dict[str, Any]) -> None:
    assert of_lines(line) == values


def test_of_two_equal_lines_the_first_counts() -> None:
    assert of_lines("1-0:1.7.0(01.000*kW)", "1-0:1.7.0(02.000*kW)") == {"power_import_kw": 1.0}


@pytest.mark.parametrize(
    ("printed", "value"),
    [
        ("000004.426", 4.426),
        ("00.000", 0.0),
        ("016", 16),
        ("999999.999", 999999.999),
        ("0000000000000000000000016", 16),
        ("-000", 0),
        ("999999999999999", 999999999999999),
        ("123456789012345678901234567890", "123456789012345678901234567890"),
        ("1" * 5000, "1" * 5000),  # Python refuses to make a number of so many digits
        ("0.123456789012345678", "0.123456789012345678"),
        ("00032549.5061662", 32549.5061662),
        ("-1.5", -1.5),
    ],
)
def test_numbers_are_exact(printed: str, value: Any) -> None:
    found = of_lines(f"1-0:1.8.0({printed}*kWh)")["energy_import_kwh"]
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("printed", "text"),
    [
        ("4B384547303034303436333935353037", "K8EG004046395507"),
        ("00000000000000", "00000000000000"),
        ("09610", "09610"),
        ("ADC3100000158491", "ADC3100000158491"),
        ("1SAG31", "1SAG31"),
    ],
)
def test_identifiers_are_readable_where_they_are_text(printed: str, text: str) -> None:
    assert of_lines(f"0-0:96.1.1({printed})") == {"equipment_id": text}


def test_belgian_meters_from_2023_say_more() -> None:
    """Lines of e-MUCS 50221, in which the EAN codes are empty or zeros where the operator did not fill them in."""
    said = of_lines(
        "0-0:96.1.4(50221)",
        "1-0:94.32.1(400)",
        "0-0:96.1.2(353431343430303132333435363738393030)",
        "0-3:96.3.10(0)",
        "0-1:24.1.0(003)",
        "0-1:96.1.2(000000000000000000)",
        "0-2:96.1.2()",
    )
    assert said == {
        "p1_version": "50221",
        "firmware_version": "400",
        "ean": "541440012345678900",
        "mbus_3__breaker_state": 0,
        "gas_1__device_type": 3,
        "gas_1__ean": "000000000000000000",
    }


def test_a_message_is_text() -> None:
    digits = b"Geplante Abschaltung\r\nam 3. Mai".hex().upper()
    assert of_lines(f"0-0:96.13.0({digits})") == {"message": "Geplante Abschaltung\r\nam 3. Mai"}
    assert of_lines("0-0:96.13.0()") == {}


@pytest.mark.parametrize(
    ("kind", "unit", "key"),
    [
        ("003", "m3", "gas_4__volume_m3"),
        ("03", "dm3", "gas_4__volume_dm3"),
        ("7", "m3", "water_4__volume_m3"),
        ("004", "GJ", "heat_4__energy_gj"),
        ("012", "MJ", "heat_4__energy_mj"),
        ("013", "GJ", "thermal_4__energy_gj"),
        ("010", "GJ", "cooling_4__energy_gj"),
        ("006", "m3", "warm_water_4__volume_m3"),
        ("002", "kWh", "electricity_4__energy_kwh"),
        ("099", "m3", "mbus_4__volume_m3"),
        ("", "m3", "mbus_4__volume_m3"),
        ("003", "", "gas_4__reading"),
    ],
)
def test_mbus_devices_are_known_by_kind_and_channel_in_both_notations(kind: str, unit: str, key: str) -> None:
    star = f"*{unit}" if unit else ""
    new = of_lines(f"0-4:24.1.0({kind})", f"0-4:24.2.1(170102161005W)(00000.107{star})")
    old = of_lines(f"0-4:24.3.0(170102161005)(00)(60)(1)(0-4:24.2.1)({unit})", "(00000.107)", f"0-4:24.1.0({kind})")
    assert new[key] == old[key] == 0.107


def test_two_readings_of_one_device_do_not_hide_each_other() -> None:
    said = of_lines(
        "0-1:24.1.0(003)", "0-1:24.2.1(170102161005W)(00001.000*m3)", "0-1:24.2.3(170102161005W)(00001.010*m3)"
    )
    assert (said["gas_1__volume_m3"], said["0-1:24.2.3"]) == (1.0, 1.01)
    twice = of_lines("0-1:24.1.0(003)", "0-1:24.2.1(170102161005W)(00001.000*m3)", "0-1:24.2.1(170102161005W)(2*m3)")
    assert twice == {"gas_1__device_type": 3, "gas_1__volume_m3": 1.0}


@pytest.mark.parametrize("log", ["()", "(0)(0-0:96.7.19)", "(0)()", "(1)()()()"])
def test_a_log_without_power_failures(log: str) -> None:
    assert of_lines(f"1-0:99.97.0{log}") == {"power_failures_logged": 0}


def test_a_log_of_power_failures_tells_the_last_one() -> None:
    said = of_lines("1-0:99.97.0(2)(0-0:96.7.19)(101208151004W)(0000000301*s)(101208152415W)(0000000240*s)")
    assert said == {
        "power_failures_logged": 2,
        "power_failure_last_end": "2010-12-08T14:24:15Z",
        "power_failure_last_s": 240,
        "power_failure_log": "2010-12-08T14:24:15Z 240 s; 2010-12-08T14:10:04Z 301 s",
    }


@pytest.mark.parametrize(
    "peaks",
    [
        "(0)(1-0:1.6.0)(1-0:1.6.0)",
        "(0)(1-0:1.6.0)(1-0:1.6.0)()()()",
        "()",
        "(1)(1-0:1.6.0)(1-0:1.6.0)(230202000000W)(632525252525W)",
    ],
)
def test_a_belgian_meter_without_past_months(peaks: str) -> None:
    assert of_lines("0-0:96.1.4(50217)", f"0-0:98.1.0{peaks}") == {"p1_version": "50217"}


def test_a_peak_at_an_unknown_moment() -> None:
    said = of_lines("0-0:96.1.4(50217)", "0-0:98.1.0(1)(1-0:1.6.0)(1-0:1.6.0)(230201000000W)(632525252525W)(00.000*kW)")
    assert said == {
        "p1_version": "50217",
        "demand_import_peak_last_month_kw": 0.0,
        "demand_import_peak_months": "month to 2023-01-31T23:00:00Z: 0.0 kW at unknown",
    }


def test_a_hungarian_months_end_has_its_own_time() -> None:
    readings = decode(
        "/XXX5HU\r\n\r\n0-0:42.0.0(53414733)\r\n0-0:98.1.0(230701000000S)(000040.777*kWh)(03.564*kW)\r\n!\r\n", AUTO
    )
    assert plain(readings)[ms("2023-06-30T22:00:00+00:00")] == {"month_end_1_kwh": 40.777, "month_end_2_kw": 3.564}


CODES = sorted({code for profile in PROFILES.values() for code in profile.rows} | {f"0-1:{code}" for code in MBUS_ROWS})
FIELDS = (
    st.sampled_from(
        ["", "00001.000*kWh", "003", "170102161005W", "261025020000", "632525252525W", "0-0:96.7.19", "(", "*"]
    )
    | st.text("0123456789.*-+kWhm3SW():/!eE", max_size=20)
    | st.text(max_size=10)
)


@given(
    st.lists(
        st.tuples(
            st.sampled_from([*CODES, "0-1:24.2.1", "0-2:24.2.3", "0-1:24.3.0"]) | st.text(max_size=12), st.lists(FIELDS)
        )
    ),
    st.sampled_from(sorted(PROFILES)),
)
def test_no_line_can_do_harm(lines: list[tuple[str, list[str]]], profile: str) -> None:
    """Parsing, learning and announcing, as the connector does it with every telegram that it believes."""
    body = "\r\n".join(code + "".join(f"({field})" for field in fields) for code, fields in lines)
    raw: dict[str, Any] = {"telegram": f"/XXX5\r\n\r\n{body}\r\n!\r\n", "received": 1_795_000_000_000}
    options = Options(profile)
    times, announcements, rates = OwnTimes(), Announcements(0), Rates()
    for turn in range(2):
        try:
            parsed = codec.parse(raw["telegram"], profile)
        except DecodeError:
            return
        raw["times"] = times.learn(parsed, codec.moment(parsed, raw["received"], options), raw["received"])
        announced = {datapoint.key for datapoint in announcements.news(parsed, rates)}
        readings = decode(raw, options)
        for one in readings:
            flat = flatten(one)
            assert flat.faults == []
            dumps({"values": flat.values, "timestamp": one.timestamp_ms})
        if turn == 0:
            assert {key for one in readings for key in one.values} <= announced | {"identification", "meter_clock"}


# -- what is not a telegram -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "fault"),
    [
        (None, "a raw message is an object"),
        (5, "a raw message is an object"),
        ({}, "neither a telegram nor a frame"),
        ({"telegram": 5}, "neither a telegram nor a frame"),
        ({"telegram": ""}, "not a telegram"),
        ({"telegram": "/XXX5\r\n\r\n1-0:1.7.0(1*kW)\r\n"}, "not a telegram, which begins with / and ends with !"),
        ({"telegram": "/XXX5\r\n!1234\r\n"}, "the telegram says that its CRC is 1234, but it is"),
        ({"telegram": "/XXX€\r\n!1234\r\n"}, "no byte stands for"),
        ({"telegram": "/X\r\n!\r\n", "received": "now"}, "received: expected milliseconds"),
        ({"telegram": "/X\r\n!\r\n", "times": {"a": "b"}}, "times: expected an object of milliseconds"),
        ({"damaged": "/X", "reason": "its CRC is wrong"}, "damaged telegram: its CRC is wrong"),
        ({"frame": "db08"}, "the telegram is encrypted, and DSMR_ENCRYPTION_KEY is not set"),
        ({"frame": "hello"}, "DSMR_ENCRYPTION_KEY is not set"),
    ],
)
def test_nonsense_is_a_decode_error(raw: Any, fault: str) -> None:
    with pytest.raises(DecodeError, match=fault):
        decode(raw, AUTO)


def test_line_ends_that_a_text_editor_changed_do_not_matter() -> None:
    text = telegram("V5")
    assert plain(decode(text.replace("\r\n", "\n"), AUTO)) == plain(decode(text, AUTO))


# -- recorded text, for `wattbus decode` -------------------------------------------------------------------------------


def test_telegrams_are_taken_out_of_recorded_text() -> None:
    texts = [telegram("V5"), telegram("V3"), SWEDISH_ELLEVIO]
    recorded = (
        "noise\r\n" + texts[0] + "\r\n  more noise\n" + "p" + texts[1] + "\r\n" + texts[2] + "\r\n/XXX5 cut\r\n1-0:"
    )
    raws = list(codec.raw_messages(recorded.splitlines(keepends=True)))
    assert [raw["telegram"] for raw in raws[:3]] == texts
    assert len(raws) == 4
    with pytest.raises(DecodeError, match="not a telegram"):
        decode(raws[3], AUTO)


def test_a_half_telegram_in_recorded_text_does_not_swallow_the_next_one() -> None:
    whole = telegram("V4_2")
    raws = list(codec.raw_messages((whole[:300] + "\n" + whole).splitlines()))
    assert [raw["telegram"] for raw in raws[1:]] == [whole]


def test_recorded_text_without_an_end_is_not_collected_for_ever() -> None:
    """A log of a million lines, one of which looks like a beginning."""
    whole = telegram("V5")
    lines = ["/XXX5 no telegram", *("no end",) * (5 * codec.MOST_LINES), *whole.splitlines()]
    raws = list(codec.raw_messages(lines))
    assert len(raws) == 2
    assert raws[0]["telegram"].count("\n") == codec.MOST_LINES
    assert raws[1]["telegram"] == whole


def test_an_encrypted_telegram_may_be_written_in_digits() -> None:
    digits = json.loads(reference("encrypted_general_global_cipher.json").read_text())["frame_hex"]
    assert list(codec.raw_messages(["\n", digits + "\n"])) == [{"frame": digits}]
