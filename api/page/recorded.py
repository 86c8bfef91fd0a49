"""What history has of a datapoint, thinned out so that a plot of any length has about as many points."""

from __future__ import annotations

from api.core import Core
from api.datapoints import KnownDatapoint
from api.page.plot import Point
from api.validation import NUMERIC
from wattbus.jsontext import JsonValue
from wattbus.storage import Span, StoredValue

POINTS = 720
MOST_POINTS = 2000
ALL_BELOW_MS = 20 * 60_000  # in so short a time every value is shown


async def recorded(core: Core, datapoint: KnownDatapoint, from_ms: int, to_ms: int) -> list[Point]:
    """Averages over intervals, or every value when the time is short. Raises DatabaseAway."""
    span = Span(from_ms, to_ms)
    if to_ms - from_ms > ALL_BELOW_MS and is_numeric(datapoint):
        values = await core.history.aggregate(datapoint, interval_ms(to_ms - from_ms), "avg", span)
    else:
        values = await core.history.values(datapoint, span, at_most=MOST_POINTS, newest_first=True)
        values.sort(key=lambda value: value.timestamp_ms)
    return [point_of(value) for value in values]


def interval_ms(length_ms: int) -> int:
    """Of averages: whole seconds."""
    return max(1000, length_ms // POINTS // 1000 * 1000)


def is_numeric(datapoint: KnownDatapoint) -> bool:
    """Whether averages make sense."""
    return datapoint.data_format in NUMERIC or isinstance(datapoint.example_value, float)


def point_of(value: StoredValue) -> Point:
    return value.timestamp_ms, shown(value.value)


def shown(value: JsonValue) -> float | str | None:
    """On and off are 1 and 0."""
    if value is None or isinstance(value, str):
        return value
    return float(value) if isinstance(value, bool | int | float) else str(value)
