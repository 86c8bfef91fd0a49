"""A meter to listen to when there is none: over TCP and at a pseudo-terminal; it misbehaves on request."""

from __future__ import annotations

import asyncio
import logging
import random
import re
from collections.abc import Callable, Iterator
from itertools import count, cycle
from pathlib import Path

from connectors.dsmr_p1 import codec, meter_time
from connectors.dsmr_p1.cipher import Keys, encrypt_frame
from connectors.dsmr_p1.settings import Settings
from connectors.dsmr_p1.simulated_manners import MANNERS, Manner
from connectors.dsmr_p1.simulated_meter import SimulatedMeter, signed
from links.serial_pty import PseudoTerminal
from wattbus.clock import SYSTEM_CLOCK, Clock
from wattbus.errors import ConfigError
from wattbus.polling import PollClock

log = logging.getLogger(__name__)

EVERY_NTH = 5  # telegram has a fault, where faults are wanted
SYSTEM_TITLE = b"WBT\x00SIM\x01"
LARGEST_FILE = 16 * 2**20  # bytes; it is held in memory
MOST_UNSENT_BYTES = 256 * 1024  # a listener that does not listen is cut off
_TELEGRAM_CLOCK = re.compile(r"(?<=\n0-0:1\.0\.0\()[^()]*(?=\))")
_MBUS_TIME = re.compile(r"(?<=\n0-)(\d:24\.(?:2\.\d|3\.0)\()\d{12}([SW]?)(?=\))")

HANG_UP, SILENCE = "hang_up", "silence"
FAULTS = ("noise", "cut", "crc", "double", "clock", "replay", HANG_UP, SILENCE)


class Player:
    """What a meter sends, turn by turn; every fifth turn has one of the faults."""

    def __init__(self, telegrams: Iterator[str], keys: Keys | None = None, faults: tuple[str, ...] = ()) -> None:
        self._telegrams = telegrams
        self._keys = keys
        self._faults = cycle(faults) if faults else None
        self._turns = count(1)
        self._counters = count(1)
        self._random = random.Random(1)
        self._last = b""

    def turn(self) -> tuple[bytes, str]:
        """The bytes to send, and the fault that they have, or that is to be played instead of sending."""
        turn = next(self._turns)
        fault = next(self._faults) if self._faults and turn % EVERY_NTH == 0 else ""
        telegram = next(self._telegrams)
        if fault == "clock":
            telegram = with_clock(telegram, "000101010000W")
        data = self._sent(telegram)
        if fault in ("noise", "cut", "crc", "double"):
            return self._damaged(data, fault), fault
        if fault == "replay" and self._last:
            return self._last + data, fault
        self._last = data
        return data, fault

    def _sent(self, telegram: str) -> bytes:
        if self._keys is None:
            return telegram.encode("ascii")
        return encrypt_frame(telegram, self._keys, SYSTEM_TITLE, next(self._counters))

    def _damaged(self, data: bytes, fault: str) -> bytes:
        middle, piece = len(data) // 2, self._random.randrange(20, 200)
        if fault == "noise":
            return self._random.randbytes(piece) + data[:middle] + self._random.randbytes(piece) + data[middle:]
        if fault == "cut":
            return data[:middle]
        if fault == "double":
            return data[: middle + piece] + data[middle:]
        return data[:middle] + bytes((data[middle] ^ 1,)) + data[middle + 1 :]


def with_clock(telegram: str, clock: str) -> str:
    """The telegram at another time, with its CRC."""
    body, _, crc = telegram.rpartition("!")
    return signed(_TELEGRAM_CLOCK.sub(clock, body) + "!", bool(crc.strip()))


def meters_telegrams(meter: SimulatedMeter, step_s: float) -> Iterator[str]:
    """Of a simulated meter, for ever; `step_s` is what its clock goes on between two."""
    while True:
        yield meter.telegram()
        meter.pass_time(step_s)


def files_telegrams(path: Path, clock: Clock) -> Iterator[str]:
    """Those of a file, again and again, with the present time and the CRC that belongs to it. Raises ConfigError."""
    try:
        if path.exists() and not path.is_file():
            raise ConfigError(f"DSMR_SIMULATE_FILE: {path} is no file")  # a device has no end
        if path.stat().st_size > LARGEST_FILE:
            raise ConfigError(f"DSMR_SIMULATE_FILE: {path} is larger than {LARGEST_FILE // 2**20} MB")
        raws = list(codec.raw_messages(path.read_text(encoding="utf-8", errors="replace").splitlines()))
    except OSError as error:
        raise ConfigError(f"DSMR_SIMULATE_FILE: cannot read {path}: {error.strerror}") from None
    texts = [raw["telegram"] for raw in raws if "telegram" in raw and _is_playable(raw["telegram"])]
    if not texts:
        raise ConfigError(f"DSMR_SIMULATE_FILE: there is no telegram in {path}")
    return (_now(text, clock.now_ms()) for text in cycle(texts))


def _is_playable(text: str) -> bool:
    """Whether it has an end; its CRC is made anew."""
    return text.isascii() and "\n!" in text


def _now(text: str, now_ms: int) -> str:
    hour = meter_time.printed(now_ms - now_ms % meter_time.HOUR_MS)
    on_the_hour = _MBUS_TIME.sub(lambda time: time[1] + (hour if time[2] else hour[:-1]), text)
    return with_clock(on_the_hour, meter_time.printed(now_ms))


def player(settings: Settings, clock: Clock = SYSTEM_CLOCK) -> tuple[Player, float]:
    """What the settings say shall be played, and the seconds between two telegrams. Raises ConfigError."""
    faults = tuple(settings.dsmr_simulate_faults.split())
    if unknown := [fault for fault in faults if fault not in FAULTS]:
        raise ConfigError(f"DSMR_SIMULATE_FAULTS: {unknown[0]} is not known; expected some of {', '.join(FAULTS)}")
    manner = _manner(settings)
    every_s = settings.dsmr_simulate_interval_seconds or manner.every_s
    if settings.dsmr_simulate_file:
        return Player(files_telegrams(Path(settings.dsmr_simulate_file), clock), None, faults), every_s
    if manner.encrypts and settings.keys is None:
        raise ConfigError("DSMR_ENCRYPTION_KEY: this simulated meter encrypts; expected 32 hexadecimal digits")
    meter = SimulatedMeter(manner, _start_ms(settings, clock))
    keys = settings.keys if manner.encrypts else None
    return Player(meters_telegrams(meter, every_s), keys, faults), every_s


def _manner(settings: Settings) -> Manner:
    profile = settings.dsmr_simulate_profile
    return MANNERS[f"{profile} {settings.dsmr_simulate_version}" if profile == "netherlands" else profile]


def _start_ms(settings: Settings, clock: Clock) -> int:
    if not settings.dsmr_simulate_start:
        return clock.now_ms() // 1000 * 1000
    wall = meter_time.parse(settings.dsmr_simulate_start)
    if wall is None:
        raise ConfigError("DSMR_SIMULATE_START: expected a time as a meter prints it, such as 261025015955S")
    return wall.candidates[0]


class Audience:
    """Everybody who listens over TCP, and a pseudo-terminal."""

    def __init__(self, terminal: PseudoTerminal | None) -> None:
        self._terminal = terminal
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def listeners(self) -> int:
        """How many listen over TCP."""
        return len(self._writers)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """A listener has come."""
        self._writers.add(writer)
        try:
            while await reader.read(1024):
                pass
        except ConnectionError:
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

    def say(self, data: bytes) -> None:
        if self._terminal is not None:
            self._terminal.write(data)
        for writer in list(self._writers):
            if writer.transport.get_write_buffer_size() > MOST_UNSENT_BYTES:
                self._writers.discard(writer)
                writer.transport.abort()
            else:
                writer.write(data)

    def hang_up(self) -> None:
        """All connections end; the pseudo-terminal stays."""
        for writer in self._writers:
            writer.close()


async def simulate(
    settings: Settings, host: str = "127.0.0.1", port: int = 0, started: Callable[[str, int], None] | None = None
) -> None:
    """Play for ever, as `DSMR_SIMULATE_…` say; `started` is told where the TCP listener is. Raises ConfigError."""
    playing, every_s = player(settings)
    terminal = PseudoTerminal() if settings.dsmr_simulate_pty else None
    audience = Audience(terminal)
    server = await asyncio.start_server(audience.serve, host, port)
    try:
        if terminal is not None:
            log.info("the simulated meter also speaks at %s", terminal.path)
        if started is not None:
            started(*server.sockets[0].getsockname()[:2])
        async for _ in PollClock(every_s):
            data, fault = playing.turn()
            if fault == HANG_UP:
                audience.hang_up()
            elif fault == SILENCE:
                await asyncio.sleep(1.5 * settings.dsmr_timeout_seconds)
            else:
                audience.say(data)
    finally:
        server.close()
        audience.hang_up()
        if terminal is not None:
            terminal.close()
