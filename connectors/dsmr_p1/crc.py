"""The CRCs that end a telegram. Pure.

From DSMR 4 on it is CRC-16/ARC [DSMR P1 companion standard 5.0.2]: polynomial x^16 + x^15 + x^2 + 1 reflected (0xA001),
start value 0, no final XOR, over everything from `/` to `!`, both included. Meters of Holley (DTSD545, in Hungary) take
CRC-16/X-25 over the same bytes [ndokter/dsmr_parser, issue 91]: x^16 + x^12 + x^5 + 1 reflected (0x8408), start value
and final XOR 0xFFFF.

A register is as wide as two bytes, so one look-up takes two bytes at a time.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from functools import cache

_ARC, _X25 = 0xA001, 0x8408


def crc16(data: bytes | bytearray) -> int:
    """The CRC-16/ARC of `data`, 0 to 65535."""
    return _through(_ARC, 0, data)


def crc16_x25(data: bytes | bytearray) -> int:
    """The CRC-16/X-25 of `data`, 0 to 65535."""
    return _through(_X25, 0xFFFF, data) ^ 0xFFFF


CRCS: Mapping[str, Callable[[bytes], int]] = {"CRC-16/ARC": crc16, "CRC-16/X-25": crc16_x25}


def right_crc(body: bytes, printed: int) -> str:
    """The name of the CRC by which `printed` is right for `body`, everything from `/` to `!`; "" when it is by none.

    Who passes telegrams on may have made CR LF to LF; the meter's CRC is that of its own line ends.
    """
    bodies = [body] if b"\r" in body else [body, body.replace(b"\n", b"\r\n")]
    return next((name for name, crc in CRCS.items() if any(crc(one) == printed for one in bodies)), "")


def _through(polynomial: int, crc: int, data: bytes | bytearray) -> int:
    table = _table(polynomial)
    for word in struct.unpack_from(f"<{len(data) // 2}H", data):
        crc = table[crc ^ word]
    if len(data) % 2:
        crc = _one_byte(polynomial, crc, data[-1])
    return crc


def _one_byte(polynomial: int, crc: int, byte: int) -> int:
    crc ^= byte
    for _ in range(8):
        crc = crc >> 1 ^ polynomial if crc & 1 else crc >> 1
    return crc


@cache
def _table(polynomial: int) -> list[int]:
    """What two bytes make of the register, for each of the 65,536 pairs; built when it is first needed (10 ms)."""
    first = [_one_byte(polynomial, 0, byte) for byte in range(256)]
    # The low byte goes through the register first; the high one meets what is left of it.
    return [first[first[low] & 0xFF ^ high] ^ first[low] >> 8 for high in range(256) for low in range(256)]
