"""The raw message inside a payload, as the very text that it is there. Pure."""

from __future__ import annotations

import re
from json import JSONDecoder
from typing import NamedTuple, NoReturn

from wattbus.mqtt.messages import BadMessage, is_text

LARGEST_TIMESTAMP = 2**53

_SPACE = re.compile(r"[ \t\n\r]*")
_INTEGER = re.compile(r"-?[0-9]{1,16}")


class Envelope(NamedTuple):
    """What a payload says; `raw_message` is its JSON text, not a character changed."""

    raw_message: str
    timestamp_ms: int
    connector_version: str | None


def open_envelope(payload: bytes) -> Envelope:
    """Read our form and the reference's, which nests the message in `payload`. Raises BadMessage.

    All of it must be JSON as RFC 8259 has it: no NaN, no Infinity. Nothing is asked of the message beyond that.
    """
    try:
        text = payload.decode()
        outer = inner = _members(text, 0)
        if "raw_message" not in outer and "payload" in outer:
            inner = _members(outer["payload"], 0)
    except (ValueError, RecursionError) as error:
        raise BadMessage(str(error)) from None
    if "raw_message" not in inner:
        raise BadMessage("raw_message: Field required")
    version = outer.get("connector_version", "null")
    return Envelope(inner["raw_message"], _timestamp(inner.get("timestamp", "")), _version(version))


def _members(text: str, start: int) -> dict[str, str]:
    """Name → text of the value, of the one object that `text` is. Of members with one name the last counts."""
    members: dict[str, str] = {}
    at = _expect(text, _skip(text, start), "{")
    if text[at : at + 1] == "}":
        return _ended(text, at + 1, members)
    while True:
        if text[at : at + 1] != '"':
            raise ValueError(f"expected a name at character {at}")
        name, end = _DECODER.raw_decode(text, at)
        begin = _expect(text, _skip(text, end), ":")
        _, end = _DECODER.raw_decode(text, begin)
        members[name] = text[begin:end]
        at = _skip(text, end)
        if text[at : at + 1] == "}":
            return _ended(text, at + 1, members)
        at = _expect(text, at, ",")


def _skip(text: str, at: int) -> int:
    space = _SPACE.match(text, at)
    return space.end() if space else at


def _expect(text: str, at: int, char: str) -> int:
    """The place of what follows `char`."""
    if text[at : at + 1] != char:
        raise ValueError(f"expected {char} at character {at}")
    return _skip(text, at + 1)


def _ended(text: str, at: int, members: dict[str, str]) -> dict[str, str]:
    if _skip(text, at) != len(text):
        raise ValueError(f"more than one JSON document, at character {at}")
    return members


def _timestamp(text: str) -> int:
    if not _INTEGER.fullmatch(text) or abs(int(text)) > LARGEST_TIMESTAMP:
        raise BadMessage("timestamp: expected milliseconds, an integer")
    return int(text)


def _version(text: str) -> str | None:
    """A version that is not text is not worth losing the message for."""
    version = _DECODER.decode(text)
    return version if isinstance(version, str) and is_text(version) else None


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


# The values are not used. As a float an integer may have more digits than Python would read.
_DECODER = JSONDecoder(parse_int=float, parse_constant=_refuse)
