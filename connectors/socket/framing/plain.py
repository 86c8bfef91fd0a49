"""Framings that do not look into a message: lines, a length in front, a pause behind."""

from __future__ import annotations

import re
from typing import Literal

from connectors.socket.framing.pieces import Piece, Waste

NO_TEXT = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f]")
PATIENCE = 10  # pauses inside a message
BELIEVED_LENGTHS = 16  # times the limit; a length beyond that is no length, and skipping so much would never end
CUT = "cut: the connection ended inside a message"
TOO_LONG = "longer than {} bytes (RECV_BUFSIZE)"
MIDWAY = "joined in the middle of a message"


class LineFraming:
    """Lines that end in CR, LF or CRLF. Blank lines and zero bytes around a line (C strings) are left out.

    A line that the end of a connection cuts is not a message: `14 15 2` may have been `14 15 26`.
    """

    pause_s = None

    def __init__(self, limit: int, *, midway: bool = False) -> None:
        self._limit = limit
        self._waste = Waste(limit, expected=midway)
        self._rest = bytearray()
        self._fault = MIDWAY if midway else ""  # what comes up to the next line end is not a message, because of this

    @property
    def dropped(self) -> int:
        return self._waste.dropped

    def feed(self, data: bytes) -> list[Piece]:
        *complete, rest = data.replace(b"\r", b"\n").split(b"\n")
        pieces: list[Piece] = []
        for part in complete:
            self._take(part)
            pieces += self._line()
        self._take(rest)
        return pieces + self._waste.full()

    def pause(self) -> list[Piece]:
        return []

    def end(self, *, whole: bool = False, closed: bool = False) -> list[Piece]:
        if not whole:
            self._fault = self._fault or CUT
        return self._line()

    def _take(self, part: bytes) -> None:
        self._rest += part
        if not self._fault and len(self._rest) > self._limit:
            self._fault = TOO_LONG.format(self._limit)
        if self._fault:
            self._waste.add(self._rest, self._fault)
            self._rest.clear()

    def _line(self) -> list[Piece]:
        line, self._rest = bytes(self._rest).strip(b" \t\0"), bytearray()
        if self._fault:
            self._waste.add(line, self._fault)
            self._fault = ""
            return self._waste.take()
        return [Piece(line)] if line else []


class LengthFraming:
    """A length of 1, 2 or 4 bytes in front of each message, which does not count itself; length 0 is a sign of life.

    A message that is too long is skipped. A length that cannot be meant, or a message that is not text, shows that the
    place in the stream is lost: bytes are dropped until the sender pauses, then the next one begins a length. So it
    does after a pause ten times as long inside a message.
    """

    def __init__(
        self,
        limit: int,
        *,
        size: Literal[1, 2, 4] = 4,
        order: Literal["big", "little"] = "big",
        pause_s: float = 0.3,
        midway: bool = False,
    ) -> None:
        self._limit = limit
        self._size = size
        self._order: Literal["big", "little"] = order
        self._pause_s = pause_s
        self._waste = Waste(limit, expected=midway)
        self._buffer = bytearray()
        self._skip = 0  # bytes of a message that is too long
        self._lost = MIDWAY if midway else ""

    @property
    def dropped(self) -> int:
        return self._waste.dropped

    @property
    def pause_s(self) -> float | None:
        if self._lost:
            return self._pause_s
        return PATIENCE * self._pause_s if self._buffer or self._skip else None

    def feed(self, data: bytes) -> list[Piece]:
        self._buffer += data
        pieces: list[Piece] = []
        while not self._lost and (found := self._next()) is not None:
            pieces += found
        if self._lost:
            self._drop_all(self._lost)
        return pieces + self._waste.full()

    def pause(self) -> list[Piece]:
        self._drop_all("cut: the sender paused inside a message")
        self._lost, self._skip = "", 0
        return self._waste.take()

    def end(self, *, whole: bool = False, closed: bool = False) -> list[Piece]:
        self._drop_all(CUT)
        return self._waste.take()

    def _next(self) -> list[Piece] | None:
        """The next message, or nothing that is one; None: more bytes are needed, or the place is lost."""
        if self._skip:
            return self._skipped()
        if len(self._buffer) < self._size:
            return None
        length = int.from_bytes(self._buffer[: self._size], self._order)
        if length > self._limit * BELIEVED_LENGTHS:
            self._lost = f"no length: {bytes(self._buffer[: self._size]).hex(' ')}"
            return None
        if length > self._limit:
            self._skip = self._size + length
            return []
        end = self._size + length
        if len(self._buffer) < end:
            return None
        message = bytes(self._buffer[self._size : end])
        if not _is_text(message):
            self._lost = "a message that is not text: the place in the stream is lost"
            return None
        del self._buffer[:end]
        return [Piece(message)] if message else []

    def _skipped(self) -> list[Piece] | None:
        part = bytes(self._buffer[: self._skip])
        self._waste.add(part, TOO_LONG.format(self._limit))
        del self._buffer[: self._skip]
        self._skip -= len(part)
        return None if self._skip else self._waste.take()

    def _drop_all(self, fault: str) -> None:
        self._waste.add(self._buffer, fault)
        self._buffer.clear()


class PauseFraming:
    """A message is whatever comes until the sender is quiet for a while, or closes.

    What stands behind BEMCom's "one recv is one message". A network that stutters cuts such messages, and nothing shows
    it: any other framing is better.
    """

    def __init__(self, limit: int, *, pause_s: float = 0.3, midway: bool = False) -> None:
        self._limit = limit
        self._pause_s = pause_s
        self._waste = Waste(limit, expected=midway)
        self._buffer = bytearray()
        self._fault = MIDWAY if midway else ""

    @property
    def dropped(self) -> int:
        return self._waste.dropped

    @property
    def pause_s(self) -> float | None:
        return self._pause_s if self._buffer or self._fault else None

    def feed(self, data: bytes) -> list[Piece]:
        self._buffer += data
        if not self._fault and len(self._buffer) > self._limit:
            self._fault = TOO_LONG.format(self._limit)
        if self._fault:
            self._waste.add(self._buffer, self._fault)
            self._buffer.clear()
        return self._waste.full()

    def pause(self) -> list[Piece]:
        message, self._buffer = bytes(self._buffer), bytearray()
        if self._fault:
            self._fault = ""
            return self._waste.take()
        return [Piece(message)] if message.strip(b" \t\r\n\0") else []

    def end(self, *, whole: bool = False, closed: bool = False) -> list[Piece]:
        if not (whole or closed):
            self._waste.add(self._buffer, CUT)
            self._buffer.clear()
            self._fault = ""
            return self._waste.take()
        return self.pause()


def _is_text(message: bytes) -> bool:
    try:
        message.decode()
    except UnicodeDecodeError:
        return False
    return NO_TEXT.search(message) is None
