"""The stick's side of the dialogue, for the simulator and for tests."""

from __future__ import annotations

import random
import struct
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from connectors.im871a import hci, management
from connectors.im871a.hci import HciFrame


@dataclass
class SimulatedStick:
    """The stick's side of the line: `hears()` bytes of the host, says frames through `say`.

    `faults` may change at any time: `mute` answers nothing, `silence` hears no telegrams, `stubborn` keeps its link
    mode, `noise`, `cut` and `crc` damage what it says (`cut` and `crc` every third telegram).
    """

    say: Callable[[bytes], None]
    firmware: int = 0x14
    faults: set[str] = field(default_factory=set)
    module: int = management.IM871A
    in_flash: dict[str, int] = field(
        default_factory=lambda: {"device_mode": 0, "link_mode": 3, "power_saving": 0, "rssi": 0, "timestamp": 0}
    )
    configuration: dict[str, int] = field(default_factory=dict)
    resets: int = 0
    asked: deque[HciFrame] = field(default_factory=lambda: deque(maxlen=1000))
    _frames: hci.Frames = field(default_factory=hci.Frames)
    _telegrams: int = 0

    def __post_init__(self) -> None:
        self.starts()

    def starts(self) -> None:
        """Its power comes back: it is set as in its flash, whatever the host has told it."""
        self.configuration = dict(self.in_flash)

    # -- the radio --------------------------------------------------------------------------------------------------

    def receives(self, telegram: bytes, rssi: int = 100) -> None:
        """A telegram (without link CRCs, with its L field) came in over the radio."""
        if "silence" in self.faults:
            return
        heard = rssi if self.configuration["rssi"] else None
        frame = HciFrame(hci.RADIO_LINK, hci.TELEGRAM_RECEIVED, telegram[1:], rssi=heard).encode(crc=True)
        self._telegrams += 1
        if self._telegrams % 3 == 0:
            if "cut" in self.faults:
                frame = frame[: len(frame) // 2]
            if "crc" in self.faults:
                frame = frame[:-1] + bytes([frame[-1] ^ 0x5A])
        if "noise" in self.faults:
            self.say(random.randbytes(random.randrange(1, 20)))
        self.say(frame)

    # -- the serial line --------------------------------------------------------------------------------------------

    def hears(self, data: bytes) -> None:
        for question in self._frames.feed(data):
            self.asked.append(question)
            if "mute" not in self.faults and question.endpoint == hci.DEVICE_MANAGEMENT:
                self._answer(question)

    def _answer(self, question: HciFrame) -> None:
        payload = b"\x00"
        match question.message:
            case hci.DEVICE_INFORMATION:
                payload = bytes([self.module, 0, self.firmware, 0x17]) + struct.pack("<I", 0x12345678)
            case hci.SET_CONFIGURATION:
                if "stubborn" not in self.faults:
                    self.configuration |= management.configuration(question.payload[1:])
            case hci.GET_CONFIGURATION:
                payload = management.set_configuration(self.configuration).payload[1:]
            case hci.RESET:
                self.resets += 1
                self.faults.discard("silence")
                self.starts()
        self.say(HciFrame(hci.DEVICE_MANAGEMENT, question.message + 1, payload).encode(crc=True))
