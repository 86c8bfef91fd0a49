"""A value of any JSON type, in columns.

A number lies in `number` (double precision), so that databases can compute with it; `whole` says that it was written
as an integer, so that 21 comes back as 21 and 21.0 as 21.0. Everything else lies in `other` as JSON text: text, true,
false, null, lists, objects, and integers beyond 2^53, which a double would round.
"""

from __future__ import annotations

import json
import math
from typing import NamedTuple

from wattbus.errors import WattbusError
from wattbus.jsontext import JsonValue, dumps

LARGEST_EXACT = 2**53


class Unstorable(WattbusError):  # noqa: N818
    """No JSON value: NaN, Infinity, or digits without end."""


class Columns(NamedTuple):
    number: float | None
    whole: int
    other: str | None


_TRUE, _FALSE, _NULL = (Columns(None, 0, text) for text in ("true", "false", "null"))


def to_columns(value: JsonValue) -> Columns:
    """The columns of a JSON value. Raises Unstorable when it is none."""
    kind = type(value)
    if kind is float:
        if not math.isfinite(value):
            raise Unstorable("NaN and Infinity are no values")
        return Columns(value, 0, None)
    if kind is int and -LARGEST_EXACT <= value <= LARGEST_EXACT:
        return Columns(float(value), 1, None)
    if value is True:
        return _TRUE
    if value is False:
        return _FALSE
    if value is None:
        return _NULL
    return Columns(None, 0, to_text(value))


def from_columns(number: float | None, whole: int, other: str | None) -> JsonValue:
    """The JSON value that `to_columns` took apart."""
    if number is not None:
        return int(number) if whole else number
    return json.loads(other) if other is not None else None


def to_text(value: JsonValue) -> str:
    """A JSON value as text that every database takes. Raises Unstorable when it is no JSON value.

    Lone surrogates, which JSON can escape and UTF-8 cannot hold, stay escaped.
    """
    if isinstance(value, list | dict):
        _check_numbers(value)
    try:
        return dumps(value).decode()
    except UnicodeEncodeError:
        return json.dumps(value, allow_nan=False, separators=(",", ":"))
    except (ValueError, TypeError, RecursionError) as error:
        raise Unstorable(str(error)) from None


def storable(text: str) -> str:
    """Text that every database takes: PostgreSQL has no NUL character; its picture ␀ (U+2400) stands for it."""
    return text.replace("\0", "\u2400") if "\0" in text else text


def from_text(text: str) -> JsonValue:
    return json.loads(text)


def _check_numbers(value: JsonValue) -> None:
    """The fast JSON writer turns NaN into null instead of refusing it."""
    waiting = [value]
    while waiting:
        inner = waiting.pop()
        if isinstance(inner, dict):
            waiting += inner.values()
        elif isinstance(inner, list):
            waiting += inner
        elif isinstance(inner, float) and not math.isfinite(inner):
            raise Unstorable("NaN and Infinity are no values")
