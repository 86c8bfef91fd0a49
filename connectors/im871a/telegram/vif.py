"""What a VIF means: quantity, unit, scale, data type. The tables of EN 13757-3:2018 as data.

Units are the ones people use, whatever prefix a meter sends: energy in kWh (or MJ where the meter counts joules),
power in W, volume in m³, volume flow in m³/h. `exponent` is the power of ten from the coded number to that unit,
`factor` an integer beside it (60 for m³/min in m³/h).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

# How the data are to be read (EN 13757-3:2018 annex A). A DIF of BCD, real or variable length overrides the first four.
#   signed: type B; unsigned: type C; flags: type D; identity: type C, and BCD digits stay text with leading zeros;
#   date, datetime: types F, G, I, J by length; hex: kept as hexadecimal text
DataType = Literal["signed", "unsigned", "flags", "identity", "date", "datetime", "hex"]


@dataclass(frozen=True, slots=True)
class Vif:
    """One value information field. `standard` is False where the standard does not say what it means."""

    quantity: str
    unit: str = ""
    exponent: int = 0
    factor: int = 1
    binary_exponent: int = 0  # factors of two, for the rating factors of heat cost allocators
    data: DataType = "signed"
    standard: bool = True


# UCUM → the last part of a datapoint's key.
UNIT_SUFFIX = {
    "": "", "kW.h": "kwh", "MJ": "mj", "Mcal": "mcal", "m3": "m3", "kg": "kg", "s": "s", "min": "min", "h": "h",
    "d": "d", "mo": "months", "a": "years", "W": "w", "MJ/h": "mj_h", "m3/h": "m3_h", "kg/h": "kg_h", "Cel": "c",
    "K": "k", "bar": "bar", "V": "v", "A": "a", "kvar.h": "kvarh", "kV.A.h": "kvah", "var": "var", "V.A": "va",
    "%": "percent", "deg": "deg", "Hz": "hz", "[cft_i]": "ft3", "dB[mW]": "dbm", "Bd": "baud", "[ppm]": "ppm",
    "m3.Cel": "m3c",
}  # fmt: skip

DURATION = ("s", "min", "h", "d")
LONG_DURATION = ("h", "d", "mo", "a")
Entries = Iterator[tuple[int, Vif]]


def _scaled(code: int, count: int, vif: Vif) -> Entries:
    """`count` codes from `code` on, each ten times the one before."""
    return ((code + n, replace(vif, exponent=vif.exponent + n)) for n in range(count))


def _durations(code: int, quantity: str, units: tuple[str, ...], data: DataType = "signed") -> Entries:
    return ((code + n, Vif(quantity, unit, data=data)) for n, unit in enumerate(units))


def _each(code: int, data: DataType, *quantities: str) -> Entries:
    return ((code + n, Vif(quantity, data=data)) for n, quantity in enumerate(quantities))


# Table 10, primary codes.
PRIMARY: dict[int, Vif] = dict([
    *_scaled(0x00, 8, Vif("energy", "kW.h", -6)),
    *_scaled(0x08, 8, Vif("energy", "MJ", -6)),
    *_scaled(0x10, 8, Vif("volume", "m3", -6)),
    *_scaled(0x18, 8, Vif("mass", "kg", -3)),
    *_durations(0x20, "on_time", DURATION),
    *_durations(0x24, "operating_time", DURATION),
    *_scaled(0x28, 8, Vif("power", "W", -3)),
    *_scaled(0x30, 8, Vif("power", "MJ/h", -6)),
    *_scaled(0x38, 8, Vif("volume_flow", "m3/h", -6)),
    *_scaled(0x40, 8, Vif("volume_flow", "m3/h", -7, factor=60)),
    *_scaled(0x48, 8, Vif("volume_flow", "m3/h", -9, factor=3600)),
    *_scaled(0x50, 8, Vif("mass_flow", "kg/h", -3)),
    *_scaled(0x58, 4, Vif("flow_temperature", "Cel", -3)),
    *_scaled(0x5C, 4, Vif("return_temperature", "Cel", -3)),
    *_scaled(0x60, 4, Vif("temperature_difference", "K", -3)),
    *_scaled(0x64, 4, Vif("external_temperature", "Cel", -3)),
    *_scaled(0x68, 4, Vif("pressure", "bar", -3)),
    (0x6C, Vif("date", data="date")),
    (0x6D, Vif("datetime", data="datetime")),
    (0x6E, Vif("heat_cost_allocation")),
    *_durations(0x70, "averaging_duration", DURATION),
    *_durations(0x74, "actuality_duration", DURATION),
    *_each(0x78, "identity", "fabrication_number", "enhanced_identification", "bus_address"),
    (0x7E, Vif("any")),
])  # fmt: skip

# Table 12, behind FD. Money is the local currency's.
EXTENSION_FD: dict[int, Vif] = dict([
    *_scaled(0x00, 4, Vif("credit", "", -3)),
    *_scaled(0x04, 4, Vif("debit", "", -3)),
    (0x08, Vif("message_number", data="unsigned")),
    *_each(0x09, "identity", "device_type", "manufacturer", "parameter_set", "model_version", "hardware_version",
           "firmware_version", "software_version", "location", "customer", "access_code_user", "access_code_operator",
           "access_code_system_operator", "access_code_developer", "password"),
    *_each(0x17, "flags", "error_flags", "error_mask"),
    (0x19, Vif("security_key", data="hex")),
    *_each(0x1A, "flags", "digital_output", "digital_input"),
    (0x1C, Vif("baud_rate", "Bd", data="unsigned")),
    *_each(0x1D, "unsigned", "response_delay", "retry", "remote_control", "first_cyclic_storage",
           "last_cyclic_storage", "storage_block_size", "tariff_and_subunit_descriptor"),
    *_durations(0x24, "storage_interval", ("s", "min", "h", "d", "mo", "a")),
    (0x2A, Vif("operator_data", data="hex")),
    (0x2B, Vif("second_of_time_point", "s", data="unsigned")),
    *_durations(0x2C, "duration_since_readout", DURATION, "unsigned"),
    (0x30, Vif("tariff_start", data="datetime")),
    *_durations(0x31, "tariff_duration", DURATION[1:], "unsigned"),
    *_durations(0x34, "tariff_period", ("s", "min", "h", "d", "mo", "a"), "unsigned"),
    (0x3A, Vif("dimensionless")),
    (0x3B, Vif("wireless_container", data="hex")),
    *_durations(0x3C, "transmission_period", DURATION, "unsigned"),
    *_scaled(0x40, 16, Vif("voltage", "V", -9)),
    *_scaled(0x50, 16, Vif("current", "A", -12)),
    *_each(0x60, "unsigned", "reset_counter", "cumulation_counter", "control_signal", "day_of_week", "week_number"),
    (0x65, Vif("day_change", data="datetime")),
    (0x66, Vif("parameter_activation", data="unsigned")),
    (0x67, Vif("supplier_information", data="identity")),
    *_durations(0x68, "duration_since_cumulation", LONG_DURATION, "unsigned"),
    *_durations(0x6C, "battery_operating_time", LONG_DURATION, "unsigned"),
    (0x70, Vif("battery_change", data="datetime")),
    (0x71, Vif("rf_level", "dB[mW]")),
    *_each(0x72, "hex", "daylight_saving", "listening_window"),
    (0x74, Vif("remaining_battery_life", "d", data="unsigned")),
    (0x75, Vif("meter_stops", data="unsigned")),
    (0x76, Vif("manufacturer_container", data="hex")),
])  # fmt: skip

# Table 13, behind FD FD.
EXTENSION_FD_FD: dict[int, Vif] = {
    0x00: Vif("selected_application", data="unsigned"),
    0x02: Vif("remaining_battery_life", "mo", data="unsigned"),
    0x03: Vif("remaining_battery_life", "a", data="unsigned"),
}

# Table 14, behind FB. Reactive and apparent power are coded in thousandths of kvar and kVA.
EXTENSION_FB: dict[int, Vif] = dict([
    *_scaled(0x00, 2, Vif("energy", "kW.h", 2)),
    *_scaled(0x02, 2, Vif("reactive_energy", "kvar.h", 0)),
    *_scaled(0x04, 2, Vif("apparent_energy", "kV.A.h", 0)),
    *_scaled(0x08, 2, Vif("energy", "MJ", 2)),
    *_scaled(0x0C, 4, Vif("energy", "Mcal", -1)),
    *_scaled(0x10, 2, Vif("volume", "m3", 2)),
    *_scaled(0x14, 4, Vif("reactive_power", "var", 0)),
    *_scaled(0x18, 2, Vif("mass", "kg", 5)),
    *_scaled(0x1A, 2, Vif("relative_humidity", "%", -1, data="unsigned")),
    (0x20, Vif("volume", "[cft_i]", 0)),
    (0x21, Vif("volume", "[cft_i]", -1)),
    *_scaled(0x28, 2, Vif("power", "W", 5)),
    (0x2A, Vif("phase_voltage_to_voltage", "deg", -1)),
    (0x2B, Vif("phase_voltage_to_current", "deg", -1)),
    *_scaled(0x2C, 4, Vif("frequency", "Hz", -3)),
    *_scaled(0x30, 2, Vif("power", "MJ/h", 2)),
    *_scaled(0x34, 4, Vif("apparent_power", "V.A", 0)),
    (0x68, Vif("rating_factor", binary_exponent=-12, data="unsigned")),
    (0x69, Vif("thermal_output_rating", "W", data="unsigned")),
    (0x6A, Vif("thermal_coupling_rating", binary_exponent=-12, data="unsigned")),
    (0x6B, Vif("thermal_coupling_rating_room_side", binary_exponent=-12, data="unsigned")),
    (0x6C, Vif("thermal_coupling_rating_heater_side", binary_exponent=-12, data="unsigned")),
    (0x6D, Vif("low_temperature_rating", binary_exponent=-12, data="unsigned")),
    (0x6E, Vif("display_scaling_factor", binary_exponent=-12, data="unsigned")),
    *_scaled(0x74, 4, Vif("temperature_limit", "Cel", -3)),
    *_scaled(0x78, 8, Vif("cumulated_maximum_power", "W", -3)),
])  # fmt: skip
