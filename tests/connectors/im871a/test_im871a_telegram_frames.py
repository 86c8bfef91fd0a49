"""Frames: link layer CRCs of both formats, wired frames, spellings."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.im871a import telegram
from connectors.im871a.telegram import Damaged
from connectors.im871a.telegram.crc import crc16
from tests.connectors.im871a.telegram_data import reference
from wattbus.errors import DecodeError

# EN 13757-4, the C1 example of format B; OMS volume 2 annex N.2.1 in format A.
FORMAT_B = bytes.fromhex("1444ae0c7856341201078c2027780b134365877ac5")
FORMAT_A = bytes.fromhex(
    "2e449315785634123303 3363 7a2a0020255923c95aaa26d1b2e7493b c2ad"
    "013ec4a6f6d3529b520edff0ea6defc9 55b2 9d6d69ebf3 ec8a"
)


def vectors() -> list[dict[str, Any]]:
    vectors: list[dict[str, Any]] = json.loads(reference("wmbus-oms/vectors.json").read_text())
    return vectors


def test_the_crc_has_its_published_check_value() -> None:
    assert crc16(b"123456789") == 0xC2B7


def test_format_a_of_the_vectors() -> None:
    framed = [vector for vector in vectors() if "frame_a_with_crc" in vector]
    assert framed
    for vector in framed:
        with_crcs, without = bytes.fromhex(vector["frame_a_with_crc"]), bytes.fromhex(vector["stripped"])
        assert telegram.strip_format_a(with_crcs) == without
        assert telegram.strip_crcs(with_crcs) == without


def test_format_b_of_the_vectors() -> None:
    """With one CRC and with two. L is corrected, which the published stripped frame leaves as it was."""
    framed = [bytes.fromhex(vector["frame_b_with_crc"]) for vector in vectors() if "frame_b_with_crc" in vector]
    assert [len(frame) for frame in framed] == [21, 135]
    short, long = (telegram.strip_format_b(frame) for frame in framed)
    assert short == b"\x12" + framed[0][1:-2]
    assert long == b"\x82" + framed[1][1:126] + framed[1][128:-2]
    assert [telegram.strip_crcs(frame) for frame in framed] == [short, long]


def test_a_frame_without_crcs_stays_as_it_is() -> None:
    frame = bytes.fromhex("2c44a7320613996707047a821000202f2f0c06000000000c14000000000c22224101000b5a4102000b5e4000f0")
    assert telegram.strip_crcs(frame) == frame


def test_the_last_crc_that_a_receiver_left_is_taken_away() -> None:
    """A published Qundis telegram (wmbusmeters, drivers/src/qwaterv2.xmq): L counts the CRC of the last block."""
    frame = bytes.fromhex(
        "4b449344483635121806780dff5f350082da0000600107c113ffff48200000bf2c91170000df21202000000080010000000600190010001600"
        "18000d001300350017002f046d370cc422c759"
    )
    stripped = telegram.strip_crcs(frame)
    assert stripped == b"\x49" + frame[1:-2]
    assert telegram.decode(stripped).fields["datetime"].value == "2022-02-04T12:55"


@pytest.mark.parametrize("strip", [telegram.strip_format_a, telegram.strip_format_b, telegram.strip_crcs])
def test_nothing_and_too_little_is_damaged(strip: Any) -> None:
    for data in (b"", b"\x09" + bytes(8), FORMAT_A[:20], FORMAT_A + b"\0"):
        with pytest.raises(Damaged):
            strip(data)


@given(st.integers(0, len(FORMAT_A) * 8 - 1))
@settings(deadline=None)
def test_no_flipped_bit_passes_format_a(bit: int) -> None:
    with pytest.raises(Damaged):
        telegram.strip_format_a(_flipped(FORMAT_A, bit))


@given(st.integers(0, len(FORMAT_B) * 8 - 1))
@settings(deadline=None)
def test_no_flipped_bit_passes_format_b(bit: int) -> None:
    with pytest.raises(Damaged):
        telegram.strip_format_b(_flipped(FORMAT_B, bit))


def _flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


@given(st.binary(min_size=10, max_size=254))
@settings(deadline=None)
def test_format_b_round_trip(body: bytes) -> None:
    """Both lengths of format B, with CRCs computed block by block as EN 13757-4 section 12.4 has it."""
    length = len(body) + 2 + (2 if len(body) > 125 else 0)
    if length > 255:
        return
    first, rest = bytes([length]) + body[:125], body[125:]
    frame = first + crc16(first).to_bytes(2, "big") + (rest + crc16(rest).to_bytes(2, "big") if rest else b"")
    assert telegram.strip_format_b(frame) == bytes([len(body)]) + body


@pytest.mark.parametrize(
    "text",
    [
        "2c44a732", "2C44A732", "2c 44 a7 32", "2C_44A7|32", "0x2c 0x44 0xA7 0x32", "2c:44:a7:32", "2c-44-a7-32",
        "2c,44,a7,32", " 2c44\ta732\r\n", "|2C44#A732|",
    ],
)  # fmt: skip
def test_spellings_of_people_and_programs(text: str) -> None:
    assert telegram.parse_hex(text) == bytes.fromhex("2c44a732")


@pytest.mark.parametrize("text", ["2c44a73", "hello", "2c44ä732", "0x2c440"])
def test_what_is_no_hexadecimal_text(text: str) -> None:
    with pytest.raises(DecodeError, match="not hexadecimal"):
        telegram.parse_hex(text)


def test_a_long_nonsense_is_not_repeated_in_full() -> None:
    with pytest.raises(DecodeError) as caught:
        telegram.parse_hex("nonsense " * 1000)
    assert len(str(caught.value)) < 120
