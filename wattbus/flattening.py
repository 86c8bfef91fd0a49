"""From what a decoder gives to flat values, as the runtime does it, and whether the bus can carry them. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from wattbus.connector import DataFormat, Datapoint, Quantity, Reading, Scalar
from wattbus.jsontext import is_scalar, is_text

DEEPEST = 100  # levels of a raw message


@dataclass(slots=True)
class FlatReading:
    """One reading, key → value; `faults` names what was not a value."""

    values: dict[str, Scalar] = field(default_factory=dict)
    sensors: list[Datapoint] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


def flatten(reading: Reading) -> FlatReading:
    """Join the path of every leaf with `__`; list elements by index. Of two equal keys the later one is a fault."""
    flat = FlatReading()
    for key, leaf in _leaves("", reading.values):
        quantity = leaf if isinstance(leaf, Quantity) else Quantity(leaf)
        if not is_scalar(quantity.value):
            flat.faults.append(f"{key}: {quantity.value!r:.80} is not a value")
        elif not is_text(key):
            flat.faults.append(f"{key!r:.80} is not a key")
        elif key in flat.values:
            flat.faults.append(f"{key}: two values have this key")
        else:
            flat.values[key] = quantity.value
            flat.sensors.append(_discovered(key, quantity, reading.device))
    return flat


def _leaves(path: str, node: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(node, Mapping):
        for name, inner in node.items():
            yield from _leaves(f"{path}__{name}" if path else str(name), inner)
    elif isinstance(node, list | tuple):
        for index, inner in enumerate(node):
            yield from _leaves(f"{path}__{index}" if path else str(index), inner)
    else:
        yield path, node


def raw_fault(raw: Any, path: str = "", depth: int = 0) -> str:
    """Why a raw message is not JSON (NaN, bytes, keys that are not text, …) and where; "" when it is."""
    where = f" at {path}" if path else ""
    if isinstance(raw, Mapping):
        if wrong := [name for name in raw if not isinstance(name, str) or not is_text(name)]:
            return f"{wrong[0]!r:.80}{where} is not a key"
        inner = [(f"{path}.{name}" if path else name, value) for name, value in raw.items()]
    elif isinstance(raw, list | tuple):
        inner = [(f"{path}[{index}]", value) for index, value in enumerate(raw)]
    else:
        return "" if is_scalar(raw) else f"{raw!r:.80}{where} is not JSON"
    if depth == DEEPEST:
        return f"it is nested more than {DEEPEST} levels deep"
    return next((fault for place, value in inner if (fault := raw_fault(value, place, depth + 1))), "")


def _discovered(key: str, quantity: Quantity, device: str) -> Datapoint:
    return Datapoint(
        key=key,
        data_format=format_of(quantity.value),
        unit=quantity.unit,
        description=quantity.description,
        example_value=quantity.value,
        device=device,
    )


def format_of(value: Scalar) -> DataFormat:
    """The data format of a sensor that was discovered with this value."""
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int | float):
        return "generic_numeric"
    return "generic_text" if isinstance(value, str) else "unknown"
