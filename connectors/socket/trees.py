"""Trees of plain values, as JSON and YAML give them: how large and how deep they may be.

Whoever walks a tree walks it recursively, and each leaf becomes a datapoint.
"""

from __future__ import annotations

import math

from wattbus.errors import DecodeError
from wattbus.jsontext import JsonValue

DEEPEST = 32
MOST_VALUES = 10_000


def checked(tree: JsonValue) -> JsonValue:
    """The tree itself. Raises DecodeError when it is too large or too deep."""
    left = MOST_VALUES
    level = [tree]
    for _ in range(DEEPEST + 1):
        containers = [node for node in level if isinstance(node, dict | list)]
        if not containers:
            return tree
        level = [child for node in containers for child in (node.values() if isinstance(node, dict) else node)]
        left -= len(level)
        if left < 0:
            raise too_large()
    raise too_deep()


def too_large() -> DecodeError:
    return DecodeError(f"more than {MOST_VALUES} values")


def too_deep() -> DecodeError:
    return DecodeError(f"nested deeper than {DEEPEST} levels")


def twice(key: str) -> DecodeError:
    return DecodeError(f"the key {key!r:.80} is there twice")


def finite(text: str) -> float | None:
    """A number; None for what is none (NaN, Infinity, 1e999): the rest of the message is as good as it was."""
    number = float(text)
    return number if math.isfinite(number) else None
