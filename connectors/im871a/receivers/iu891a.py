"""IMST iU891A-XL and iU893A-XL: messages in SLIP frames (RFC 1055), 115,200 baud. Pure.

    C0 | endpoint | message | payload | CRC-16 (2, low byte first) | C0      C0 inside is DB DC, DB is DB DD

Answers have a status byte in front of their payload, telegrams have none:

    09 20 | time stamp (4) | 3 bytes | RSSI (dBm, signed) | telegram from its L field on, without link CRCs

The CRC is that of the iM871A. Source: wmbusmeters' reception of real sticks (src/wmbus_iu891a.cc, whose recorded frame
is a test here); what the three bytes mean was not found.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from connectors.im871a.hci import crc16
from connectors.im871a.receivers.heard import HeardTelegram
from connectors.im871a.receivers.questions import Dialogue, ReceiverAnswer, ReceiverQuestion

BAUD_RATE = 115_200
END, ESCAPE, ESCAPED_END, ESCAPED_ESCAPE = 0xC0, 0xDB, 0xDC, 0xDD
WAKE_UP = bytes([END]) * 30
DEVICE, GATEWAY = 0x01, 0x09  # endpoints
DEVICE_INFO, GET_CONFIGURATION, SET_CONFIGURATION, RECEIVED = 0x03, 0x01, 0x03, 0x20
BEFORE_TELEGRAM = 8  # bytes
CONFIGURATION_LENGTH = 11  # link mode, options (2), user interface (2), LED (2), calibration (4)
FILTERED, INDICATE_RECEIVED = 0x0001, 0x0002  # options
MODES = {"S1": 1, "S1-m": 1, "T1": 2, "T2": 2, "C+T": 3, "C1A": 5, "C1B": 5, "C2A": 5, "C2B": 5}
LONGEST = 1024  # bytes between two C0


class Iu891aCodec:
    """Bytes in, telegrams and answers out."""

    def __init__(self) -> None:
        self.damaged = 0
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[HeardTelegram | ReceiverAnswer]:
        """What is complete with these bytes."""
        self._buffer += data
        *frames, rest = bytes(self._buffer).split(bytes([END]))
        self._buffer = bytearray(rest if len(rest) <= LONGEST else b"")
        for frame in frames:
            if frame:
                yield from self._read(frame)

    def _read(self, frame: bytes) -> Iterator[HeardTelegram | ReceiverAnswer]:
        message = frame.replace(bytes([ESCAPE, ESCAPED_END]), bytes([END]))
        message = message.replace(bytes([ESCAPE, ESCAPED_ESCAPE]), bytes([ESCAPE]))
        if len(message) < 4 or struct.unpack("<H", message[-2:])[0] != crc16(message[:-2]):
            self.damaged += 1
            return
        endpoint, number, payload = message[0], message[1], message[2:-2]
        if (endpoint, number) != (GATEWAY, RECEIVED):
            yield ReceiverAnswer(endpoint << 8 | number, payload)
        elif len(payload) > BEFORE_TELEGRAM:
            (rssi_dbm,) = struct.unpack("b", payload[BEFORE_TELEGRAM - 1 : BEFORE_TELEGRAM])
            yield HeardTelegram(payload[BEFORE_TELEGRAM:], float(rssi_dbm) or None)

    def pause(self) -> None:
        """Its frames have ends of their own."""

    def set_up(self, link_mode: str) -> Dialogue:
        """See `ReceiverCodec`. The configuration in its flash is not changed."""
        mode = MODES.get(link_mode)
        if mode is None:
            raise ValueError(f"an iU891A cannot listen to {link_mode}: IM871A_LINK_MODE is one of {', '.join(MODES)}")
        info = yield _question(DEVICE, DEVICE_INFO, b"", "device information", WAKE_UP)
        _checked(info, "device information")
        present = _checked((yield _question(GATEWAY, GET_CONFIGURATION, b"", "configuration")), "configuration")
        if len(present) < CONFIGURATION_LENGTH:
            raise ValueError(f"its configuration has {len(present)} bytes instead of {CONFIGURATION_LENGTH}")
        options = int.from_bytes(present[1:3], "little") & ~FILTERED | INDICATE_RECEIVED
        wanted = bytes([mode]) + options.to_bytes(2, "little") + present[3:CONFIGURATION_LENGTH]
        _checked((yield _question(GATEWAY, SET_CONFIGURATION, wanted, "link mode")), "link mode")


def encode(endpoint: int, message: int, payload: bytes = b"") -> bytes:
    """A message as it goes over the line."""
    body = bytes([endpoint, message]) + payload
    body += struct.pack("<H", crc16(body))
    escaped = body.replace(bytes([ESCAPE]), bytes([ESCAPE, ESCAPED_ESCAPE]))
    escaped = escaped.replace(bytes([END]), bytes([ESCAPE, ESCAPED_END]))
    return bytes([END]) + escaped + bytes([END])


def _question(endpoint: int, message: int, payload: bytes, what: str, before: bytes = b"") -> ReceiverQuestion:
    return ReceiverQuestion(before + encode(endpoint, message, payload), endpoint << 8 | message + 1, what)


def _checked(answer: ReceiverAnswer | None, what: str) -> bytes:
    """An answer's payload behind its status byte. Raises ValueError."""
    payload = answer.payload if answer is not None else b""
    if not payload or payload[0]:
        raise ValueError(f"it refuses: {what}, status {payload[:1].hex() or 'none'}")
    return payload[1:]
