"""What MODBUS_CONFIG says about single values."""

from __future__ import annotations

import asyncio
import json
import re
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import connectors.modbus_tcp
from connectors.modbus_tcp.config import ModbusConfig
from connectors.modbus_tcp.connector import create
from links.modbus_server import ModbusServer, NumberBank
from tests.connectors.modbus_tcp.conftest import running, settings_for
from wattbus.errors import CommandRejected, ConfigError, DecodeError

HOLDING = "read_holding_registers"


def entry(datatypes: str, values: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    count = struct.calcsize(datatypes) // 2
    return {"address": 100, "count": count, "unit": 1, "datatypes": datatypes, "values": values, **more}


def decoded(words: list[int], datatypes: str, rules: Mapping[str, Any], **more: Any) -> Any:
    """What the value at register 100 becomes."""
    connector = create(settings_for({HOLDING: [entry(datatypes, {"100": {"key": "x", **rules}}, **more)]}))
    (reading,) = connector.decode({"unit": 1, HOLDING: {"100": words}})
    return reading.values["x"] if len(reading.values) == 1 else reading.values


@pytest.mark.parametrize(
    ("words", "datatypes", "rules", "expected"),
    [
        ([2315], ">H", {"scaling_factor": 0.1, "offset": -40}, 191.5),
        ([0x8000], ">h", {"nothing": ["0x8000"]}, None),
        ([0x8000], ">h", {"nothing": [-32768]}, None),
        ([0x8000], ">h", {}, -32768),
        ([0xFFFF], ">H", {"nothing": ["0xFFFF"], "scaling_factor": 0.1}, None),
        ([0xFFFF], ">H", {"nothing": [65535]}, None),
        ([0x8000, 0], ">i", {"nothing": ["0x80000000"]}, None),
        ([0xFFFF, 0xFFFF], ">I", {"nothing": ["0xFFFFFFFF"]}, None),
        ([0x7FC0, 0], ">f", {}, None),
        ([0x7FC0, 0], ">f", {"scaling_factor": 10}, None),
        ([0, 0x8000], ">i", {"nothing": ["0x80000000"]}, 32768),
        ([2], ">H", {"enumeration": {"1": "off", "2": "sleeping"}}, "sleeping"),
        ([0xFFFF], ">h", {"enumeration": {"0xFFFF": "fault"}}, "fault"),
        ([9], ">H", {"enumeration": {"1": "off"}}, "9"),
        ([0x1234], ">H", {"bcd": True}, 1234),
        ([0x1234, 0x5678], ">I", {"bcd": True, "scaling_factor": 0.01}, 123456.78),
        ([0x12A4], ">H", {"bcd": True}, None),
        ([0x4142, 0x4300, 0x5858], ">6s", {}, "ABC"),
        ([0x4241, 0x0043, 0], ">6s", {"byte_order": "little"}, "ABC"),
        ([500], ">H", {"max_value": 400}, None),
        ([500], ">H", {"max_value": 500, "min_value": 500}, 500),
        ([5], ">h", {"min_value": 0, "offset": -10}, None),
        ([5], "<H", {"bits": {"8": "a", "9": {"key": "b", "name": "pump"}}}, {"a": True, "b": False, "x": 5 << 8}),
        ([0x8001], ">H", {"bits": {"0": "a", "1": "b", "15": "c"}}, {"a": True, "b": False, "c": True, "x": 0x8001}),
        ([0xFFFF], ">H", {"bits": {"0": "a"}, "nothing": ["0xFFFF"]}, {"a": None, "x": None}),
    ],
)
def test_a_value_is_what_the_device_means(
    words: list[int], datatypes: str, rules: dict[str, Any], expected: object
) -> None:
    found = decoded(words, datatypes, rules)
    assert found == (pytest.approx(expected) if isinstance(expected, float) else expected)


def test_little_words_and_rules_together() -> None:
    assert decoded([0x5678, 0x1234], ">I", {"bcd": True}, word_order="little") == 12345678


@pytest.mark.parametrize(
    ("scale", "expected"),
    [(0, 2415), (0xFFFF, 241.5), (0xFFFE, 24.15), (2, 241500), (0x8000, None), (11, None)],
)
def test_a_scale_register_is_read_with_its_value(scale: int, expected: float | None) -> None:
    config = {HOLDING: [entry(">HhH", {"100": {"key": "power", "scale_register": 101}, "102": {"key": "other"}})]}
    connector = create(settings_for(config))
    (reading,) = connector.decode({"unit": 1, HOLDING: {"100": [2415, scale, 7]}})
    assert reading.values["power"] == (None if expected is None else pytest.approx(expected))
    assert reading.values["other"] == 7


def test_a_scale_register_may_be_an_entry_of_its_own() -> None:
    more = {"address": 200, "count": 1, "unit": 1, "datatypes": ">h"}
    connector = create(settings_for({HOLDING: [entry(">H", {"100": {"scale_register": 200}}), more]}))
    (reading,) = connector.decode({"unit": 1, HOLDING: {"200": [0xFFFF], "100": [15]}})
    assert reading.values == {"read_holding_registers__1__100": 1.5, "read_holding_registers__1__200": -1}
    (reading,) = connector.decode({"unit": 1, HOLDING: {"100": [15]}})
    assert reading.values == {"read_holding_registers__1__100": None}


def test_a_part_of_a_range_is_decoded_and_a_torn_one_is_not() -> None:
    connector = create(settings_for({HOLDING: [entry(">HIH", {})]}))
    (reading,) = connector.decode({"unit": 1, HOLDING: {"101": [0, 9, 8]}})
    assert reading.values == {"read_holding_registers__1__101": 9, "read_holding_registers__1__103": 8}
    for start, words in [("100", [1, 0]), ("100", [1, 0, 9, 8, 7])]:
        with pytest.raises(DecodeError):
            connector.decode({"unit": 1, HOLDING: {start: words}})
    with pytest.raises(DecodeError):
        connector.decode({"unit": 1, HOLDING: {"102": [9, 8]}})


def test_datapoints_say_it() -> None:
    rules = {
        "100": {"key": "energy", "name": "Energy", "unit": "kW.h", "counter": True},
        "101": {"key": "state", "enumeration": {"1": "on"}, "bits": {"3": "alarm"}},
    }
    coils = {"address": 3, "count": 2, "unit": 1, "values": {"4": {"key": "pump", "name": "Pump"}}}
    config = {HOLDING: [entry(">HH", rules, poll_seconds=60)], "read_coils": [coils]}
    found = {one.key: one for one in create(settings_for(config)).datapoints()}
    assert list(found) == ["read_coils__1__3", "pump", "energy", "state", "alarm"]
    assert found["energy"].counter
    assert found["energy"].unit == "kW.h"
    assert found["energy"].description == "Energy"
    assert found["energy"].expected_interval_s == 60
    assert found["state"].data_format == "discrete_text"
    assert found["alarm"].data_format == "bool"
    assert found["pump"].description == "Pump"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"values": {"109": {}}}, "values: 109 is not the address of a value here"),
        ({"values": {"100": {"bits": {"16": "a"}}}}, "values, 100: bits: 16 is beyond the 16 bits"),
        ({"values": {"100": {"key": "a/b"}}}, "values.100.key"),
        ({"values": {"100": {"colour": 1}}}, "values.100.colour"),
        ({"values": {"100": {"byte_order": "little"}}}, "values, 100: byte_order: only for texts"),
        ({"values": {"100": {"enumeration": {"1": "a"}, "offset": 1}}}, "values, 100: enumeration: not together"),
        ({"values": {"100": {"scaling_factor": 0}}}, "values.100.scaling_factor"),
        ({"values": {"100": {"min_value": 2, "max_value": 1}}}, "values.100: .*min_value is above max_value"),
        ({"values": {"100": {"nothing": ["0xZZ"]}}}, "values.100.nothing"),
        ({"poll_seconds": 0}, "poll_seconds"),
        ({"gap": -1}, "gap"),
    ],
)
def test_what_is_wrong_names_its_place(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=f"MODBUS_CONFIG.*{HOLDING}.*0.*{words}"):
        settings_for({HOLDING: [{**entry(">H", {}), **change}]})


def test_two_values_cannot_have_one_key() -> None:
    with pytest.raises(ConfigError, match="the key a is already taken"):
        settings_for({HOLDING: [entry(">HH", {"100": {"key": "a"}, "101": {"key": "a"}})]})


def test_the_config_keeps_its_keys() -> None:
    config = ModbusConfig.model_validate({HOLDING: [entry(">H", {})]})
    (_, _, one) = next(iter(config.reads()))
    assert one.address == 100


ACTUATORS = {
    "write_register": [
        {"address": 5, "unit": 1, "datatypes": ">H", "key": "pump", "on": "0xCF", "off": "0xCE"},
        {"address": 6, "unit": 1, "datatypes": ">h", "scaling_factor": 0.1, "offset": 20, "name": "Setpoint"},
    ]
}


async def test_codes_for_on_and_off_an_offset_and_a_name() -> None:
    async with ModbusServer({1: NumberBank()}) as server:
        connector = create(settings_for(ACTUATORS, server.port))
        await connector.write("pump", True)
        await connector.write("pump", "off")
        await connector.write("write_register__1__6", 21.5)
        assert [one.values for one in server.written()] == [(0xCF,), (0xCE,), (15,)]
        with pytest.raises(CommandRejected):
            await connector.write("pump", 7)
        connector._modbus.close()
    found = {one.key: one for one in connector.datapoints()}
    assert found["pump"].data_format == "bool"
    assert found["write_register__1__6"].description == "Setpoint"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"on": 1}, "on and off: both or none"),
        ({"on": 1, "off": 70000}, "off: 70000 does not fit"),
        ({"on": 1, "off": 0, "datatypes": ">e"}, "are not one integer"),
        ({"repeat_timeout_seconds": 5}, "repeat_timeout_seconds: only with repeat_seconds"),
        ({"repeat_seconds": 0}, "repeat_seconds"),
    ],
)
def test_wrong_actuators_name_their_place(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=f"MODBUS_CONFIG.*write_register.*0.*{words}"):
        settings_for({"write_register": [{"address": 5, "unit": 1, "datatypes": ">H", **change}]})


async def test_a_command_is_repeated_until_its_time_is_up(caplog: pytest.LogCaptureFixture) -> None:
    entry = {"address": 5, "unit": 1, "datatypes": ">H", "repeat_seconds": 0.05, "repeat_timeout_seconds": 0.3}
    config = {"write_register": [entry], HOLDING: [{"address": 1, "count": 1, "unit": 1, "datatypes": ">H"}]}
    async with ModbusServer({1: NumberBank()}) as server, running(server, config) as run:
        await run.link.until(lambda link: bool(link.raw))
        assert server.written() == []
        caplog.set_level("INFO")
        await run.connector.write("write_register__1__5", 7)
        async with asyncio.timeout(5):
            while "not repeated any more" not in caplog.text:
                await asyncio.sleep(0.01)
        assert 2 <= len(server.written()) <= 7
        count = len(server.written())
        polls = len(run.link.raw)
        await run.link.until(lambda link: len(link.raw) > polls + 3)
        assert len(server.written()) == count


async def test_each_poll_group_has_its_own_interval() -> None:
    slow = {"address": 50, "count": 1, "unit": 1, "datatypes": ">H", "poll_seconds": 0.4}
    fast = {"address": 10, "count": 1, "unit": 1, "datatypes": ">H"}
    async with ModbusServer({1: NumberBank()}) as server, running(server, {HOLDING: [slow, fast]}) as run:
        await run.link.until(lambda link: sum("50" in raw[HOLDING] for raw in link.raw) == 3)
    counts = [sum(name in raw[HOLDING] for raw in run.link.raw) for name in ("10", "50")]
    assert counts[0] >= 3 * counts[1]


def test_the_example_in_the_readme() -> None:
    text = (Path(connectors.modbus_tcp.__file__).parent / "README.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```json\n(.*?)```", text, re.DOTALL)
    connector = create(settings_for(json.loads(example)))
    words = [0] * 28
    words[0:4] = [2415, 0xFFFF, 4998, 0xFFFE]
    words[10:13] = [0x0001, 0x0000, 1]
    words[19], words[23], words[24], words[27] = 0x8000, 0xFFFF, 4, 0b10000001
    (reading,) = connector.decode({"unit": 1, HOLDING: {"40083": words}})
    named = {name: value for name, value in reading.values.items() if "__" not in name}
    assert named == {
        "power": 241.5,
        "frequency": 49.98,
        "energy": 655360,
        "temperature": None,
        "state": "mppt",
        "events": 0b10000001,
        "ground_fault": True,
        "dc_over_voltage": False,
        "over_temperature": True,
    }
