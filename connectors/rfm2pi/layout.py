"""The bytes of a frame and the values in them: data codes, scales, whitening. Pure.

Data codes are those of Python's struct module, always little endian (emonHub's documentation, section "nodes"; the
nodes are AVR microcontrollers that send their C structs as they are).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from wattbus.errors import CommandRejected, DecodeError

Number = int | float
Limits = tuple[float | None, float | None]
CODES = ["b", "B", "?", "h", "H", "i", "I", "l", "L", "q", "Q", "f", "d"]
PASS_THROUGH = "0"  # emonHub's code for numbers that are values already
WHITENING = bytes(byte ^ 0x55 for byte in range(256))


@dataclass(frozen=True, slots=True)
class Scale:
    """A factor as a fraction, so that 29 × 0.1 is 2.9 and not 2.9000000000000004."""

    numerator: int = 1
    denominator: int = 1

    @classmethod
    def of(cls, factor: Number) -> Scale:
        return cls(*Decimal(repr(factor)).as_integer_ratio())

    @property
    def is_one(self) -> bool:
        return self.numerator == self.denominator

    def apply(self, value: Number) -> Number:
        if self.denominator == 1:
            return value * self.numerator
        return value * self.numerator / self.denominator

    def unapply(self, value: Number) -> Number:
        return value * self.denominator / self.numerator


ONE = Scale()


@dataclass(frozen=True)
class PayloadLayout:
    """Which values a frame has.

    `codes` is one data code per value; or a single one with `repeats`: as many values as the frame has room for.
    `scales` is one per value, one for all, or none. `names` and `units` may be shorter than the values. `limits`
    (lowest, highest), by the names of values, and `counters`, which only rise, tell values that cannot be right.
    """

    codes: tuple[str, ...] = ("h",)
    repeats: bool = True
    scales: tuple[Scale, ...] = ()
    names: tuple[str, ...] = ()
    units: tuple[str, ...] = ()
    whitening: bool = False
    limits: Mapping[str, Limits] = field(default_factory=dict)
    counters: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        own = "" if self.is_pass_through else "".join(self.codes)
        object.__setattr__(self, "_struct", struct.Struct(f"<{own}"))

    @property
    def is_pass_through(self) -> bool:
        """The numbers on the line are the values."""
        return self.codes == (PASS_THROUGH,)

    def decode(self, data: bytes) -> list[Number]:
        """The values in a frame's bytes. Raises DecodeError when their number does not fit."""
        if self.whitening:
            data = data.translate(WHITENING)
        if self.is_pass_through:
            return self.scaled(list(data))
        own: struct.Struct = self._struct  # type: ignore[attr-defined]
        if not self.repeats:
            if len(data) != own.size:
                raise DecodeError(f"{len(data)} bytes, but its decoder takes {own.size}")
            return self.scaled(own.unpack(data))
        if len(data) % own.size:
            code = self.codes[0]
            raise DecodeError(f"{len(data)} bytes are no whole number of values of {own.size} bytes (data code {code})")
        return self.scaled([value for (value,) in own.iter_unpack(data)])

    def scaled(self, values: Sequence[Number]) -> list[Number]:
        """Values times their scales."""
        scales = self.scales
        if not scales:
            return list(values)
        if len(scales) == 1:
            scale = scales[0]
            return [scale.apply(value) for value in values]
        if len(scales) != len(values):
            raise DecodeError(f"{len(values)} values, but {len(scales)} scales")
        return [scale.apply(value) for scale, value in zip(scales, values, strict=True)]

    def encode(self, values: Sequence[Number]) -> bytes:
        """The bytes that say `values`. Raises CommandRejected when they are too many, too few or too large."""
        if not self.repeats and len(values) != len(self.codes):
            raise CommandRejected(f"{len(values)} values; this node takes {len(self.codes)}")
        codes = self.codes * len(values) if self.repeats else self.codes
        scales = self.scales * len(values) if len(self.scales) == 1 else self.scales or (ONE,) * len(values)
        if len(scales) != len(values):
            raise CommandRejected(f"{len(values)} values, but {len(scales)} scales")
        data = b"".join(
            self._encoded(index, code, scale.unapply(value))
            for index, (code, scale, value) in enumerate(zip(codes, scales, values, strict=True))
        )
        return data.translate(WHITENING) if self.whitening else data

    def _encoded(self, index: int, code: str, value: Number) -> bytes:
        code = "B" if code == PASS_THROUGH else code
        try:
            return struct.pack(f"<{code}", value if code in "fd" else round(value))
        except (struct.error, OverflowError, ValueError) as error:  # too large, infinite, not a number
            raise CommandRejected(f"{self.name(index)}: {value:g} does not fit into data code {code}") from error

    def name(self, index: int) -> str:
        """The name of a value, else its number from 1."""
        return self.names[index] if index < len(self.names) else str(index + 1)

    def limits_of(self, name: str) -> Limits:
        return self.limits.get(name, (None, None))

    def unit(self, index: int) -> str:
        return self.units[index] if index < len(self.units) else ""


SIGNED_16_BIT = PayloadLayout()
FINISHED_VALUES = PayloadLayout(codes=(PASS_THROUGH,))
