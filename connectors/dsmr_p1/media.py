"""M-Bus devices behind a smart meter: what kinds there are, and what their lines mean. Data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from connectors.dsmr_p1.profiles import Row


@dataclass(frozen=True, slots=True, eq=False)  # there is one of each
class Medium:
    """What an M-Bus device measures: the first part of its keys, and how it is called."""

    name: str
    text: str


# M-Bus device types [EN 13757-3].
MEDIA: Mapping[int, Medium] = {
    2: Medium("electricity", "electricity meter"),
    3: Medium("gas", "gas meter"),
    4: Medium("heat", "heat meter"),
    6: Medium("warm_water", "warm water meter"),
    7: Medium("water", "water meter"),
    8: Medium("heat_cost", "heat cost allocator"),
    10: Medium("cooling", "cooling meter"),
    11: Medium("cooling", "cooling meter"),
    12: Medium("heat", "heat meter"),
    13: Medium("thermal", "heat and cooling meter"),
    21: Medium("hot_water", "hot water meter"),
    22: Medium("cold_water", "cold water meter"),
}
UNKNOWN_MEDIUM = Medium("mbus", "M-Bus device")

# Lines of an M-Bus device, by their code without `0-n:`. Its readings (24.2.x, 24.3.0) are named after their unit.
MBUS_ROWS: Mapping[str, Row] = {
    row.code: row
    for row in (
        Row("24.1.0", "device_type", "M-Bus device type"),
        Row("96.1.0", "equipment_id", "identifier", "hex text"),
        Row("96.1.1", "equipment_id", "identifier", "hex text"),
        Row("96.1.2", "ean", "EAN code of the connection", "hex text"),
        Row("24.4.0", "valve_state", "valve: 0 closed, 1 open, 2 ready for opening"),
        Row("96.3.10", "breaker_state", "breaker: 0 disconnected, 1 connected, 2 ready for reconnection"),
    )
}
READING_NAMES: Mapping[str, str] = {
    "m3": "volume",
    "dm3": "volume",
    "l": "volume",
    "gj": "energy",
    "mj": "energy",
    "kwh": "energy",
    "wh": "energy",
    "mwh": "energy",
}
