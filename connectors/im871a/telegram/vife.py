"""What a combinable VIF extension adds to a VIF: tables 15 to 18 of EN 13757-3:2018 as data.

An extension adds a word to the name, and may change unit, scale or data type: "backward" only adds the word, "date of
the first start of …" makes a point in time of the quantity, "multiplied by 1000" changes the scale.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from connectors.im871a.telegram.vif import DURATION, DataType, Vif

Profile = Literal["", "forward", "inverse"]


@dataclass(frozen=True, slots=True)
class Vife:
    """One combinable extension.

    `word` becomes part of the name. `becomes` replaces unit, scale and data type. `per` and `times` change the unit.
    `data` replaces the data type alone.
    `offset_exponent` is the power of ten, in units of the VIF, of a constant to be added.
    `known` is False for codes that are reserved.
    """

    word: str = ""
    exponent: int = 0
    offset_exponent: int | None = None
    per: str = ""
    times: str = ""
    becomes: Vif | None = None
    data: DataType | None = None
    profile: Profile = ""
    known: bool = True


MOMENT = Vif("", data="datetime")
COUNT = Vif("", data="unsigned")

# Table 18, what a meter reports about a record. The value, which may be none, stays under a name of its own.
RECORD_ERRORS = {
    0x01: "error_too_many_difes", 0x02: "error_storage", 0x03: "error_unit", 0x04: "error_tariff",
    0x05: "error_function", 0x06: "error_data_class", 0x07: "error_data_size", 0x0B: "error_too_many_vifes",
    0x0C: "error_vif_group", 0x0D: "error_vif_exponent", 0x0E: "error_vif_dif_mismatch", 0x0F: "error_action",
    0x15: "no_data", 0x16: "overflow", 0x17: "underflow", 0x18: "data_error", 0x1C: "premature_end",
}  # fmt: skip


def _limits() -> Iterator[tuple[int, Vife]]:
    """Table 15, the codes with bits u (lower, upper limit), f (first, last), b (begin, end), nn (duration unit)."""
    for u, limit in enumerate(("lower_limit", "upper_limit")):
        yield 0x40 | u << 3, Vife(limit)
        yield 0x41 | u << 3, Vife(f"{limit}_exceeds", becomes=COUNT)
        yield 0x68 | u << 2, Vife(f"during_{limit}_exceed")
        for f, occasion in enumerate(("first", "last")):
            for b, moment in enumerate(("begin", "end")):
                word = f"{limit}_exceed_{occasion}_{moment}"
                yield 0x42 | u << 3 | f << 2 | b, Vife(word, becomes=MOMENT)
            for nn, unit in enumerate(DURATION):
                becomes = Vif("", unit, data="unsigned")
                yield 0x50 | u << 3 | f << 2 | nn, Vife(f"{limit}_exceed_{occasion}_duration", becomes=becomes)
    for f, occasion in enumerate(("first", "last")):
        for nn, unit in enumerate(DURATION):
            yield 0x60 | f << 2 | nn, Vife(f"{occasion}_duration", becomes=Vif("", unit, data="unsigned"))
        for b, moment in enumerate(("begin", "end")):
            yield 0x6A | f << 2 | b, Vife(f"{occasion}_{moment}", becomes=MOMENT)


def _rates() -> Iterator[tuple[int, Vife]]:
    per = ("s", "min", "h", "d", "wk", "mo", "a", "", "", "", "", "", "l", "m3", "kg", "K", "kW.h", "GJ", "kW", "K.l",
           "V", "A")  # fmt: skip
    words = ("second", "minute", "hour", "day", "week", "month", "year", "revolution", "input_pulse_0",
             "input_pulse_1", "output_pulse_0", "output_pulse_1", "litre", "m3", "kg", "kelvin", "kwh", "gj", "kw",
             "kelvin_litre", "volt", "ampere")  # fmt: skip
    for n, (unit, word) in enumerate(zip(per, words, strict=True)):
        yield 0x20 + n, Vife(f"per_{word}", per=unit)
    for n, (unit, word) in enumerate((("s", "second"), ("s/V", "second_per_volt"), ("s/A", "second_per_ampere"))):
        yield 0x36 + n, Vife(f"times_{word}", times=unit)


# Table 15.
COMBINABLE: dict[int, Vife] = {
    0x00: Vife(),
    **{code: Vife(word) for code, word in RECORD_ERRORS.items()},
    **dict(_rates()),
    **dict(_limits()),
    0x12: Vife("average"),
    0x13: Vife("profile", profile="inverse"),
    0x14: Vife("relative_deviation"),
    0x1D: Vife("standard"),
    0x1E: Vife("profile", profile="forward"),
    0x1F: Vife("profile", profile="forward"),
    0x39: Vife("start", becomes=MOMENT),
    0x3A: Vife("uncorrected"),
    0x3B: Vife("forward"),
    0x3C: Vife("backward"),
    0x3D: Vife("non_metric", known=False),
    0x3E: Vife("base"),
    0x3F: Vife("obis", becomes=Vif("", data="hex")),
    0x44: Vife("times_flow_temperature", times="Cel", exponent=-2),
    0x45: Vife("times_return_temperature", times="Cel", exponent=-2),
    0x69: Vife("leakage"),
    0x6D: Vife("overflow_value"),
    **{0x70 + n: Vife(exponent=n - 6) for n in range(8)},
    **{0x78 + n: Vife(offset_exponent=n - 3) for n in range(4)},
    0x7D: Vife(exponent=3),
    0x7E: Vife("future"),
}

# Table 17, behind FC.
COMBINABLE_FC: dict[int, Vife] = {
    0x01: Vife("l1"), 0x02: Vife("l2"), 0x03: Vife("l3"), 0x04: Vife("neutral"), 0x05: Vife("l1_l2"),
    0x06: Vife("l2_l3"), 0x07: Vife("l3_l1"), 0x08: Vife("quadrant_1"), 0x09: Vife("quadrant_2"),
    0x0A: Vife("quadrant_3"), 0x0B: Vife("quadrant_4"), 0x0C: Vife("import_minus_export"),
    0x10: Vife("absolute"), 0x11: Vife(data="unsigned"), 0x12: Vife(data="flags"),
}  # fmt: skip

EXTENSION, MANUFACTURER = 0x7C, 0x7F
