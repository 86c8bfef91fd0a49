"""What receivers answer, and how they say a telegram: for the simulator and for tests."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from datetime import datetime
from typing import Protocol

from connectors.im871a.receivers import amb8465, iu891a
from connectors.im871a.receivers.iu891a import DEVICE, GATEWAY
from connectors.im871a.telegram import with_crcs_format_a
from links.serial_splitter import Lines


class SimulatedReceiver(Protocol):
    """Hears the host's bytes, says its own; what comes in over its radio goes through `receives`."""

    say: Callable[[bytes], None]

    def hears(self, data: bytes) -> None: ...

    def receives(self, telegram: bytes, rssi_dbm: int = -60) -> None: ...


class SimulatedIu891a:
    """Answers what it is asked; says telegrams once its link mode is set."""

    def __init__(self, say: Callable[[bytes], None] = lambda data: None) -> None:
        self.say = say
        self.configuration = bytes([0]) + bytes([1, 0]) + bytes(8)
        self._rest = b""

    def hears(self, data: bytes) -> None:
        *frames, self._rest = (self._rest + data).split(bytes([iu891a.END]))
        for frame in frames:
            if len(frame) >= 4:
                self._answer(frame[0], frame[1], frame[2:-2])

    def _answer(self, endpoint: int, message: int, payload: bytes) -> None:
        content = b""
        if (endpoint, message) == (DEVICE, iu891a.DEVICE_INFO):
            content = bytes([0x6E]) + struct.pack("<I", 0x12345678) + bytes(4)
        elif (endpoint, message) == (GATEWAY, iu891a.GET_CONFIGURATION):
            content = self.configuration
        elif (endpoint, message) == (GATEWAY, iu891a.SET_CONFIGURATION):
            self.configuration = payload
        self.say(iu891a.encode(endpoint, message + 1, b"\x00" + content))

    def receives(self, telegram: bytes, rssi_dbm: int = -60) -> None:
        if self.configuration[0]:
            before = struct.pack("<I", random.getrandbits(32)) + bytes([0, 0, 2]) + struct.pack("b", rssi_dbm)
            self.say(iu891a.encode(GATEWAY, iu891a.RECEIVED, before + telegram))


class SimulatedAmb8465:
    """As it comes: telegrams without a frame around them, with signal strength, which L counts."""

    def __init__(self, say: Callable[[bytes], None] = lambda data: None) -> None:
        self.say = say
        self.mode = 0
        self._buffer = b""

    def hears(self, data: bytes) -> None:
        self._buffer += data
        while len(self._buffer) >= 4 and len(self._buffer) >= 4 + self._buffer[2]:
            end = 4 + self._buffer[2]
            command, payload, self._buffer = self._buffer[1], self._buffer[3 : end - 1], self._buffer[end:]
            answer = b"\x00"
            if command == amb8465.SERIAL_NUMBER:
                answer = bytes.fromhex("12345678")
            elif command == amb8465.GET_SETTING:
                answer = payload + b"\x01"
            elif command == amb8465.SET_MODE:
                self.mode = payload[0]
            self.say(amb8465.encode(command | amb8465.ANSWER, answer))

    def receives(self, telegram: bytes, rssi_dbm: int = -60) -> None:
        if self.mode:
            self.say(bytes([telegram[0] + 1]) + telegram[1:] + bytes([(rssi_dbm + 74) * 2 & 0xFF]))


class SimulatedCul:
    """Lines, with link CRCs of format A."""

    def __init__(self, say: Callable[[bytes], None] = lambda data: None) -> None:
        self.say = say
        self.is_started = False
        self._lines = Lines()

    def hears(self, data: bytes) -> None:
        for line in self._lines.feed(data):
            if line in (b"brt", b"brc", b"brs"):
                self.say(line[2:].upper() + b"MODE\r\n")
            elif line == b"X21":
                self.is_started = True

    def receives(self, telegram: bytes, rssi_dbm: int = -60) -> None:
        if self.is_started:
            behind = bytes([0x80, (rssi_dbm + 74) * 2 & 0xFF])
            self.say(b"b" + (with_crcs_format_a(telegram) + behind).hex().upper().encode() + b"\r\n")


class SimulatedLines:
    """A program that prints what it receives as rtl_wmbus does."""

    def __init__(self, say: Callable[[bytes], None] = lambda data: None) -> None:
        self.say = say

    def hears(self, data: bytes) -> None:
        """It takes no orders."""

    def receives(self, telegram: bytes, rssi_dbm: int = -60) -> None:
        now = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M:%S.000")
        number = telegram[7:3:-1].hex()
        self.say(f"T1;1;1;{now};{rssi_dbm};{rssi_dbm};{number};0x{telegram.hex()}\n".encode())
