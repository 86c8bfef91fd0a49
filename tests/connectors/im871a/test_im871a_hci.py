"""The stick's own language against recordings of a real stick and of an independent host."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.im871a import hci, management
from connectors.im871a.hci import Frames, HciFrame
from tests.connectors.im871a.telegram_data import reference
from wattbus.errors import DecodeError

# A telegram of an OmniPower as an iM871A sent it (E5PRO5-2020/meter_system on GitHub, test/test_OmniPower.py).
RECORDED = bytes.fromhex(
    "a5 82 03 27"  # start, CRC follows and endpoint radio link, telegram received, 39 bytes
    "442d2c5768663230028d20cd12340720519df247ff65e751662a300bc4e5c67da86477f0182637"
    "c1ab"
)


def recorded_frames() -> list[tuple[bytes, str]]:
    captured = json.loads(reference("wmbus-omnipower/omnipower_captured.json").read_text())["telegrams"]
    return [(bytes.fromhex(one["im871a_frame"]), one["telegram"]) for one in captured if one["im871a_frame"]]


def test_every_recorded_frame_is_read_and_written_byte_for_byte() -> None:
    for recorded, telegram in recorded_frames():
        [frame] = Frames().feed(recorded)
        assert frame.is_telegram
        assert frame.telegram.hex() == telegram
        assert frame.encode(crc=True) == recorded


def test_the_hosts_requests_are_those_of_an_independent_host() -> None:
    lines = reference("wmbus-omnipower/wmbusmeters_im871a_hci_dialogue.txt").read_text().splitlines()
    requests = {line.split()[1] for line in lines if line.startswith("HOST")}
    assert HciFrame(hci.DEVICE_MANAGEMENT, hci.DEVICE_INFORMATION).encode().hex() in requests
    assert HciFrame(hci.DEVICE_MANAGEMENT, hci.GET_CONFIGURATION).encode().hex() in requests
    mode = management.set_configuration({"link_mode": management.LINK_MODES["C1B"], "rssi": 1, "timestamp": 0})
    assert mode.encode().hex() in requests


def test_time_stamp_and_rssi_behind_the_payload() -> None:
    frame = HciFrame(hci.RADIO_LINK, hci.TELEGRAM_RECEIVED, b"\x44\x2d", timestamp=0x01020304, rssi=145)
    written = frame.encode(crc=True)
    assert written[:-2].hex(" ") == "a5 e2 03 02 44 2d 04 03 02 01 91"
    assert Frames().feed(written) == [frame]


def test_a_whole_configuration() -> None:
    told = management.configuration(bytes.fromhex("ff 00 06 00 b325 78563412 01 00 02 ff 07 00 32 00 00 00 01 00"))
    assert told["link_mode"] == management.LINK_MODES["C1A"]
    assert told["device"] == 0x12345678
    assert told["receive_window"] == 0x32
    assert told["led"] == 1


@pytest.mark.parametrize("payload", [b"", b"\xff", b"\x02", b"\x00", b"\x10\x01\x02\x00"])
def test_a_configuration_that_ends_early(payload: bytes) -> None:
    with pytest.raises(DecodeError):
        management.configuration(payload)


# Answers of a real iM871A (wmbusmeters issue #951 on GitHub).
REAL_INFORMATION = bytes.fromhex("a581100833001301f13a000053d9")
REAL_CONFIGURATION = bytes.fromhex("a5810617ff000700b32512351000010001ff07023200010000000063c9")


def test_answers_of_a_real_stick() -> None:
    [information, configuration] = Frames().feed(REAL_INFORMATION + REAL_CONFIGURATION)
    assert information.checked
    assert information.answers(HciFrame(hci.DEVICE_MANAGEMENT, hci.DEVICE_INFORMATION))
    told = management.device_information(information.payload)
    assert (told.module_name, told.firmware, told.uid) == ("iM871A", 0x13, 0x00003AF1)
    assert not told.can_receive_c_and_t
    assert configuration.answers(HciFrame(hci.DEVICE_MANAGEMENT, hci.GET_CONFIGURATION))
    assert (
        management.configuration(configuration.payload).items()
        >= {
            "device_mode": 0,
            "link_mode": management.LINK_MODES["C1B"],
            "device": 0x00103512,
            "power_saving": 0,
            "rssi": 1,
            "timestamp": 0,
        }.items()
    )


@pytest.mark.parametrize("size", [0, 7])
def test_device_information_that_is_too_short(size: int) -> None:
    with pytest.raises(DecodeError):
        management.device_information(bytes(size))


def test_once_there_are_crcs_what_has_none_is_noise() -> None:
    """For each endpoint by itself: the stick of the recorded dialogue answers without, and says telegrams with."""
    answer = HciFrame(hci.DEVICE_MANAGEMENT, hci.RESET + 1, b"\0").encode()
    unchecked_telegram = HciFrame(hci.RADIO_LINK, hci.TELEGRAM_RECEIVED, b"\x44" + bytes(20)).encode()
    frames = Frames()
    assert [frame.is_telegram for frame in frames.feed(unchecked_telegram)] == [True]
    assert frames.feed(RECORDED)[0].checked
    assert frames.feed(unchecked_telegram) == []
    assert not frames.feed(answer)[0].checked
    frames.feed(REAL_INFORMATION)
    assert frames.feed(answer) == []


def test_noise_that_announces_a_long_answer_does_not_swallow_telegrams() -> None:
    frames = Frames()
    assert [frame.is_telegram for frame in frames.feed(b"\xa5\x01\x10\xf0" + RECORDED)] == [True]


@pytest.mark.parametrize(("rssi", "dbm"), [(45, -100.0), (145, -50.0), (205, -20.0), (230, 0.0), (255, 0.0)])
def test_signal_strength(rssi: int, dbm: float) -> None:
    assert hci.rssi_dbm(rssi) == dbm


def test_a_wrong_crc_costs_that_frame_only() -> None:
    frames = Frames()
    damaged = RECORDED[:20] + bytes([RECORDED[20] ^ 1]) + RECORDED[21:]
    assert [frame.encode(crc=True) for frame in frames.feed(damaged + RECORDED)] == [RECORDED]
    assert frames.damaged == 1


def test_a_cut_frame_and_then_a_whole_one() -> None:
    frames = Frames()
    assert frames.feed(RECORDED[:15]) == []
    # The whole one is at first taken for the rest of the cut one; its own start is found behind the wrong CRC.
    arrived = frames.feed(RECORDED) + frames.give_up()
    assert [frame.encode(crc=True) for frame in arrived] == [RECORDED]


def test_after_a_pause_an_unfinished_frame_is_given_up() -> None:
    frames = Frames()
    assert frames.feed(b"\xa5\x82\x03\xff" + RECORDED) == []
    assert [frame.encode(crc=True) for frame in frames.give_up()] == [RECORDED]
    assert frames.is_between_frames


@given(noise=st.binary(max_size=60), cuts=st.lists(st.integers(1, 60), max_size=10), seed=st.integers(0, 2**16))
def test_however_it_arrives_no_wrong_telegram_and_the_next_one_is_found(
    noise: bytes, cuts: list[int], seed: int
) -> None:
    stream = RECORDED + noise + RECORDED[: random.Random(seed).randrange(len(RECORDED))] + RECORDED
    frames, arrived, position = Frames(), [], 0
    for cut in [*cuts, len(stream)]:
        arrived += frames.feed(stream[position : position + cut])
        position += cut
    while not frames.is_between_frames:
        arrived += frames.give_up()
    telegrams = [frame for frame in arrived if frame.is_telegram and frame.encode(crc=True) == RECORDED]
    assert len(telegrams) >= 2
    assert all(frame in telegrams for frame in arrived if frame.is_telegram)


@given(st.binary(max_size=300))
def test_any_bytes_end_in_frames_or_are_dropped(data: bytes) -> None:
    frames = Frames()
    taken = sum(len(frame.payload) for frame in frames.feed(data))
    while not frames.is_between_frames:
        taken += sum(len(frame.payload) for frame in frames.give_up())
    assert frames.bytes_dropped + taken <= len(data)
