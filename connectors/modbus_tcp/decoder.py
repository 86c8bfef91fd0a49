"""Raw words of registers and coils -> values. Where each value lies is found once, from the settings."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from connectors.modbus_tcp.config import READ_METHODS, ModbusConfig, ReadBits, ReadRegisters, key
from connectors.modbus_tcp.value_rules import ValueRules
from links.modbus_layout import Field, LayoutScalar, RegisterLayout, from_bytes, scaled
from wattbus.connector import Scalar
from wattbus.errors import DecodeError
from wattbus.jsontext import JsonValue

# SunSpec's scale factors reach from -10 to 10; 0x8000 says that there is none.
_SCALE_LIMIT = 10
Registers = Mapping[int, int]


@dataclass(frozen=True, slots=True)
class UnitValues:
    """The values of one unit, by key."""

    unit: int
    values: Mapping[str, Scalar]


class Decoder:
    """Decodes raw messages of one MODBUS_CONFIG."""

    def __init__(self, config: ModbusConfig, *, swap_floats: bool = False) -> None:
        self._by_index: dict[tuple[str, str], _Entry] = {}
        self._by_start: dict[tuple[str, int, int], _Entry] = {}
        self._of_unit: dict[tuple[str, int], list[_Entry]] = {}
        for method, index, entry in config.reads():
            own: _Entry = _Bits(method, entry) if isinstance(entry, ReadBits) else _Values(method, entry, swap_floats)
            self._by_index[method, str(index)] = own
            self._by_start[method, entry.unit, entry.address] = own
            self._of_unit.setdefault((method, entry.unit), []).append(own)

    def decode(self, raw: JsonValue) -> list[UnitValues]:
        """The values in a raw message.

        Ours: `{"unit": 1, "read_coils": {"<first address>": [true, …]}, …}`. BEMCom's, which may hold several units:
        `{"read_coils": {"<index in MODBUS_CONFIG>": [true, …]}, …}`. Ranges that the settings do not have are passed
        over. Ours may hold a part of a range. Raises DecodeError when the message has another form, or nothing in it
        can be decoded.
        """
        if not isinstance(raw, Mapping):
            raise DecodeError("a raw Modbus message is an object")
        by_unit: dict[int, dict[str, Scalar]] = {}
        for method in READ_METHODS:
            ranges = raw.get(method)
            if ranges is None:
                continue
            if not isinstance(ranges, Mapping):
                raise DecodeError(f"{method}: expected an object")
            found = [one for name, words in ranges.items() if (one := self._found(raw, method, name, words))]
            registers: dict[int, dict[int, int]] = {}
            if any(entry.needs_scale for entry, *_ in found):
                for entry, start, words in found:
                    registers.setdefault(entry.unit, {}).update(enumerate(words, start))
            for entry, start, words in found:
                values = entry.values(start, words, registers.get(entry.unit, {}))
                by_unit.setdefault(entry.unit, {}).update(values)
        if not by_unit:
            raise DecodeError("no range in it is in MODBUS_CONFIG")
        return [UnitValues(unit, values) for unit, values in by_unit.items()]

    def _found(
        self, raw: Mapping[str, JsonValue], method: str, name: str, words: JsonValue
    ) -> tuple[_Entry, int, list[int]] | None:
        if not isinstance(words, list) or not all(isinstance(word, int) and 0 <= word <= 0xFFFF for word in words):
            raise DecodeError(f"{method}.{name}: expected a list of words")
        if "unit" not in raw:
            entry = self._by_index.get((method, name))
            start = entry.address if entry is not None else 0
        else:
            unit = raw["unit"]
            if not isinstance(unit, int) or not name.isdecimal():
                return None
            start = int(name)
            entry = self._by_start.get((method, unit, start)) or self._around(method, unit, start, len(words))
        if entry is None:
            return None
        if not entry.can_end(start, start + len(words)):
            raise DecodeError(
                f"{method}, address {entry.address}: {len(words)} words instead of {entry.count}"
                + (f", from {start} on" if start != entry.address else "")
            )
        return entry, start, words

    def _around(self, method: str, unit: int, start: int, count: int) -> _Entry | None:
        for entry in self._of_unit.get((method, unit), ()):
            if entry.address < start and entry.can_end(start, start + count):
                return entry
        return None


class _Entry:
    """An entry of a read method, prepared."""

    needs_scale = False

    def __init__(self, entry: ReadBits | ReadRegisters) -> None:
        self.unit, self.address, self.count = entry.unit, entry.address, entry.count

    def can_end(self, start: int, end: int) -> bool:
        """Whether words from `start` to before `end` are a part of it that tears no value."""
        raise NotImplementedError

    def values(self, start: int, words: Sequence[int], registers: Registers) -> Iterator[tuple[str, Scalar]]:
        """Key and value of each that lies in `words`; `registers` are all of the unit that are known."""
        raise NotImplementedError


class _Bits(_Entry):
    def __init__(self, method: str, entry: ReadBits) -> None:
        super().__init__(entry)
        addresses = range(entry.address, entry.address + entry.count)
        self._keys = [entry.rules(address).key or key(method, entry.unit, address) for address in addresses]

    def can_end(self, start: int, end: int) -> bool:
        return self.address <= start < end <= self.address + self.count

    def values(self, start: int, words: Sequence[int], registers: Registers) -> Iterator[tuple[str, Scalar]]:
        at = start - self.address
        return zip(self._keys[at : at + len(words)], map(bool, words), strict=True)


class _Values(_Entry):
    def __init__(self, method: str, entry: ReadRegisters, swap_floats: bool) -> None:
        super().__init__(entry)
        layout = entry.layout(swap_floats)
        self._ends = {0, entry.count, *layout.cuts}
        self._values = [_Value(method, entry, field, layout) for field in layout.fields]
        self.needs_scale = any(value.rules.scale_register is not None for value in self._values)

    def can_end(self, start: int, end: int) -> bool:
        return start < end and start - self.address in self._ends and end - self.address in self._ends

    def values(self, start: int, words: Sequence[int], registers: Registers) -> Iterator[tuple[str, Scalar]]:
        data = struct.pack(f">{len(words)}H", *words)
        shift = 2 * (start - self.address)
        end = shift + len(data)
        for value in self._values:
            if shift <= value.start and value.end <= end:
                yield from value.read(data[value.start - shift : value.end - shift], registers)


class _Value:
    """One value, prepared."""

    def __init__(self, method: str, entry: ReadRegisters, field: Field, layout: RegisterLayout) -> None:
        address = entry.address + field.address
        self.rules: ValueRules = entry.rules(address)
        self.start, self.end = field.offset, field.offset + field.size
        self._field = field
        self._key = self.rules.key or key(method, entry.unit, address)
        self._bits = [(bit, one.key or f"{self._key}__{bit}") for bit, one in self.rules.bits.items()]
        self._is_swapped = field in layout.swapped
        self._is_plain = self.rules == ValueRules(name=self.rules.name, unit=self.rules.unit, key=self.rules.key)

    def read(self, data: bytes, registers: Registers) -> Iterator[tuple[str, Scalar]]:
        if self._is_swapped:
            data = b"".join(data[at : at + 2] for at in range(len(data) - 2, -2, -2))
        if self._is_plain:
            yield self._key, from_bytes(self._field, data)
            return
        rules = self.rules
        if rules.byte_order == "little":
            data = b"".join(data[at : at + 2][::-1] for at in range(0, len(data), 2))
        value = from_bytes(self._field, data)
        bits = self._unsigned(data)
        is_nothing = any(value == one or bits == one for one in rules.nothing)
        for bit, bit_key in self._bits:
            yield bit_key, None if is_nothing else bool(bits >> bit & 1)
        yield self._key, None if is_nothing else self._in_words(value, bits, registers)

    def _unsigned(self, data: bytes) -> int:
        return int.from_bytes(data, "little" if self._field.format.startswith("<") else "big")

    def _in_words(self, value: LayoutScalar, bits: int, registers: Registers) -> Scalar:
        rules = self.rules
        if rules.bcd:
            digits = f"{bits:x}"
            if not digits.isdecimal():
                return None
            value = int(digits)
        if rules.enumeration and isinstance(value, int):
            return rules.enumeration.get(value, rules.enumeration.get(bits, str(value)))
        if not isinstance(value, int | float) or isinstance(value, bool):
            return value
        value = scaled(value, rules.scaling_factor)
        if rules.scale_register is not None:
            value = _with_scale(value, registers.get(rules.scale_register))
        if value is None or not isinstance(value, int | float):
            return None
        if rules.offset:
            value += rules.offset
        if rules.min_value is not None and value < rules.min_value:
            return None
        if rules.max_value is not None and value > rules.max_value:
            return None
        return value


def _with_scale(value: LayoutScalar, register: int | None) -> LayoutScalar:
    """The value times ten to the power in a register, as SunSpec's scale factors; None where that says nothing."""
    if register is None or not isinstance(value, int | float):
        return None
    power = register - 0x10000 if register & 0x8000 else register
    if abs(power) > _SCALE_LIMIT:
        return None
    result = value * 10**power if power >= 0 else value / 10**-power
    return result if math.isfinite(result) else None
