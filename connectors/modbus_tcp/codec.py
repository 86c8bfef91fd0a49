"""Raw words of registers and coils <-> values. Pure, given the settings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from connectors.modbus_tcp.config import (
    READ_METHODS,
    ModbusConfig,
    ReadBits,
    ReadRegisters,
    WriteCoil,
    WriteCoils,
    WriteRegisters,
    key,
)
from links.modbus_layout import DoesNotFit, scaled, unscaled
from wattbus.connector import Scalar
from wattbus.errors import CommandRejected, DecodeError
from wattbus.jsontext import JsonValue


@dataclass(frozen=True, slots=True)
class UnitValues:
    """The values of one unit, by key."""

    unit: int
    values: Mapping[str, Scalar]


def decode(raw: JsonValue, config: ModbusConfig, *, swap_floats: bool = False) -> list[UnitValues]:
    """The values in a raw message.

    Ours: `{"unit": 1, "read_coils": {"<first address>": [true, …]}, …}`. BEMCom's, which may hold several units:
    `{"read_coils": {"<index in MODBUS_CONFIG>": [true, …]}, …}`. Ranges that the settings do not have are passed
    over. Raises DecodeError when the message has another form, or nothing in it can be decoded.
    """
    if not isinstance(raw, Mapping):
        raise DecodeError("a raw Modbus message is an object")
    by_unit: dict[int, dict[str, Scalar]] = {}
    for method, entry, words in _ranges(raw, config):
        by_unit.setdefault(entry.unit, {}).update(_values(method, entry, words, swap_floats))
    if not by_unit:
        raise DecodeError("no range in it is in MODBUS_CONFIG")
    return [UnitValues(unit, values) for unit, values in by_unit.items()]


def _ranges(
    raw: Mapping[str, JsonValue], config: ModbusConfig
) -> Iterator[tuple[str, ReadBits | ReadRegisters, list[int]]]:
    for method in READ_METHODS:
        ranges = raw.get(method, {})
        if not isinstance(ranges, Mapping):
            raise DecodeError(f"{method}: expected an object")
        known: dict[str, list[ReadBits | ReadRegisters]] = {}  # the name of a range → its entries
        for index, entry in enumerate(getattr(config, method)):
            if raw.get("unit", entry.unit) == entry.unit:
                known.setdefault(str(entry.address) if "unit" in raw else str(index), []).append(entry)
        for name, words in ranges.items():
            if not isinstance(words, list) or not all(isinstance(word, int) and 0 <= word <= 0xFFFF for word in words):
                raise DecodeError(f"{method}.{name}: expected a list of words")
            for entry in known.get(name, ()):
                yield method, entry, words


def _values(
    method: str, entry: ReadBits | ReadRegisters, words: list[int], swap_floats: bool
) -> Iterator[tuple[str, Scalar]]:
    if len(words) != entry.count:
        raise DecodeError(f"{method}, address {entry.address}: {len(words)} words instead of {entry.count}")
    if isinstance(entry, ReadBits):
        for index, bit in enumerate(words):
            yield key(method, entry.unit, entry.address + index), bool(bit)
        return
    layout = entry.layout(swap_floats)
    for field, value in zip(layout.fields, layout.decode(words), strict=True):
        address = entry.address + field.address
        yield key(method, entry.unit, address), scaled(value, entry.scaling_factors.get(address))


def encode(entry: WriteCoil | WriteCoils | WriteRegisters, value: Scalar, *, swap_floats: bool = False) -> list[int]:
    """The words to write for a command. Raises CommandRejected when the value does not fit."""
    if value is None:
        raise CommandRejected("null cannot be written")
    try:
        if isinstance(entry, WriteRegisters):
            return _registers(entry, value, swap_floats)
        return [int(_bit(part)) for part in _parts(value, entry.words)]
    except DoesNotFit as error:
        raise CommandRejected(str(error)) from None


def _registers(entry: WriteRegisters, value: Scalar, swap_floats: bool) -> list[int]:
    layout = entry.layout(swap_floats)
    parts = [value] if layout.fields[0].kind == "text" else _parts(value, len(layout.fields))
    factors = [entry.factor(entry.address + field.address) for field in layout.fields]
    return layout.encode(
        [
            _bit(part) if field.kind == "bool" else unscaled(part, factor)
            for part, factor, field in zip(parts, factors, layout.fields, strict=True)
        ]
    )


def _parts(value: Scalar, count: int) -> list[Scalar]:
    """A command with several arguments is one text: `21.5 3`."""
    parts: list[Scalar] = list(value.split()) if isinstance(value, str) else [value]
    if len(parts) != count:
        raise DoesNotFit(f"{len(parts)} value(s) where {count} are expected, as one text with blanks between")
    return parts


def _bit(value: Scalar) -> bool:
    spelt = value.lower() if isinstance(value, str) else value
    if spelt in (1, "1", "true", "on"):
        return True
    if spelt in (0, "0", "false", "off"):
        return False
    raise DoesNotFit(f"{value!r} is neither true nor false")
