"""Amber (Würth) AMB8465 and Metis-II, 9600 baud: commands, and telegrams with or without a frame around them. Pure.

    FF | command | length | payload | checksum      an answer has its command + 80; checksum: all before it, XOR
    FF 03 | L | telegram | RSSI? | checksum         a telegram where the module's command mode is on
    L | telegram | RSSI?                            the same where it is off, as the module comes

Telegrams have no link CRCs. Where the module adds the signal strength (its setting RSSI_Enable, 45 hex), L counts it in
some versions and does not in others: the checksum tells, or the length. Its flash is not written, so its settings stay.
Source: wmbusmeters' reception of real sticks (src/wmbus_amb8465.cc), FHEM's (WMBUS_HandleEncoding in 36_WMBUS.pm).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce
from operator import xor

from connectors.im871a.receivers.heard import HeardTelegram, cc1101_dbm
from connectors.im871a.receivers.questions import Dialogue, ReceiverAnswer, ReceiverQuestion
from connectors.im871a.telegram import CONTROL_FIELDS

BAUD_RATE = 9600
START, ANSWER = 0xFF, 0x80
RECEIVED, SET_MODE, GET_SETTING, SERIAL_NUMBER = 0x03, 0x04, 0x0A, 0x0B
TELEGRAMS = (RECEIVED, RECEIVED | ANSWER)
RSSI_ENABLE = 0x45
MODES = {"S1": 0x03, "S1-m": 0x03, "T1": 0x08, "C+T": 0x09, "C1A": 0x0E, "C1B": 0x0E}
SHORTEST_TELEGRAM = 11


class Amb8465Codec:
    """Bytes in, telegrams and answers out; finds the next frame again after noise."""

    def __init__(self) -> None:
        self.damaged = 0
        self.has_rssi = False
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[HeardTelegram | ReceiverAnswer]:
        """What is complete with these bytes."""
        self._buffer += data
        while self._buffer:
            taken = self._framed() if self._buffer[0] == START else self._bare()
            if taken is None:
                return
            length, said = taken
            del self._buffer[:length]
            if said is not None:
                yield said

    def _framed(self) -> tuple[int, HeardTelegram | ReceiverAnswer | None] | None:
        """How much of the buffer is used up, and what it says; None where more has to come."""
        if len(self._buffer) < 3:
            return None
        command, length = self._buffer[1], self._buffer[2]
        if command not in TELEGRAMS and not command & ANSWER:
            return 1, None
        ends = [4 + length] + ([5 + length] if command in TELEGRAMS and self.has_rssi else [])
        for end in ends:
            if len(self._buffer) < end:
                return None
            if self._buffer[end - 1] == checksum(self._buffer[: end - 1]):
                body = bytes(self._buffer[2 : end - 1])
                return end, self._heard(body) if command in TELEGRAMS else ReceiverAnswer(command, body[1:])
        self.damaged += 1
        return 1, None

    def _bare(self) -> tuple[int, HeardTelegram | None] | None:
        length = self._buffer[0] + 1
        if length < SHORTEST_TELEGRAM:
            return 1, None
        if len(self._buffer) < 2:
            return None
        if self._buffer[1] not in CONTROL_FIELDS:
            return 1, None
        if len(self._buffer) < length:
            return None
        return length, self._heard(bytes(self._buffer[:length]))

    def _heard(self, body: bytes) -> HeardTelegram:
        """`body` starts with L. With signal strength its last byte, which L counts or not, is that."""
        if not self.has_rssi:
            return HeardTelegram(body)
        return HeardTelegram(bytes([len(body) - 2]) + body[1:-1], cc1101_dbm(body[-1]))

    def pause(self) -> None:
        """The line has paused: nothing else tells that what is unfinished has ended."""
        if self._buffer:
            self.damaged += 1
        self._buffer.clear()

    def set_up(self, link_mode: str) -> Dialogue:
        """See `ReceiverCodec`. The mode is gone when the module loses its power."""
        mode = MODES.get(link_mode)
        if mode is None:
            raise ValueError(f"an AMB8465 cannot listen to {link_mode}: IM871A_LINK_MODE is one of {', '.join(MODES)}")
        yield _question(SERIAL_NUMBER, b"", "serial number")
        setting = yield _question(GET_SETTING, bytes([RSSI_ENABLE, 1]), "setting RSSI_Enable")
        self.has_rssi = setting is not None and setting.payload[-1:] not in (b"", b"\x00")
        answer = yield _question(SET_MODE, bytes([mode]), "link mode")
        if answer is None or answer.payload[-1:] != b"\x00":
            raise ValueError(f"it does not take the link mode {link_mode}")


def checksum(data: bytes | bytearray) -> int:
    """All bytes, XOR."""
    return reduce(xor, data, 0)


def encode(command: int, payload: bytes = b"") -> bytes:
    """A command as it goes over the line."""
    body = bytes([START, command, len(payload)]) + payload
    return body + bytes([checksum(body)])


def _question(command: int, payload: bytes, what: str) -> ReceiverQuestion:
    return ReceiverQuestion(encode(command, payload), command | ANSWER, what)
