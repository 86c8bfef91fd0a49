"""JSON objects and arrays one after another, with white space, commas or nothing between them, split anywhere.

The text is checked against the grammar of RFC 8259 as it comes (and takes Python's NaN and Infinity), so damage is
noticed at the first byte that cannot be: a torn message swallows nothing of the ones behind it.

Some devices write one array that never ends, an element per line. When such a sender pauses behind a line, its elements
are the messages from then on.
"""

from __future__ import annotations

import re

from connectors.socket.framing.pieces import Piece, Waste
from connectors.socket.framing.plain import CUT, MIDWAY, TOO_LONG

DEEPEST = 64
LONGEST_NUMBER = 400
LONGEST_BLANK = 1000

BOM = b"\xef\xbb\xbf"
# Between messages: white space, the record separator of RFC 7464, the zero byte of C strings, a byte order mark.
BETWEEN = re.compile(rb"(?:[ \t\r\n\x1e\x00]|\xef\xbb\xbf)*")
# A comma, too, at a line's end or beginning, and the next message directly behind it: in one line, or indented, it
# would look like what a hole has left of an array.
COMMA_BETWEEN = re.compile(rb"[ \t]*(?:,[ \t]*[\r\n]*\n|\r?\n,[ \t]*)(?=[{\[])")
PERHAPS_COMMA = re.compile(rb"[ \t]*(?:,[ \t]*[\r\n]*|\r?\n?,?[ \t]*)")
COMMA_IN_ARRAY = re.compile(rb"[ \t\r\n]*,")
BLANK = re.compile(rb"[ \t\r\n]*")
STRING_REST = re.compile(rb'[^"\\\x00-\x1f]*(?:\\(?:["\\/bfnrt]|u[0-9A-Fa-f]{4})[^"\\\x00-\x1f]*)*')
ESCAPE_BEGUN = re.compile(rb"\\(?:u[0-9A-Fa-f]{0,3})?")
WORD = re.compile(rb"[-+.0-9A-Za-z]+")
NUMBER_OR_NAME = re.compile(rb"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?|true|false|null|NaN|-?Infinity")
# Where a message may begin again after damage. Inside valid JSON, outside its strings, no bracket opens directly
# behind one that closes; and one that opens a line follows `:`, `,`, `[` or `{`.
BEGINS_AGAIN = re.compile(rb"(?:[}\]][ \t\r\n\x1e\x00]*|[^:,\[{ \t\r\n\x1e\x00][ \t\r\n\x1e\x00]*[\r\n\x00])(?=[{\[])")
# The same where commas stand between messages: at the very beginning of a line, where no inner object is indented.
BEGINS_AGAIN_BEHIND_COMMA = re.compile(rb",[ \t]*\r?\n(?=[{\[])")
LINE_BY_LINE = re.compile(rb"\[[ \t]*\r?\n[{\[]")  # an array that writes each element at the beginning of a line
GLUE = b" \t\r\n\x1e\x00"

# What may come next.
VALUE, VALUE_OR_END, KEY, KEY_OR_END, COLON, COMMA_OR_END = range(6)
OPENING = {ord("{"): KEY_OR_END, ord("["): VALUE_OR_END}
CLOSING = {ord("}"): ord("{"), ord("]"): ord("[")}


class _Damaged(Exception):  # noqa: N818 - it never leaves this file
    """The text cannot be JSON from here on."""


class JsonFraming:
    """A message is one object or array. What is between messages and is no white space is noise.

    After noise or damage a message is taken for one only where it cannot be a part of another: behind a closing
    bracket, or at the beginning of a line. So a torn message never gives its inner object for a message.
    """

    def __init__(self, limit: int, *, pause_s: float = 0.0, midway: bool = False) -> None:
        self._limit = limit
        self._pause_s = pause_s
        self._is_first = True  # no message came before
        self._has_commas = False  # between messages
        self._in_endless_array = False
        self._waste = Waste(limit, expected=midway)
        self._buffer = bytearray()
        self._lost = MIDWAY if midway else ""
        self._start_over()

    @property
    def dropped(self) -> int:
        return self._waste.dropped

    @property
    def pause_s(self) -> float | None:
        return self._pause_s if self._pause_s and self._may_be_endless() else None

    def feed(self, data: bytes) -> list[Piece]:
        self._buffer += data
        pieces: list[Piece] = []
        while (found := self._find_beginning() if self._lost else self._next()) is not None:
            pieces += found
        return pieces + self._waste.full()

    def pause(self) -> list[Piece]:
        if not self._may_be_endless():
            return []
        self._take_elements()
        return self.feed(b"")

    def end(self, *, whole: bool = False, closed: bool = False) -> list[Piece]:
        if self._lost or self._open or not PERHAPS_COMMA.fullmatch(self._buffer):
            self._waste.add(self._buffer, self._lost or CUT)
        self._buffer.clear()
        return self._waste.take()

    def _may_be_endless(self) -> bool:
        """Whether this is the connection's first array, all of whose elements so far are whole, behind a line end."""
        is_between = self._open == [ord("[")] and self._elements > 0 and not self._in_string
        return is_between and self._is_first and b"\n" in self._buffer[len(self._buffer.rstrip(b" \t\r\n")) :]

    def _take_elements(self) -> None:
        """From now on the elements of the array are the messages."""
        self._in_endless_array = self._has_commas = True
        del self._buffer[:1]
        self._start_over()

    def _start_over(self) -> None:
        self._elements = 0  # objects and arrays that are whole, in the outermost array
        self._position = 0  # up to here the message in the buffer is checked
        self._open: list[int] = []  # brackets
        self._expected = VALUE
        self._in_string = False

    def _next(self) -> list[Piece] | None:
        """The next message, or the way to it; None: more bytes are needed."""
        if not self._open and not self._begins():
            return [] if self._lost else None
        try:
            complete = self._check()
        except _Damaged as damage:
            if str(damage) == TOO_LONG.format(self._limit) and self._elements and LINE_BY_LINE.match(self._buffer):
                self._take_elements()
                return []
            self._lost = str(damage)
            return []
        if not complete:
            return None
        message = bytes(self._buffer[: self._position])
        del self._buffer[: self._position]
        self._start_over()
        self._is_first = False
        return [Piece(message)]

    def _begins(self) -> bool:
        """Whether a message begins in the buffer, without what may be between two messages."""
        if self._in_endless_array:
            if comma := COMMA_IN_ARRAY.match(self._buffer):
                del self._buffer[: comma.end()]
        elif not self._is_first:
            if comma := COMMA_BETWEEN.match(self._buffer):
                self._has_commas = True
                del self._buffer[: comma.end()]
            elif PERHAPS_COMMA.fullmatch(self._buffer):
                return False  # what comes next decides
        self._skip_blank()
        if self._in_endless_array and self._buffer[:1] == b"]":
            self._in_endless_array = False
            del self._buffer[:1]
            return self._begins()
        if not self._buffer or (len(self._buffer) < len(BOM) and BOM.startswith(self._buffer)):
            return False
        if self._buffer[0] not in OPENING:
            self._lost = "noise between messages"
            return False
        return True

    def _skip_blank(self) -> None:
        between = BETWEEN.match(self._buffer)
        assert between is not None
        del self._buffer[: between.end()]

    # -- after damage -----------------------------------------------------------------------------------------------

    def _find_beginning(self) -> list[Piece] | None:
        match = BEGINS_AGAIN.search(self._buffer)
        if self._has_commas and (behind := BEGINS_AGAIN_BEHIND_COMMA.search(self._buffer)):
            match = behind if match is None or behind.start() < match.start() else match
        if match is None:
            # The last byte that is not white space, and what follows it, decide about a bracket that comes next.
            self._drop(max(0, len(self._buffer.rstrip(GLUE)) - 1))
            if len(self._buffer) > LONGEST_BLANK:
                del self._buffer[1:-1]  # only its ends matter
            return None
        self._drop(match.end())
        self._lost = ""
        self._start_over()
        return self._waste.take()

    def _drop(self, length: int) -> None:
        self._waste.add(self._buffer[:length], self._lost)
        del self._buffer[:length]

    # -- checking ---------------------------------------------------------------------------------------------------

    def _check(self) -> bool:
        """Check what is new; whether the message is complete. Raises _Damaged."""
        complete = False
        while not complete and self._position < len(self._buffer):
            before = self._position
            complete = self._string() if self._in_string else self._token()
            if self._position == before and not complete:
                break  # a token that is not whole yet
        if self._position > self._limit or (not complete and len(self._buffer) > self._limit):
            raise _Damaged(TOO_LONG.format(self._limit))
        return complete

    def _string(self) -> bool:
        match = STRING_REST.match(self._buffer, self._position)
        assert match is not None
        self._position = match.end()
        rest = self._buffer[self._position : self._position + 6]
        if rest.startswith(b'"'):
            self._position += 1
            self._in_string = False
            self._expected = COLON if self._expected in (KEY, KEY_OR_END) else COMMA_OR_END
        elif rest and not ESCAPE_BEGUN.fullmatch(rest):
            raise _Damaged("not JSON: a text in it is broken")
        return False

    def _token(self) -> bool:
        blank = BLANK.match(self._buffer, self._position)
        assert blank is not None
        self._position = blank.end()
        if self._position == len(self._buffer):
            return False
        byte = self._buffer[self._position]
        if byte in CLOSING:
            return self._close(byte)
        if byte in b",:":
            self._separate(byte)
        elif byte == ord('"'):
            self._want(VALUE, VALUE_OR_END, KEY, KEY_OR_END)
            self._position += 1
            self._in_string = True
        elif byte in OPENING:
            self._opens(byte)
        else:
            self._number_or_name()
        return False

    def _want(self, *expected: int) -> None:
        if self._expected not in expected:
            raise _Damaged(f"not JSON from byte {self._position} on")

    def _opens(self, byte: int) -> None:
        self._want(VALUE, VALUE_OR_END)
        if len(self._open) == DEEPEST:
            raise _Damaged(f"nested deeper than {DEEPEST} levels")
        self._open.append(byte)
        self._expected = OPENING[byte]
        self._position += 1

    def _close(self, byte: int) -> bool:
        self._want(COMMA_OR_END, KEY_OR_END if byte == ord("}") else VALUE_OR_END)
        if self._open[-1] != CLOSING[byte]:
            raise _Damaged(f"not JSON from byte {self._position} on")
        self._open.pop()
        self._expected = COMMA_OR_END
        self._elements += len(self._open) == 1
        self._position += 1
        return not self._open

    def _separate(self, byte: int) -> None:
        self._want(COMMA_OR_END if byte == ord(",") else COLON)
        self._expected = VALUE if byte == ord(":") or self._open[-1] == ord("[") else KEY
        self._position += 1

    def _number_or_name(self) -> None:
        self._want(VALUE, VALUE_OR_END)
        word = WORD.match(self._buffer, self._position)
        if word is not None and word.end() > self._limit:  # also where it came in one packet, with what ends it
            raise _Damaged(TOO_LONG.format(self._limit))
        if word is None or len(word[0]) > LONGEST_NUMBER:
            raise _Damaged(f"not JSON from byte {self._position} on")
        if word.end() == len(self._buffer):
            return  # it may go on
        if not NUMBER_OR_NAME.fullmatch(word[0]):
            raise _Damaged(f"not JSON from byte {self._position} on")
        self._position = word.end()
        self._expected = COMMA_OR_END
