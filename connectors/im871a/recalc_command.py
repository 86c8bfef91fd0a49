"""ReCalc's command: the list of all meters that it wants to hear, with their keys. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from connectors.im871a.meters_config import LONGEST_SHOWN, MeterConfig, meter_id, shown
from wattbus.jsontext import JsonValue, loads

LARGEST_COMMAND = 2**20
MOST_METERS = 1000
_NO_TOPIC_LEVEL = re.compile(r"[/+#\s\x00-\x1f]")


@dataclass(frozen=True, slots=True)
class Wanted:
    """A meter that ReCalc wants. `device_id` and `maker` as it writes them: topics and answers repeat them."""

    device_id: str
    maker: str
    config: MeterConfig

    @property
    def number(self) -> str:
        """The meter's number as the registry has it."""
        return meter_id(self.device_id)


@dataclass(frozen=True, slots=True)
class RecalcCommand:
    """`wanted` by number; `rejected`: what cannot be done, each with its reason. No key is in it."""

    wanted: Mapping[str, Wanted]
    rejected: tuple[dict[str, JsonValue], ...] = ()

    def answer(self) -> dict[str, JsonValue]:
        accepted: list[JsonValue] = [meter.device_id for meter in self.wanted.values()]
        return {"accepted": accepted, "rejected": list(self.rejected)}


def read_command(payload: bytes) -> RecalcCommand:
    """Raises ValueError when nothing of it can be used; what it says never holds a key."""
    wanted: dict[str, Wanted] = {}
    rejected: list[dict[str, JsonValue]] = []
    for entry in _entries(payload):
        try:
            meter = read_meter(entry)
            if meter.number in wanted:
                raise ValueError(f"deviceId {meter.device_id} is there twice; the first one counts")
        except ValueError as error:
            device_id = _text(entry, "deviceId")
            # What is too long for a number may be a key in the wrong place.
            rejected.append({"deviceId": device_id if len(device_id) <= LONGEST_SHOWN else "", "error": str(error)})
        else:
            wanted[meter.number] = meter
    return RecalcCommand(wanted, tuple(rejected))


def _entries(payload: bytes) -> list[Any]:
    if len(payload) > LARGEST_COMMAND:
        raise ValueError(f"a command has at most {LARGEST_COMMAND} bytes")
    try:
        entries = loads(payload)
    except ValueError:
        raise ValueError("the command is not JSON") from None
    if not isinstance(entries, list):
        raise ValueError("the command is not a list of meters")
    if len(entries) > MOST_METERS:
        raise ValueError(f"a command has at most {MOST_METERS} meters")
    return entries


def read_meter(entry: Any) -> Wanted:
    """One meter of a command. Raises ValueError, which never holds the key."""
    device_id, maker = _text(entry, "deviceId"), _text(entry, "manufacturerKey")
    if not device_id:
        raise ValueError("deviceId is missing, or neither text nor a whole number")
    if "-" in device_id:
        raise ValueError(f"deviceId: {shown(device_id)} is no meter: expected its digits")
    try:
        meter_id(device_id)
    except ValueError as error:
        raise ValueError(f"deviceId: {error}") from None
    if not maker or _NO_TOPIC_LEVEL.search(maker):
        raise ValueError("manufacturerKey is missing, or cannot be part of a topic")
    try:
        given = {"key": _text(entry, "encryptionKey"), "name": _text(entry, "manufacturerDeviceKey")}
        return Wanted(device_id, maker, MeterConfig.model_validate(given))
    except ValidationError as error:
        raise ValueError("encryptionKey: " + error.errors()[0]["msg"].removeprefix("Value error, ")) from None


def _text(entry: Any, name: str) -> str:
    """A field of an entry, in camelCase as ReCalc documents it or in PascalCase as the ancestor reads it, as text."""
    if not isinstance(entry, dict):
        return ""
    value = next((value for key, value in entry.items() if key.lower() == name.lower()), "")
    if isinstance(value, bool):
        return ""
    return value.strip() if isinstance(value, str) else str(value) if isinstance(value, int) else ""
