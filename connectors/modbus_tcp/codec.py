"""Values of commands -> words to write; `decoder` has the other way. Pure, given the settings."""

from __future__ import annotations

from connectors.modbus_tcp.config import ModbusConfig, WriteCoil, WriteCoils, WriteRegisters
from connectors.modbus_tcp.decoder import Decoder, UnitValues
from links.modbus_layout import DoesNotFit, unscaled
from wattbus.connector import Scalar
from wattbus.errors import CommandRejected
from wattbus.jsontext import JsonValue

# The decoder of the configuration that was used last: preparing costs as much as a poll.
_prepared: tuple[ModbusConfig, bool, Decoder] | None = None


def decode(raw: JsonValue, config: ModbusConfig, *, swap_floats: bool = False) -> list[UnitValues]:
    """`Decoder.decode`, for who has no decoder. Raises DecodeError."""
    global _prepared
    if _prepared is None or _prepared[0] is not config or _prepared[1] != swap_floats:
        _prepared = config, swap_floats, Decoder(config, swap_floats=swap_floats)
    return _prepared[2].decode(raw)


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
    if entry.is_switch:
        return layout.encode([entry.on if _bit(value) else entry.off])
    if entry.offset:
        value = _without_offset(value, entry.offset)
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


def _without_offset(value: Scalar, offset: float) -> Scalar:
    try:
        return float(value or 0) - offset
    except ValueError:
        raise DoesNotFit(f"{value!r} is not a number") from None


def _bit(value: Scalar) -> bool:
    spelt = value.lower() if isinstance(value, str) else value
    if spelt in (1, "1", "true", "on"):
        return True
    if spelt in (0, "0", "false", "off"):
        return False
    raise DoesNotFit(f"{value!r} is neither true nor false")
