"""Comparing our readings with what dsmr-parser says of the same telegram, value by value, both ways."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from wattbus.connector import Quantity, Reading

# dsmr-parser's unit → the UCUM's.
UNITS = {
    None: "",
    "kWh": "kW.h",
    "Wh": "W.h",
    "kW": "kW",
    "W": "W",
    "V": "V",
    "A": "A",
    "Hz": "Hz",
    "kVA": "kV.A",
    "kvar": "kvar",
    "kVAr": "kvar",
    "var": "var",
    "kvarh": "kvar.h",
    "kVArh": "kvar.h",
    "varh": "var.h",
    "m3": "m3",
    "GJ": "GJ",
}

# dsmr-parser's name → ours, without the unit. Its USED and DELIVERED are our import and export.
NUMBERS = {
    "ELECTRICITY_IMPORTED_TOTAL": "energy_import",
    "ELECTRICITY_EXPORTED_TOTAL": "energy_export",
    **{f"ELECTRICITY_USED_TARIFF_{n}": f"energy_import_tariff_{n}" for n in (1, 2, 3, 4)},
    **{f"ELECTRICITY_DELIVERED_TARIFF_{n}": f"energy_export_tariff_{n}" for n in (1, 2, 3, 4)},
    "ELECTRICITY_ACTIVE_TARIFF": "tariff",
    "CURRENT_ELECTRICITY_USAGE": "power_import",
    "CURRENT_ELECTRICITY_DELIVERY": "power_export",
    "ACTUAL_TRESHOLD_ELECTRICITY": "limiter_threshold",
    "ACTUAL_SWITCH_POSITION": "breaker_state",
    "SHORT_POWER_FAILURE_COUNT": "power_failures",
    "LONG_POWER_FAILURE_COUNT": "long_power_failures",
    "BELGIUM_CURRENT_AVERAGE_DEMAND": "demand_import",
    "ELECTRICITY_REACTIVE_IMPORTED_TOTAL": "reactive_energy_import",
    "ELECTRICITY_REACTIVE_EXPORTED_TOTAL": "reactive_energy_export",
    **{f"ELECTRICITY_REACTIVE_IMPORTED_TARIFF_{n}": f"reactive_energy_import_tariff_{n}" for n in (1, 2)},
    **{f"ELECTRICITY_REACTIVE_EXPORTED_TARIFF_{n}": f"reactive_energy_export_tariff_{n}" for n in (1, 2)},
    # dsmr-parser calls 3.7.0 imported and 4.7.0 exported, as IEC 62056-6-1 does with +Q and -Q.
    "CURRENT_REACTIVE_IMPORTED": "reactive_power_import",
    "CURRENT_REACTIVE_EXPORTED": "reactive_power_export",
    "ELECTRICITY_COMBINED": "energy_absolute",
    "INSTANTANEOUS_POWER_FACTOR_TOTAL": "power_factor",
    "FREQUENCY": "frequency",
    "MSN_INSTANTANEOUS_APPARENT_POWER_POSITIVE": "apparent_power_import",
    "MSN_INSTANTANEOUS_APPARENT_POWER_NEGATIVE": "apparent_power_export",
    **{f"ELECTRICITY_REACTIVE_TOTAL_Q{n}": f"reactive_energy_q{n}" for n in (1, 2, 3, 4)},
    **{f"INSTANTANEOUS_REACTIVE_POWER_Q{n}": f"reactive_power_q{n}" for n in (1, 2, 3, 4)},
    **{f"VOLTAGE_SAG_L{n}_COUNT": f"voltage_sags_l{n}" for n in (1, 2, 3)},
    **{f"VOLTAGE_SWELL_L{n}_COUNT": f"voltage_swells_l{n}" for n in (1, 2, 3)},
    **{f"INSTANTANEOUS_VOLTAGE_L{n}": f"voltage_l{n}" for n in (1, 2, 3)},
    **{f"INSTANTANEOUS_CURRENT_L{n}": f"current_l{n}" for n in (1, 2, 3)},
    **{f"FUSE_THRESHOLD_L{n}": f"current_limit_l{n}" for n in (1, 2, 3)},
    **{f"INSTANTANEOUS_POWER_FACTOR_L{n}": f"power_factor_l{n}" for n in (1, 2, 3)},
    **{f"INSTANTANEOUS_ACTIVE_POWER_L{n}_POSITIVE": f"power_import_l{n}" for n in (1, 2, 3)},
    **{f"INSTANTANEOUS_ACTIVE_POWER_L{n}_NEGATIVE": f"power_export_l{n}" for n in (1, 2, 3)},
    **{f"INSTANTANEOUS_REACTIVE_POWER_L{n}_POSITIVE": f"reactive_power_import_l{n}" for n in (1, 2, 3)},
    **{f"INSTANTANEOUS_REACTIVE_POWER_L{n}_NEGATIVE": f"reactive_power_export_l{n}" for n in (1, 2, 3)},
}
PLAIN_TEXTS = {
    "P1_MESSAGE_HEADER": "p1_version",
    "BELGIUM_VERSION_INFORMATION": "p1_version",
    "EQUIPMENT_STATE": "status",
    "EQUIPMENT_IDENTIFIER_Q3D": "equipment_id",
    "EQUIPMENT_SERIALNUMBER": "serial_number",
}
HEX_TEXTS = {
    "EQUIPMENT_IDENTIFIER": "equipment_id",
    "BELGIUM_EQUIPMENT_IDENTIFIER": "equipment_id",
    "COSEM_LOGICAL_DEVICE_NAME": "logical_device_name",
    "LUXEMBOURG_EQUIPMENT_IDENTIFIER": "logical_device_name",
    "EQUIPMENT_SERIAL_NUMBER": "serial_number",
    "EQUIPMENT_IDENTIFIER_GAS": "serial_number",  # what it calls 96.1.0 of the electricity meter, too
    "TEXT_MESSAGE": "message",
    "TEXT_MESSAGE_CODE": "message_code",
}
MBUS_KINDS = {3: "gas", 4: "heat", 7: "water"}
MBUS_TYPES = ("DEVICE_TYPE", "MBUS_DEVICE_TYPE")
MBUS_TEXTS = ("EQUIPMENT_IDENTIFIER_GAS", "MBUS_EQUIPMENT_IDENTIFIER")
MBUS_VALVES = ("VALVE_POSITION_GAS", "MBUS_VALVE_POSITION")
MBUS_READINGS = ("GAS_METER_READING", "HOURLY_GAS_METER_READING", "MBUS_METER_READING")
MBUS_SUFFIX = {"m3": "volume_m3", "GJ": "energy_gj"}
OURS_ALONE = {"identification"}


class Comparison:
    """`assert Comparison(json, readings).differences == []`."""

    def __init__(self, theirs: dict[str, Any], readings: list[Reading]) -> None:
        self.differences: list[str] = []
        self._left = {key: (quantity, one.timestamp_ms) for one in readings for key, quantity in one.values.items()}
        self._main_ms = readings[0].timestamp_ms
        for name, said in theirs.items():
            self._compare(name, said)
        self.differences += [f"only we have {key}" for key in self._left if key not in OURS_ALONE]

    def _compare(self, name: str, said: Any) -> None:
        if name == "P1_MESSAGE_TIMESTAMP":
            self._same(name, ms(said["value"]), self._main_ms)
        elif name in NUMBERS:
            self._number(name, said, NUMBERS[name])
        elif name in PLAIN_TEXTS:
            self._same(name, said["value"], self._take(name, PLAIN_TEXTS[name])[0].value)
        elif name in HEX_TEXTS:
            self._text(name, said["value"], HEX_TEXTS[name])
        elif name == "POWER_EVENT_FAILURE_LOG":
            self._failures(said)
        elif name == "BELGIUM_MAXIMUM_DEMAND_MONTH":
            self._own_time(name, said, "demand_import_peak_month_kw")
        elif name == "BELGIUM_MAXIMUM_DEMAND_13_MONTHS":
            self._peaks(said)
        elif name == "MBUS_DEVICES":
            for device in said:
                self._device(device)
        else:
            self.differences.append(f"only they have {name}")

    def _take(self, name: str, key: str) -> tuple[Quantity, int | None]:
        if key not in self._left:
            self.differences.append(f"{name}: we have no {key}")
            return Quantity(None), None
        return self._left.pop(key)

    def _same(self, name: str, theirs: Any, ours: Any) -> None:
        if theirs != ours:
            self.differences.append(f"{name}: they say {theirs!r}, we say {ours!r}")

    def _number(self, name: str, said: Any, base: str) -> None:
        if said["value"] is None:
            return
        unit = said["unit"]
        quantity, at = self._take(name, base if unit is None else f"{base}_{unit.lower()}")
        self._same(name, float(said["value"]), quantity.value)
        self._same(f"{name}'s unit", UNITS[unit], quantity.unit)
        self._same(f"{name}'s time", self._main_ms, at)

    def _text(self, name: str, said: Any, key: str) -> None:
        if said is not None:  # an empty value is not a value
            quantity, _ = self._take(name, key)
            self._same(name, as_ascii(str(said)), quantity.value)

    def _own_time(self, name: str, said: Any, key: str) -> None:
        quantity, at = self._take(name, key)
        self._same(name, said["value"], quantity.value)
        self._same(f"{name}'s unit", UNITS[said["unit"]], quantity.unit)
        self._same(f"{name}'s time", ms(said["datetime"]), at)

    def _failures(self, said: Any) -> None:
        count, _ = self._take("failure log", "power_failures_logged")
        self._same("failure log", said["buffer_length"], count.value)
        events = sorted(((one["datetime"], one["value"]) for one in said["buffer"]), reverse=True)
        if events:
            texts = [f"{end.replace('+00:00', 'Z')} {seconds} s" for end, seconds in events]
            self._same("failure log", "; ".join(texts), self._take("failure log", "power_failure_log")[0].value)
            end, seconds = events[0]
            self._same("last failure", seconds, self._take("failure log", "power_failure_last_s")[0].value)
            last = self._take("failure log", "power_failure_last_end")[0].value
            self._same("last failure", end.replace("+00:00", "Z"), last)

    def _peaks(self, said: Any) -> None:
        texts = [
            f"month to {one['datetime']}: {one['value']} {one['unit']} at {one['occurred']}".replace("+00:00", "Z")
            for one in sorted(said, key=lambda one: one["datetime"], reverse=True)
        ]
        self._same("peaks", "; ".join(texts), self._take("peaks", "demand_import_peak_months")[0].value)
        latest = max(said, key=lambda one: one["datetime"])
        self._own_time("peaks", latest, "demand_import_peak_last_month_kw")
        at = self._take("peaks", "demand_import_peak_last_month_at")[0].value
        self._same("peaks", latest["occurred"].replace("+00:00", "Z"), at)

    def _device(self, device: Any) -> None:
        channel = device["CHANNEL_ID"]
        kind = next(int(device[name]["value"]) for name in MBUS_TYPES if name in device)
        prefix = f"{MBUS_KINDS[kind]}_{channel}__"
        for name, said in device.items():
            if name in MBUS_TYPES:
                self._same(name, int(said["value"]), self._take(name, prefix + "device_type")[0].value)
            elif name in MBUS_TEXTS:
                self._text(name, said["value"], prefix + "equipment_id")
            elif name in MBUS_VALVES:
                self._same(name, int(said["value"]), self._take(name, prefix + "valve_state")[0].value)
            elif name in MBUS_READINGS:
                self._own_time(name, said, prefix + MBUS_SUFFIX[said["unit"]])
            elif name != "CHANNEL_ID":
                self.differences.append(f"only they have {name} on channel {channel}")


def ms(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


def as_ascii(digits: str) -> str:
    """dsmr-parser leaves identifiers and messages in hexadecimal digits."""
    try:
        text = bytes.fromhex(digits).decode("ascii")
    except ValueError:
        return digits
    return text if len(text) * 2 == len(digits) and text.isprintable() else digits
