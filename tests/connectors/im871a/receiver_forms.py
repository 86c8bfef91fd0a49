"""Every receiver's form of the reference telegrams: what a receiver would hand over, and what arrives of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from connectors.im871a import hci
from connectors.im871a.receivers import amb8465
from connectors.im871a.receivers.amb8465 import Amb8465Codec
from connectors.im871a.receivers.cul import CulCodec
from connectors.im871a.receivers.heard import HeardTelegram
from connectors.im871a.receivers.iu891a import Iu891aCodec
from connectors.im871a.receivers.questions import ReceiverCodec
from connectors.im871a.receivers.simulated import SimulatedCul, SimulatedIu891a, SimulatedLines, SimulatedReceiver
from connectors.im871a.receivers.text import telegrams_in
from connectors.im871a.telegram import strip_crcs, with_crcs_format_a
from tests.connectors.im871a.telegram_data import WIRED_START, DriverTest
from wattbus.errors import DecodeError

Form = Callable[[bytes], list[bytes]]


def _through(codec: ReceiverCodec, data: bytes) -> list[bytes]:
    return [one.telegram for one in codec.feed(data) if isinstance(one, HeardTelegram)]


def _said(receiver: SimulatedReceiver, telegram: bytes) -> bytes:
    said: list[bytes] = []
    receiver.say = said.append
    receiver.receives(telegram)
    return b"".join(said)


def _im871a(telegram: bytes) -> list[bytes]:
    frame = hci.HciFrame(hci.RADIO_LINK, hci.TELEGRAM_RECEIVED, telegram[1:], rssi=100).encode(crc=True)
    return [one.telegram for one in hci.Frames().feed(frame)]


def _iu891a(telegram: bytes) -> list[bytes]:
    receiver = SimulatedIu891a()
    receiver.configuration = bytes([3]) + bytes(10)
    return _through(Iu891aCodec(), _said(receiver, telegram))


def _amb8465(telegram: bytes) -> list[bytes]:
    return _through(Amb8465Codec(), telegram)


def _amb8465_framed(telegram: bytes) -> list[bytes]:
    frame = bytes([amb8465.START, amb8465.RECEIVED]) + telegram
    return _through(Amb8465Codec(), frame + bytes([amb8465.checksum(frame)]))


def _cul(telegram: bytes) -> list[bytes]:
    receiver = SimulatedCul()
    receiver.is_started = True
    return _through(CulCodec(), _said(receiver, telegram))


def _line(line: str) -> list[bytes]:
    try:
        return [one.telegram for one in telegrams_in(line)]
    except DecodeError:
        return []


FORMS: dict[str, Form] = {
    "iM871A": _im871a,
    "iU891A, iU893A": _iu891a,
    "AMB8465, bare": _amb8465,
    "AMB8465, command mode": _amb8465_framed,
    "CUL, format A": _cul,
    "line of rtl_wmbus": lambda telegram: _line(_said(SimulatedLines(), telegram).decode()),
    "line of wmbusmeters": lambda telegram: _line(f"telegram=|{telegram.hex().upper()}|+12"),
    "JSON": lambda telegram: _line(f'{{"telegram": "{telegram.hex()}", "rssi": -70}}'),
    "hexadecimal digits": lambda telegram: _line(telegram.hex()),
    "hexadecimal digits with link CRCs": lambda telegram: _line(with_crcs_format_a(telegram).hex()),
}


def wireless(tests: Iterable[DriverTest]) -> list[bytes]:
    """The telegrams without link CRCs; wired ones are left out, and those whose length is not what they say."""
    frames = []
    for test in tests:
        if test.frame[0] == WIRED_START and test.frame[3] == WIRED_START:
            continue
        try:
            frames.append(strip_crcs(test.frame))
        except DecodeError:
            continue
    return [frame for frame in frames if len(frame) == frame[0] + 1]


def arrive(form: Form, frames: Iterable[bytes]) -> int:
    """How many come out as they went in."""
    return sum(form(frame) == [frame] for frame in frames)
