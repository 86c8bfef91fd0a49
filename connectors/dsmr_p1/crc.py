"""CRC-16/ARC, which ends a telegram from DSMR 4 on [DSMR P1 companion standard 5.0.2]. Pure.

Polynomial x^16 + x^15 + x^2 + 1 reflected (0xA001), start value 0, no final XOR, over everything from `/` to `!`, both
included. The register is as wide as two bytes, so one look-up takes two bytes at a time.
"""

from __future__ import annotations

import struct
from functools import cache

_POLYNOMIAL = 0xA001


def crc16(data: bytes | bytearray) -> int:
    """The CRC of `data`, 0 to 65535."""
    table = _table()
    crc = 0
    for word in struct.unpack_from(f"<{len(data) // 2}H", data):
        crc = table[crc ^ word]
    if len(data) % 2:
        crc = _one_byte(crc, data[-1])
    return crc


def _one_byte(crc: int, byte: int) -> int:
    crc ^= byte
    for _ in range(8):
        crc = crc >> 1 ^ _POLYNOMIAL if crc & 1 else crc >> 1
    return crc


@cache
def _table() -> list[int]:
    """What two bytes make of the register, for each of the 65,536 pairs; built when it is first needed (10 ms)."""
    first = [_one_byte(0, byte) for byte in range(256)]
    # The low byte goes through the register first; the high one meets what is left of it.
    return [first[first[low] & 0xFF ^ high] ^ first[low] >> 8 for high in range(256) for low in range(256)]
