"""Values, times and states in words."""

from __future__ import annotations

import datetime
import json

from api.datapoints import KnownDatapoint
from api.page.units import symbol
from wattbus.jsontext import JsonValue

NOTHING = "–"
MINUTE_S, HOUR_S, DAY_S = 60, 3600, 86_400
LONGEST_VALUE = 200  # characters of a text

OUTCOMES = {
    "applied": "Applied",
    "rejected": "Rejected",
    "failed": "Failed",
    "expired": "Expired",
    "unknown": "Not known yet",
}


def name_of(datapoint: KnownDatapoint) -> str:
    """What people call it: its name, else its description, else its key."""
    return datapoint.short_name or datapoint.description or datapoint.key


def number_text(number: float) -> str:
    """With as many decimals as mean something."""
    size = abs(number)
    if isinstance(number, int) or number == int(number) or size >= 10_000:
        return f"{number:,.0f}".replace(",", "\u202f")
    decimals = 1 if size >= 100 else 2 if size >= 1 else 3
    return f"{number:.{decimals}f}".rstrip("0").rstrip(".")


def value_text(value: JsonValue, unit: str = "") -> str:
    """A value with its unit."""
    if value is None:
        return NOTHING
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, int | float):
        symbols = symbol(unit)
        return f"{number_text(value)}\u202f{symbols}" if symbols else number_text(value)
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}…"


def span_text(seconds: float) -> str:
    """How long: `12 s`, `5 min`, `3 h`, `2 d`."""
    for length, name in ((DAY_S, "d"), (HOUR_S, "h"), (MINUTE_S, "min")):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {name}"
    return f"{max(0, seconds):.0f} s"


def age_text(timestamp_ms: int | None, now_ms: int) -> str:
    """How long ago."""
    if timestamp_ms is None:
        return "never"
    if timestamp_ms > now_ms + 2000:
        return f"in {span_text((timestamp_ms - now_ms) / 1000)}"
    return f"{span_text((now_ms - timestamp_ms) / 1000)} ago"


def time_text(timestamp_ms: int | None, zone: datetime.tzinfo, now_ms: int, *, seconds: bool = True) -> str:
    """Clock time; the date too when it is another day."""
    if timestamp_ms is None:
        return NOTHING
    moment = datetime.datetime.fromtimestamp(timestamp_ms / 1000, zone)
    today = datetime.datetime.fromtimestamp(now_ms / 1000, zone).date()
    if moment.date() == today:
        return moment.strftime("%H:%M:%S" if seconds else "%H:%M")
    if abs((moment.date() - today).days) == 1:
        day = "tomorrow" if moment.date() > today else "yesterday"
        return f"{day} {moment:%H:%M}"
    return moment.strftime("%Y-%m-%d %H:%M")


def count_text(number: int, one: str) -> str:
    """`1 datapoint`, `2 datapoints`."""
    return f"{number:,} {one}{'' if number == 1 else 's'}".replace(",", "\u202f")
