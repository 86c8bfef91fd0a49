"""A stick that is not there, and an electricity meter in its air: for trying out, and for tests."""

from __future__ import annotations

import asyncio
import random
import struct
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from Crypto.Cipher import AES

from connectors.im871a import codec, hci
from connectors.im871a.hci import HciFrame
from connectors.im871a.settings import FAULTS, Settings
from connectors.im871a.telegram.crc import crc16
from links.serial_stage import stage
from wattbus.errors import ConfigError, DecodeError

EXAMPLE_METER, EXAMPLE_KEY = "20000001", bytes(range(16))


@dataclass
class SimulatedStick:
    """The stick's side of the line: `hears()` bytes of the host, says frames through `say`.

    `faults` may change at any time: `mute` answers nothing, `silence` hears no telegrams, `stubborn` keeps its link
    mode, `noise`, `cut` and `crc` damage what it says (`cut` and `crc` every third telegram).
    """

    say: Callable[[bytes], None]
    firmware: int = 0x14
    faults: set[str] = field(default_factory=set)
    configuration: dict[str, int] = field(default_factory=lambda: {"link_mode": 3, "rssi": 0, "timestamp": 0})
    resets: int = 0
    asked: list[HciFrame] = field(default_factory=list)
    _frames: hci.Frames = field(default_factory=hci.Frames)
    _telegrams: int = 0

    # -- the radio --------------------------------------------------------------------------------------------------

    def receives(self, telegram: bytes, rssi: int = 100) -> None:
        """A telegram (without link CRCs, with its L field) came in over the radio."""
        if "silence" in self.faults:
            return
        heard = rssi if self.configuration["rssi"] else None
        frame = HciFrame(hci.RADIO_LINK, hci.TELEGRAM_RECEIVED, telegram[1:], rssi=heard).encode(crc=True)
        self._telegrams += 1
        if self._telegrams % 3 == 0:
            if "cut" in self.faults:
                frame = frame[: len(frame) // 2]
            if "crc" in self.faults:
                frame = frame[:-1] + bytes([frame[-1] ^ 0x5A])
        if "noise" in self.faults:
            self.say(random.randbytes(random.randrange(1, 20)))
        self.say(frame)

    # -- the serial line --------------------------------------------------------------------------------------------

    def hears(self, data: bytes) -> None:
        for question in self._frames.feed(data):
            self.asked.append(question)
            if "mute" not in self.faults and question.endpoint == hci.DEVICE_MANAGEMENT:
                self._answer(question)

    def _answer(self, question: HciFrame) -> None:
        payload = b"\x00"
        match question.message:
            case hci.DEVICE_INFORMATION:
                payload = bytes([0x33, 0, self.firmware, 0x17]) + struct.pack("<I", 0x12345678)
            case hci.SET_CONFIGURATION:
                if "stubborn" not in self.faults:
                    self.configuration |= hci.configuration(question.payload[1:])
            case hci.GET_CONFIGURATION:
                payload = hci.set_configuration(self.configuration).payload[1:]
            case hci.RESET:
                self.resets += 1
                self.faults.discard("silence")
        self.say(HciFrame(hci.DEVICE_MANAGEMENT, question.message + 1, payload).encode())


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
            played.append(Played(float(after_s), codec.telegram_of(hexadecimal)))
        except (ValueError, DecodeError) as error:
            raise ConfigError(f"IM871A_SIMULATE_FILE: {path}, line {number}: {error}") from None
    if not played:
        raise ConfigError(f"IM871A_SIMULATE_FILE: there is no telegram in {path}")
    return played


async def simulate(
    settings: Settings, host: str = "127.0.0.1", port: int = 0, started: Callable[[str, int], None] | None = None
) -> None:
    """Be a stick for ever, on a pseudo-terminal and on TCP when a port is given. Raises ConfigError.

    The pseudo-terminal's name is that of IM871A_PORT when that is a path outside /dev that is free. `started` is told
    the path and 0, then address and port of TCP. It plays IM871A_SIMULATE_FILE over and over; without one there is a
    meter with the number 20000001 and the key 000102…0f.
    """
    playing = _playing(settings)
    stick = SimulatedStick(lambda data: None, faults=set(_faults(settings)))
    async with stage(settings.port, stick.hears, host, port, started) as scene:
        stick.say = scene.say
        async for telegram in playing:
            stick.receives(telegram, rssi=random.randrange(60, 140))


def _faults(settings: Settings) -> Sequence[str]:
    faults = settings.im871a_simulate_faults.split()
    if wrong := set(faults) - set(FAULTS):
        raise ConfigError(
            f"IM871A_SIMULATE_FAULTS: {', '.join(sorted(wrong))} is not known; there are {', '.join(FAULTS)}"
        )
    return faults


def _playing(settings: Settings) -> AsyncIterator[bytes]:
    interval_s = settings.im871a_simulate_interval_seconds
    if settings.im871a_simulate_file is None:
        return _meter(interval_s)
    return _file(read_file(settings.im871a_simulate_file, interval_s))


async def _meter(interval_s: float) -> AsyncIterator[bytes]:
    meter = ExampleMeter()
    while True:
        await asyncio.sleep(interval_s)
        yield meter.telegram()


async def _file(played: list[Played]) -> AsyncIterator[bytes]:
    while True:
        for entry in played:
            await asyncio.sleep(entry.after_s)
            yield entry.telegram
