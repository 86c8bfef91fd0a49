"""Telegrams in a stream of bytes: found between noise, half telegrams and each other. Pure.

A telegram begins with `/` and ends with `!`, the CRC where there is one, and a line end. A stream may begin in the
middle of one, and any part of it may be lost or damaged; the next whole telegram is found. What is found here has the
form of a telegram; whether it is believed is decided in `validation.py`. The line end behind the CRC may be missing:
then a CRC that is right, or the next telegram's `/`, is the end.

DSMR 2 to 4 send 7 bits and even parity. That is one frame of ten bits with 8 bits and no parity, so the line is opened
with 8 bits, and the parity, then the eighth bit, is checked here: the operating system's driver lets wrong bytes pass.
Others have 8 bits, and some fill their messages with bytes above 0x7F (a Hungarian one with 0xFF): they are kept, one
character each (ISO 8859-1).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from connectors.dsmr_p1.crc import right_crc
from connectors.dsmr_p1.lines import is_line

LONGEST_TELEGRAM = 16 * 1024  # bytes; 2,000 characters of message and thirteen months of peaks are a third of it
MOST_STARTS = 16  # `/` before one end that are tried
PAUSE_S = 3.0  # within a telegram; the slowest, at 9600 bit/s, takes one second, and the next comes after ten

ENCODING = "latin-1"  # every byte is one character

_END = re.compile(rb"!([0-9A-Fa-f]{0,4})\x00?\r?(?:\n|(?=/))")
_PERHAPS_END = re.compile(rb"(?<=\n)!([0-9A-Fa-f]{4})\Z")  # the line end may still come, or never
_PERHAPS_END_BYTES = 5
_HAS_CONTROL = re.compile(r"[\x00-\x09\x0b\x0c\x0e-\x1f\x7f]")
_LF = ord("\n")
_LINE_END = b"\x00\r\n"


def _even(byte: int) -> bool:
    return byte.bit_count() % 2 == 0


# 7 bits with even parity, received as 8: the parity goes; a byte whose parity is wrong becomes NUL, which no telegram
# has. Bytes below 0x80 stay, because a line that has no parity looks like that.
_WITHOUT_PARITY = bytes(byte if byte < 0x80 else byte & 0x7F if _even(byte) else 0 for byte in range(256))
_ODD = bytes(byte for byte in range(256) if not _even(byte))


@dataclass(frozen=True, slots=True)
class Found:
    """Something in the form of a telegram.

    `crc`: whether the CRC that it prints is right, None when it prints none, and `by` which one. `paused`: there was a
    pause in the middle of it.
    """

    text: str
    crc: bool | None
    paused: bool = False
    by: str = ""


class TelegramFinder:
    """Finds telegrams in what it is fed. `dropped_bytes` counts what belonged to none."""

    def __init__(self) -> None:
        self.dropped_bytes = 0
        self._received = bytearray()
        self._plain = bytearray()  # the same without parity
        self._pauses: list[int] = []  # places in both
        self._last_s: float | None = None
        self._line_end_due = False

    def feed(self, data: bytes, at_s: float) -> list[Found]:
        """What is complete now. `at_s` is when `data` came, in seconds of a clock that only rises."""
        if self._last_s is not None and at_s - self._last_s > PAUSE_S and self._received:
            self._pauses.append(len(self._received))
        self._last_s = at_s
        data = self._without_due_line_end(data)
        self._received += data
        self._plain += data if data.isascii() else data.translate(_WITHOUT_PARITY)
        found: list[Found] = []
        while (end := self._next_end()) is not None:
            telegram, start = self._ended(end)
            self._cut(end.end(), start if telegram is not None else end.end())
            if telegram is not None:
                found.append(telegram)
        if (end := _PERHAPS_END.search(self._plain, max(0, len(self._plain) - _PERHAPS_END_BYTES))) is not None:
            telegram, start = self._whole(end, self._starts(end))
            if telegram is not None:
                self._cut(end.end(), start)
                self._line_end_due = True
                found.append(telegram)
        self._bound()
        return found

    def _next_end(self) -> re.Match[bytes] | None:
        """Where a telegram may end. Without a line end only a `!` at the beginning of a line is one."""
        end = _END.search(self._plain)
        while end is not None and self._plain[end.end() - 1] != _LF and self._plain[end.start() - 1] != _LF:
            end = _END.search(self._plain, end.end())
        return end

    def _without_due_line_end(self, data: bytes) -> bytes:
        """A telegram was found whole before its line end came."""
        while self._line_end_due and data:
            if data[0] not in _LINE_END:
                self._line_end_due = False
                break
            self._line_end_due = data[0] != _LF
            data = data[1:]
        return data

    def _ended(self, end: re.Match[bytes]) -> tuple[Found | None, int]:
        """The telegram that ends here, and where it starts: the one whose CRC is right, else the latest."""
        starts = self._starts(end)
        telegram, start = self._whole(end, starts)
        if telegram is not None or not starts:
            return telegram, start
        start = starts[-1]
        data = self._bytes(start, end.end())
        if data is None or not _has_lines(text := data.decode(ENCODING)):
            return None, 0
        paused = any(start < place < end.end() for place in self._pauses)
        return Found(_with_line_end(text), None if _printed(end) is None else False, paused), start

    def _starts(self, end: re.Match[bytes]) -> list[int]:
        return [start.start() for start in re.finditer(b"/", self._plain[: end.start()])][-MOST_STARTS:]

    def _whole(self, end: re.Match[bytes], starts: list[int]) -> tuple[Found | None, int]:
        """The telegram that ends here and whose CRC is right, and where it starts."""
        printed = _printed(end)
        if printed is None:
            return None, 0
        for start in starts:
            data = self._bytes(start, end.end())
            if data is not None and (by := right_crc(data[: end.start() + 1 - start], printed)):
                return Found(_with_line_end(data.decode(ENCODING)), True, by=by), start
        return None, 0

    def _bytes(self, start: int, end: int) -> bytes | None:
        """What stands there, without parity; None when a byte of it cannot be right."""
        received = bytes(self._received[start:end])
        if not received[0] & 0x80:
            return received
        return bytes(self._plain[start:end]) if received.translate(None, _ODD) == received else None

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
    data = text.encode(ENCODING)
    end = _END.search(data + b"\r\n")
    printed = None if end is None else _printed(end)
    if end is None or printed is None or not text.startswith("/"):
        return Found(text, False)
    by = right_crc(data[: end.start() + 1], printed)
    return Found(text, bool(by), by=by)


def _printed(end: re.Match[bytes]) -> int | None:
    return int(end[1], 16) if end[1] else None


def _with_line_end(text: str) -> str:
    """Programs that take telegrams want one behind the CRC."""
    if text.endswith("\n"):
        return text
    return text.rstrip("\0\r") + ("\r\n" if "\r\n" in text else "\n")


def _has_lines(text: str) -> bool:
    """Whether every line has its form: identification, then codes with values, then the end."""
    lines = text.rstrip().replace("\r", "").split("\n")[1:]
    if not lines or not lines.pop().startswith("!") or _HAS_CONTROL.search(text):
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
