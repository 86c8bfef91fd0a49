"""Modbus on the wire: function codes, exception codes, MBAP and RTU frames. Pure.

Sources: Modbus Application Protocol V1.1b3 (function codes section 6, exceptions section 7), Modbus Messaging on TCP/IP
V1.0b (MBAP header section 3.1.3), Modbus over Serial Line V1.02 (CRC section 6.2.2). Addresses are those on the wire,
from 0.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Literal

Framing = Literal["tcp", "rtu"]

FUNCTION_CODES = {
    "read_coils": 1,
    "read_discrete_inputs": 2,
    "read_holding_registers": 3,
    "read_input_registers": 4,
    "write_coil": 5,
    "write_register": 6,
    "write_coils": 15,
    "write_registers": 16,
}
BIT_METHODS = frozenset({"read_coils", "read_discrete_inputs"})

# V1.1b3 section 7. 7 is from the older PI-MBUS-300 and still met.
EXCEPTION_NAMES = {
    1: "illegal function",
    2: "illegal data address",
    3: "illegal data value",
    4: "server device failure",
    5: "acknowledge",
    6: "server device busy",
    7: "negative acknowledge",
    8: "memory parity error",
    10: "gateway path unavailable",
    11: "gateway target device failed to respond",
}

LARGEST_PDU = 253  # V1.1b3 section 4.1
MOST_BITS, MOST_REGISTERS = 2000, 125  # in one read: sections 6.1 to 6.4


class FrameError(ValueError):
    """The bytes are no Modbus frame; the stream cannot be trusted any more."""


@dataclass(frozen=True, slots=True)
class ModbusFrame:
    """One request or answer. `transaction` is 0 on RTU framing, which has none."""

    transaction: int
    unit: int
    pdu: bytes


def encode(framing: Framing, frame: ModbusFrame) -> bytes:
    """The bytes of a frame."""
    if framing == "tcp":
        return struct.pack(">HHHB", frame.transaction, 0, len(frame.pdu) + 1, frame.unit) + frame.pdu
    body = bytes([frame.unit]) + frame.pdu
    return body + crc16(body).to_bytes(2, "little")


def split_tcp(buffer: bytes) -> tuple[list[ModbusFrame], bytes]:
    """The complete frames at the front of `buffer`, and the rest. Raises FrameError without a valid MBAP header."""
    frames: list[ModbusFrame] = []
    while len(buffer) >= 7:
        transaction, protocol, length, unit = struct.unpack_from(">HHHB", buffer)
        if protocol != 0 or not 2 <= length <= LARGEST_PDU + 1:
            raise FrameError(f"no Modbus/TCP header: {buffer[:7].hex(' ')}")
        if len(buffer) < 6 + length:
            break
        frames.append(ModbusFrame(transaction, unit, buffer[7 : 6 + length]))
        buffer = buffer[6 + length :]
    return frames, buffer


def split_rtu_answer(buffer: bytes) -> ModbusFrame | None:
    """The answer in `buffer`, None while it is incomplete. Raises FrameError when it is none."""
    if len(buffer) < 5:
        return None
    function = buffer[1]
    if function & 0x80:
        length = 5
    elif function in (1, 2, 3, 4):
        length = 5 + buffer[2]
    else:
        length = 8
    return _checked(buffer, length)


def split_rtu_request(buffer: bytes) -> ModbusFrame | None:
    """The request in `buffer`, None while it is incomplete. Raises FrameError when it is none."""
    if len(buffer) < 8:
        return None
    length = 9 + buffer[6] if buffer[1] in (15, 16) else 8
    return _checked(buffer, length)


def _checked(buffer: bytes, length: int) -> ModbusFrame | None:
    if len(buffer) < length:
        return None
    body, checksum = buffer[: length - 2], buffer[length - 2 : length]
    if crc16(body) != int.from_bytes(checksum, "little"):
        raise FrameError(f"wrong checksum: {buffer[:length].hex(' ')}")
    return ModbusFrame(0, body[0], body[1:])


def _crc_of_byte(byte: int) -> int:
    for _ in range(8):
        byte = (byte >> 1) ^ 0xA001 if byte & 1 else byte >> 1
    return byte


_CRC_TABLE = tuple(_crc_of_byte(byte) for byte in range(256))


def crc16(data: bytes) -> int:
    """CRC-16/MODBUS; sent low byte first."""
    crc = 0xFFFF
    for byte in data:
        crc = (crc >> 8) ^ _CRC_TABLE[(crc ^ byte) & 0xFF]
    return crc


def pack_bits(bits: list[bool]) -> bytes:
    """Coils as they travel: the first in the least significant bit of the first byte (V1.1b3 section 6.1)."""
    packed = bytearray((len(bits) + 7) // 8)
    for index, bit in enumerate(bits):
        packed[index // 8] |= bit << index % 8
    return bytes(packed)


def unpack_bits(data: bytes, count: int) -> list[bool]:
    """The first `count` coils in `data`."""
    return [bool(data[index // 8] >> index % 8 & 1) for index in range(count)]
