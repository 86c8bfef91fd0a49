"""Where the reference data lie, and the recorded telegrams in them."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from connectors.im871a import telegram
from connectors.im871a.telegram import Telegram

PROJECT = Path(__file__).parents[3]
REFERENCE_DATA = Path(os.environ.get("WATTBUS_REFERENCE_DATA") or PROJECT.parent / "shared" / "data")
WIRED_START = 0x68


def reference(name: str) -> Path:
    """A file of the reference data; the test is skipped where they are absent."""
    path = REFERENCE_DATA / name
    if not path.exists():
        pytest.skip(f"reference data {name} is not here (WATTBUS_REFERENCE_DATA)")
    return path


@dataclass(frozen=True)
class DriverTest:
    """One telegram of `wmbus-wmbusmeters/driver_tests.json` with its independent decoding."""

    driver: str
    frame: bytes
    key: bytes | None
    expected: dict[str, Any]

    def decode(self) -> Telegram:
        return decode_any(self.frame, self.key)


def decode_any(frame: bytes, key: bytes | None) -> Telegram:
    """Wired or wireless, with or without link CRCs, decrypted before or not."""
    if frame[0] == WIRED_START and frame[3] == WIRED_START:
        return telegram.decode_wired(frame, key, accept_plain=True)
    return telegram.decode(telegram.strip_crcs(frame), key, accept_plain=True)


def driver_tests() -> tuple[list[DriverTest], int]:
    """The telegrams that stand for themselves, and how many of the file do not (two in one, half a byte lost)."""
    tests, others = [], 0
    for entry in json.loads(reference("wmbus-wmbusmeters/driver_tests.json").read_text()):
        digits = sum(character in "0123456789abcdefABCDEF" for character in entry["telegram"])
        if "," in entry["telegram"] or digits % 2:
            others += 1
            continue
        frame = telegram.parse_hex(entry["telegram"])
        key = bytes.fromhex(entry["key"]) if entry["key"] else None
        tests.append(DriverTest(Path(entry["file"]).stem, frame, key, entry["json"]))
    return tests, others
