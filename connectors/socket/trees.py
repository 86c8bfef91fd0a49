"""Trees of plain values, as JSON and YAML give them: how large and how deep they may be.

Whoever walks a tree walks it recursively, and each leaf becomes a datapoint.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from wattbus.errors import DecodeError
from wattbus.jsontext import JsonValue

DEEPEST = 32
MOST_VALUES = 10_000
SEPARATOR = "__"
LONGEST_KEY = 500  # characters, all levels together


def checked(tree: JsonValue) -> JsonValue:
    """The tree itself. Raises DecodeError when it is too large or too deep, or a key in it too long."""
    left = MOST_VALUES
    level = [(tree, 0)]  # nodes, and how long their keys are
    for _ in range(DEEPEST + 1):
        if max((length for _, length in level), default=0) > LONGEST_KEY:
            raise DecodeError(f"a key longer than {LONGEST_KEY} characters")
        if not any(isinstance(node, dict | list) for node, _ in level):
            return tree
        level = [
            (child, length + len(SEPARATOR) + len(name)) for node, length in level for name, child in _children(node)
        ]
        left -= len(level)
        if left < 0:
            raise too_large()
    raise too_deep()


def _children(node: JsonValue) -> Iterable[tuple[str, JsonValue]]:
    if isinstance(node, dict):
        return node.items()
    return ((str(index), child) for index, child in enumerate(node)) if isinstance(node, list) else ()


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
