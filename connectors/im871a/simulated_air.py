"""What is in the air around a simulated stick: an electricity meter, or the telegrams of a file."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from Crypto.Cipher import AES

from connectors.im871a import codec
from connectors.im871a.telegram.crc import crc16
from wattbus.errors import ConfigError, DecodeError

EXAMPLE_METER, EXAMPLE_KEY = "20000001", bytes(range(16))
LONGEST_WAIT_S = 86_400.0


class ExampleMeter:
    """A Kamstrup-like electricity meter in mode C1: one full telegram, then seven compact ones (EN 13757-3 annex G)."""

    _FORMAT = bytes.fromhex("0404 04843C 042B 04AB3C")

    def __init__(self, meter: str = EXAMPLE_METER, key: bytes = EXAMPLE_KEY, energy_10wh: int = 123_456) -> None:
        self._address = bytes.fromhex("2d2c") + bytes.fromhex(meter)[::-1] + bytes.fromhex("3002")
        self._key = key
        self._energy_10wh = energy_10wh
        self._number = 0

    def telegram(self) -> bytes:
        """The next one; energy counts on."""
        self._energy_10wh += 1
        values = [self._energy_10wh, 0, 2000 + 10 * (self._number % 50), 0]
        full = b"".join(
            head + struct.pack("<I", value)
            for head, value in zip((b"\x04\x04", b"\x04\x84\x3c", b"\x04\x2b", b"\x04\xab\x3c"), values, strict=True)
        )
        if self._number % 8 == 0:
            content = b"\x78" + full
        else:
            checks = struct.pack("<HH", crc16(self._FORMAT), crc16(full))
            content = b"\x79" + checks + struct.pack("<4I", *values)
        content = struct.pack("<H", crc16(content)) + content
        control, session = b"\x20", struct.pack("<I", 0x20000000 | (self._number << 4) & 0x1FFFFFF0)
        counter = self._address + control + session + bytes(3)
        encrypted = AES.new(self._key, AES.MODE_CTR, nonce=b"", initial_value=counter).encrypt(content)
        body = b"\x44" + self._address + b"\x8d" + control + bytes([self._number & 0xFF]) + session + encrypted
        self._number += 1
        return bytes([len(body)]) + body


@dataclass(frozen=True, slots=True)
class Played:
    """A telegram and how long it is waited before it (s)."""

    after_s: float
    telegram: bytes


def read_file(path: Path, interval_s: float) -> list[Played]:
    """The telegrams in a file, one per line as for `wattbus decode`; `12.5 2c44…` waits 12.5 s before it.

    Raises ConfigError.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"IM871A_SIMULATE_FILE: cannot read {path}: {error}") from None
    played = []
    for number, line in enumerate(lines, 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        after_s, hexadecimal = (words[0], words[1]) if len(words) == 2 else (interval_s, "".join(words))
        try:
            played.append(Played(_seconds(after_s), codec.telegram_of(hexadecimal)))
        except (ValueError, DecodeError) as error:
            raise ConfigError(f"IM871A_SIMULATE_FILE: {path}, line {number}: {error}") from None
    if not played:
        raise ConfigError(f"IM871A_SIMULATE_FILE: there is no telegram in {path}")
    return played


def _seconds(text: str | float) -> float:
    seconds = float(text)
    if not 0 <= seconds <= LONGEST_WAIT_S:
        raise ValueError(f"expected 0 to {LONGEST_WAIT_S:g} s before the telegram")
    return seconds


async def meter_telegrams(interval_s: float) -> AsyncIterator[bytes]:
    """What the example meter sends, for ever."""
    meter = ExampleMeter()
    while True:
        await asyncio.sleep(interval_s)
        yield meter.telegram()


async def file_telegrams(played: list[Played]) -> AsyncIterator[bytes]:
    """What a file holds, over and over."""
    while True:
        for entry in played:
            await asyncio.sleep(entry.after_s)
            yield entry.telegram
