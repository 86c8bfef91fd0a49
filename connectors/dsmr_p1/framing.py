"""Telegrams in a stream of bytes: found between noise, half telegrams and each other. Pure.

A telegram begins with `/` and ends with `!`, the CRC where there is one, and a line end. A stream may begin in the
middle of one, and any part of it may be lost or damaged; the next whole telegram is found. What is found here has the
form of a telegram; whether it is believed is decided in `trust.py`.

DSMR 2 to 4 send 7 bits and even parity. That is one frame of ten bits with 8 bits and no parity, so the line is opened
with 8 bits, and the parity, then the eighth bit, is checked here: the operating system's driver lets wrong bytes pass.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from connectors.dsmr_p1.crc import crc16
from connectors.dsmr_p1.lines import is_line

LONGEST_TELEGRAM = 16 * 1024  # bytes; 2,000 characters of message and thirteen months of peaks are a third of it
MOST_STARTS = 16  # `/` before one end that are tried
PAUSE_S = 3.0  # within a telegram; the slowest, at 9600 bit/s, takes one second, and the next comes after ten

_END = re.compile(rb"!([0-9A-Fa-f]{0,4})\x00?\r?\n")


def _even(byte: int) -> bool:
    return byte.bit_count() % 2 == 0


# 7 bits with even parity, received as 8: the parity goes; a byte whose parity is wrong becomes NUL, which no telegram
# has. Bytes below 0x80 stay, because a line that has no parity looks like that.
_WITHOUT_PARITY = bytes(byte if byte < 0x80 else byte & 0x7F if _even(byte) else 0 for byte in range(256))
_ODD = bytes(byte for byte in range(256) if not _even(byte))


@dataclass(frozen=True, slots=True)
class Found:
    """Something in the form of a telegram.

    `crc`: whether the CRC that it prints is right, None when it prints none. `paused`: there was a pause in the middle
    of it.
    """

    text: str
    crc: bool | None
    paused: bool = False


class TelegramFinder:
    """Finds telegrams in what it is fed. `dropped_bytes` counts what belonged to none."""

    def __init__(self) -> None:
        self.dropped_bytes = 0
        self._received = bytearray()
        self._plain = bytearray()  # the same without parity
        self._pauses: list[int] = []  # places in both
        self._last_s: float | None = None

    def feed(self, data: bytes, at_s: float) -> list[Found]:
        """What is complete now. `at_s` is when `data` came, in seconds of a clock that only rises."""
        if self._last_s is not None and at_s - self._last_s > PAUSE_S and self._received:
            self._pauses.append(len(self._received))
        self._last_s = at_s
        self._received += data
        self._plain += data if data.isascii() else data.translate(_WITHOUT_PARITY)
        found: list[Found] = []
        while (end := _END.search(self._plain)) is not None:
            telegram, start = self._ended(end)
            self._cut(end.end(), start if telegram is not None else end.end())
            if telegram is not None:
                found.append(telegram)
        self._bound()
        return found

    def _ended(self, end: re.Match[bytes]) -> tuple[Found | None, int]:
        """The telegram that ends here, and where it starts: the one whose CRC is right, else the latest."""
        starts = [start.start() for start in re.finditer(b"/", self._plain[: end.start()])][-MOST_STARTS:]
        printed = int(end[1], 16) if end[1] else None
        for start in starts if printed is not None else ():
            if crc16(self._plain[start : end.start() + 1]) == printed:
                text = self._text(start, end.end())
                if text is not None:
                    return Found(text, True), start
        if not starts:
            return None, 0
        start = starts[-1]
        text = self._text(start, end.end())
        if text is None or not _has_lines(text):
            return None, 0
        paused = any(start < place < end.end() for place in self._pauses)
        return Found(text, None if printed is None else False, paused), start

    def _text(self, start: int, end: int) -> str | None:
        """What stands there; None when a byte of it cannot be right."""
        received = bytes(self._received[start:end])
        if received[0] & 0x80 and received.translate(None, _ODD) != received:
            return None
        if not received[0] & 0x80 and not received.isascii():
            return None
        return self._plain[start:end].decode("ascii")

    def _bound(self) -> None:
        """Drop what cannot become a telegram any more."""
        start = self._plain.find(b"/")
        if start < 0:
            self._cut(len(self._plain), len(self._plain))
        elif len(self._plain) - start > LONGEST_TELEGRAM:
            last = self._plain.rfind(b"/")
            keep = last if len(self._plain) - last <= LONGEST_TELEGRAM else len(self._plain)
            self._cut(keep, keep)

    def _cut(self, place: int, dropped: int) -> None:
        self.dropped_bytes += dropped
        del self._received[:place]
        del self._plain[:place]
        self._pauses = [pause - place for pause in self._pauses if pause > place]


def whole(text: str) -> Found:
    """What is known to be all that was sent (it was decrypted), judged by its CRC."""
    end = _END.search(text.encode("ascii") + b"\r\n")
    if end is None or not end[1] or not text.startswith("/"):
        return Found(text, False)
    return Found(text, int(end[1], 16) == crc16(text[: end.start() + 1].encode("ascii")))


def _has_lines(text: str) -> bool:
    """Whether every line has its form: identification, then codes with values, then the end."""
    lines = text.rstrip().replace("\r", "").split("\n")[1:]
    if (
        not lines
        or not lines.pop().startswith("!")
        or any(char < " " or char > "~" for char in text if char not in "\r\n")
    ):
        return False
    whole = [line for line in _joined(lines) if line.strip()]
    return bool(whole) and all(is_line(line) for line in whole)


def _joined(lines: list[str]) -> list[str]:
    """Values may stand in a line of their own, after their code's."""
    joined: list[str] = []
    for line in lines:
        if line.startswith("(") and joined:
            joined[-1] += line
        else:
            joined.append(line)
    return joined
