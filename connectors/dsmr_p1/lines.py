"""One line of a telegram: `1-0:1.8.1(000004.426*kWh)`. Pure.

A line is an OBIS code and values in brackets. Most lines of a meter are the same from one telegram to the next, so
what was read is remembered per profile, by the line's text.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import TypeAlias

from connectors.dsmr_p1 import meter_time
from connectors.dsmr_p1.logs import failures, peaks
from connectors.dsmr_p1.media import MBUS_ROWS, READING_NAMES
from connectors.dsmr_p1.profiles import Profile, Row
from connectors.dsmr_p1.values import described, number, numbered_values, suffix, ucum, value_of
from wattbus.connector import Quantity

LINES_REMEMBERED = 4096

_LINE = re.compile(r"([0-9A-Za-z.:*&-]+)((?:\([^()]*\))+)\s*")
_MBUS = re.compile(r"0-([1-9]\d*):(.+)")

Values: TypeAlias = tuple[tuple[str, Quantity], ...]


@dataclass(frozen=True, slots=True)
class Plain:
    """Values at the time of the telegram, by their keys."""

    code: str
    values: Values
    counter: bool = False


@dataclass(frozen=True, slots=True)
class Timed:
    """Values that have a time of their own, as the meter printed it."""

    code: str
    time: str
    values: Values
    counter: bool = False


@dataclass(frozen=True, slots=True)
class ClockLine:
    """When the telegram was made, as the meter printed it."""

    time: str


@dataclass(frozen=True, slots=True, eq=False)  # remembered as they are: found again by identity
class Mbus:
    """A line of the M-Bus device on a channel; its key follows from what kind of device it is.

    `time` is that of a reading, as the device printed it, and "" for anything else.
    """

    channel: int
    code: str
    name: str
    quantity: Quantity
    time: str = ""


Line: TypeAlias = Plain | Timed | ClockLine | Mbus
Reader: TypeAlias = Callable[[str], Line | None]


@cache
def reader(profile: Profile) -> Reader:
    """What reads the lines of this profile's telegrams: None for a line that says nothing (`0-0:96.13.0()`)."""

    @lru_cache(maxsize=LINES_REMEMBERED)
    def read(line: str) -> Line | None:
        return _read(line, profile)

    return read


def is_line(text: str) -> bool:
    """Whether this has the form of a line."""
    return _LINE.fullmatch(text) is not None


def _read(line: str, profile: Profile) -> Line | None:
    match = _LINE.fullmatch(line)
    if match is None:
        return None
    code = match[1].removesuffix("*255")  # "no billing period" [IEC 62056-6-1, value group F]
    fields = match[2][1:-1].split(")(")
    row = profile.rows.get(code)
    if row is None:
        mbus = _MBUS.fullmatch(code)
        return _mbus(int(mbus[1]), code, mbus[2], fields) if mbus else _unknown(code, fields)
    match row.kind:
        case "clock":
            return ClockLine(fields[0]) if fields[0] else None
        case "failure log":
            return Plain(code, tuple(failures(row, fields)))
        case "peaks":
            found = peaks(row, fields)
            return Timed(code, *found) if found else None
        case "month":
            values = tuple(numbered_values(row, fields[1:]))
            return Timed(code, fields[0], values, row.counter) if values else None
        case _:
            return _known(row, fields)


def _known(row: Row, fields: list[str]) -> Line | None:
    if len(fields) == 1:
        value = value_of(row.name, row, fields[0])
        return Plain(row.code, (value,), row.counter) if value else None
    if len(fields) == 2 and row.kind == "number" and meter_time.parse(fields[0]) is not None:
        value = value_of(row.name, row, fields[1])
        return Timed(row.code, fields[0], (value,), row.counter) if value else None
    values = tuple(numbered_values(row, fields))
    return Plain(row.code, values, row.counter) if values else None


def _mbus(channel: int, code: str, short: str, fields: list[str]) -> Line | None:
    if short.startswith("24.2."):
        return _mbus_reading(channel, code, fields)
    if short == "24.3.0":
        return _mbus_reading(channel, code, _as_new_notation(fields))
    row = MBUS_ROWS.get(short)
    if row is None:
        return _unknown(code, fields)
    value = value_of(row.name, Row(code, row.name, row.text, row.kind), fields[0])
    return Mbus(channel, code, *value) if value else None


def _mbus_reading(channel: int, code: str, fields: list[str]) -> Line | None:
    """`(time)(value*unit)`; without a time before the value, that of the telegram counts."""
    if not fields:
        return None
    time = fields[0] if len(fields) > 1 else ""
    text, _, unit = fields[-1].partition("*")
    value = number(text)
    if value is None:
        return None
    if not unit and meter_time.parse(time) is None:
        return None  # what meters print before they heard of the device: (632525252525W)(00000.000)
    name = READING_NAMES.get(unit.lower(), "reading")
    quantity = Quantity(value, ucum(unit), described("reading", code))
    return Mbus(channel, code, f"{name}_{suffix(unit)}" if unit else name, quantity, time)


def _as_new_notation(fields: list[str]) -> list[str]:
    """DSMR 2 and 3: `(time)(status)(period)(number)(code)(unit)(value)`, one code and unit per value."""
    if len(fields) < 7:
        return []
    return [fields[0], f"{fields[-1]}*{fields[5]}"]


def _unknown(code: str, fields: list[str]) -> Line | None:
    """A line that no table has: its code is its key; numbers, times and texts are told apart by how they look."""
    if len(fields) == 2 and meter_time.parse(fields[0]) is not None:
        value = _guess(code, fields[1])
        return None if value is None else Timed(code, fields[0], ((code, value),))
    values: list[tuple[str, Quantity]] = []
    for index, field in enumerate(fields, 1):
        value = _guess(code, field)
        if value is not None:
            values.append((code if len(fields) == 1 else f"{code}_{index}", value))
    return Plain(code, tuple(values)) if values else None


def _guess(code: str, field: str) -> Quantity | None:
    text, star, unit = field.partition("*")
    if not text:
        return None
    found = number(text)
    # A row of digits under an abstract code (0-…, or group C from 94) is a name more often than a number.
    is_number = star or "." in text or (code.startswith("1-") and not re.match(r"1-\d+:9[4-9]\.", code))
    if found is not None and is_number:
        return Quantity(found, ucum(unit), code)
    wall = meter_time.parse(text)
    if wall is not None and wall.flag:
        return Quantity(meter_time.iso(wall.candidates[0]), "", code)
    return Quantity(field, "", code)
