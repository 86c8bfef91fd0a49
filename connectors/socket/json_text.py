"""JSON from people we do not know. NaN and Infinity, which Python writes, become null; a key twice is refused."""

from __future__ import annotations

import json
from typing import Any

from connectors.socket.trees import checked, finite, too_deep, twice
from wattbus.errors import DecodeError
from wattbus.jsontext import JsonValue


def parse_json(text: str) -> list[JsonValue]:
    """The one tree in a JSON text. Raises DecodeError."""
    try:
        tree = _JSON.decode(text.strip("\0"))
    except RecursionError:
        raise too_deep() from None
    except ValueError as error:
        raise DecodeError(f"no JSON: {error}") from None
    return [checked(tree)]


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise twice(key)
        found[key] = value
    return found


_JSON = json.JSONDecoder(object_pairs_hook=_unique, parse_float=finite, parse_constant=lambda _: None)
