"""Comparing values that come from different senders: numbers also as text, booleans also as 0 and 1. Pure."""

from __future__ import annotations

import math
import re

from wattbus.jsontext import JsonValue, dumps

LONGEST_NUMBER = 400  # characters; longer digits are text, not a number that anybody measured
_NUMBER = re.compile(r"\s*[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?\s*", re.ASCII)


def number(value: JsonValue) -> int | float | None:
    """The number in a value, None when there is none (also for NaN and Infinity).

    True and false are 1 and 0, as BEMCom's own code compares them.
    """
    if isinstance(value, str):
        if len(value) > LONGEST_NUMBER or not _NUMBER.fullmatch(value):
            return None
        text = value.strip()
        value = float(text) if any(char in text for char in ".eE") else int(text)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if isinstance(value, int) else None


def equal(value: JsonValue, choice: JsonValue) -> bool:
    """Whether a sensor's value is this choice. BEMCom's REST leaves choices as text: `"19"`, `"true"`."""
    left, right = number(value), number(choice)
    if left is not None and right is not None:
        return left == right
    return bool(_plain(value) == _plain(choice))


def _plain(value: JsonValue) -> JsonValue:
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else value


def same(value: JsonValue, other: JsonValue) -> bool:
    """Whether sending `other` after `value` would change nothing: 21 and 21.0 are one, 21 and "21" are not."""
    return bool(value == other) and isinstance(value, bool) == isinstance(other, bool)


def text(value: JsonValue) -> str:
    """A value as people read it."""
    return f"{value:.12g}" if isinstance(value, float) else dumps(value).decode()[:100]
