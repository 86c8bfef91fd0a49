"""Telegrams as other programs print them. Where nothing else is said, a line is one that somebody published."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.im871a import telegram
from connectors.im871a.receivers.heard import HeardTelegram
from connectors.im871a.receivers.text import telegrams_in
from wattbus.errors import DecodeError

IPERL = "1844ae4c4455223368077a55000000041389e20100023b0000"
IPERL_FRAME = bytes.fromhex(IPERL)


def only(line: str) -> HeardTelegram:
    [one] = telegrams_in(line)
    return one


@pytest.mark.parametrize(
    "line",
    [
        # wmbusmeters tests/test_rtlwmbus.sh and its neighbours
        "T1;1;1;2019-04-03 19:00:42.000;97;148;33225544;0x1844AE4C4455223368077A55000000041389E20100023B0000",
        "telegram=|1844AE4C4455223368077A55000000041389E20100023B0000|+12",
        "(wmbus) telegram=|1844AE4C4455223368|077A55000000041389E20100023B0000|",
        "telegram=1844AE4C4455223368077A_55000000041389E20100023B0000",
        IPERL,
        IPERL.upper(),
        f"  0x{IPERL}\r\n",
        # as gateways with ESPHome or Tasmota publish it
        f'{{"telegram": "{IPERL}"}}',
        f'{{"data": "0x{IPERL}", "rssi": 97}}',
        f'{{"wmbus": {{"frame": "{IPERL}"}}}}',
        f'{{"telegram": "T1;1;1;;97;;;0x{IPERL}"}}',
        telegram.with_crcs_format_a(IPERL_FRAME).hex(),
    ],
)
def test_the_same_telegram_in_every_form(line: str) -> None:
    assert only(line) == HeardTelegram(IPERL_FRAME)


@pytest.mark.parametrize(
    "line",
    [
        f"C1;1;1;2022-01-01 00:00:00.000;-60;;;0x{IPERL}",
        f'{{"telegram": "{IPERL}", "rssi_dbm": -60}}',
        f'{{"data": "{IPERL}", "rssi": -60.0}}',
        f"b{telegram.with_crcs_format_a(IPERL_FRAME).hex().upper()}::-60",
        f"b{telegram.with_crcs_format_a(IPERL_FRAME).hex().upper()}801C",
    ],
)
def test_strength_where_it_is_in_dbm(line: str) -> None:
    assert only(line) == HeardTelegram(IPERL_FRAME, -60.0)


def test_rtl_wmbus_of_a_heat_cost_allocator_and_of_an_encrypted_one() -> None:
    qundis = only(
        "C1;1;1;2019-02-09 07:14:18.000;117;102;94740459;0x49449344590474943508780dff5f3500827f0000f10007b06effff5301"
        "00005f2c620100007f2118010000008000800080008000000000000000000e003f005500d4ff2f046d10086922"
    )
    assert telegram.read_header(qundis.telegram).id == "94740459"
    kamstrup = only(
        "C1;1;1;2020-01-23 10:25:13.000;97;148;76348799;0x2A442D2C998734761B168D2091D37CAC21E1D68CDAFFCD3DC452BD802913"
        "FF7B1706CA9E355D6C2701CC24"
    )
    assert telegram.read_header(kamstrup.telegram).needs_key


def test_an_l_that_still_counts_the_link_crc_of_format_b() -> None:
    counted = bytes([IPERL_FRAME[0] + 2]) + IPERL_FRAME[1:]
    assert only(f"C1;1;1;2020-01-23 10:25:13.000;97;148;33225544;0x{counted.hex()}").telegram == IPERL_FRAME
    with pytest.raises(DecodeError):
        telegrams_in(f"T1;1;1;2020-01-23 10:25:13.000;97;148;33225544;0x{counted.hex()}")


@pytest.mark.parametrize(
    ("line", "meter", "rssi_dbm"),
    [
        # wmbusmeters issue 45: a Multical 21 through a nanoCUL, format B
        ("bY25442D2C170935741B168D209622C841224F8B33D377F4560BB4B332CB9469E50AA16CAC529683FA", "74350917", None),
        ("bY2C442D2C170935741B168D209723C84122A806AA39352EAF7B218DF0B2E9134E1731D365BB5DDC370C72951AB48021",
         "74350917", None),
        # wmbusmeters issue 62: Techem meters through FHEM, format A
        ("b294468503756034576F0DF3CA080DE2691270108912702004D01040523CA153A811A6BCC1B6BCC180FCE000FE58013BB84::-86.5",
         "45035637", -86.5),
        ("b294468503256034576F05F3BA000DE2636280108362800004D000005687B006BA1007CB2008DC3009ED4000FE50096BA80::-73.5",
         "45035632", -73.5),
    ],
)  # fmt: skip
def test_lines_of_real_culs(line: str, meter: str, rssi_dbm: float | None) -> None:
    heard = only(line)
    assert telegram.read_header(heard.telegram).id == meter
    assert rssi_dbm is None or heard.rssi_dbm == rssi_dbm


def test_several_telegrams_in_one_line() -> None:
    assert [one.telegram for one in telegrams_in(IPERL + IPERL)] == [IPERL_FRAME] * 2


@pytest.mark.parametrize("line", ["", "   ", "# a comment"])
def test_lines_without_anything(line: str) -> None:
    assert telegrams_in(line) == []


@pytest.mark.parametrize(
    "line",
    [
        "T1;0;0;2021-06-02 09:02:17.000;56;48;FFFFFFFF;0x19ffffffffffffff44ffa2ffffffffffddffff95d734ffffffff",
        "(wmbusmeters) started",
        f"{IPERL}00000000000000",
        IPERL[:-2],
        '{"media":"water","meter":"iperl","total_m3":123.529}',
        '{"telegram": 17}',
        '{"telegram": "xyz"}',
        "{",
        "[1]",
        "b12",
        "bY" + 30 * "0",
        "T1;1;1;;;;;0x",
        "telegram=|",
    ],
)
def test_what_is_no_whole_telegram_is_refused(line: str) -> None:
    with pytest.raises(DecodeError):
        telegrams_in(line)


@given(st.text() | st.binary().map(lambda data: data.hex()) | st.from_regex(r"[bT]Y?[0-9a-f;1]{0,80}"))
@settings(deadline=None)
def test_any_text_gives_telegrams_or_is_refused(text: str) -> None:
    with contextlib.suppress(DecodeError):
        for one in telegrams_in(text):
            assert one.telegram[0] == len(one.telegram) - 1
