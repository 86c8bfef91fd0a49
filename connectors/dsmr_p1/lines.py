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
from connectors.dsmr_p1.meter_time import Zone
from connectors.dsmr_p1.profiles import Profile, Row
from connectors.dsmr_p1.timestamps import FIRST_MS, LAST_MS
from connectors.dsmr_p1.values import described, number, numbered_values, parts, plain_text, suffix, ucum, value_of
from wattbus.connector import Quantity

LINES_REMEMBERED = 4096

_LINE = re.compile(r"([0-9A-Za-z.:*&-]+)((?:\([^()]*\))+)\s*")
_TIME = re.compile(r"\d{12}[SW]?")
_EMPTY_TABLE = re.compile(r"\(0+\)")  # entries that there are: none
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


@dataclass(frozen=True, slots=True)
class Odd:
    """A line of no known form."""

    text: str


Line: TypeAlias = Plain | Timed | ClockLine | Mbus | Odd
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
        return Odd(line.strip()) if line.strip() and not line.startswith("!") else None
    said = _said(match, profile)
    if said is None and _holds_something(match[2]):
        return Odd(line.strip())
    return said


def _holds_something(brackets: str) -> bool:
    """Whether it is more than empty brackets, filler, and zeros at a time that no clock ever said."""
    fields = [plain_text(field) for field in brackets[1:-1].split(")(")]
    return any(parts(field)[0] for field in fields) and not _is_placeholder(fields) and not _EMPTY_TABLE.match(brackets)


def _is_placeholder(fields: list[str]) -> bool:
    """What meters print before there is anything: `(632525252525W)(00000.000)`, `(700101010000W)(00000000)`."""
    if len(fields) < 2 or not _TIME.fullmatch(fields[0]):
        return False
    wall = meter_time.parse(fields[0])
    if wall is not None and FIRST_MS <= wall.wall_ms < LAST_MS:
        return False
    text, _ = parts(fields[-1])
    return not text or (number(text) is not None and not text.strip("+-0."))


def _said(match: re.Match[str], profile: Profile) -> Line | None:
    code = match[1].removesuffix("*255")  # "no billing period" [IEC 62056-6-1, value group F]
    fields = match[2][1:-1].split(")(")
    row = profile.rows.get(code)
    if _is_placeholder(fields):
        return None
    if row is None:
        mbus = _MBUS.fullmatch(code)
        return (
            _mbus(int(mbus[1]), code, mbus[2], fields, profile.zone) if mbus else _unknown(code, fields, profile.zone)
        )
    match row.kind:
        case "clock":
            return ClockLine(fields[0]) if fields[0] else None
        case "failure log":
            return Plain(code, tuple(failures(row, fields, profile.zone)))
        case "peaks":
            found = peaks(row, fields, profile.zone)
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
    if len(fields) == 2 and row.kind == "number" and _TIME.fullmatch(fields[0]):
        value = value_of(row.name, row, fields[1])
        return Timed(row.code, fields[0], (value,), row.counter) if value else None
    values = tuple(numbered_values(row, fields))
    return Plain(row.code, values, row.counter) if values else None


def _mbus(channel: int, code: str, short: str, fields: list[str], zone: Zone) -> Line | None:
    if short.startswith("24.2."):
        return _mbus_reading(channel, code, fields)
    if short == "24.3.0":
        return _mbus_reading(channel, code, _as_new_notation(fields))
    row = MBUS_ROWS.get(short)
    if row is None:
        return _unknown(code, fields, zone)
    value = value_of(row.name, Row(code, row.name, row.text, row.kind), fields[0])
    return Mbus(channel, code, *value) if value else None


def _mbus_reading(channel: int, code: str, fields: list[str]) -> Line | None:
    """`(time)(value*unit)`; without a time before the value, that of the telegram counts."""
    if not fields:
        return None
    time = fields[0] if len(fields) > 1 else ""
    text, unit = parts(fields[-1])
    value = number(text)
    if value is None:
        return None
    name = READING_NAMES.get(unit.lower(), "reading")
    quantity = Quantity(value, ucum(unit), described("reading", code))
    return Mbus(channel, code, f"{name}_{suffix(unit)}" if unit else name, quantity, time)


def _as_new_notation(fields: list[str]) -> list[str]:
    """DSMR 2 and 3: `(time)(status)(period)(number)(code)(unit)(value)`, one code and unit per value."""
    if len(fields) < 7:
        return []
    return [fields[0], f"{fields[-1]}*{fields[5]}"]


def _unknown(code: str, fields: list[str], zone: Zone) -> Line | None:
    """A line that no table has: its code is its key; numbers, times and texts are told apart by how they look."""
    if len(fields) == 2 and _TIME.fullmatch(fields[0]):
        value = _guess(code, fields[1], zone)
        return None if value is None else Timed(code, fields[0], ((code, value),))
    values: list[tuple[str, Quantity]] = []
    for index, field in enumerate(fields, 1):
        value = _guess(code, field, zone)
        if value is not None:
            values.append((code if len(fields) == 1 else f"{code}_{index}", value))
    return Plain(code, tuple(values)) if values else None


def _guess(code: str, field: str, zone: Zone) -> Quantity | None:
    star = "*" in field
    text, unit = parts(field)
    if not plain_text(text):
        return None
    found = number(text)
    # A row of digits under an abstract code (0-…, or group C from 94) is a name more often than a number.
    is_number = star or "." in text or (code.startswith("1-") and not re.match(r"1-\d+:9[4-9]\.", code))
    if found is not None and is_number:
        return Quantity(found, ucum(unit), code)
    wall = meter_time.parse(text, zone)
    if wall is not None and wall.flag:
        return Quantity(meter_time.iso(wall.candidates[0]), "", code)
    field = plain_text(field)
    return Quantity(field, "", code) if field.isprintable() else None
