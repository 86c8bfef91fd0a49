"""The datapoints that MODBUS_CONFIG describes. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from connectors.modbus_tcp.config import ModbusConfig, ReadBits, ReadRegisters, WriteRegisters, key
from links.modbus_layout import Field, LayoutScalar
from wattbus.connector import DataFormat, Datapoint, Scalar


def datapoints(config: ModbusConfig, poll_seconds: float) -> list[Datapoint]:
    """Sensors for every value that is read, actuators for every entry that is written; the device is the unit."""
    sensors = [one for method, _, entry in config.reads() for one in _sensors(method, entry, poll_seconds)]
    return sensors + list(_actuators(config))


def _sensors(method: str, entry: ReadBits | ReadRegisters, poll_seconds: float) -> Iterator[Datapoint]:
    layout = entry.layout(swap_floats=False)
    fields: list[tuple[int, DataFormat]] = (
        [(index, "bool") for index in range(entry.count)]
        if layout is None
        else [(field.address, _format(field)) for field in layout.fields]
    )
    units = entry.units if isinstance(entry, ReadRegisters) else {}
    for offset, data_format in fields:
        address = entry.address + offset
        yield Datapoint(
            key=key(method, entry.unit, address),
            data_format=data_format,
            unit=units.get(address, ""),
            description=entry.descriptions.get(address, ""),
            expected_interval_s=poll_seconds,
            device=str(entry.unit),
        )


def _actuators(config: ModbusConfig) -> Iterator[Datapoint]:
    for method, _, entry in config.writes():
        data_format: DataFormat = "bool" if entry.words == 1 else "generic_text"
        low, high = entry.min_value, entry.max_value
        if isinstance(entry, WriteRegisters):
            first, *more = entry.layout(swap_floats=False).fields
            data_format = "generic_text" if more else _format(first)
            if data_format == "generic_numeric":
                limits = _limits(first, entry.factor(entry.address))
                low = limits[0] if low is None else low
                high = limits[1] if high is None else high
        yield Datapoint(
            key=key(method, entry.unit, entry.address),
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


def _limits(field: Field, factor: float | None) -> tuple[float | None, float | None]:
    """What an integer type can hold, in the unit that is written."""
    if field.limits is None:
        return None, None
    scaled = [limit * (factor or 1) for limit in field.limits]
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
