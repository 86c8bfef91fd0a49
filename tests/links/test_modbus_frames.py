"""Frames against the examples in the standards."""

from __future__ import annotations

import pytest

from links.modbus_frames import (
    FrameError,
    ModbusFrame,
    crc16,
    encode,
    pack_bits,
    split_rtu_answer,
    split_rtu_request,
    split_tcp,
    unpack_bits,
)


def spaced(text: str) -> bytes:
    return bytes.fromhex(text)


def test_crc_of_the_catalogue() -> None:
    """CRC-16/MODBUS has the check value 0x4B37 for "123456789" (reveng.sourceforge.io/crc-catalogue)."""
    assert crc16(b"123456789") == 0x4B37


def test_read_request_of_the_tcp_guide() -> None:
    """Modbus Messaging on TCP/IP V1.0b section 4.4.2.3: read one holding register, number 5, of unit 255."""
    adu = spaced("15 01  00 00  00 06  FF  03  00 04  00 01")
    frame = ModbusFrame(0x1501, 0xFF, spaced("03 00 04 00 01"))
    assert encode("tcp", frame) == adu
    assert split_tcp(adu) == ([frame], b"")


def test_rtu_frames_end_with_the_low_byte_of_the_checksum() -> None:
    """Modbus over Serial Line V1.02 section 6.2.2: 02 07 has the checksum 0x1241, sent 41 12."""
    assert encode("rtu", ModbusFrame(0, 2, b"\x07")) == spaced("02 07 41 12")


def test_frames_are_found_however_tcp_cut_them() -> None:
    adu = encode("tcp", ModbusFrame(1, 1, b"\x03\x02\x00\x05")) + encode("tcp", ModbusFrame(2, 1, b"\x83\x02"))
    for cut in range(len(adu)):
        first, rest = split_tcp(adu[:cut])
        second, rest = split_tcp(rest + adu[cut:])
        assert [frame.transaction for frame in first + second] == [1, 2]
        assert rest == b""


@pytest.mark.parametrize("adu", ["48 54 54 50 2F 31 2E 31", "00 01 00 00 00 00 01 03", "00 01 00 00 FF FF 01 03"])
def test_what_is_no_modbus_header_is_refused(adu: str) -> None:
    with pytest.raises(FrameError, match="no Modbus/TCP header"):
        split_tcp(spaced(adu))


@pytest.mark.parametrize("pdu", ["03 04 00 01 00 02", "01 01 05", "83 02", "06 00 01 00 03", "10 00 01 00 02"])
def test_rtu_answers_are_complete_with_their_last_byte(pdu: str) -> None:
    frame = ModbusFrame(0, 17, spaced(pdu))
    adu = encode("rtu", frame)
    assert [split_rtu_answer(adu[:length]) for length in range(len(adu))] == [None] * len(adu)
    assert split_rtu_answer(adu) == frame


@pytest.mark.parametrize(
    "pdu", ["03 00 6B 00 03", "06 00 01 00 03", "10 00 01 00 02 04 00 0A 01 02", "0F 00 13 00 0A 02 CD 01"]
)
def test_rtu_requests_are_complete_with_their_last_byte(pdu: str) -> None:
    """The PDUs are examples of the Modbus Application Protocol V1.1b3, sections 6.3, 6.6, 6.12 and 6.11."""
    frame = ModbusFrame(0, 17, spaced(pdu))
    adu = encode("rtu", frame)
    assert [split_rtu_request(adu[:length]) for length in range(len(adu))] == [None] * len(adu)
    assert split_rtu_request(adu) == frame


def test_a_wrong_checksum_is_refused() -> None:
    with pytest.raises(FrameError, match="checksum"):
        split_rtu_answer(spaced("01 83 02 00 00"))


def test_coils_travel_low_bit_first() -> None:
    """V1.1b3 section 6.1: coils 20 to 38 are CD 6B 05."""
    bits = unpack_bits(spaced("CD 6B 05"), 19)
    assert bits[:8] == [True, False, True, True, False, False, True, True]
    assert bits[16:] == [True, False, True]
    assert pack_bits(bits) == spaced("CD 6B 05")
