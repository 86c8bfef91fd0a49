"""Which of our records says the same as a field of the independent decoding."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from connectors.im871a.telegram import Record
from connectors.im871a.telegram.layout import REAL

# Expected unit suffix → our units with the factor from ours to theirs.
UNITS: dict[str, dict[str, float]] = {
    "kwh": {"kW.h": 1, "MJ": 1 / 3.6, "Mcal": 1.163, "kvar.h": 1},
    "kvarh": {"kvar.h": 1},
    "kvah": {"kV.A.h": 1},
    "kw": {"W": 1e-3, "W/mo": 1e-3, "MJ/h": 1 / 3.6, "var": 1e-3, "V.A": 1e-3},
    "m3": {"m3": 1},
    "m3h": {"m3/h": 1},
    "c": {"Cel": 1, "K": 1},
    "h": {"s": 1 / 3600, "min": 1 / 60, "h": 1, "d": 24},
    "s": {"s": 1, "min": 60, "h": 3600, "d": 86400},
    "y": {"d": 1 / 365.2425, "mo": 1 / 12, "a": 1, "h": 1 / 8765.82},
    "v": {"V": 1},
    "a": {"A": 1},
    "hz": {"Hz": 1},
    "rh": {"%": 1},
    "pct": {"%": 1},
    "bar": {"bar": 1},
    "hca": {"": 1},
    "ppm": {"CO2": 1},
    "m3c": {"m3.Cel": 1},
    "counter": {"": 1, "#AL": 1, "#UI": 1},
    "factor": {"": 1},
    "nr": {"": 1},
}
# Quantities that a number without unit may be compared with.
NUMBERS = {
    "hca": {"heat_cost_allocation", "heat_cost_allocation_previous_period"},
    "factor": {"power_factor", "dimensionless"},
    "counter": {"dimensionless", "cumulation_counter", "message_number", "meter_stops", "reset_counter", "error_flags"},
}
STORAGE_WORDS = re.compile(
    r"target|(?<!re)set_date|due|history|hist_|prev|last_(year|month)|reporting|month|at_date|key_datetime|consumption_\d|"
    r"base_|old_date|half_|_ago|total_at_|year_period|historic|at_history|energy_at|\d_date|date_\d"
)


def is_possible(value: Any) -> bool:
    """False for a date that is none: an impossible month or day."""
    match = re.fullmatch(r"\d{4}-(\d\d)-(\d\d).*", str(value))
    return match is None or (match[1] != "00" and match[2] != "00")


def dimension_of(name: str, value: Any) -> str | None:
    """`date` or the unit suffix of a field that has a value in a dimension; None for text."""
    if isinstance(value, str) and re.match(r"\d{4}-\d\d-\d\d", value):
        return "date"
    if isinstance(value, str):
        return None
    suffix = name.rsplit("_", 1)[-1]
    return suffix if suffix in UNITS else None


def assign(numbers: dict[str, Any], records: list[Record]) -> dict[str, int]:
    """Expected field → index of the record that says the same; every record serves one field (augmenting paths)."""
    candidates = {name: _candidates(name, value, records) for name, value in numbers.items()}
    taken: dict[int, str] = {}

    def place(name: str, seen: set[int]) -> bool:
        for index in candidates[name]:
            if index not in seen:
                seen.add(index)
                if index not in taken or place(taken[index], seen):
                    taken[index] = name
                    return True
        return False

    for name in candidates:
        place(name, set())
    return {name: index for index, name in taken.items()}


def _candidates(name: str, value: Any, records: list[Record]) -> list[int]:
    return [n for n, record in enumerate(records) if _same(name, value, record) and not _contradicts(name, record)]


def _same(name: str, value: Any, record: Record) -> bool:
    dimension = dimension_of(name, value)
    if dimension == "date":
        return record.unit == "" and _same_date(value, record.value)
    factor = UNITS[str(dimension)].get(record.unit)
    if factor is None or isinstance(record.value, str):
        return False
    if record.unit == "" and dimension in NUMBERS and record.quantity not in NUMBERS[str(dimension)]:
        return False
    if value is None or record.value is None:
        return value is None and record.value is None
    # They print six decimals, and more digits of a 32-bit real than it has.
    precision = 1.2e-7 if record.raw and int(record.raw[1], 16) == REAL else 1e-9
    return abs(record.value * factor - value) <= 0.6e-6 + abs(value) * precision


def _same_date(value: Any, ours: Any) -> bool:
    if value in (None, "") or not is_possible(value):
        return ours is None
    return isinstance(ours, str) and ours.replace("T", " ")[: len(value)] == value


def _contradicts(name: str, record: Record) -> bool:
    return any(rule(name, record) for rule in RULES)


def _word(pattern: str, holds: Callable[[Record], bool]) -> Callable[[str, Record], bool]:
    """A rule: a field whose name has `pattern` must have a record for which `holds`."""
    found = re.compile(pattern)
    return lambda name, record: found.search(name) is not None and not holds(record)


def _tariff(name: str, record: Record) -> bool:
    match = re.search(r"tariff_?(\d)", name)
    return record.tariff != (int(match[1]) if match else record.tariff)


def _phase(name: str, record: Record) -> bool:
    between = re.search(r"_(l\d_l\d)_", name)
    if between:
        return between[1] not in record.qualifiers
    match = re.search(r"phase_?(\d)|_l(\d)_(n_)?[avk]|consumption_(\d)_kw", name)
    phase = next((group for group in (match[1], match[2], match[4]) if group), "") if match else ""
    return bool(phase) and f"l{phase}" not in record.qualifiers and record.subunit + record.storage + record.tariff == 0


def _storage(name: str, record: Record) -> bool:
    return bool(STORAGE_WORDS.search(name)) and record.storage == 0 and record.tariff == 0 and bool(record.raw)


RULES: tuple[Callable[[str, Record], bool], ...] = (
    _word(r"flow_temp|forward_c|^flow_c|t1_temp|forward_max_c", lambda r: r.quantity == "flow_temperature"),
    _word(r"(?<!flow_)return_(temp|c|max_c)|t2_temp", lambda r: r.quantity == "return_temperature"),
    _word(r"difference", lambda r: r.quantity == "temperature_difference"),
    _word(r"external_temp|^temperature_c|current_temp", lambda r: r.quantity in ("external_temperature",
                                                                             "flow_temperature")),
    _word(r"(^|_)max(imum)?_", lambda r: r.function == "maximum" or bool({"upper_limit", "max"} & {*r.qualifiers})
          or r.storage > 0 or r.tariff > 0),
    _word(r"(^|_)min(imum)?_", lambda r: r.function == "minimum" or r.storage > 0 or r.tariff > 0),
    _word(r"production|backward|revers|backflow", lambda r: "backward" in r.qualifiers),
    _word(r"consumption_kw|total_m3$|total_forward", lambda r: "backward" not in r.qualifiers),
    _word(r"on_time(_at_error)?_h$", lambda r: r.quantity in ("on_time", "operating_time")),
    _word(r"at_error|error_date", lambda r: r.function == "error"),
    _word(r"reactive", lambda r: "reactive" in r.quantity or r.unit in ("kvar.h", "var")),
    _word(r"apparent", lambda r: "apparent" in r.quantity),
    lambda name, r: "reactive" in r.quantity and "reactive" not in name,
    lambda name, r: "apparent" in r.quantity and "apparent" not in name,
    _tariff, _phase, _storage,
)  # fmt: skip


def spellings(record: Record) -> set[str]:
    spellings = {str(record.value).strip()}
    if isinstance(record.value, int):
        size = max(len(record.raw) // 2, 1)
        spellings |= {f"{record.value:0{digits}X}" for digits in range(1, 2 * size)}
    return spellings
