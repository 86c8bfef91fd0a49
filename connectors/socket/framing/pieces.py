"""What a framing gives: messages, and what is left over between them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Piece:
    """A whole message, or bytes that belong to none: then `fault` says why."""

    data: bytes
    fault: str = ""


class Framing(Protocol):
    """Cuts a stream of bytes into messages. Pure: how the stream was split into packets makes no difference.

    One framing serves one connection. After damage it finds the beginning of a later message by itself.
    """

    @property
    def dropped(self) -> int:
        """Bytes so far that belong to no message."""

    @property
    def pause_s(self) -> float | None:
        """How long the stream must be quiet for `pause()` to mean something now; None: a pause means nothing."""

    def feed(self, data: bytes) -> list[Piece]:
        """What is complete with these bytes."""

    def pause(self) -> list[Piece]:
        """What is complete because nothing came for `pause_s`."""

    def end(self, *, whole: bool = False, closed: bool = False) -> list[Piece]:
        """What the end of the stream leaves.

        `whole`: nothing can be missing before it (a datagram). `closed`: the sender ended it; else it was torn, or we
        ended it.
        """


class Waste:
    """Bytes that belong to no message: all are counted, the first `limit` are kept as evidence.

    With `expected` they are neither: who joins a stream midway knows that something was missed.
    """

    def __init__(self, limit: int, *, expected: bool = False) -> None:
        self.dropped = 0
        self._limit = limit
        self._expected = expected
        self._fault = ""
        self._kept = bytearray()
        self._told = False

    def add(self, data: bytes | bytearray, fault: str) -> None:
        """More of it; the first fault is the one that is told."""
        if self._expected:
            return
        self.dropped += len(data)
        self._fault = self._fault or fault
        self._kept += data[: self._limit - len(self._kept)]

    def full(self) -> list[Piece]:
        """The evidence, once there is as much of it as is kept: waiting for an end that may never come is no use."""
        if self._told or len(self._kept) < self._limit:
            return []
        self._told = True
        return [Piece(bytes(self._kept), self._fault)]

    def take(self) -> list[Piece]:
        """The evidence, unless it was told already. The stream makes sense again: what follows is another matter."""
        pieces = [Piece(bytes(self._kept), self._fault)] if self._kept and not self._told else []
        self._expected, self._fault, self._told = False, "", False
        self._kept.clear()
        return pieces
