"""The CRC of EN 13757: polynomial 0x3D65, not reflected, start 0, complemented at the end."""

from __future__ import annotations

POLYNOMIAL = 0x3D65


def _row(byte: int) -> int:
    crc = byte << 8
    for _ in range(8):
        crc = (crc << 1) ^ POLYNOMIAL if crc & 0x8000 else crc << 1
    return crc & 0xFFFF


_TABLE = tuple(_row(byte) for byte in range(256))


def crc16(data: bytes) -> int:
    """CRC-16/EN-13757 (EN 13757-4 section 12.3.2).

    It closes link layer blocks (high byte first), and names record formats and checks decrypted content (low byte
    first). Check value: `crc16(b"123456789") == 0xC2B7`.
    """
    crc = 0
    table = _TABLE
    for byte in data:
        crc = (crc << 8) & 0xFF00 ^ table[crc >> 8 ^ byte]
    return crc ^ 0xFFFF
