"""What a message to a datapoint may be: value, setpoint, schedule, each as a whole. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from api import validation
from api.datapoints import KnownDatapoint
from api.errors import Invalid
from api.validation import MOST_ITEMS, NOT_NULL, Fault, checked, each, number_or_none
from wattbus.jsontext import JsonValue
from wattbus.storage.records import PlanKind

Check = Callable[[JsonValue], Any]


def value_message(datapoint: KnownDatapoint, body: JsonValue, now_ms: int) -> dict[str, Any]:
    """`value` and `timestamp`. Raises Invalid."""
    return checked(body, {"value": _value_of(datapoint), "timestamp": _time(now_ms)})


def plan_message(kind: PlanKind, datapoint: KnownDatapoint, body: JsonValue, now_ms: int) -> dict[str, Any]:
    """The list of items under the kind's name, and `timestamp`. Raises Invalid.

    A setpoint that is null means none, as an empty list does, and becomes one: not every controller takes null.
    """

    def items(given: JsonValue) -> list[Any]:
        if given is None and kind == "setpoint":
            return []
        return plan_items(kind, datapoint, given, now_ms)

    return checked(body, {kind: items, "timestamp": _time(now_ms)})


def plan_items(kind: PlanKind, datapoint: KnownDatapoint, given: JsonValue, now_ms: int) -> list[Any]:
    """The items of a setpoint or schedule. Raises Invalid, Fault."""
    if given is None:
        raise Fault(NOT_NULL)
    if isinstance(given, list) and len(given) > MOST_ITEMS:
        raise Fault(f"Ensure this field has no more than {MOST_ITEMS} elements.")
    check = _setpoint_item if kind == "setpoint" else _schedule_item
    return each(given, lambda item: check(datapoint, item, now_ms))


def _schedule_item(datapoint: KnownDatapoint, item: JsonValue, now_ms: int) -> dict[str, Any]:
    return _in_order(checked(item, {**_span(now_ms), "value": _value_of(datapoint)}))


def _setpoint_item(datapoint: KnownDatapoint, item: JsonValue, now_ms: int) -> dict[str, Any]:
    checks = {**_span(now_ms), "preferred_value": _value_of(datapoint)}
    given = item if isinstance(item, dict) else {}
    if datapoint.data_format in validation.DISCRETE or "acceptable_values" in given:
        checks["acceptable_values"] = _acceptable_of(datapoint)
    if datapoint.data_format == "continuous_numeric" or "min_value" in given:
        checks["min_value"] = number_or_none
    if datapoint.data_format == "continuous_numeric" or "max_value" in given:
        checks["max_value"] = number_or_none
    found = _in_order(checked(item, checks))
    _consistent(found)
    return found


def _span(now_ms: int) -> dict[str, Check]:
    def moment(given: JsonValue) -> int | None:
        return None if given is None else validation.timestamp(given, now_ms)

    return {"from_timestamp": moment, "to_timestamp": moment}


def _in_order(item: dict[str, Any]) -> dict[str, Any]:
    begin, end = item["from_timestamp"], item["to_timestamp"]
    if begin is not None and end is not None and begin >= end:
        raise Invalid({"to_timestamp": ["to_timestamp must be larger than from_timestamp."]})
    return item


def _consistent(item: dict[str, Any]) -> None:
    """The preferred value of an item lies within its own bounds."""
    low, high, preferred = item.get("min_value"), item.get("max_value"), item["preferred_value"]
    if low is not None and high is not None and low > high:
        raise Invalid({"min_value": ["min_value must not be larger than max_value."]})
    if not validation.is_number(preferred):
        return
    if low is not None and preferred < low:
        raise Invalid({"preferred_value": ["preferred_value is smaller than min_value of this item."]})
    if high is not None and preferred > high:
        raise Invalid({"preferred_value": ["preferred_value is larger than max_value of this item."]})


def _value_of(datapoint: KnownDatapoint) -> Check:
    return lambda given: validation.value(datapoint, given)


def _acceptable_of(datapoint: KnownDatapoint) -> Check:
    """Choices as values of the datapoint; the reference's clients write numbers as text."""
    numeric = (*validation.NUMERIC, "bool")

    def check(given: JsonValue) -> list[Any] | None:
        if given is None:
            return None
        if not isinstance(given, list):
            raise Fault("Expected a list of values.")
        choices = [_choice(value, datapoint.data_format in numeric) for value in given]
        if not validation.is_sound(choices):
            raise Fault("NaN, Infinity and text that is no UTF-8 are no values.")
        return choices

    return check


def _choice(given: JsonValue, numeric: bool) -> JsonValue:
    if isinstance(given, list | dict):
        raise Fault("Expected a list of values.")
    return validation.read_text(given) if numeric and isinstance(given, str) else given


def _time(now_ms: int) -> Check:
    return lambda given: validation.timestamp(given, now_ms)
