"""YAML documents one after another (YAML 1.2.2, chapter 9).

A document ends where `...`, or the `---` of the next one, stands at the beginning of a line. Senders that write neither
(BEMCom's devices) are quiet between two documents: then a pause behind a complete line ends it.
"""

from __future__ import annotations

import re

from connectors.socket.framing.pieces import Piece, Waste
from connectors.socket.framing.plain import CUT, MIDWAY, PATIENCE, TOO_LONG

MARKER = re.compile(rb"(---|\.\.\.)(?:[ \t\r\n]|$)")
NO_CONTENT = re.compile(rb"[ \t\r\n\0]*(?:#.*)?", re.DOTALL)
NO_LINE_END = "no line end within {:g} s: cut? SOCKET_FRAMING=pause takes messages without one"
INDENTED = "begins with an indented line: the rest of another document"


class YamlFraming:
    """`pause_s` 0: only markers end a document.

    A document that begins without `---` and with an indented line is not a message: its beginning was lost. After
    damage, a marker or a pause begins the next one.
    """

    def __init__(self, limit: int, *, pause_s: float = 0.3, midway: bool = False) -> None:
        self._limit = limit
        self._pause_s = pause_s
        self._waste = Waste(limit, expected=midway)
        self._lost = MIDWAY if midway else ""
        self._pauses = 0
        self._line = bytearray()  # its end has not come yet
        self._skips_line = False
        self._start_over()

    def _start_over(self) -> None:
        self._document = bytearray()
        self._has_content = False
        self._has_marker = False

    @property
    def dropped(self) -> int:
        return self._waste.dropped

    @property
    def pause_s(self) -> float | None:
        waiting = self._line or self._has_content or self._lost
        return self._pause_s if self._pause_s and waiting else None

    def feed(self, data: bytes) -> list[Piece]:
        self._pauses = 0
        pieces: list[Piece] = []
        for index, part in enumerate(data.split(b"\n")):
            if index:
                pieces += self._line_ends(b"\n")
            self._line += part
            self._check_line()
        return pieces + self._waste.full()

    def pause(self) -> list[Piece]:
        self._pauses += 1
        if self._lost:
            return self._found()
        if self._line and not self._line_is_whole():
            if self._pauses < PATIENCE:
                return []  # the rest of the line may still be on its way
            self._lose(NO_LINE_END.format(PATIENCE * self._pause_s))
            return self._found()
        return self._finish()

    def end(self, *, whole: bool = False, closed: bool = False) -> list[Piece]:
        if self._line and not whole and not self._line_is_whole():
            self._lose(CUT)
        return self._found() if self._lost else self._finish()

    # -- lines ------------------------------------------------------------------------------------------------------

    def _check_line(self) -> None:
        if len(self._line) > self._limit:
            self._lose(TOO_LONG.format(self._limit))
            self._skips_line = True
        elif self._skips_line:
            self._drop_line()

    def _line_ends(self, end: bytes) -> list[Piece]:
        if self._skips_line:
            self._skips_line = False
            return []
        line = bytes(self._line) + end
        self._line.clear()
        marker = MARKER.match(line)
        if marker is not None:
            return self._marked(line, marker[1])
        self._add(line)
        return []

    def _line_is_whole(self) -> bool:
        """Whether a line makes sense without its end: it is a marker, or closes a bracket."""
        return MARKER.fullmatch(self._line) is not None or self._line.rstrip().endswith((b"}", b"]"))

    def _drop_line(self) -> None:
        self._waste.add(self._line, self._lost)
        self._line.clear()

    # -- documents --------------------------------------------------------------------------------------------------

    def _marked(self, line: bytes, marker: bytes) -> list[Piece]:
        before = self._found() if self._lost else self._complete()
        if marker == b"---":
            self._has_marker = True
            self._has_content = not NO_CONTENT.fullmatch(line, len(marker))
            self._append(line)
        return before

    def _add(self, line: bytes) -> None:
        if self._lost:
            self._waste.add(line, self._lost)
            return
        # Directives (`%YAML 1.2`) say nothing that is needed to read what follows.
        begins = not self._has_content and not NO_CONTENT.fullmatch(line) and not line.startswith(b"%")
        self._has_content = self._has_content or begins
        self._append(line)
        if begins and line[:1].isspace() and not self._has_marker:
            self._lose(INDENTED)

    def _append(self, line: bytes) -> None:
        self._document += line
        if len(self._document) > self._limit:
            self._lose(TOO_LONG.format(self._limit))

    def _finish(self) -> list[Piece]:
        """The document ends here, with or without the end of its last line."""
        pieces = self._line_ends(b"") if self._line else []
        return pieces + (self._found() if self._lost else self._complete())

    def _complete(self) -> list[Piece]:
        document, has_content = bytes(self._document), self._has_content
        self._start_over()
        return [Piece(document)] if has_content else []

    def _lose(self, fault: str) -> None:
        self._lost = self._lost or fault
        self._waste.add(self._document, self._lost)
        self._drop_line()
        self._start_over()

    def _found(self) -> list[Piece]:
        """What comes next begins a document."""
        self._drop_line()
        self._lost = ""
        self._skips_line = False
        return self._waste.take()
