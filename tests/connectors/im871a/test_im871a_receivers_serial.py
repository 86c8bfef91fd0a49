"""iU891A, AMB8465 and CUL: their languages, and connectors that listen to simulated ones."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.im871a.receivers import amb8465, iu891a, questions
from connectors.im871a.receivers.amb8465 import Amb8465Codec
from connectors.im871a.receivers.cul import CulCodec
from connectors.im871a.receivers.heard import HeardTelegram
from connectors.im871a.receivers.iu891a import Iu891aCodec
from connectors.im871a.receivers.questions import ReceiverAnswer
from connectors.im871a.receivers.simulated import (
    SimulatedAmb8465,
    SimulatedCul,
    SimulatedIu891a,
    SimulatedReceiver,
)
from connectors.im871a.simulated_air import EXAMPLE_METER, ExampleMeter
from links.serial_pty import PseudoTerminal
from tests.connectors.im871a.conftest import METERS, connector_for, settings_for
from wattbus.errors import ConfigError
from wattbus.testing.link import WITHIN_S, RecordingLink, entered

IPERL = bytes.fromhex("1844ae4c4455223368077a55000000041389e20100023b0000")
# A frame of a real stick, in a comment of wmbusmeters' src/wmbus_iu891a.cc.
IU891A_FRAME = bytes.fromhex("C009209F436D38000002E71844AE4C4455223368077A55000000041389E20100023B0000AF59C0")

KINDS = {"iu891a": (SimulatedIu891a, "C+T"), "amb8465": (SimulatedAmb8465, "C+T"), "cul": (SimulatedCul, "C1A")}


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(questions, "ANSWER_S", 0.3)


# -- languages --------------------------------------------------------------------------------------------------------


def test_a_frame_of_a_real_iu891a() -> None:
    assert list(Iu891aCodec().feed(IU891A_FRAME)) == [HeardTelegram(IPERL, -25.0)]


def test_iu891a_frames_in_pieces_with_noise_and_escapes_between() -> None:
    codec, said = Iu891aCodec(), []
    telegram = bytes.fromhex("0b44c0dbdc550011223344780f")
    stream = b"\x00\xdb" + IU891A_FRAME + b"\x17" + iu891a.encode(9, 0x20, bytes(7) + b"\xc4" + telegram) + IU891A_FRAME
    for byte in stream:
        said += codec.feed(bytes([byte]))
    assert said == [HeardTelegram(IPERL, -25.0), HeardTelegram(telegram, -60.0), HeardTelegram(IPERL, -25.0)]
    assert codec.damaged == 2


def test_an_iu891a_frame_with_a_wrong_bit_is_counted() -> None:
    codec = Iu891aCodec()
    assert list(codec.feed(IU891A_FRAME[:20] + b"\x00" + IU891A_FRAME[21:])) == []
    assert codec.damaged == 1


def test_amb8465_commands_have_the_checksums_of_wmbusmeters() -> None:
    assert amb8465.encode(amb8465.SERIAL_NUMBER).hex() == "ff0b00f4"
    assert amb8465.encode(amb8465.GET_SETTING, bytes([0x00, 0x80])).hex() == "ff0a02008077"


@pytest.mark.parametrize("has_frame", [False, True])
@pytest.mark.parametrize("has_rssi", [False, True])
def test_amb8465_telegrams_with_and_without_frame_and_strength(has_frame: bool, has_rssi: bool) -> None:
    codec = Amb8465Codec()
    codec.has_rssi = has_rssi
    telegram = bytes([IPERL[0] + 1]) + IPERL[1:] + b"\x1c" if has_rssi else IPERL
    frame = b"\xff\x03" + telegram if has_frame else telegram
    whole = frame + bytes([amb8465.checksum(frame)]) if has_frame else frame
    said = [one for byte in b"\x00\x07" + whole + whole for one in codec.feed(bytes([byte]))]
    assert said == [HeardTelegram(IPERL, -60.0 if has_rssi else None)] * 2


def test_amb8465_frame_whose_l_does_not_count_the_strength() -> None:
    codec = Amb8465Codec()
    codec.has_rssi = True
    frame = b"\xff\x03" + IPERL + b"\x1c"
    [heard] = codec.feed(frame + bytes([amb8465.checksum(frame)]))
    assert isinstance(heard, HeardTelegram)
    assert (heard.telegram, heard.rssi_dbm) == (IPERL, -60.0)


def test_amb8465_after_a_cut_telegram_and_a_pause() -> None:
    codec = Amb8465Codec()
    assert list(codec.feed(IPERL[:15])) == []
    codec.pause()
    assert list(codec.feed(IPERL)) == [HeardTelegram(IPERL)]
    assert codec.damaged == 1


def test_cul_answers_and_noise() -> None:
    codec = CulCodec()
    said = list(codec.feed(b"TMODE\r\nbY0011\r\nb" + 20 * b"00" + b"\r\n"))
    assert said == [ReceiverAnswer("TMODE"), ReceiverAnswer("bY0011")]
    assert codec.damaged == 1


def test_a_mode_that_a_receiver_does_not_know_is_refused_by_the_settings() -> None:
    with pytest.raises(ConfigError, match=r"cul cannot listen to C\+T"):
        settings_for(IM871A_RECEIVER="cul")
    assert settings_for(IM871A_RECEIVER="cul", IM871A_LINK_MODE="T1").port.baudrate == 38_400
    assert settings_for(IM871A_RECEIVER="iu891a").port.baudrate == 115_200
    assert settings_for(IM871A_RECEIVER="amb8465", IM871A_BAUDRATE="57600").port.baudrate == 57_600
    assert settings_for().port.baudrate == 57_600


# -- connectors -------------------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def receiver_on(terminal: PseudoTerminal, kind: str) -> AsyncIterator[SimulatedReceiver]:
    receiver: SimulatedReceiver = KINDS[kind][0](terminal.write)

    async def listen() -> None:
        async for data in terminal.chunks():
            receiver.hears(data)

    task = asyncio.create_task(listen())
    try:
        yield receiver
    finally:
        task.cancel()
        await asyncio.wait([task])


def settings_of(kind: str) -> dict[str, Any]:
    return {"IM871A_METERS": METERS, "IM871A_RECEIVER": kind, "IM871A_LINK_MODE": KINDS[kind][1]}


@pytest.mark.parametrize("kind", KINDS)
async def test_a_receiver_is_set_up_and_its_telegrams_are_read(kind: str) -> None:
    async with PseudoTerminal() as terminal, receiver_on(terminal, kind) as receiver:
        connector = connector_for(terminal.path, **settings_of(kind))
        link = RecordingLink(connector)
        async with entered(connector, link):
            await link.until(lambda link: link.is_connected)
            async with asyncio.timeout(WITHIN_S):
                while not getattr(receiver, "is_started", True):  # a CUL does not answer that
                    await asyncio.sleep(0.005)
            receiver.receives(ExampleMeter().telegram(), rssi_dbm=-60)
            await link.until(lambda link: bool(link.raw))
            assert link.values[f"{EXAMPLE_METER}__energy_kwh"] == 1234.57
            assert link.values[f"{EXAMPLE_METER}__rssi_dbm"] == -60


@pytest.mark.parametrize("kind", KINDS)
async def test_another_device_at_the_line_is_said(kind: str) -> None:
    async with PseudoTerminal() as terminal:
        connector = connector_for(terminal.path, **settings_of(kind))
        link = RecordingLink(connector)
        async with entered(connector, link) as running:
            said = await running.ended()
            assert "no answer from the receiver" in said
            assert "nothing came" in said


@given(st.lists(st.binary(max_size=300), max_size=5), st.booleans())
@settings(deadline=None)
def test_any_bytes_are_taken_by_every_codec_and_bounded(pieces: list[bytes], has_rssi: bool) -> None:
    amb = Amb8465Codec()
    amb.has_rssi = has_rssi
    for codec in (Iu891aCodec(), amb, CulCodec()):
        for piece in pieces:
            for said in codec.feed(piece):
                assert isinstance(said, HeardTelegram | ReceiverAnswer)
        codec.pause()
    assert not amb._buffer
