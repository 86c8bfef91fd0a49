"""Lines of values, as OemGateway's and emonHub's socket listeners take them: `14 15 26` is node 14 with two values."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from connectors.socket.trees import MOST_VALUES, too_large
from wattbus.connector import Scalar
from wattbus.errors import DecodeError

NUMBER = re.compile(r"[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")
WHOLE = re.compile(r"[-+]?[0-9]+")
NONE = re.compile(r"[-+]?(?:nan|inf(?:inity)?)|null", re.IGNORECASE)
LONGEST_NUMBER = 400
# A "unix time" outside 2000 to 2100 is something else: a node, a time in milliseconds, damage.
EARLIEST_S, LATEST_S = 946_684_800, 4_102_444_800


@dataclass(frozen=True, slots=True)
class ValueLine:
    """A node's values, in order. `timestamp_ms` is the sender's own time where the line has one."""

    node: int
    values: Sequence[Scalar]
    timestamp_ms: int | None = None


def parse_value_line(
    text: str, *, separator: str = "", timestamped: bool = False, targeted: bool = False, node_offset: int = 0
) -> ValueLine:
    """`[unix time] node [target] value value …`. Raises DecodeError.

    The order, and the meaning of the options, are emonHub's (EmonHubSocketInterfacer: `timestamped`, `targeted`,
    `nodeoffset`). One value that is not a number refuses the line: where one byte is damaged, its neighbours may
    be too.
    """
    fields = split(text, separator)
    if len(fields) > MOST_VALUES:
        raise too_large()
    before = timestamped + 1 + targeted
    if len(fields) <= before:
        raise DecodeError(f"a line with {len(fields)} fields: expected {_expected(timestamped, targeted)}")
    timestamp_ms = _unix_time_ms(fields[0]) if timestamped else None
    node = _id(fields[int(timestamped)], "node") + node_offset
    if node < 0:
        raise DecodeError(f"node {node}")
    if targeted:
        _id(fields[before - 1], "target")
    return ValueLine(node, [number(field) for field in fields[before:]], timestamp_ms)


def parse_numbers(text: str, *, separator: str = "") -> list[Scalar]:
    """A line of numbers alone. Raises DecodeError."""
    fields = split(text, separator)
    if not fields:
        raise DecodeError("an empty line")
    if len(fields) > MOST_VALUES:
        raise too_large()
    return [number(field) for field in fields]


def split(text: str, separator: str) -> list[str]:
    """The fields of a line; without a separator, white space is between them."""
    return [field.strip() for field in text.strip().split(separator)] if separator else text.split()


def number(field: str) -> Scalar:
    """A number; `15` stays whole. `nan`, `inf`, `null`: None. Raises DecodeError."""
    if NUMBER.fullmatch(field) and len(field) <= LONGEST_NUMBER:
        if WHOLE.fullmatch(field):
            return int(field)
        value = float(field)
        return value if math.isfinite(value) else None
    if NONE.fullmatch(field):
        return None
    raise DecodeError(f"{field!r:.40} is not a number")


def _id(field: str, what: str) -> int:
    if not re.fullmatch(r"[0-9]{1,18}", field):
        hint = "; for names and values: PARSE_AS=PAIRS" if re.search(r"\w[=:]", field) else ""
        raise DecodeError(f"{field!r:.40} is no {what} (a whole number){hint}")
    return int(field)


def _unix_time_ms(field: str) -> int:
    seconds = number(field)
    if not isinstance(seconds, int | float) or not EARLIEST_S <= seconds < LATEST_S:
        raise DecodeError(f"{field!r:.40} is no unix time in seconds")
    return round(seconds * 1000)


def _expected(timestamped: bool, targeted: bool) -> str:
    words = ["unix time"] * timestamped + ["node"] + ["target"] * targeted
    return ", ".join(words) + " and at least one value"
