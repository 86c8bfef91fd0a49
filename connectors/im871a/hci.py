"""The stick's own language: frames of the Host Controller Interface. Pure.

    A5 | control and endpoint | message | length | payload | time stamp (4)? | RSSI (1)? | CRC-16 (2)?

The upper half of the second byte says which of the optional parts follow: 2 time stamp, 4 RSSI, 8 CRC. Numbers are
little endian. Source: IMST, WM-Bus HCI specification for the iM871A; CRC, telegrams and the request that sets a link
mode agree byte for byte with recordings of real sticks and of an independent program that drives one.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

START = 0xA5
DEVICE_MANAGEMENT, RADIO_LINK, RADIO_LINK_TEST, HARDWARE_TEST = 1, 2, 3, 4
HAS_TIMESTAMP, HAS_RSSI, HAS_CRC = 0x20, 0x40, 0x80

# Messages of device management that are used here, with their answers one above them; and one of the radio link.
SET_CONFIGURATION, GET_CONFIGURATION, RESET, DEVICE_INFORMATION = 0x03, 0x05, 0x07, 0x0F
TELEGRAM_RECEIVED = 0x03

_KNOWN_MESSAGES = {
    DEVICE_MANAGEMENT: range(0x01, 0x29),
    RADIO_LINK: range(0x01, 0x0B),
    RADIO_LINK_TEST: range(0x01, 0x09),
    HARDWARE_TEST: range(0x01, 0x05),
}

# Answers of the stick are short (a configuration has 23 bytes); a frame without CRC that says otherwise is noise.
LONGEST_UNCHECKED_ANSWER = 64
# Where the receiver of the stick (Silicon Labs Si1002) is at its end; it takes what is stronger for this.
STRONGEST_RSSI = 230


def crc16(data: bytes) -> int:
    """CRC-16/X-25 (polynomial 0x1021 reflected, initial and final XOR 0xFFFF) over everything after the start byte."""
    crc = 0xFFFF
    for byte in data:
        crc = (crc >> 8) ^ _CRC_TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFF


def _crc_row(byte: int) -> int:
    for _ in range(8):
        byte = (byte >> 1) ^ (0x8408 if byte & 1 else 0)
    return byte


_CRC_TABLE = [_crc_row(byte) for byte in range(256)]


@dataclass(frozen=True, slots=True)
class HciFrame:
    """One message between host and stick.

    `timestamp` counts the stick's own clock; `rssi` is its raw byte. `checked`: it came with a CRC, which was right.
    """

    endpoint: int
    message: int
    payload: bytes = b""
    timestamp: int | None = None
    rssi: int | None = None
    checked: bool = field(default=False, compare=False)

    def encode(self, *, crc: bool = False) -> bytes:
        """The frame as it goes over the line. Raises ValueError when the payload is too long."""
        if len(self.payload) > 0xFF:
            raise ValueError(f"a payload has at most 255 bytes, not {len(self.payload)}")
        control = self.endpoint | (HAS_CRC if crc else 0)
        tail = b""
        if self.timestamp is not None:
            control |= HAS_TIMESTAMP
            tail += struct.pack("<I", self.timestamp)
        if self.rssi is not None:
            control |= HAS_RSSI
            tail += bytes([self.rssi])
        body = bytes([control, self.message, len(self.payload)]) + self.payload + tail
        if crc:
            body += struct.pack("<H", crc16(body))
        return bytes([START]) + body

    @property
    def telegram(self) -> bytes:
        """The wireless M-Bus frame in a received telegram, with its L field, which is the length of the payload."""
        return bytes([len(self.payload)]) + self.payload

    @property
    def is_telegram(self) -> bool:
        return self.endpoint == RADIO_LINK and self.message == TELEGRAM_RECEIVED

    def answers(self, request: HciFrame) -> bool:
        """The answer to a request of a host has the number above it."""
        return self.endpoint == request.endpoint and self.message == request.message + 1


class Frames:
    """Bytes in, frames out; finds the next frame again after noise, cut frames and wrong CRCs.

    A frame without CRC can be told from noise by little. So once an endpoint has sent one with a right CRC (real sticks
    send all of them so), what comes from it without is noise.
    """

    def __init__(self) -> None:
        self.damaged = 0  # frames whose CRC was wrong
        self.bytes_dropped = 0
        self._buffer = bytearray()
        self._endpoints_with_crc: set[int] = set()

    @property
    def is_between_frames(self) -> bool:
        """Whether nothing of an unfinished frame is held."""
        return not self._buffer

    def feed(self, data: bytes) -> list[HciFrame]:
        """The frames that are complete with these bytes."""
        self._buffer += data
        return self._take()

    def give_up(self) -> list[HciFrame]:
        """The line has paused: what is unfinished will not be finished. Whole frames that were behind its start."""
        if self._buffer:
            self._drop(1)
        return self._take(paused=True)

    def _take(self, paused: bool = False) -> list[HciFrame]:
        frames = []
        while self._find_start():
            length = self._length()
            if length is None or len(self._buffer) < length:
                if not paused:
                    break
                self._drop(1)
                continue
            frame = _parse(bytes(self._buffer[:length]))
            if frame is None:
                self.damaged += 1
                self._drop(1)
                continue
            if frame.checked:
                self._endpoints_with_crc.add(frame.endpoint)
            frames.append(frame)
            del self._buffer[:length]
        return frames

    def _find_start(self) -> bool:
        """Whether the buffer begins with what may be a frame, after dropping what cannot."""
        while self._buffer:
            start = self._buffer.find(START)
            if start < 0:
                self._drop(len(self._buffer))
            elif start > 0:
                self._drop(start)
            elif self._is_plausible():
                return True
            else:
                self._drop(1)
        return False

    def _is_plausible(self) -> bool:
        """Whether a frame may begin like this, as far as it is there."""
        if len(self._buffer) < 2:
            return True
        control, endpoint = self._buffer[1] & 0xF0, self._buffer[1] & 0x0F
        if endpoint not in _KNOWN_MESSAGES or control & 0x10:
            return False
        is_unchecked = not control & HAS_CRC
        if is_unchecked and endpoint in self._endpoints_with_crc:
            return False
        if len(self._buffer) > 2 and self._buffer[2] not in _KNOWN_MESSAGES[endpoint]:
            return False
        is_answer = is_unchecked and endpoint != RADIO_LINK
        return not (is_answer and len(self._buffer) > 3 and self._buffer[3] > LONGEST_UNCHECKED_ANSWER)

    def _length(self) -> int | None:
        """Bytes of the frame at the start of the buffer, None when it is not known yet."""
        if len(self._buffer) < 4:
            return None
        control = self._buffer[1]
        tail = sum(size for bit, size in ((HAS_TIMESTAMP, 4), (HAS_RSSI, 1), (HAS_CRC, 2)) if control & bit)
        return 4 + self._buffer[3] + tail

    def _drop(self, count: int) -> None:
        self.bytes_dropped += count
        del self._buffer[:count]


def _parse(data: bytes) -> HciFrame | None:
    """A frame of exactly this length; None when its CRC is wrong."""
    control, end = data[1], len(data)
    if control & HAS_CRC:
        end -= 2
        if struct.unpack_from("<H", data, end)[0] != crc16(data[1:end]):
            return None
    rssi = timestamp = None
    if control & HAS_RSSI:
        end -= 1
        rssi = data[end]
    if control & HAS_TIMESTAMP:
        end -= 4
        timestamp = struct.unpack_from("<I", data, end)[0]
    return HciFrame(control & 0x0F, data[2], data[4:end], timestamp, rssi, checked=bool(control & HAS_CRC))


def rssi_dbm(rssi: int) -> float:
    """Signal strength in dBm of the stick's byte, in steps of half a decibel; 0 for all that is stronger."""
    return 0.0 if rssi >= STRONGEST_RSSI else -100.0 + 0.5 * (rssi - 45)
