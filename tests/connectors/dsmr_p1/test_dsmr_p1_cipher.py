"""Encrypted telegrams: frames, keys that are wrong, replays; against frames made by an independent library."""

from __future__ import annotations

import json
from typing import Any

import pytest
from dlms_cosem.security import SecurityControlField, encrypt

from connectors.dsmr_p1.cipher import CannotOpen, Keys, decrypt_frame, encrypt_frame, frame_length, take_apart
from connectors.dsmr_p1.encrypted_frames import FrameFinder, KeyDoubt, Opened, Replays
from tests.connectors.dsmr_p1.conftest import reference, telegram
from tests.connectors.dsmr_p1.published import SWEDISH_ELLEVIO

KEYS = Keys(bytes.fromhex("AA" * 16), bytes.fromhex("BB" * 16))
OTHER = bytes(16)


@pytest.fixture
def recorded() -> Any:
    return json.loads(reference("encrypted_general_global_cipher.json").read_text())


def test_the_recorded_frame(recorded: Any) -> None:
    frame = bytes.fromhex(recorded["frame_hex"])
    parts = take_apart(frame)
    assert parts.system_title == recorded["system_title"].encode()
    assert f"{parts.invocation_counter:x}" == recorded["invocation_counter"]
    assert f"{parts.security_control:x}" == recorded["security_control"]
    assert decrypt_frame(frame, KEYS) == telegram("SAGEMCOM_T210_D_R")
    # Sealing gives the same bytes as the independent library did.
    assert encrypt_frame(telegram("SAGEMCOM_T210_D_R"), KEYS, parts.system_title, parts.invocation_counter) == frame


@pytest.mark.parametrize("length", ["short", "one byte", "two bytes"])
def test_ways_to_write_a_length(length: str) -> None:
    text = (
        SWEDISH_ELLEVIO if length == "two bytes" else "/X5\r\n\r\n!1234\r\n" + " " * (0 if length == "short" else 150)
    )
    sealed = encrypt(
        SecurityControlField(0, True, True), b"SYSTEMID", 7, KEYS.encryption, text.encode(), KEYS.authentication
    )
    content = b"\x30\x00\x00\x00\x07" + sealed
    size = len(content)
    head = {"short": bytes((size & 0x7F,)), "one byte": bytes((0x81, size & 0xFF))}.get(length)
    frame = b"\xdb\x08SYSTEMID" + (head or b"\x82" + size.to_bytes(2, "big")) + content
    assert decrypt_frame(frame, KEYS) == text
    assert frame_length(frame) == len(frame)


@pytest.mark.parametrize("cut", [0, 1, 2, 10, 11, 13, -1])
def test_a_frame_that_is_not_whole(recorded: Any, cut: int) -> None:
    with pytest.raises(CannotOpen, match="not one whole encrypted telegram"):
        decrypt_frame(bytes.fromhex(recorded["frame_hex"])[:cut], KEYS)


@pytest.mark.parametrize(
    ("head", "length"),
    [
        ("", 0),
        ("db", 0),
        ("db09", None),
        ("dc08", None),
        ("db08" + "00" * 8 + "82", 0),
        ("db08" + "00" * 8 + "820200", 13 + 512),
        ("db08" + "00" * 8 + "10", None),
        ("db08" + "00" * 8 + "82ffff", None),
        ("db08" + "00" * 8 + "83000100", None),
    ],
)
def test_where_a_frame_may_begin(head: str, length: int | None) -> None:
    assert frame_length(bytes.fromhex(head)) == length


def test_which_key_is_wrong_is_told(recorded: Any) -> None:
    frame = bytes.fromhex(recorded["frame_hex"])
    with pytest.raises(CannotOpen, match="DSMR_AUTHENTICATION_KEY is not this meter's") as caught:
        decrypt_frame(frame, Keys(KEYS.encryption, OTHER))
    assert caught.value.fault == "authentication key"
    for keys in (Keys(OTHER, KEYS.authentication), Keys(OTHER, OTHER), Keys(OTHER, None)):
        with pytest.raises(CannotOpen, match="it is damaged, or the keys are wrong") as caught:
            decrypt_frame(frame, keys)
        assert caught.value.fault == "encryption key"


def test_without_an_authentication_key_the_crc_decides(recorded: Any) -> None:
    frame = bytearray.fromhex(recorded["frame_hex"])
    keys = Keys(KEYS.encryption, None)
    assert decrypt_frame(bytes(frame), keys) == telegram("SAGEMCOM_T210_D_R")
    frame[100] ^= 1
    with pytest.raises(CannotOpen):
        decrypt_frame(bytes(frame), keys)


def test_every_damaged_byte_is_noticed(recorded: Any) -> None:
    frame = bytes.fromhex(recorded["frame_hex"])
    for place in range(len(frame)):
        broken = frame[:place] + bytes((frame[place] ^ 0x10,)) + frame[place + 1 :]
        with pytest.raises(CannotOpen):
            decrypt_frame(broken, KEYS)


def test_keys_do_not_show() -> None:
    shown = repr(KEYS)
    assert KEYS.encryption.hex() not in shown
    assert repr(KEYS.encryption) not in shown


# -- a wrong key, or noise ---------------------------------------------------------------------------------------------


def frames(number: int, first: int = 1) -> list[bytes]:
    return [encrypt_frame(SWEDISH_ELLEVIO, KEYS, b"SYSTEMID", first + n) for n in range(number)]


def heard(data: list[bytes], keys: Keys | None) -> list[Opened]:
    finder = FrameFinder(keys)
    return [opened for one in data for opened in finder.feed(one)]


def tellings(opened: list[Opened]) -> list[str]:
    doubt = KeyDoubt()
    told = []
    for one in opened:
        if one.fault is None:
            doubt.opened()
        else:
            told.append(doubt.failed(one))
    return told


def test_a_wrong_key_is_told_after_three_frames_in_best_order() -> None:
    title = b"SYSTEMID".hex()
    said = f"DSMR_ENCRYPTION_KEY is not the key of this meter (system title {title})"
    assert tellings(heard(frames(4), Keys(OTHER, OTHER))) == ["", "", said, said]
    missing = f"the meter (system title {title}) sends encrypted telegrams, and DSMR_ENCRYPTION_KEY is not set"
    assert tellings(heard(frames(4), None)) == ["", "", missing, missing]
    *_, last = tellings(heard(frames(3), Keys(KEYS.encryption, OTHER)))
    assert last.startswith("DSMR_AUTHENTICATION_KEY is not this meter's (the encryption key is")


def test_noise_is_not_a_wrong_key() -> None:
    good = frames(20)
    noisy = [one if n % 2 == 0 else one[:150] + b"\0" + one[151:] for n, one in enumerate(good)]
    opened = heard(noisy, KEYS)
    assert len([one for one in opened if one.fault is None]) == 10
    assert set(tellings(opened)) == {""}


def test_frames_that_fail_before_one_opened_are_no_wrong_key_when_they_are_out_of_order() -> None:
    broken = [one[:150] + b"\0\0" + one[152:] for one in frames(1, 9) + frames(1, 5) + frames(1, 7000) + frames(1, 3)]
    assert set(tellings(heard(broken, KEYS))) == {""}


def test_a_key_that_changes_is_told_too() -> None:
    changed = [encrypt_frame(SWEDISH_ELLEVIO, Keys(OTHER, OTHER), b"SYSTEMID", 10 + n) for n in range(40)]
    told = tellings(heard(frames(3) + changed, KEYS))
    assert told[0] == told[20] == ""
    assert told[-1].startswith("DSMR_ENCRYPTION_KEY is not the key")


# -- replays -----------------------------------------------------------------------------------------------------------


def test_a_frame_heard_before_is_left_out() -> None:
    parts = [take_apart(frame) for frame in frames(5)]
    replays = Replays()
    assert [replays.is_replay(parts[n], 1000 * n) for n in (0, 1, 2, 2, 0, 1, 3, 3, 4)] == [
        False, False, False, True, True, True, False, True, False,
    ]  # fmt: skip


def test_a_meter_that_counts_anew_is_believed() -> None:
    replays = Replays()
    late, early = take_apart(frames(1, 5000)[0]), [take_apart(frame) for frame in frames(30)]
    assert not replays.is_replay(late, 100_000)
    assert not replays.is_replay(early[0], 110_000), "its clock has gone on"
    replays = Replays()
    assert not replays.is_replay(late, None)
    assert [replays.is_replay(parts, None) for parts in early].count(True) == 20, "it keeps counting from there"
    assert not replays.is_replay(take_apart(frames(1, 31)[0]), None)
