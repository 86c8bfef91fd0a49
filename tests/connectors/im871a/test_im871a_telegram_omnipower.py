"""A real OmniPower, captured through a real iM871A, against the independent decoding of the same telegrams."""

from __future__ import annotations

import json
from typing import Any

import pytest

from connectors.im871a import telegram
from connectors.im871a.telegram import KeyNeeded, WrongKey
from tests.connectors.im871a.telegram_data import reference
from wattbus.errors import DecodeError

# Our field → theirs, and how many of theirs are one of ours.
FIELDS = {
    "energy_kwh": ("total_energy_consumption_kwh", 1),
    "energy_backward_kwh": ("total_energy_production_kwh", 1),
    "power_w": ("current_power_consumption_kw", 1000),
    "power_backward_w": ("current_power_production_kw", 1000),
}


@pytest.fixture(scope="module")
def captured() -> dict[str, Any]:
    captured: dict[str, Any] = json.loads(reference("wmbus-omnipower/omnipower_captured.json").read_text())
    return captured


def test_every_capture_has_the_independent_values(captured: dict[str, Any]) -> None:
    key = bytes.fromhex(captured["key"])
    good = [one for one in captured["telegrams"] if one["wmbusmeters_json"]]
    assert len(good) == len(captured["telegrams"]) - 1
    for one in good:
        decoded = telegram.decode(bytes.fromhex(one["telegram"]), key)
        ours = {name: quantity.value for name, quantity in decoded.fields.items()}
        assert ours == {name: round(one["wmbusmeters_json"][theirs] * n, 9) for name, (theirs, n) in FIELDS.items()}
        assert decoded.header.id == captured["id"]


def test_both_full_and_compact_frames_are_among_them(captured: dict[str, Any]) -> None:
    key = bytes.fromhex(captured["key"])
    frames = [bytes.fromhex(one["telegram"]) for one in captured["telegrams"] if one["wmbusmeters_json"]]
    seen = [telegram.decrypt_frame(frame, key).seen_format() for frame in frames]
    assert {one.signature for one in seen if one} == {0x8C13}
    formats = [one.record_format for one in seen if one]
    assert None in formats
    assert {one for one in formats if one} == {bytes.fromhex("040404843c042b04ab3c")}


def test_the_frames_of_the_stick_hold_the_same_telegrams(captured: dict[str, Any]) -> None:
    """`a5 82 03`, the telegram from its L field on, CRC of the host interface: the telegram starts at byte 3."""
    frames = [one for one in captured["telegrams"] if one["im871a_frame"]]
    assert frames
    key = bytes.fromhex(captured["key"])
    for one in frames:
        telegram_of_stick = bytes.fromhex(one["im871a_frame"])[3:-2]
        assert telegram_of_stick == bytes.fromhex(one["telegram"])
        assert telegram.decode(telegram_of_stick, key).meter == "kamstrup_omnipower"


def test_the_damaged_one_is_refused(captured: dict[str, Any]) -> None:
    damaged = [one for one in captured["telegrams"] if one["wmbusmeters_err"]]
    assert len(damaged) == 1
    with pytest.raises(WrongKey, match="damaged after reception"):
        telegram.decode(bytes.fromhex(damaged[0]["telegram"]), bytes.fromhex(captured["key"]))


def test_units_and_descriptions(captured: dict[str, Any]) -> None:
    frame = bytes.fromhex(captured["telegrams"][0]["telegram"])
    fields = telegram.decode(frame, bytes.fromhex(captured["key"])).fields
    assert {name: (quantity.unit, quantity.description) for name, quantity in fields.items()} == {
        "energy_kwh": ("kW.h", "energy"),
        "energy_backward_kwh": ("kW.h", "energy, backward"),
        "power_w": ("W", "power"),
        "power_backward_w": ("W", "power, backward"),
    }


def test_without_a_key_the_header_is_read_and_the_key_is_missed(captured: dict[str, Any]) -> None:
    frame = bytes.fromhex(captured["telegrams"][0]["telegram"])
    header = telegram.read_header(frame)
    assert (header.manufacturer, header.id, header.version, header.medium) == ("KAM", "32666857", 0x30, "electricity")
    assert header.needs_key
    for accept_plain in (False, True):
        with pytest.raises(KeyNeeded):
            telegram.decode(frame, accept_plain=accept_plain)
    with pytest.raises(KeyNeeded):
        telegram.decrypt_frame(frame).seen_format()


def test_other_meters_nearby_are_recognized_and_not_opened(captured: dict[str, Any]) -> None:
    key = bytes.fromhex(captured["key"])
    others = json.loads(reference("wmbus-omnipower/other_kamstrup_nokey.json").read_text())
    assert others
    for other in others:
        frame = bytes.fromhex(other["telegram"])
        header = telegram.read_header(frame)
        assert header.manufacturer == "KAM"
        assert header.id != captured["id"]
        assert header.medium in ("cold water", "warm water", "heat", "electricity")
        with pytest.raises(WrongKey):
            telegram.decode(frame, key)


def test_every_flipped_bit_behind_the_session_is_noticed(captured: dict[str, Any]) -> None:
    key = bytes.fromhex(captured["key"])
    frame = bytes.fromhex(captured["telegrams"][0]["telegram"])
    for bit in range(17 * 8, len(frame) * 8):
        changed = bytearray(frame)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(DecodeError):
            telegram.decode(bytes(changed), key)
