"""Query parameters: spans of time, intervals, lists of ids. Pure."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from fastapi import Query

from api.errors import fault
from wattbus.storage import Span

LATEST_MS = 2**53
LONGEST_INTERVAL_MS = 3660 * 86_400_000  # ten years

Moment = Annotated[int | None, Query(ge=-LATEST_MS, le=LATEST_MS, description="Milliseconds since 1970-01-01 UTC.")]
Limit = Annotated[int | None, Query(ge=0, le=500_000, description="At most so many.")]
Order = Annotated[Literal["asc", "desc"], Query(description="By time: rising or falling; `limit` takes the first.")]

_UNITS_MS = {
    "millisecond": 1,
    "ms": 1,
    "second": 1000,
    "sec": 1000,
    "s": 1000,
    "minute": 60_000,
    "min": 60_000,
    "m": 60_000,
    "hour": 3_600_000,
    "h": 3_600_000,
    "day": 86_400_000,
    "d": 86_400_000,
    "week": 604_800_000,
    "w": 604_800_000,
}
_PART = re.compile(r"\s*(\d{1,15}(?:\.\d{1,9})?)\s*([a-zA-Z]+)\s*")
_ISO = re.compile(
    r"P(?:(?P<w>\d{1,9})W)?(?:(?P<d>\d{1,9})D)?"
    r"(?:T(?:(?P<h>\d{1,9})H)?(?:(?P<m>\d{1,9})M)?(?:(?P<s>\d{1,9}(?:\.\d{1,3})?)S)?)?"
)


def span(gte: int | None = None, gt: int | None = None, lte: int | None = None, lt: int | None = None) -> Span:
    """The half-open span that meets all of the bounds."""
    begins = [bound for bound in (gte, None if gt is None else gt + 1) if bound is not None]
    ends = [bound for bound in (lt, None if lte is None else lte + 1) if bound is not None]
    return Span(max(begins, default=None), min(ends, default=None))


def interval_ms(text: str) -> int:
    """`15 minutes`, `1 hour 30 min`, `PT15M`, `P1D` in milliseconds. Raises Invalid."""
    found = _from_iso(text) if text.strip().upper().startswith("P") else _from_words(text)
    if found is None or not 1 <= found <= LONGEST_INTERVAL_MS:
        raise fault("interval", f"{text!r:.80} is no interval: write 15 minutes, 1 hour, 1 day or PT15M.")
    return found


def _from_iso(text: str) -> int | None:
    match = _ISO.fullmatch(text.strip().upper())
    if match is None:
        return None
    parts = [round(float(number) * _UNITS_MS[unit]) for unit, number in match.groupdict().items() if number]
    return sum(parts) if parts else None


def _from_words(text: str) -> int | None:
    total, place = 0.0, 0
    while place < len(text):
        match = _PART.match(text, place)
        if match is None:
            return None
        word = match[2].lower()
        factor = _UNITS_MS.get(word) or _UNITS_MS.get(word.removesuffix("s"))
        if factor is None:
            return None
        total += float(match[1]) * factor
        place = match.end()
    return round(total) if text.strip() else None


def ids(name: str, text: str | None) -> set[int] | None:
    """`1,2,3`; None when the parameter is not there. Raises Invalid."""
    if text is None:
        return None
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not all(part.isascii() and part.isdecimal() and len(part) < 20 for part in parts):
        raise fault(name, "Enter numbers, separated by commas.")
    return {int(part) for part in parts}
