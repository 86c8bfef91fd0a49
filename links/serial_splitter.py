"""Bytes into lines: whatever ends them, however they are cut, and however long the nonsense between them is."""

from __future__ import annotations


class Lines:
    """Cuts a stream of bytes into lines. CR, LF and CRLF end a line; empty lines are left out.

    A line longer than `longest` bytes is dropped up to its end, and the next line is good again; `dropped_bytes` and
    `dropped_lines` count. With `midway` what comes before the first line end is dropped (not counted): it may be the
    rest of a line whose beginning was not heard.
    """

    def __init__(self, longest: int = 4096, *, midway: bool = False) -> None:
        self.dropped_bytes = 0
        self.dropped_lines = 0
        self._longest = longest
        self._rest = b""
        self._skipping = midway  # up to the next line end
        self._uncounted = midway

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that are complete now, without their ends."""
        *complete, rest = data.replace(b"\r", b"\n").split(b"\n")
        lines: list[bytes] = []
        for piece in complete:
            line = self._ends_with(piece)
            if line:
                lines.append(line)
        self._goes_on_with(rest)
        return lines

    def _ends_with(self, piece: bytes) -> bytes:
        line, self._rest = self._rest + piece, b""
        if self._skipping:
            self._drop(line)
            self._skipping = self._uncounted = False
            return b""
        if len(line) > self._longest:
            self.dropped_lines += 1
            self._drop(line)
            return b""
        return line

    def _goes_on_with(self, piece: bytes) -> None:
        if self._skipping:
            self._drop(piece)
            return
        self._rest += piece
        if len(self._rest) > self._longest:
            self.dropped_lines += 1
            self._skipping = True
            self._drop(self._rest)
            self._rest = b""

    def _drop(self, piece: bytes) -> None:
        if not self._uncounted:
            self.dropped_bytes += len(piece)
