"""Lines of names and values: `power=100 temp=21.5`, `ct1:100,ct2:5`. Pure."""

from __future__ import annotations

import re

from connectors.socket.trees import LONGEST_KEY, MOST_VALUES, too_large, twice
from connectors.socket.value_lines import NONE, NUMBER, number
from wattbus.connector import Scalar
from wattbus.errors import DecodeError

_BETWEEN = re.compile(r"[\s,;&]+")
# A text in quotes may hold whatever stands between pairs. Behind `v= ` there may be a value, or the next pair.
_PAIR = re.compile(
    r"""\s*([^\s=:,;&"']+|"[^"]*")\s*([=:])(?:\s+(?![^\s=:,;&"']+\s*=))?"""
    r"""("[^"]*"|'[^']*'|[^\s,;&"']*)(?=[\s,;&]|$)"""
)
_WORDS = {"true": True, "false": False}


def parse_pairs(text: str, *, separator: str = "") -> dict[str, Scalar]:
    """Values by their names. Raises DecodeError.

    `=` or `:` stands between name and value; white space, `,`, `;` or `&` between two pairs, or `separator` alone.
    Brackets around the whole line are left out, as emoncms takes it (`{power1:100,power2:200}`). What is not a number
    is text; one pair that is none refuses the line: where one byte is damaged, its neighbours may be too.
    """
    text = text.strip()
    if text.startswith("{") and text.endswith("}"):
        text = text[1:-1]
    pairs = _separated(text, separator) if separator else _free(text)
    if not pairs:
        raise DecodeError("an empty line")
    if len(pairs) > MOST_VALUES:
        raise too_large()
    values: dict[str, Scalar] = {}
    for name, value in pairs:
        if not name or len(name) > LONGEST_KEY:
            raise DecodeError(f"{name!r:.40} is no name")
        if name in values:
            raise twice(name)
        values[name] = _value(value)
    return values


def _separated(text: str, separator: str) -> list[tuple[str, str]]:
    pairs = []
    for field in text.split(separator):
        sign = min((place for place in (field.find("="), field.find(":")) if place >= 0), default=-1)
        if sign < 0:
            raise _no_pair(field)
        pairs.append((field[:sign].strip().strip('"'), field[sign + 1 :].strip()))
    return pairs


def _free(text: str) -> list[tuple[str, str]]:
    pairs: list[tuple[str, str]] = []
    place = _skip(text, 0)
    while place < len(text):
        match = _PAIR.match(text, place)
        if match is None:
            raise _no_pair(text[place:])
        pairs.append((match[1].strip('"'), match[3]))
        place = _skip(text, match.end())
    return pairs


def _skip(text: str, place: int) -> int:
    between = _BETWEEN.match(text, place)
    return between.end() if between else place


def _value(text: str) -> Scalar:
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'":
        return text[1:-1]
    if not text or NONE.fullmatch(text):
        return None
    return number(text) if NUMBER.fullmatch(text) else _WORDS.get(text.lower(), text)


def _no_pair(text: str) -> DecodeError:
    return DecodeError(f"{text.strip()!r:.40} is no name with a value: expected name=value or name:value")
