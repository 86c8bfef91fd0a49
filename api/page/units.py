"""Units as people write them. On the bus they are UCUM's (https://ucum.org/ucum, case sensitive)."""

from __future__ import annotations

import re

SYMBOLS = {
    "Cel": "°C",
    "[degF]": "°F",
    "deg": "°",
    "Ohm": "Ω",
    "kOhm": "kΩ",
    "W.h": "Wh",
    "kW.h": "kWh",
    "MW.h": "MWh",
    "V.A": "VA",
    "kV.A": "kVA",
    "V.A.h": "VAh",
    "kV.A.h": "kVAh",
    "var.h": "varh",
    "kvar.h": "kvarh",
    "A.h": "Ah",
    "uA": "µA",
    "uV": "µV",
    "us": "µs",
    "ug/m3": "µg/m³",
    "dB[mW]": "dBm",
    "[ppm]": "ppm",
    "[ppb]": "ppb",
    "10*-6": "ppm",
    "1": "",
    "mo": "months",
    "a": "years",
    "[lx]": "lx",
}
_POWERS = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")


def symbol(unit: str) -> str:
    """The usual symbol: `kW.h` is kWh, `Cel` °C, `m3/h` m³/h; what is not known stays as it is."""
    if unit in SYMBOLS:
        return SYMBOLS[unit]
    raised = re.sub(r"(?<=[A-Za-z])-?\d+\b", lambda power: power[0].translate(_POWERS), unit)
    return raised.replace(".", "·")
