"""JSON as it travels on the bus: UTF-8, no NaN, no Infinity, integers of any size."""

from __future__ import annotations

import json
import math
from typing import Any

import orjson
from pydantic_core import from_json

JsonValue = Any  # null, bool, int, float, str, list or object with string keys

JSON_TYPES_ONLY = orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_SUBCLASS


def loads(payload: bytes | str) -> JsonValue:
    """Parse one JSON document. Raises ValueError, also for NaN, Infinity and endless nesting."""
    return from_json(payload, allow_inf_nan=False)


def dumps(value: JsonValue) -> bytes:
    """Compact UTF-8 JSON; object keys must be strings.

    orjson writes NaN as null, so callers check numbers before (`is_scalar` does). It refuses integers
    beyond 64 bit, which serial numbers and counters of some meters are: those take the slow way.
    """
    try:
        return orjson.dumps(value, option=JSON_TYPES_ONLY)
    except orjson.JSONEncodeError:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def is_scalar(value: Any) -> bool:
    """Whether `value` can be a datapoint's value on the wire: text, finite number, bool or null."""
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, str):
        return is_text(value)
    return value is None or isinstance(value, int)


def is_text(value: str) -> bool:
    """Whether UTF-8 can say it: half a surrogate pair, which JSON's escapes allow, it cannot."""
    try:
        return value.isascii() or bool(value.encode())
    except UnicodeEncodeError:
        return False
