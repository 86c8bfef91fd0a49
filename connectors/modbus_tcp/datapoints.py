"""The datapoints that MODBUS_CONFIG describes. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from connectors.modbus_tcp.config import ModbusConfig, ReadBits, ReadRegisters, WriteRegisters, key, key_of
from links.modbus_layout import Field, LayoutScalar
from wattbus.connector import DataFormat, Datapoint, Scalar


def datapoints(config: ModbusConfig, poll_seconds: float) -> list[Datapoint]:
    """Sensors for every value that is read, actuators for every entry that is written; the device is the unit."""
    sensors = [one for method, _, entry in config.reads() for one in _sensors(method, entry, poll_seconds)]
    return sensors + list(_actuators(config))


def _sensors(method: str, entry: ReadBits | ReadRegisters, poll_seconds: float) -> Iterator[Datapoint]:
    interval_s = entry.poll_seconds or poll_seconds
    device = str(entry.unit)
    if isinstance(entry, ReadBits):
        for address in range(entry.address, entry.address + entry.count):
            bit = entry.rules(address)
            yield Datapoint(
                key=bit.key or key(method, entry.unit, address),
                data_format="bool",
                description=bit.name,
                expected_interval_s=interval_s,
                device=device,
            )
        return
    for field in entry.layout(swap_floats=False).fields:
        address = entry.address + field.address
        rules = entry.rules(address)
        own = rules.key or key(method, entry.unit, address)
        yield Datapoint(
            key=own,
            data_format="discrete_text" if rules.enumeration else _format(field),
            unit=rules.unit,
            description=rules.name,
            expected_interval_s=interval_s,
            device=device,
            counter=rules.counter,
        )
        for number, bit in rules.bits.items():
            yield Datapoint(
                key=bit.key or f"{own}__{number}",
                data_format="bool",
                description=bit.name,
                expected_interval_s=interval_s,
                device=device,
            )


def _actuators(config: ModbusConfig) -> Iterator[Datapoint]:
    for method, _, entry in config.writes():
        data_format: DataFormat = "bool" if entry.words == 1 else "generic_text"
        low, high = entry.min_value, entry.max_value
        if isinstance(entry, WriteRegisters):
            first, *more = entry.layout(swap_floats=False).fields
            data_format = "generic_text" if more else _format(first)
            if entry.is_switch:
                data_format = "bool"
            if data_format == "generic_numeric":
                limits = _limits(first, entry.factor(entry.address), entry.offset)
                low = limits[0] if low is None else low
                high = limits[1] if high is None else high
        yield Datapoint(
            key=key_of(method, entry),
            type="actuator",
            data_format=data_format,
            unit=entry.unit_of_measure,
            description=entry.description,
            min_value=low,
            max_value=high,
            example_value=_example(entry.example_value, data_format),
            device=str(entry.unit),
        )


def _format(field: Field) -> DataFormat:
    match field.kind:
        case "bool":
            return "bool"
        case "text":
            return "generic_text"
        case _:
            return "generic_numeric"


def _limits(field: Field, factor: float | None, offset: float = 0.0) -> tuple[float | None, float | None]:
    """What an integer type can hold, in the unit that is written."""
    if field.limits is None:
        return None, None
    scaled = [limit * (factor or 1) + offset for limit in field.limits]
    return min(scaled), max(scaled)


def _example(value: LayoutScalar, data_format: DataFormat) -> Scalar:
    """BEMCom writes examples as text (`"22.0"`); they get the type that the datapoint has."""
    if data_format == "bool" and value is not None:
        return str(value).lower() in ("1", "1.0", "true", "on")
    if data_format == "generic_numeric" and isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return None
    return value
