"""Compact profiles: many values of one quantity in one record (EN 13757-3:2018 annex F).

The first two bytes tell size, spacing and kind of the elements; the values follow. A profile belongs to the records of
its own storage number: their value is where differences start from, their date is the profile's first or last date.
Element n becomes a record of storage number + n, and gets a date of its own where the base date is known.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal

from connectors.im871a.telegram.datatypes import Reader
from connectors.im871a.telegram.layout import LENGTHS, RecordLayout, named, unscaled_reader
from connectors.im871a.telegram.model import Damaged
from connectors.im871a.telegram.records import Coded, value_of
from wattbus.connector import Scalar

HEADER = 2  # spacing control, spacing value
ABSOLUTE, INCREMENTS, DECREMENTS, DIFFERENCES = range(4)
MONTHLY = 254
LONGEST_SPACING = 250
MONTHS = {3: 1, 2: 3, 1: 6}  # spacing unit → months between two values, when the spacing value says monthly


@dataclass(frozen=True, slots=True)
class Spacing:
    """What the spacing control byte and the spacing value say."""

    mode: int
    unit: int
    value: int
    element: int  # a data field, as in the DIF
    inverse: bool

    @property
    def seconds(self) -> int:
        return self.value * (1, 60, 3600, 86400)[self.unit]

    def moment(self, base: str, steps: int) -> str | None:
        """The date (or date and time) of the element `steps` behind the base; None where it cannot be told."""
        steps = -steps if self.inverse else steps
        try:
            start = datetime.fromisoformat(base)
            if self.value == MONTHLY and self.unit in MONTHS:
                moment = _months_later(start, steps * MONTHS[self.unit])
            elif 0 < self.value <= LONGEST_SPACING:
                moment = start + timedelta(seconds=steps * self.seconds)
            else:
                return None
        except (ValueError, OverflowError):
            return None
        return moment.isoformat(timespec="seconds")[: len(base)]


def _months_later(start: datetime, months: int) -> datetime:
    """The same day of another month; the last day of a month stays the last day."""
    index = start.year * 12 + start.month - 1 + months
    first = start.replace(year=index // 12, month=index % 12 + 1, day=1)
    last = (first.replace(day=28) + timedelta(days=4)).replace(day=1) - timedelta(days=1)
    was_last = (start + timedelta(days=1)).day == 1
    return first.replace(day=last.day if was_last else min(start.day, last.day))


def expand(coded: Coded, before: list[Coded]) -> Iterator[tuple[RecordLayout, Scalar]]:
    """The elements of a profile, each with a layout of its own. Raises Damaged when they do not fill it.

    `before` are the records of the telegram so far.
    """
    data, layout = coded.data, coded.layout
    if len(data) < HEADER:
        raise Damaged("a compact profile is too short")
    spacing = Spacing(data[0] >> 6, data[0] >> 4 & 0x03, data[1], data[0] & 0x0F, layout.profile == "inverse")
    length = LENGTHS[spacing.element] if spacing.element < len(LENGTHS) else 0
    elements = data[HEADER:]
    if length <= 0 or len(elements) % length:
        raise Damaged(f"{len(elements)} bytes of a profile do not hold elements of data field {spacing.element}")
    single = replace(layout, qualifiers=tuple(word for word in layout.qualifiers if word != "profile"))
    date_layout, base_date = _base_date(layout.storage, before)
    number = _base_number(named(single).name, before)
    read = _element_reader(spacing)
    for n, start in enumerate(range(0, len(elements), length), 1):
        number = _next(number, read(elements[start : start + length]), spacing)
        yield named(replace(single, storage=layout.storage + n)), _scaled(number, layout)
        moment = spacing.moment(base_date, n)
        if date_layout is not None and moment is not None:
            yield named(replace(date_layout, storage=layout.storage + n)), moment


def _base_date(storage: int, before: list[Coded]) -> tuple[RecordLayout | None, str]:
    for coded in before:
        if coded.layout.storage == storage and coded.layout.data in ("date", "datetime"):
            value = value_of(coded)
            return coded.layout, value if isinstance(value, str) else ""
    return None, ""


def _base_number(name: str, before: list[Coded]) -> Scalar:
    for coded in before:
        layout = coded.layout
        if layout.name == name and layout.length > 0:
            return unscaled_reader(layout.field, layout.data)(coded.data)
    return None


def _next(number: Scalar, element: Scalar, spacing: Spacing) -> Scalar:
    if spacing.mode == ABSOLUTE:
        return element
    if not isinstance(number, int) or not isinstance(element, int):
        return None
    younger = -element if spacing.mode == DECREMENTS else element
    return number - younger if spacing.inverse else number + younger


def _scaled(number: Scalar, layout: RecordLayout) -> Scalar:
    if isinstance(number, int):
        return layout.scale.apply(number)
    return layout.scale.apply_real(Decimal(str(number))) if isinstance(number, float) else None


def _element_reader(spacing: Spacing) -> Reader:
    """Absolute values and differences have a sign, increments and decrements have none."""
    return unscaled_reader(spacing.element, "signed" if spacing.mode in (ABSOLUTE, DIFFERENCES) else "unsigned")
