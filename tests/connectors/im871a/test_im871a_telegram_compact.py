"""Compact frames: learnt formats travel with the raw message, and are checked."""

from __future__ import annotations

from typing import Any

import pytest

from connectors.im871a import telegram
from connectors.im871a.telegram import Damaged, FormatUnknown, SeenFormat
from connectors.im871a.telegram.crc import crc16
from wattbus.errors import DecodeError

# EN 13757-3:2018 annex G.5: energy 123.4 Wh, volume 567.8 m³, power 901.2 W; as full, format and compact frame.
FULL = "78 02 02 d204 02 15 2e16 02 2a 3423"
FORMAT = "69 08 313b 0202 0215 022a"
COMPACT = "79 313b 42a6 d204 2e16 3423"
FULL_SHORT = "7a 01000000 02 02 d204 02 15 2e16 02 2a 3423"
FORMAT_SHORT = "6a 01000000 08 313b 0202 0215 022a"
COMPACT_SHORT = "7b 01000000 313b 42a6 d204 2e16 3423"
RECORD_FORMAT = bytes.fromhex("02020215022a")
VALUES = {"energy_kwh": 0.1234, "volume_m3": 567.8, "power_w": 901.2}


def frame(transport: str) -> bytes:
    data = bytes.fromhex("44 5a24 78563412 01 02" + transport)
    return bytes([len(data)]) + data


def values(decoded: telegram.Telegram) -> dict[str, Any]:
    return {name: quantity.value for name, quantity in decoded.fields.items() if name != "status"}


@pytest.mark.parametrize(("full", "compact"), [(FULL, COMPACT), (FULL_SHORT, COMPACT_SHORT)])
def test_what_a_full_frame_shows_opens_the_compact_one(full: str, compact: str) -> None:
    assert values(telegram.decode(frame(full))) == VALUES
    seen = telegram.decrypt_frame(frame(full)).seen_format()
    assert seen == SeenFormat(0x3B31, RECORD_FORMAT)
    assert telegram.decrypt_frame(frame(compact)).seen_format() == SeenFormat(0x3B31, None)
    assert values(telegram.decode(frame(compact), format_learnt=seen.record_format)) == VALUES


@pytest.mark.parametrize("transport", [FORMAT, FORMAT_SHORT])
def test_a_format_frame_shows_it_too_and_has_no_values(transport: str) -> None:
    assert telegram.decrypt_frame(frame(transport)).seen_format() == SeenFormat(0x3B31, RECORD_FORMAT)
    assert values(telegram.decode(frame(transport))) == {}


def test_a_format_frame_must_fit_to_its_signature_and_length() -> None:
    for transport in ("69 08 313b 0202 0215 022b", "69 07 313b 0202 0215 022a", "69", "69 08"):
        with pytest.raises(Damaged):
            telegram.decrypt_frame(frame(transport)).seen_format()


def test_an_unknown_format_is_said_so() -> None:
    with pytest.raises(FormatUnknown, match="3b31") as caught:
        telegram.decode(frame(COMPACT))
    assert caught.value.signature == 0x3B31


def test_another_format_is_refused() -> None:
    with pytest.raises(DecodeError, match="signature"):
        telegram.decode(frame(COMPACT), format_learnt=bytes.fromhex("0404"))


@pytest.mark.parametrize(
    "compact",
    [
        "79 313b 42a6 d204 2e16 3424",  # another value
        "79 313b 42a7 d204 2e16 3423",  # another CRC
        "79 313b 42a6 d204 2e16 34",  # too short
        "79 313b 42",
    ],
)
def test_values_that_do_not_fit_to_the_crc_are_damaged(compact: str) -> None:
    with pytest.raises(Damaged):
        telegram.decode(frame(compact), format_learnt=RECORD_FORMAT)


def test_what_is_left_behind_the_values_costs_nothing_of_them() -> None:
    decoded = telegram.decode(frame("79 313b 42a6 d204 2e16 3423 00de"), format_learnt=RECORD_FORMAT)
    assert values(decoded) == {**VALUES, "unreadable": "00de"}


@pytest.mark.parametrize(
    ("fillers", "transport"), [("2f2f", COMPACT_SHORT), ("2f2f2f2f", COMPACT_SHORT), ("2f2f", FORMAT_SHORT)]
)
def test_fillers_stand_before_a_signature_also_where_somebody_has_decrypted_it(fillers: str, transport: str) -> None:
    header, content = transport[:11], transport[11:]
    seen = telegram.decrypt_frame(frame(f"{header} {fillers} {content}")).seen_format()
    assert seen is not None
    assert seen.signature == 0x3B31


def test_an_omnipower_through_a_gateway_that_leaves_the_fillers() -> None:
    data = bytes.fromhex("24442d2c5768663230027b010000002f2f138cccfb1a030000000000000300000000000000")
    fields = telegram.decode(data, accept_plain=True).fields
    assert [fields[name].value for name in ("energy_kwh", "energy_backward_kwh", "power_w", "power_backward_w")] == [
        7.94, 0, 3, 0,
    ]  # fmt: skip


def test_published_compact_frames_of_a_multical_21() -> None:
    """Two that an open reader of this meter quotes beside their full frames (esp-multical21)."""
    kamstrup_water = "44 2d2c 99873476 1b 16"
    for compact, volume in (
        ("79 f7d2 b130 7100 bd7d0e00 bd7d0e00 7f 14", 949.693),
        ("79 34dd 3e7d 7100 229c0c00 229c0c00", 826.402),
    ):
        data = bytes.fromhex(kamstrup_water + compact)
        decoded = telegram.decode(bytes([len(data)]) + data)
        assert decoded.fields["volume_m3"].value == volume
        assert decoded.fields["status"].value == "dry"


def test_a_published_compact_frame_was_altered_in_its_flow() -> None:
    """wmbusmeters' second telegram of meter 23813076: its CRC is that of a flow of 0, its flow is 35 l/h."""
    before, flow, after = "3244372c763081233c168d2057d2ed11205a81", "2300", "1f0f000013"
    compact = "79 0509 5480 00080000 00000000 0000 08900008f0ff c12b 0a1b"
    with pytest.raises(Damaged):
        telegram.decode(bytes.fromhex(before + compact + flow + after), accept_plain=True)
    as_sent = bytearray.fromhex(before + compact + "0000" + after)
    as_sent[17:19] = crc16(bytes(as_sent[19:])).to_bytes(2, "little")  # the payload CRC was altered with the flow
    decoded = telegram.decode(bytes(as_sent), accept_plain=True)
    assert decoded.fields["volume_m3"].value == 3.871
    assert decoded.fields["volume_flow_m3_h"].value == 0


def test_a_meter_that_reports_reactive_energy_in_compact_frames() -> None:
    """exmbus's example of a Kamstrup meter, encrypted, with the format of its full frames."""
    compact = bytes.fromhex("28442d2c7856341233028d207760772920cb5e3d5ef7baec24e0cdf4a4265428763b5766bc366fded8")
    key = bytes.fromhex("0102030405060708090a0b0c0d0e0f10")
    record_format = bytes.fromhex("040504fb827504853c04fb82f53c01fd17")
    seen = telegram.decrypt_frame(compact, key).seen_format()
    assert seen is not None
    assert seen.record_format is None
    decoded = telegram.decode(compact, key, record_format)
    assert list(decoded.fields) == [
        "energy_kwh", "reactive_energy_kvarh", "energy_backward_kwh", "reactive_energy_backward_kvarh", "error_flags",
        "status",
    ]  # fmt: skip


def test_ordinary_telegrams_show_their_format_too_and_others_none() -> None:
    shown = telegram.decrypt_frame(frame("7a 01000000 0406 d2040000")).seen_format()
    assert shown is not None
    assert shown.record_format == bytes.fromhex("0406")
    assert telegram.decrypt_frame(frame("a0 0102")).seen_format() is None
