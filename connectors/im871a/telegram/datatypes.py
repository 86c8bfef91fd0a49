"""Bytes of a record to values: the data types of EN 13757-3:2018 annex A.

Every reader takes the record's data, low byte first, and gives a scalar; None where the meter says that it has no
value. Whole numbers are scaled exactly: 206 hundredths are 2.06, not 2.0600000000000001.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from wattbus.connector import Scalar

Reader = Callable[[bytes], Scalar]

LARGEST = 2**63 - 1  # what JSON libraries take for an integer
EVERY_YEAR = 127
EVERY_HOUR, EVERY_MINUTE = 31, 63


@dataclass(frozen=True, slots=True)
class Scale:
    """From the coded number to the value: (number + offset) × numerator ÷ denominator; offset in thousandths."""

    numerator: int = 1
    denominator: int = 1
    offset_thousandths: int = 0

    def apply(self, number: int) -> int | float:
        """The value; an integer where the scale has no decimals, else the nearest float."""
        if self.offset_thousandths:
            number, divisor = number * 1000 + self.offset_thousandths, self.denominator * 1000
        else:
            divisor = self.denominator
        if divisor != 1:
            return number * self.numerator / divisor
        value = number * self.numerator
        return value if -LARGEST <= value <= LARGEST else float(value)

    def apply_real(self, number: Decimal) -> float:
        """The value of a decimal number."""
        shifted = number + Decimal(self.offset_thousandths) / 1000 if self.offset_thousandths else number
        return float(shifted * self.numerator / self.denominator)


UNSCALED = Scale()


def scale_of(exponent: int, factor: int = 1, binary_exponent: int = 0, offset_exponent: int | None = None) -> Scale:
    """The scale of a VIF: powers of ten and two, a factor, and the constant of 10^`offset_exponent` (at least -3)."""
    numerator = factor * 10 ** max(exponent, 0) * 2 ** max(binary_exponent, 0)
    denominator = 10 ** max(-exponent, 0) * 2 ** max(-binary_exponent, 0)
    divisor = math.gcd(numerator, denominator)
    offset = 0 if offset_exponent is None else 10 ** (offset_exponent + 3)
    return Scale(numerator // divisor, denominator // divisor, offset)


def signed(length: int, scale: Scale) -> Reader:
    """Type B: two's complement; the smallest number means invalid."""
    invalid = -(1 << (8 * length - 1))
    apply = scale.apply

    def read(data: bytes) -> Scalar:
        number = int.from_bytes(data, "little", signed=True)
        return None if number == invalid else apply(number)

    return read


def unsigned(length: int, scale: Scale) -> Reader:
    """Type C: the largest number means invalid."""
    invalid = (1 << 8 * length) - 1
    apply = scale.apply

    def read(data: bytes) -> Scalar:
        number = int.from_bytes(data, "little")
        return None if number == invalid else apply(number)

    return read


def flags(data: bytes) -> Scalar:
    """Type D: bits, as a number."""
    return int.from_bytes(data, "little")


def bcd(scale: Scale) -> Reader:
    """Type A: decimal digits; F in front means minus, any other letter means invalid."""
    apply = scale.apply

    def read(data: bytes) -> Scalar:
        digits = data[::-1].hex()
        if digits.isdecimal():
            return apply(int(digits))
        if digits[:1] == "f" and digits[1:].isdecimal():
            return apply(-int(digits[1:]))
        return None

    return read


def digits(data: bytes) -> Scalar:
    """Type A as an identification: leading zeros stay, letters too."""
    return data[::-1].hex().upper()


def real(scale: Scale) -> Reader:
    """Type H: IEEE 754, 32 bits. The value is the shortest decimal that these bits can mean."""

    def read(data: bytes) -> Scalar:
        (number,) = struct.unpack("<f", data)
        if not math.isfinite(number):
            return None
        return scale.apply_real(_shortest_decimal(number, data))

    return read


def _shortest_decimal(number: float, data: bytes) -> Decimal:
    for places in (6, 7, 8):
        text = f"{number:.{places}g}"
        try:
            if struct.pack("<f", float(text)) == data:
                return Decimal(text)
        except OverflowError:
            continue
    return Decimal(f"{number:.9g}")


def hexadecimal(data: bytes) -> Scalar:
    """As it came, first byte first."""
    return data.hex()


def text(data: bytes) -> Scalar:
    """ISO 8859-1, last character first; padding with blanks and NUL goes."""
    return data[::-1].decode("latin-1").strip(" \0")


def nothing(data: bytes) -> Scalar:
    """No data, or not meant as a value."""
    return None


def _date(low: int, high: int, century: int = 0) -> str | None:
    """The date in two bytes (year split over both); `--MM-DD` for every year. None where it is none."""
    year = low >> 5 | (high & 0xF0) >> 1
    month, day = high & 0x0F, low & 0x1F
    if year == EVERY_YEAR:
        return f"--{month:02d}-{day:02d}" if 1 <= month <= 12 and 1 <= day <= 31 else None
    if year > 99:
        return None
    # Century 0 is 1900, but for years to 80 (table A.5). 2 would be 2100: Zenner UIWS sends it in 2026.
    year += 1900 if not century and year > 80 else 2000
    try:
        return date(year, month, day).isoformat()
    except ValueError:
        return None


def _time(*parts: int) -> str | None:
    limits = (23, 59, 59)
    if any(part > limit for part, limit in zip(parts, limits, strict=False)):
        return None
    return ":".join(f"{part:02d}" for part in parts)


def day(data: bytes) -> Scalar:
    """Type G: a date, `2024-12-31`."""
    return _date(data[0], data[1])


def minute_of_day(data: bytes) -> Scalar:
    """Type F: date and time to the minute, local time as the meter has it, `2024-12-31T23:59`."""
    minute, hour, low, high = data
    moment = _time(hour & 0x1F, minute & 0x3F)
    on = _date(low, high, hour >> 5 & 0x03)
    if minute & 0x80 or on is None or moment is None:
        return None
    return f"{on}T{moment}"


def second_of_day(data: bytes) -> Scalar:
    """Type I: date and time to the second, `2024-12-31T23:59:58`."""
    second, minute, hour, low, high, _week = data
    moment = _time(hour & 0x1F, minute & 0x3F, second & 0x3F)
    on = _date(low, high)
    if minute & 0x80 or on is None or moment is None:
        return None
    return f"{on}T{moment}"


def time_of_day(data: bytes) -> Scalar:
    """Type J: a time of day, `23:59:58`."""
    second, minute, hour = data
    return _time(hour, minute, second)


MOMENTS: dict[int, Reader] = {2: day, 3: time_of_day, 4: minute_of_day, 6: second_of_day}
