"""Raw messages to values and commands to registers, without a socket."""

from __future__ import annotations

from typing import Any

import pytest

from connectors.modbus_tcp.codec import decode, encode
from connectors.modbus_tcp.config import ModbusConfig
from wattbus.errors import CommandRejected, DecodeError

CONFIG = ModbusConfig.model_validate(
    {
        "read_coils": [{"address": 10, "count": 3, "unit": 1}],
        "read_holding_registers": [
            {"address": 100, "count": 4, "unit": 1, "datatypes": ">2f"},
            {"address": 200, "count": 4, "unit": 1, "datatypes": ">h2xI", "scaling_factors": {"200": 0.1, "202": 10}},
            {"address": 100, "count": 1, "unit": 2, "datatypes": ">xB"},
        ],
        "read_input_registers": [{"address": 1, "count": 1, "unit": 1, "datatypes": "e"}],
    }
)


def values(raw: Any) -> dict[str, Any]:
    return {key: value for unit in decode(raw, CONFIG) for key, value in unit.values.items()}


def test_our_form_is_keyed_by_address() -> None:
    raw = {
        "unit": 1,
        "read_coils": {"10": [True, False, True]},
        "read_holding_registers": {"100": [0x3F80, 0, 0x4000, 0], "200": [215, 0, 0, 5]},
        "read_input_registers": {"1": [0x404D]},
    }
    assert values(raw) == {
        "read_coils__1__10": True,
        "read_coils__1__11": False,
        "read_coils__1__12": True,
        "read_holding_registers__1__100": 1.0,
        "read_holding_registers__1__102": 2.0,
        "read_holding_registers__1__200": 21.5,
        "read_holding_registers__1__202": 50.0,
        "read_input_registers__1__1": 21.0,
    }


def test_the_unit_tells_ranges_at_one_address_apart() -> None:
    assert values({"unit": 2, "read_holding_registers": {"100": [7]}}) == {"read_holding_registers__2__100": 7}


def test_bemcoms_form_is_keyed_by_index_and_may_hold_several_units() -> None:
    raw = {"read_holding_registers": {"1": [215, 0, 0, 5], "2": [7]}, "read_coils": {"0": [1, 0, 1]}}
    assert [(unit.unit, dict(unit.values)) for unit in decode(raw, CONFIG)] == [
        (1, {"read_coils__1__10": True, "read_coils__1__11": False, "read_coils__1__12": True,
             "read_holding_registers__1__200": 21.5, "read_holding_registers__1__202": 50.0}),
        (2, {"read_holding_registers__2__100": 7}),
    ]  # fmt: skip


def test_a_partial_poll_gives_what_there_is() -> None:
    assert values({"unit": 1, "read_input_registers": {"1": [0x404D]}}) == {"read_input_registers__1__1": 21.0}


def test_nan_is_null() -> None:
    assert values({"unit": 1, "read_input_registers": {"1": [0x007E]}}) == {"read_input_registers__1__1": None}


def test_ranges_that_left_the_configuration_are_passed_over() -> None:
    raw = {"unit": 1, "read_input_registers": {"1": [0x404D], "77": [1]}}
    assert values(raw) == {"read_input_registers__1__1": 21.0}


@pytest.mark.parametrize(
    "raw",
    [
        None,
        [],
        "text",
        {},
        {"unit": 9, "read_coils": {"10": [True, True, True]}},
        {"unit": 1, "read_coils": [True]},
        {"unit": 1, "read_coils": {"10": True}},
        {"unit": 1, "read_coils": {"10": ["on"]}},
        {"unit": 1, "read_coils": {"10": [True] * 9}},
        {"unit": 1, "read_holding_registers": {"100": [1, 2, 3]}},
        {"unit": 1, "read_holding_registers": {"100": [1, 2, 3, 65536]}},
        {"unit": 1, "read_holding_registers": {"100": [1, 2, 3, -1]}},
        {"unit": 1, "read_holding_registers": {"100": [1, 2, 3, 1.5]}},
        {"unit": {}, "read_coils": {"10": [True, True, True]}},
    ],
)
def test_what_makes_no_sense_is_a_decode_error(raw: Any) -> None:
    with pytest.raises(DecodeError):
        decode(raw, CONFIG)


WRITES = ModbusConfig.model_validate(
    {
        "write_coil": [{"address": 1, "unit": 1}],
        "write_coils": [{"address": 1, "unit": 1}, {"address": 5, "unit": 1, "count": 3}],
        "write_register": [
            {"address": 1, "unit": 1, "datatypes": "<e"},
            {"address": 2, "unit": 1, "datatypes": ">h", "scaling_factor": 0.1},
            {"address": 3, "unit": 1, "datatypes": ">x?"},
        ],
        "write_registers": [
            {"address": 1, "unit": 1, "datatypes": ">f"},
            {"address": 10, "unit": 1, "datatypes": ">hI", "scaling_factors": {"11": 1000}},
            {"address": 20, "unit": 1, "datatypes": ">6s"},
        ],
    }
)


@pytest.mark.parametrize(
    ("method", "index", "value", "words"),
    [
        ("write_coil", 0, True, [1]),
        ("write_coil", 0, 0, [0]),
        ("write_coil", 0, "1", [1]),
        ("write_coils", 0, False, [0]),
        ("write_coils", 1, "1 0 1", [1, 0, 1]),
        ("write_register", 0, 21.0, [0x404D]),
        ("write_register", 0, "21.0", [0x404D]),
        ("write_register", 1, 21.54, [215]),
        ("write_register", 1, -0.1, [0xFFFF]),
        ("write_register", 2, True, [1]),
        ("write_registers", 0, 50.24, [0x4248, 0xF5C3]),
        ("write_registers", 1, "-1 5000", [0xFFFF, 0, 5]),
        ("write_registers", 2, "two words"[:6], [0x7477, 0x6F20, 0x776F]),
    ],
)
def test_commands_become_words(method: str, index: int, value: Any, words: list[int]) -> None:
    assert encode(getattr(WRITES, method)[index], value) == words


@pytest.mark.parametrize(
    ("method", "index", "value", "reason"),
    [
        ("write_coil", 0, 2, "neither true nor false"),
        ("write_coil", 0, None, "null cannot be written"),
        ("write_coils", 1, "1 0", "2 value.s. where 3 are expected"),
        ("write_coils", 1, True, "1 value.s. where 3 are expected"),
        ("write_register", 0, float("nan"), "cannot be written"),
        ("write_register", 0, 1e9, "too large"),
        ("write_register", 0, "", "0 value"),
        ("write_register", 1, 4000, "40000 does not fit: type h takes -32768 to 32767"),
        ("write_registers", 1, "1 2 3", "3 value.s. where 2 are expected"),
        ("write_registers", 2, "too long", "room for 6"),
        ("write_registers", 2, 5, "not text"),
    ],
)
def test_what_does_not_fit_is_rejected_in_words(method: str, index: int, value: Any, reason: str) -> None:
    with pytest.raises(CommandRejected, match=reason):
        encode(getattr(WRITES, method)[index], value)


def test_lsrf_holds_for_writing_too() -> None:
    assert encode(WRITES.write_registers[0], 50.24, swap_floats=True) == [0xF5C3, 0x4248]
