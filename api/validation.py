"""What may be sent to a datapoint: BEMCom's rules per data format, with their faults mended. Pure.

Fields and texts are those of its REST API (django-api 0.8.6, `ems_utils/message_format/serializers.py`). Mended: null
needs no quotes; NaN and Infinity are refused; a setpoint's item must be consistent in itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any
from unicodedata import category

from api.datapoints import KnownDatapoint
from api.errors import Invalid
from wattbus.jsontext import JsonValue, loads
from wattbus.mqtt.messages import is_text

OLDEST_MS, NEWEST_MS = 500_000_000_000, 100_000_000_000  # before and after now, as the reference
MOST_ITEMS = 10_000
LONGEST_TOPIC = 65_535 - len("/schedule")  # bytes
NUMERIC = ("generic_numeric", "continuous_numeric", "discrete_numeric")
TEXT = ("generic_text", "discrete_text")
DISCRETE = ("discrete_numeric", "discrete_text")

REQUIRED = "This field is required."
NOT_NULL = "This field may not be null."


class Fault(ValueError):  # noqa: N818 - told to people, not a bug
    """Why one field does not fit."""


def value(datapoint: KnownDatapoint, given: JsonValue) -> JsonValue:
    """The value as it is published. Raises Fault.

    Text for a numeric or bool datapoint is read as JSON, as clients and backups of the reference write it.
    """
    data_format = datapoint.data_format
    if isinstance(given, str) and data_format in (*NUMERIC, "bool"):
        given = read_text(given)
    if not is_sound(given):
        raise Fault("NaN, Infinity and text that is no UTF-8 are no values.")
    if data_format in NUMERIC and not (given is None or is_number(given)):
        raise Fault("Value is not a number.")
    if data_format in TEXT and not (given is None or isinstance(given, str)):
        raise Fault("Value is not a string.")
    if data_format == "bool" and not isinstance(given, bool):
        raise Fault("Value is not true or false.")
    if data_format in DISCRETE and not any(equal(given, choice) for choice in datapoint.allowed_values or ()):
        raise Fault("Value is not in the allowed_values of this datapoint.")
    if data_format == "continuous_numeric" and given is not None:
        _in_range(given, datapoint.min_value, datapoint.max_value, "this datapoint")
    return given


def read_text(given: str) -> JsonValue:
    """Text as JSON, as clients of the reference send values. Raises Fault."""
    if not given.strip():
        raise Fault("This field may not be blank.")
    try:
        return loads(given.strip())
    except ValueError:
        raise Fault("Value cannot be parsed as JSON.") from None


def _in_range(number: float, low: float | None, high: float | None, whose: str) -> None:
    if low is not None and number < low:
        raise Fault(f"Value is smaller than the minimum of {whose} ({low:g}).")
    if high is not None and number > high:
        raise Fault(f"Value is larger than the maximum of {whose} ({high:g}).")


def is_number(given: JsonValue) -> bool:
    return isinstance(given, int | float) and not isinstance(given, bool)


def is_sound(given: JsonValue) -> bool:
    """Whether JSON and UTF-8 can say it."""
    waiting = [given]
    while waiting:
        inner = waiting.pop()
        if isinstance(inner, dict):
            waiting += [*inner, *inner.values()]
        elif isinstance(inner, list):
            waiting += inner
        elif (isinstance(inner, float) and not math.isfinite(inner)) or (isinstance(inner, str) and not is_text(inner)):
            return False
    return True


def is_topic(given: str) -> bool:
    """Whether we can publish there: one topic, of characters that MQTT takes.

    MQTT 5, 1.5.4: a broker may close the connection because of control characters and non-characters; Mosquitto does.
    """
    if not given or given.startswith("$") or any(char in given for char in "+#") or not is_text(given):
        return False
    return len(given.encode()) <= LONGEST_TOPIC and not any(category(char) in ("Cc", "Cn") for char in given)


def equal(left: JsonValue, right: JsonValue) -> bool:
    """19.0 is 19, true is not 1."""
    return bool(left == right) and isinstance(left, bool) == isinstance(right, bool)


def timestamp(given: JsonValue, now_ms: int) -> int:
    """Integer milliseconds, also as text. Raises Fault."""
    if given is None:
        raise Fault(NOT_NULL)
    if isinstance(given, str) and given.strip().lstrip("-").isdecimal() and len(given) < 20:
        given = int(given)
    if isinstance(given, float) and given.is_integer():
        given = int(given)
    if not isinstance(given, int) or isinstance(given, bool):
        raise Fault("A valid integer is required.")
    if given < now_ms - OLDEST_MS:
        raise Fault("Timestamp seems unreasonably low. Check if it is in milliseconds.")
    if given > now_ms + NEWEST_MS:
        raise Fault("Timestamp seems unreasonably high. Check if it is in milliseconds.")
    return given


def checked(body: JsonValue, checks: Mapping[str, Callable[[JsonValue], Any]]) -> dict[str, Any]:
    """Each named field, checked; others are dropped. Raises Invalid with every fault."""
    if not isinstance(body, dict):
        raise Invalid({"non_field_errors": ["Invalid data. Expected an object."]})
    faults: dict[str, Any] = {}
    found: dict[str, Any] = {}
    for name, check in checks.items():
        if name not in body:
            faults[name] = [REQUIRED]
            continue
        try:
            found[name] = check(body[name])
        except Fault as fault:
            faults[name] = [str(fault)]
        except Invalid as invalid:
            faults[name] = invalid.faults
    if faults:
        raise Invalid(faults)
    return found


def each(items: JsonValue, check: Callable[[JsonValue], Any]) -> list[Any]:
    """Every item of a list, checked. Raises Invalid with one entry per item, `{}` for the good ones."""
    if not isinstance(items, list):
        raise Fault("Expected a list of items.")
    faults: list[Any] = []
    found = []
    for item in items:
        try:
            found.append(check(item))
            faults.append({})
        except Invalid as invalid:
            faults.append(invalid.faults)
    if any(faults):
        raise Invalid(faults)
    return found


def number_or_none(given: JsonValue) -> float | None:
    """Raises Fault."""
    if isinstance(given, str):
        try:
            given = float(given)
        except ValueError:
            raise Fault("A valid number is required.") from None
    if given is None:
        return None
    if not is_number(given) or not is_sound(given):
        raise Fault("A valid number is required.")
    try:
        return float(given)
    except OverflowError:
        raise Fault("A valid number is required.") from None
