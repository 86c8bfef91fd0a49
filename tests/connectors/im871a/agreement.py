"""Compares our decoding with the independent one of `wmbus-wmbusmeters/driver_tests.json`, field by field.

An expected field **agrees** when one of our records has the same value in the same dimension, units converted, and does
not contradict the field's name (flow or return, maximum or minimum, backward, tariff, phase, storage). Every record can
serve one field only. What does not agree has to be explained in `agreement_reasons.yaml`, or the test fails.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from connectors.im871a.telegram import Record, Telegram
from connectors.im871a.telegram.layout import compile_header
from connectors.im871a.telegram.meters import all_meters
from connectors.im871a.telegram.records import header_at
from tests.connectors.im871a.agreement_match import assign, dimension_of, is_possible, spellings
from tests.connectors.im871a.telegram_data import DriverTest
from wattbus.errors import DecodeError

REASONS = Path(__file__).with_name("agreement_reasons.yaml")
NOT_COMPARED = {"_", "name", "meter", "timestamp", "media"}
STATUS = re.compile(r"status|error_flags|^error$|error_code$|(alarm|warning|information)_flags")


@dataclass(frozen=True)
class Verdict:
    """What became of an expected field. `kind`: agreed, both_empty, or a class of the reasons file, or open."""

    driver: str
    field: str
    expected: Any
    kind: str
    reason: str = ""


@dataclass
class Reasons:
    """The explanations: lists of {drivers, fields (regular expression), kind, reason, when}.

    `when` names what the telegram must have for the explanation to hold: `refused`, `tail` (manufacturer's data behind
    the records) or a record of ours.
    """

    entries: list[dict[str, Any]] = field(default_factory=lambda: yaml.safe_load(REASONS.read_text()))
    used: set[int] = field(default_factory=set)

    def find(self, driver: str, name: str, has: set[str]) -> dict[str, Any] | None:
        for n, entry in enumerate(self.entries):
            holds = entry.get("when") is None or entry["when"] in has
            if holds and driver in entry["drivers"] and re.fullmatch(entry["fields"], name):
                self.used.add(n)
                return entry
        return None


def compare(test: DriverTest, reasons: Reasons) -> Iterator[Verdict]:
    """A verdict for every expected field of a telegram."""
    try:
        decoded = test.decode()
    except DecodeError as error:
        for name, value in _expected(test):
            yield _explained(test, name, value, reasons, {"refused"}, f"refused: {error}")
        return
    has = {record.name for record in decoded.records} | ({"tail"} if decoded.manufacturer_data else set())
    records = [record for record in decoded.records if record.has_value] + list(_tail_records(decoded))
    in_blocks = _headers_in_blocks(decoded)
    numbers = {name: value for name, value in _expected(test) if dimension_of(name, value) is not None}
    matches = assign(numbers, records)
    for name, value in _expected(test):
        if name == "id":
            kind = "id" if value == decoded.header.id else ""
        elif name in matches:
            kind = _kind(value, records[matches[name]], in_blocks)
        elif value is None:
            kind = "both_empty"
        elif STATUS.search(name):
            kind = "status" if bool(decoded.status) == (str(value) not in ("OK", "", "None")) else ""
        else:
            kind = "" if name in numbers else _text_kind(value, records, in_blocks)
        yield Verdict(test.driver, name, value, kind) if kind else _explained(test, name, value, reasons, has)


def _headers_in_blocks(decoded: Telegram) -> set[str]:
    """How records begin that stand in a block of the manufacturer's own, which only a data file can tell."""
    meter = next((meter for meter in all_meters() if meter.name == decoded.meter), None)
    if meter is None or not any(record.name.startswith("manufacturer_ff5f") for record in decoded.records):
        return set()
    return {part.dib.hex() + (part.vib.hex()) for block in meter.file.blocks for part in block.parts}


def _kind(value: Any, record: Record, in_blocks: set[str]) -> str:
    if value in (None, "") or not is_possible(value):
        return "both_empty"
    is_in_block = any(record.raw.startswith(begin) for begin in in_blocks)
    return "agreed" if _is_standard(record) and not is_in_block else "data_file"


def _is_standard(record: Record) -> bool:
    """Whether the standard alone gives this record's name."""
    if not record.raw:
        return record.standard
    return compile_header(header_at(bytes.fromhex(record.raw), 0)).name == record.name


def _tail_records(decoded: Telegram) -> Iterator[Record]:
    """The numbers from the manufacturer's tail, as records."""
    if decoded.meter and decoded.manufacturer_data:
        meter = next(meter for meter in all_meters() if meter.name == decoded.meter)
        for name, quantity in meter.tail_fields(bytes.fromhex(decoded.manufacturer_data)):
            yield Record(name, name, quantity.unit, quantity.value, "instantaneous", 0, 0, 0, (), False, "")


def _expected(test: DriverTest) -> list[tuple[str, Any]]:
    return [(name, value) for name, value in test.expected.items() if name not in NOT_COMPARED]


def _explained(test: DriverTest, name: str, value: Any, reasons: Reasons, has: set[str], why: str = "") -> Verdict:
    entry = reasons.find(test.driver, name, has)
    if entry is None:
        return Verdict(test.driver, name, value, "open", why)
    return Verdict(test.driver, name, value, entry["kind"], entry["reason"])


def _text_kind(value: Any, records: Iterable[Record], in_blocks: set[str]) -> str:
    """Text agrees when it is the same characters, or the same number in hexadecimal digits."""
    wanted = str(value).strip()
    same = (record for record in records if record.value is not None and wanted in spellings(record))
    return next((_kind(value, record, in_blocks) for record in same), "")


def verdicts(tests: Iterable[DriverTest], reasons: Reasons | None = None) -> list[Verdict]:
    """All verdicts."""
    reasons = reasons or Reasons()
    return [verdict for test in tests for verdict in compare(test, reasons)]
