"""How values lie in registers: struct strings, word order, scaling. Pure.

A layout is a Python `struct` string (https://docs.python.org/3.11/library/struct.html#format-characters) applied to
the registers' bytes, each register big-endian as on the wire (Modbus Application Protocol V1.1b3 section 4.2).
Without a byte order prefix, and with `@` or `=`, values are little-endian in standard sizes without alignment: what
BEMCom's native order was on the machines it ran on.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

WordOrder = Literal["big", "little"]
LayoutScalar = str | int | float | bool | None

_INTEGERS = frozenset("bBhHiIlLqQ")
_FLOATS = frozenset("efd")
_TEXTS = frozenset("csp")
_PART = re.compile(r"(\d*)([a-zA-Z?])")


class DoesNotFit(ValueError):  # noqa: N818 - a fact about the value
    """The value cannot be written with this layout; the text says why and what fits."""


@dataclass(frozen=True, slots=True)
class Field:
    """One value in a range. `address` counts registers from the start of the range; `offset` and `size` are bytes."""

    code: str
    format: str
    offset: int
    size: int
    address: int

    @property
    def kind(self) -> Literal["integer", "float", "bool", "text"]:
        if self.code in _INTEGERS:
            return "integer"
        if self.code in _FLOATS:
            return "float"
        return "bool" if self.code == "?" else "text"

    @property
    def limits(self) -> tuple[int, int] | None:
        """Smallest and largest number of an integer type."""
        if self.code not in _INTEGERS:
            return None
        bits = 8 * self.size
        return (0, 2**bits - 1) if self.code.isupper() else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


@dataclass(frozen=True, slots=True)
class RegisterLayout:
    """The fields of a range of `count` registers.

    `swapped` fields have their least significant register first. Build it with `parse`.
    """

    fields: tuple[Field, ...]
    count: int
    swapped: frozenset[Field] = frozenset()

    @property
    def cuts(self) -> frozenset[int]:
        """Offsets in registers where the range may be read in two requests without tearing a value."""
        torn = {
            register
            for field in self.fields
            for register in range(field.offset // 2 + 1, (field.offset + field.size + 1) // 2)
        }
        return frozenset(range(1, self.count)) - torn

    def decode(self, registers: Sequence[int]) -> list[LayoutScalar]:
        """One value per field. NaN and Infinity become None. Raises ValueError when registers are missing."""
        if len(registers) != self.count:
            raise ValueError(f"{len(registers)} registers instead of {self.count}")
        data = struct.pack(f">{self.count}H", *registers)
        return [from_bytes(field, self._turned(field, data)) for field in self.fields]

    def encode(self, values: Sequence[LayoutScalar]) -> list[int]:
        """Registers for one value per field; pad bytes are 0. Raises DoesNotFit."""
        data = bytearray(2 * self.count)
        for field, value in zip(self.fields, values, strict=True):
            data[field.offset : field.offset + field.size] = _to_bytes(field, value)
            data[field.offset : field.offset + field.size] = self._turned(field, data)
        return list(struct.unpack(f">{self.count}H", data))

    def _turned(self, field: Field, data: bytes | bytearray) -> bytes:
        piece = bytes(data[field.offset : field.offset + field.size])
        if field not in self.swapped:
            return piece
        return b"".join(piece[at : at + 2] for at in range(field.size - 2, -2, -2))


@lru_cache(maxsize=4096)
def parse(datatypes: str, word_order: WordOrder | None = None, *, swap_floats: bool = False) -> RegisterLayout:
    """The layout of a struct string. Raises ValueError, in words for the user.

    Repeat counts give that many values (`2f`), `x` skips a byte, `10s` is one text of ten bytes. A value's address is
    its first register. Of two one-byte values in one register the second has the next address, as in BEMCom.
    `word_order="little"`: every number of more than one register has its least significant register first.
    `swap_floats` does so for `f` and `d` alone where no `word_order` is given (MODBUS_LSRF_WORD_ORDER).
    """
    text = "".join(datatypes.split())
    prefix = ">" if text.startswith((">", "!")) else "<"
    body = text[1:] if text.startswith(("@", "=", "<", ">", "!")) else text
    fields: list[Field] = []
    offset = 0
    at = 0
    while at < len(body):
        match = _PART.match(body, at)
        if match is None:
            raise ValueError(f"{body[at]!r} in {datatypes!r} is no struct type")
        repeat, code = match.groups()
        at = match.end()
        added = _fields(prefix, repeat, code, offset)
        offset += struct.calcsize(f"{prefix}{repeat}{code}")
        fields.extend(added)
    if not fields:
        raise ValueError(f"{datatypes!r} holds no value")
    if offset % 2:
        raise ValueError(f"{datatypes!r} takes {offset} bytes, and registers have two: add a pad byte x")
    addressed = _second_bytes_addressed(fields)
    return RegisterLayout(addressed, offset // 2, _swapped(addressed, word_order, swap_floats))


def _fields(prefix: str, repeat: str, code: str, offset: int) -> list[Field]:
    if code == "x":
        return []
    if code not in _INTEGERS | _FLOATS | _TEXTS | {"?"}:
        raise ValueError(f"{code!r} is no struct type; known are x c b B ? h H i I l L q Q e f d s p")
    if repeat and int(repeat) == 0:
        raise ValueError(f"{repeat}{code} holds no value")
    if len(repeat) > 6:
        raise ValueError(f"{repeat}{code} is longer than all registers of a device")
    if code in "sp":
        size = struct.calcsize(f"{prefix}{repeat}{code}")
        return [Field(code, f"{prefix}{repeat}{code}", offset, size, offset // 2)]
    size = struct.calcsize(prefix + code)
    starts = [offset + index * size for index in range(int(repeat or 1))]
    return [Field(code, prefix + code, start, size, start // 2) for start in starts]


def _second_bytes_addressed(fields: Sequence[Field]) -> tuple[Field, ...]:
    addressed: list[Field] = []
    for field in fields:
        before = addressed[-1] if addressed else None
        shares = before is not None and before.size == field.size == 1 and before.offset // 2 == field.offset // 2
        addressed.append(replace(field, address=field.address + 1) if shares else field)
    return tuple(addressed)


def _swapped(fields: Sequence[Field], word_order: WordOrder | None, swap_floats: bool) -> frozenset[Field]:
    if word_order == "little":
        swapped = [field for field in fields if field.kind in ("integer", "float") and field.size > 2]
    elif word_order is None and swap_floats:
        swapped = [field for field in fields if field.code in "fd"]
    else:
        return frozenset()
    for field in swapped:
        if field.offset % 2:
            raise ValueError(f"{field.code} at byte {field.offset} does not start at a register: no word order there")
    return frozenset(swapped)


def from_bytes(field: Field, data: bytes) -> LayoutScalar:
    """The value in the bytes of a field; NaN and Infinity are None, a text ends at its first NUL."""
    value: int | float | bool | bytes = struct.unpack(field.format, data)[0]
    if isinstance(value, bytes):
        return value.split(b"\0", 1)[0].decode("utf-8", errors="replace")
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _to_bytes(field: Field, value: LayoutScalar) -> bytes:
    match field.kind:
        case "text":
            return _text_bytes(field, value)
        case "bool":
            if value not in (0, 1):
                raise DoesNotFit(f"{value!r} is neither true nor false")
            return struct.pack(field.format, bool(value))
        case "integer":
            return _integer_bytes(field, _number(value))
        case "float":
            try:
                return struct.pack(field.format, _number(value))
            except OverflowError:
                raise DoesNotFit(f"{value} is too large for a float of {8 * field.size} bits") from None


def _text_bytes(field: Field, value: LayoutScalar) -> bytes:
    if not isinstance(value, str):
        raise DoesNotFit(f"{value!r} is not text")
    encoded = value.encode()
    room = field.size - 1 if field.code == "p" else field.size
    if len(encoded) > room:
        raise DoesNotFit(f"a text of {len(encoded)} bytes does not fit: there is room for {room}")
    return struct.pack(field.format, encoded if field.code != "c" else encoded or b"\0")


def _integer_bytes(field: Field, number: int | float) -> bytes:
    whole = round(number)
    low, high = field.limits or (0, 0)
    if not low <= whole <= high:
        raise DoesNotFit(f"{whole} does not fit: type {field.code} takes {low} to {high}")
    return struct.pack(field.format, whole)


def _number(value: LayoutScalar) -> int | float:
    if isinstance(value, str):
        try:
            value = float(value) if not value.strip().lstrip("+-").isdecimal() else int(value)
        except ValueError:
            raise DoesNotFit(f"{value!r} is not a number") from None
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        raise DoesNotFit(f"{value} cannot be written")
    return value


def scaled(value: LayoutScalar, factor: float | None) -> LayoutScalar:
    """A register's number times its factor, as float; anything but a number stays as it is.

    Factors like 0.1 divide by their whole inverse, so that 2315 becomes 231.5 and not 231.50000000000003.
    """
    if factor is None or isinstance(value, bool) or not isinstance(value, int | float):
        return value
    inverse = _whole_inverse(factor)
    result = value / inverse if inverse else value * float(factor)
    return result if math.isfinite(result) else None


def unscaled(value: LayoutScalar, factor: float | None) -> LayoutScalar:
    """The reverse of `scaled`, for writing. Raises DoesNotFit when `value` is not a number."""
    if factor is None:
        return value
    number = _number(value)
    inverse = _whole_inverse(factor)
    try:
        return number * inverse if inverse else number / factor
    except OverflowError:
        raise DoesNotFit(f"{value} is too large") from None


def _whole_inverse(factor: float) -> int:
    """The whole number of which `factor` is the reciprocal, 0 when there is none."""
    if not 0 < abs(factor) < 1:
        return 0
    inverse = round(1 / factor)
    return inverse if 1 / inverse == factor else 0
