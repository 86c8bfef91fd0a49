"""JSON from people we do not know. NaN and Infinity, which Python writes, become null; a key twice is refused."""

from __future__ import annotations

import json
import re
from typing import Any

from connectors.socket.trees import checked, finite, too_deep, twice
from wattbus.errors import DecodeError
from wattbus.jsontext import JsonValue


def parse_json(text: str) -> list[JsonValue]:
    """The one tree in a JSON text; the comma to the next one may be in it. Raises DecodeError."""
    text = text.strip("\0")
    if comma := _COMMA_TO_THE_NEXT.search(text):
        text = text[: comma.start()]
    try:
        tree = _JSON.decode(text.removeprefix(",") if text.startswith((",{", ",[")) else text)
    except RecursionError:
        raise too_deep() from None
    except ValueError as error:
        raise DecodeError(f"no JSON: {error}") from None
    return [checked(tree)]


_COMMA_TO_THE_NEXT = re.compile(r"(?<=[}\]])[ \t]*,\s*\Z")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise twice(key)
        found[key] = value
    return found


_JSON = json.JSONDecoder(object_pairs_hook=_unique, parse_float=finite, parse_constant=lambda _: None)
