"""Whether a command fits its datapoint: type, range, allowed values. Pure."""

from __future__ import annotations

import contextlib
import math

from wattbus.connector import Datapoint, Scalar
from wattbus.errors import CommandRejected
from wattbus.jsontext import JsonValue
from wattbus.mqtt.messages import is_scalar

NUMERIC = ("generic_numeric", "continuous_numeric", "discrete_numeric")


def checked(datapoint: Datapoint, value: JsonValue) -> Scalar:
    """The value as the connector gets it. Raises CommandRejected when type or range do not fit the datapoint.

    Numbers may arrive as text, and 0 and 1 stand for false and true, as the reference's senders write them.
    """
    if not is_scalar(value):
        raise CommandRejected(f"{value!r:.80} is not a value: send a number, text, true, false or null")
    allowed = datapoint.allowed_values
    if datapoint.data_format in NUMERIC:
        value = _number(value, allowed)
    elif datapoint.data_format == "bool":
        value = _boolean(value)
    elif datapoint.data_format in ("generic_text", "discrete_text") and not isinstance(value, str):
        raise CommandRejected(f"{value!r:.80} is not text")
    if allowed is not None and not any(_equal(value, choice) for choice in allowed):
        raise CommandRejected(f"{value!r:.80} is not allowed: choose from {', '.join(map(repr, allowed))}")
    _in_range(datapoint, value)
    return value  # type: ignore[no-any-return]


def _number(value: Scalar, allowed: tuple[Scalar, ...] | None) -> Scalar:
    if value is None and allowed is not None and None in allowed:
        return None
    if isinstance(value, str):
        with contextlib.suppress(ValueError):
            return int(value)
        try:
            number = float(value)
        except ValueError:
            raise CommandRejected(f"{value!r:.80} is not a number") from None
        if not math.isfinite(number):
            raise CommandRejected(f"{value!r:.80} is not a number")
        return number
    if value is None or isinstance(value, bool):
        raise CommandRejected(f"{value!r} is not a number")
    return value


def _boolean(value: Scalar) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, int | float) and value in (0, 1):
        return bool(value)
    raise CommandRejected(f"{value!r:.80} is neither true nor false")


def _equal(value: Scalar, choice: Scalar) -> bool:
    return value == choice and isinstance(value, bool) == isinstance(choice, bool)


def _in_range(datapoint: Datapoint, value: Scalar) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return
    low, high = datapoint.min_value, datapoint.max_value
    if low is not None and value < low:
        raise CommandRejected(f"{value!r:.80} is less than the minimum {low:g}")
    if high is not None and value > high:
        raise CommandRejected(f"{value!r:.80} is greater than the maximum {high:g}")
