"""LISTEN_APIKEY: a word that a line must contain, as emonHub's `apikey`. It goes no further than here."""

from __future__ import annotations

import dataclasses
import hmac

from connectors.socket.framing import Piece

HIDDEN = b"(not kept: it may hold the api key)"
SEVERAL = "several lines in one message: SOCKET_FRAMING=line takes them apart"


class ApiKey:
    """`separator` is what stands between the words of a line; empty: white space."""

    def __init__(self, key: str, separator: str = "") -> None:
        self._key = key.encode()
        self._separator = separator.encode() or None

    def admits(self, piece: Piece) -> Piece | None:
        """The line without the key; None when it has none. What is not a message keeps its fault alone.

        So do several lines in one message: taking the key out must not make one line of them.
        """
        line = piece.data.strip(b"\r\n\0")
        if piece.fault or b"\n" in line or b"\r" in line:
            return Piece(HIDDEN, piece.fault or SEVERAL)
        words = line.split(self._separator)
        others = [word for word in words if not hmac.compare_digest(word.strip(), self._key)]
        if len(others) == len(words):
            return None
        return dataclasses.replace(piece, data=(self._separator or b" ").join(others))
