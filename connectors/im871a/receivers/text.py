"""Telegrams as lines of text, as other programs print them. Pure.

T1;1;1;2019-04-03 19:00:42.000;97;148;33225544;0x1844ae4c…     rtl_wmbus; ESPHome in its form
telegram=|1844AE4C…|+12                                       wmbusmeters' logs and simulations
{"telegram": "1844ae4c…", "rssi_dbm": -70}                    JSON of wmbusmeters, ESPHome, gateways
b294468503756…84FA, bY25442D2C…83FA, b2944…::-86.5            CUL, also as FHEM writes it
1844ae4c…                                                     hexadecimal digits, with or without link CRCs
"""

from __future__ import annotations

import contextlib
import json
import re
from typing import Any

from connectors.im871a.receivers.heard import HeardTelegram, cc1101_dbm
from connectors.im871a.telegram import (
    length_of_format_a,
    mend_length,
    parse_hex,
    split_frames,
    strip_crcs,
    strip_format_a,
    strip_format_b,
)
from wattbus.errors import DecodeError

RTL_WMBUS = re.compile(r"\b([CST][12]?[abAB]?);([01]);([01]);(.*);\s*(?:0x)?([0-9a-fA-F]+)\s*$")
WMBUSMETERS = re.compile(r"telegram=\s*([0-9a-fA-F|_ ]+)")
CUL = re.compile(r"b(Y?)([0-9a-fA-F]{20,})(?:::(-?[0-9.]+))?")
TELEGRAM_NAMES = ("telegram", "data", "frame", "raw", "hex", "payload", "message")
RSSI_NAMES = ("rssi_dbm", "rssi", "RSSI")


def telegrams_in(line: str) -> list[HeardTelegram]:
    """The telegrams in a line: usually one, none in an empty line or a comment. Raises DecodeError."""
    text = line.strip()
    if not text or text.startswith("#"):
        return []
    if text.startswith("{"):
        return _from_json(text)
    if match := RTL_WMBUS.search(text):
        return [_from_rtl_wmbus(*match.groups())]
    if match := WMBUSMETERS.search(text):
        return _from_hex(match[1])
    if match := CUL.fullmatch(text):
        with contextlib.suppress(DecodeError):  # plain digits may begin with a b, too
            return _from_hex(text)
        return [from_cul(is_format_b=bool(match[1]), digits=match[2], rssi_dbm=match[3])]
    return _from_hex(text)


def _from_hex(text: str, rssi_dbm: float | None = None) -> list[HeardTelegram]:
    data = parse_hex(text)
    if not data:
        raise DecodeError("there is no telegram in the line")
    return [HeardTelegram(strip_crcs(frame), rssi_dbm) for frame in split_frames(data)]


def _from_json(text: str) -> list[HeardTelegram]:
    try:
        message: Any = json.loads(text)
    except ValueError as error:
        raise DecodeError(f"neither JSON nor hexadecimal digits: {error}") from None
    inner = message.get("wmbus", message) if isinstance(message, dict) else None
    message = inner if isinstance(inner, dict) else message
    digits = next((message[name] for name in TELEGRAM_NAMES if isinstance(message.get(name), str)), None)
    if digits is None:
        raise DecodeError(f"JSON without a telegram: expected one of {', '.join(TELEGRAM_NAMES)}")
    rssi = next((message[name] for name in RSSI_NAMES if isinstance(message.get(name), int | float)), None)
    found = _from_hex(digits) if RTL_WMBUS.search(digits) is None else telegrams_in(digits)
    return [HeardTelegram(one.telegram, _dbm(rssi) or one.rssi_dbm) for one in found]


def _dbm(rssi: float | None) -> float | None:
    """Programs name an uncalibrated number so, too: only what is below zero can be dBm."""
    return float(rssi) if rssi is not None and -150 < rssi < 0 else None


def _from_rtl_wmbus(mode: str, crcs_fit: str, _symbols_fit: str, between: str, digits: str) -> HeardTelegram:
    """Link CRCs are taken off by rtl_wmbus; of format B they are still counted in L by some of its versions."""
    if crcs_fit != "1":
        raise DecodeError("damaged, as the program that received it says")
    data = parse_hex(digits)
    plain = mend_length(data) if mode.startswith("C") else data
    if len(plain) != plain[0] + 1:
        plain = strip_crcs(data)
    strengths = [part for part in between.split(";")[1:2] if re.fullmatch(r"-\d+(\.\d+)?", part.strip())]
    return HeardTelegram(plain, _dbm(float(strengths[0])) if strengths else None)


def from_cul(*, is_format_b: bool, digits: str, rssi_dbm: str | None = None) -> HeardTelegram:
    """A CUL's telegram: with its link CRCs, and behind them link quality and strength where it was told to say them."""
    data = bytes.fromhex(digits[: len(digits) // 2 * 2])
    length = data[0] + 1 if is_format_b else length_of_format_a(data[0])
    frame, rest = data[:length], data[length:]
    telegram = strip_format_b(frame) if is_format_b else strip_format_a(frame)
    if rssi_dbm is not None:
        return HeardTelegram(telegram, _dbm(float(rssi_dbm)))
    return HeardTelegram(telegram, cc1101_dbm(rest[1]) if len(rest) == 2 else None)
