"""Numbers, texts and units as meters print them. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from functools import lru_cache

from connectors.dsmr_p1.profiles import Row
from wattbus.connector import Quantity, Scalar

_NUMBER = re.compile(r"[+-]?\d+(?:\.\d+)?")
_WITH_UNIT = re.compile(r"([+-]?\d+(?:\.\d+)?) ?([A-Za-z][A-Za-z0-9]*)")
_TIME = re.compile(r"\d{12}[SW]")  # not watts
_ONLY_FILLER = re.compile(r"(?:FF){2,}", re.IGNORECASE)
_FILLER = "\xff\0"
_HEX = re.compile(r"(?:[0-9A-Fa-f]{2})+")
_EXACT_DIGITS = 15  # decimal digits that every double keeps

# Units as meters print them, in lower case → UCUM. The UCUM has no var; it is written as everybody does.
_UNITS: Mapping[str, str] = {
    "kwh": "kW.h",
    "wh": "W.h",
    "mwh": "MW.h",
    "kw": "kW",
    "w": "W",
    "kvarh": "kvar.h",
    "varh": "var.h",
    "kvar": "kvar",
    "var": "var",
    "kvah": "kV.A.h",
    "kva": "kV.A",
    "va": "V.A",
    "v": "V",
    "a": "A",
    "hz": "Hz",
    "s": "s",
    "m3": "m3",
    "dm3": "dm3",
    "l": "L",
    "gj": "GJ",
    "mj": "MJ",
}


def number(text: str) -> int | float | str | None:
    """A number, exactly: one that no double holds as it is printed stays text. None when `text` is not a number."""
    if _NUMBER.fullmatch(text) is None:
        return None
    if "." not in text:
        digits = text.lstrip("+-0")
        if len(digits) > _EXACT_DIGITS:
            return text
        return -int(digits or "0") if text[0] == "-" else int(digits or "0")
    value = float(text)
    if len(text) > _EXACT_DIGITS + 1 and Decimal(repr(value)) != Decimal(text):
        return text
    return value


def parts(field: str) -> tuple[str, str]:
    """Value and unit in one pair of brackets: `000123.456*kWh`; some meters forget the asterisk (`000123.456kWh`)."""
    text, star, unit = field.partition("*")
    text, unit = text.strip(), unit.strip()
    if star or _TIME.fullmatch(text) or (glued := _WITH_UNIT.fullmatch(text)) is None or glued[2].lower() not in _UNITS:
        return text, unit
    return glued[1], glued[2]


def plain_text(text: str) -> str:
    """Text without what meters fill it up with; "" where there is nothing else in it."""
    text = text.strip(_FILLER)
    return "" if _ONLY_FILLER.fullmatch(text) else text


def readable(text: str) -> str:
    """The ASCII text that hexadecimal digits stand for; as it is where they stand for none."""
    if _HEX.fullmatch(text) is None:
        return text
    found = bytes.fromhex(text).decode("latin-1")
    return found if all(" " <= char <= "~" or char in "\r\n\t" for char in found) else text


def suffix(unit: str) -> str:
    return re.sub(r"[^0-9a-z]+", "_", unit.lower())


def described(text: str, code: str) -> str:
    return f"{text} ({code})"


def ucum(unit: str) -> str:
    """A unit as the UCUM writes it; as it is printed where it is not known."""
    return _UNITS.get(unit.lower(), unit)


def value_of(name: str, row: Row, field: str) -> tuple[str, Quantity] | None:
    """Key and quantity of what one pair of brackets holds, read as the row says; None where there is nothing in it."""
    value: Scalar
    unit = ""
    if row.kind == "text":
        value = plain_text(field)
    elif row.kind == "hex text":
        value = readable(plain_text(field.partition("*")[0]))
    else:
        text, unit = parts(field)
        value = number(text)
        if value is None:
            if unit:
                return None  # something else than a number where a number with a unit should be
            value = plain_text(text)
    if value == "" or (isinstance(value, str) and not value.isprintable() and "\n" not in value):
        return None
    key, ucum_unit, description = _naming(name, row.text, row.code, unit)
    return key, Quantity(value, ucum_unit, description)


@lru_cache(maxsize=2048)
def _naming(name: str, text: str, code: str, unit: str) -> tuple[str, str, str]:
    """Key, unit and description."""
    return f"{name}_{suffix(unit)}" if unit else name, ucum(unit), described(text, code)


def numbered_values(row: Row, fields: list[str]) -> Iterator[tuple[str, Quantity]]:
    """Several values in one line: their number follows the name."""
    for index, field in enumerate(fields, 1):
        value = value_of(f"{row.name}_{index}", row, field)
        if value is not None:
            yield value
