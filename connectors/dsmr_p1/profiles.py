"""What the lines of a telegram mean: one table per national profile. Data.

An OBIS code in a profile's table gets a readable name and a description; its key is the name and the unit that the
meter printed. A code that is in no table is decoded too, and keeps the code as its key.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

from connectors.dsmr_p1.meter_time import CENTRAL, Zone

Kind = Literal[
    "number",  # with or without a unit
    "text",  # as it is printed
    "hex text",  # ASCII in hexadecimal digits: equipment identifiers, messages
    "clock",  # when the telegram was made
    "failure log",  # number of entries, code, then pairs of end and duration
    "peaks",  # number of months, two codes, then triples of month, moment and power
    "month",  # end of the month, then what the registers held
]


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a telegram: its OBIS code, its name, what it means. `counter`: it only rises."""

    code: str
    name: str
    text: str
    kind: Kind = "number"
    counter: bool = False


@dataclass(frozen=True, slots=True, eq=False)  # there is one of each: compared, and hashed, by identity
class Profile:
    """The telegrams of one country, in a zone. `standard_time`: its meters know no summer time, whatever they say."""

    name: str
    source: str
    rows: Mapping[str, Row]
    standard_time: bool = False
    zone: Zone = CENTRAL


def in_zone(profile: Profile, zone: Zone | None) -> Profile:
    """The same where another zone's time is kept (None: Central Europe's); there is one of each."""
    return profile if zone is None or zone is profile.zone else _in_other_zone(profile, zone)


@lru_cache(maxsize=64)
def _in_other_zone(profile: Profile, zone: Zone) -> Profile:
    return profile if profile.zone == zone else replace(profile, zone=zone)


def _energy(code: str, name: str, text: str) -> Row:
    return Row(code, name, text, counter=True)


def _phases(first: int, rest: str, name: str, text: str, *, counter: bool = False) -> list[Row]:
    """Three rows: OBIS numbers phases in steps of 20 (21.7.0, 41.7.0, 61.7.0)."""
    return [
        Row(f"1-0:{first + 20 * (phase - 1)}.{rest}", f"{name}_l{phase}", f"{text}, phase L{phase}", counter=counter)
        for phase in (1, 2, 3)
    ]


# Codes that mean the same everywhere [IEC 62056-6-1; DSMR P1 companion standard 5.0.2].
COMMON = [
    Row("0-0:1.0.0", "clock", "time of the telegram", "clock"),
    Row("0-0:96.14.0", "tariff", "tariff that counts now"),
    Row("0-0:96.3.10", "breaker_state", "breaker: 0 disconnected, 1 connected, 2 ready for reconnection"),
    Row("0-0:17.0.0", "limiter_threshold", "limit above which the breaker opens"),
    Row("0-0:96.13.0", "message", "message to the customer", "hex text"),
    Row("0-0:96.13.1", "message_code", "message to the customer, numeric", "hex text"),
    _energy("1-0:1.8.0", "energy_import", "energy taken from the grid, all tariffs"),
    _energy("1-0:2.8.0", "energy_export", "energy fed into the grid, all tariffs"),
    Row("1-0:1.7.0", "power_import", "power taken from the grid"),
    Row("1-0:2.7.0", "power_export", "power fed into the grid"),
    _energy("1-0:3.8.0", "reactive_energy_import", "reactive energy +R, all tariffs"),
    _energy("1-0:4.8.0", "reactive_energy_export", "reactive energy -R, all tariffs"),
    Row("1-0:3.7.0", "reactive_power_import", "reactive power +Q"),
    Row("1-0:4.7.0", "reactive_power_export", "reactive power -Q"),
    Row("1-0:9.7.0", "apparent_power_import", "apparent power +S"),
    Row("1-0:10.7.0", "apparent_power_export", "apparent power -S"),
    Row("1-0:14.7.0", "frequency", "frequency of the grid"),
    *_phases(21, "7.0", "power_import", "power taken from the grid"),
    *_phases(22, "7.0", "power_export", "power fed into the grid"),
    *_phases(23, "7.0", "reactive_power_import", "reactive power +Q"),
    *_phases(24, "7.0", "reactive_power_export", "reactive power -Q"),
    *_phases(31, "7.0", "current", "current"),
    *_phases(31, "4.0", "current_limit", "limit of the current"),
    *_phases(32, "7.0", "voltage", "voltage"),
    *_phases(32, "32.0", "voltage_sags", "voltage sags", counter=True),
    *_phases(32, "36.0", "voltage_swells", "voltage swells", counter=True),
    Row("0-0:96.7.21", "power_failures", "power failures, all phases", counter=True),
    Row("0-0:96.7.9", "long_power_failures", "long power failures, all phases", counter=True),
    Row("1-0:99.97.0", "power_failure", "log of long power failures", "failure log"),
]


def _tariffs(*texts: str) -> list[Row]:
    """Energy by tariff, in both directions; `texts` says for whom each tariff is."""
    return [
        _energy(f"1-0:{register}.8.{number}", f"energy_{way}_tariff_{number}", f"energy {how}, tariff {number}{text}")
        for register, way, how in ((1, "import", "taken from the grid"), (2, "export", "fed into the grid"))
        for number, text in enumerate(texts, 1)
    ]


def _reactive_tariffs() -> list[Row]:
    return [
        _energy(
            f"1-0:{register}.8.{number}",
            f"reactive_energy_{way}_tariff_{number}",
            f"reactive energy {sign}R, tariff {number}",
        )
        for register, way, sign in ((3, "import", "+"), (4, "export", "-"))
        for number in (1, 2)
    ]


def _quadrants() -> list[Row]:
    """Reactive energy and power by quadrant: OBIS 5 to 8."""
    return [
        row
        for number in (1, 2, 3, 4)
        for row in (
            _energy(f"1-0:{4 + number}.8.0", f"reactive_energy_q{number}", f"reactive energy, quadrant {number}"),
            Row(f"1-0:{4 + number}.7.0", f"reactive_power_q{number}", f"reactive power, quadrant {number}"),
        )
    ]


_VERSION = Row("1-3:0.2.8", "p1_version", "version of the P1 standard, without its dot", "text")
_EQUIPMENT = Row("0-0:96.1.1", "equipment_id", "identifier of the meter", "hex text")
_SERIAL = Row("0-0:96.1.0", "serial_number", "serial number of the meter", "hex text")
_DEVICE_NAME = Row("0-0:42.0.0", "logical_device_name", "COSEM logical device name of the meter", "hex text")


def _profile(name: str, source: str, rows: Iterable[Row], *, standard_time: bool = False) -> Profile:
    return Profile(name, source, {row.code: row for row in [*COMMON, *rows]}, standard_time)


NETHERLANDS = _profile(
    "netherlands",
    "DSMR P1 companion standards 2.2 to 5.0.2 (Netbeheer Nederland)",
    [_VERSION, _EQUIPMENT, _SERIAL, *_tariffs(" (low)", " (normal)", "", "")],
)
BELGIUM = _profile(
    "belgium",
    "e-MUCS P1, edition 1.7.1 (Fluvius, ORES, Resa, Sibelga)",
    [
        Row("0-0:96.1.4", "p1_version", "version of e-MUCS P1: 50217 is DSMR 5.0.2, e-MUCS 1.7", "text"),
        _EQUIPMENT,
        Row("0-0:96.1.2", "ean", "EAN code of the connection", "hex text"),
        Row("1-0:94.32.1", "firmware_version", "version of the meter's firmware", "text"),
        *_tariffs(" (day)", " (night)"),
        Row("1-0:1.4.0", "demand_import", "average power taken from the grid in this quarter of an hour"),
        Row("1-0:1.6.0", "demand_import_peak_month", "highest quarter of an hour of this month, at its own time"),
        Row("0-0:98.1.0", "demand_import_peak", "highest quarters of an hour of the past months", "peaks"),
    ],
)
LUXEMBOURG = _profile(
    "luxembourg",
    "E-Meter P1 Specification 1.1.3, table 3.1 (Luxmetering)",
    [
        _VERSION,
        _DEVICE_NAME,
        _EQUIPMENT,
        *_tariffs("", ""),
        Row("1-1:31.4.0", "current_limit", "limits of the current, import and export"),
        Row("0-0:96.13.2", "message_2", "message to the customer, 2", "hex text"),
        Row("0-0:96.13.3", "message_3", "message to the customer, 3", "hex text"),
        Row("0-0:96.13.4", "message_4", "message to the customer, 4", "hex text"),
        Row("0-0:96.13.5", "message_5", "message to the customer, 5", "hex text"),
    ],
)
SWEDEN = _profile(
    "sweden",
    "Branschrekommendation för lokalt kundgränssnitt för elmätare 2.0 (Energiföretagen Sverige)",
    [_VERSION, _SERIAL, _EQUIPMENT, *_tariffs("", "")],
    standard_time=True,
)
HUNGARY = _profile(
    "hungary",
    "P1 port felhasználói interfész tájékoztató, 2023-02-10 (E.ON Hungária)",
    [
        _VERSION,
        _DEVICE_NAME,
        _SERIAL,
        *_tariffs("", "", "", ""),
        *_quadrants(),
        _energy("1-0:15.8.0", "energy_absolute", "energy in both directions added up"),
        Row("1-0:13.7.0", "power_factor", "power factor"),
        *_phases(33, "7.0", "power_factor", "power factor"),
        Row("0-0:98.1.0", "month_end", "register at the end of the last month", "month"),
    ],
)
AUSTRIA = _profile(
    "austria",
    "telegrams of the Sagemcom T210-D-r (Energienetze Steiermark)",
    [_VERSION, _EQUIPMENT, _SERIAL, _DEVICE_NAME, *_tariffs("", ""), *_reactive_tariffs()],
)
EASYMETER = _profile(
    "easymeter",
    "EasyMeter Q3D, which prints a D0 telegram with a P1 meter's frame",
    [
        Row("1-0:0.0.0", "equipment_id", "identifier of the meter", "text"),
        Row("0-0:96.1.255", "serial_number", "serial number of the meter", "text"),
        Row("1-0:96.5.5", "status", "status byte in hexadecimal digits", "text"),
        *_tariffs("", ""),
    ],
)
PROFILES: Mapping[str, Profile] = {
    profile.name: profile for profile in (NETHERLANDS, BELGIUM, LUXEMBOURG, SWEDEN, HUNGARY, AUSTRIA, EASYMETER)
}


def detect(text: str) -> Profile:
    """The profile that a telegram's own codes tell of; the Dutch one when they tell nothing."""
    if "\n0-0:96.1.4(" in text:
        return BELGIUM
    has_version = "\n1-3:0.2.8(" in text
    if "\n0-0:42.0.0(" in text:
        return LUXEMBOURG if has_version else HUNGARY
    if has_version:
        return AUSTRIA if "\n1-0:3.8.1(" in text else NETHERLANDS
    if "*255(" in text:
        return EASYMETER
    if "\n1-0:4.8.0(" in text and "\n1-0:23.7.0(" in text:
        return SWEDEN
    return NETHERLANDS
