"""`wattbus decode`: lines in, lines out."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from connectors.dsmr_p1.crc import crc16
from tests.cli.conftest import REGISTERS, completed
from wattbus.cli.decode import results
from wattbus.connector import Connector, Datapoint, Link, Quantity, Reading, Scalar
from wattbus.errors import DecodeError
from wattbus.jsontext import JsonValue

# 21.0 as a half float with its bytes swapped: what BEMCom's demo device answers at its start.
RAW = {"unit": 1, "read_input_registers": {"1": [0x404D]}}
DECODED = {"values": {"read_input_registers__1__1": 21.0}}


async def test_good_and_bad_lines(tmp_path: Path) -> None:
    lines = [
        json.dumps(RAW),
        json.dumps({"raw_message": RAW, "timestamp": 1}),
        json.dumps({"payload": {"raw_message": RAW, "timestamp": 1}, "connector_version": "0.5"}),
        "",
        "half a line {",
        json.dumps({"unit": 1}),
        json.dumps({"read_input_registers": {"0": [0x404D]}}),
    ]
    variables = {"MODBUS_CONFIG": json.dumps(REGISTERS)}
    command = await completed("decode", "modbus_tcp", cwd=tmp_path, stdin="\n".join(lines), **variables)
    assert command.process.returncode == 1
    told = [json.loads(line) for line in command.output]
    assert [told[index] for index in (0, 1, 2, 5)] == [DECODED] * 4
    assert told[3]["error"].startswith("no JSON: ")
    assert told[4] == {"error": "no range in it is in MODBUS_CONFIG"}


async def test_a_file_with_good_lines_only(tmp_path: Path) -> None:
    (tmp_path / "meter.env").write_text(f"MODBUS_CONFIG='{json.dumps(REGISTERS)}'\n")
    (tmp_path / "raw.jsonl").write_text(json.dumps(RAW) + "\n")
    for arguments in (
        ("modbus_tcp", "raw.jsonl", "--env-file", "meter.env"),
        ("modbus_tcp", "--env-file", "meter.env", "raw.jsonl"),
        ("--env-file", "meter.env", "modbus_tcp", "raw.jsonl"),
    ):
        command = await completed("decode", *arguments, cwd=tmp_path)
        assert (command.process.returncode, [json.loads(line) for line in command.output]) == (0, [DECODED])


async def test_what_decoding_needs_must_be_set(tmp_path: Path) -> None:
    command = await completed("decode", "modbus_tcp", cwd=tmp_path, stdin="")
    assert (command.process.returncode, command.faults) == (2, ["MODBUS_CONFIG is required and not set"])


async def test_a_missing_file_is_told(tmp_path: Path) -> None:
    variables = {"MODBUS_CONFIG": json.dumps(REGISTERS)}
    command = await completed("decode", "modbus_tcp", "nothing.jsonl", cwd=tmp_path, **variables)
    assert command.process.returncode == 2
    assert command.faults[-1] == "cannot read nothing.jsonl: No such file or directory"


class Telegrams:
    """A connector whose raw message is a list of numbers: each a reading; above 1000 it is a device's own time."""

    def datapoints(self) -> Iterable[Datapoint]:
        return []

    async def run(self, link: Link) -> None:
        raise NotImplementedError

    def decode(self, raw: JsonValue) -> Iterator[Reading]:
        if not isinstance(raw, list):
            raise DecodeError("not a list")
        for number in raw:
            time_ms = number if number > 1000 else None
            yield Reading({"meter": {f"n{number}": Quantity(number, "W")}}, time_ms)

    async def write(self, key: str, value: Scalar) -> None:
        raise NotImplementedError


def read_telegrams(lines: Iterable[str]) -> Iterator[Any]:
    """The protocol's own text: numbers, until a line with `end`."""
    numbers: list[int] = []
    for line in lines:
        if line.strip() == "end":
            yield numbers
            numbers = []
        elif line.strip().isdigit():
            numbers.append(int(line))
        elif line.strip():
            raise DecodeError(f"no telegram: {line.strip()}")


def decoded(*lines: str) -> list[dict[str, Any]]:
    connector: Connector = Telegrams()
    return list(results([f"{line}\n" for line in lines], connector, read_telegrams))


def test_readings_of_one_message_merge_unless_they_have_their_own_time() -> None:
    assert decoded("[1, 2, 5000, 3]") == [
        {"values": {"meter__n1": 1, "meter__n2": 2, "meter__n3": 3}},
        {"values": {"meter__n5000": 5000}, "timestamp": 5000},
    ]


def test_the_protocols_own_text_between_json_lines() -> None:
    assert decoded("1", "", "2", "end", "[3]", "4", "end") == [
        {"values": {"meter__n1": 1, "meter__n2": 2}},
        {"values": {"meter__n3": 3}},
        {"values": {"meter__n4": 4}},
    ]


def test_text_that_makes_no_sense_does_not_hide_what_follows() -> None:
    assert decoded("noise", '{"a": 1}', "[1]") == [
        {"error": "no telegram: noise"},
        {"error": "not a list"},
        {"values": {"meter__n1": 1}},
    ]


def test_what_is_no_value_is_told_beside_the_others() -> None:
    class Odd(Telegrams):
        def decode(self, raw: JsonValue) -> Iterator[Reading]:
            yield Reading({"good": 1, "bad": float("nan")})

    [result] = results(["1\n"], Odd(), None)
    assert result["values"] == {"good": 1}
    assert result["faults"] == ["bad: nan is not a value"]


async def test_text_that_is_no_utf_8_is_in_the_protocols_own_encoding(tmp_path: Path) -> None:
    """A telegram whose message is filled with 0xFF, and between it raw messages as UTF-8."""
    body = b"/XXX5TEST\r\n\r\n1-3:0.2.8(50)\r\n0-0:96.13.0(\xff\xff)\r\n1-0:1.7.0(00.538*kW)\r\n!"
    raw = '{"telegram": "/XXX5Zähler\\r\\n\\r\\n1-0:1.7.0(00.5*kW)\\r\\n!\\r\\n"}\n'.encode()
    (tmp_path / "telegrams.txt").write_bytes(body + f"{crc16(body):04X}\r\n".encode() + raw)
    command = await completed("decode", "dsmr_p1", "telegrams.txt", cwd=tmp_path, CONNECTOR_NAME="meter")
    first, second = (json.loads(line)["values"] for line in command.output)
    assert first == {"identification": "XXX5TEST", "p1_version": "50", "power_import_kw": 0.538}
    assert second["identification"] == "XXX5Zähler"
