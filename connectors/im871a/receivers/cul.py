"""CUL, nanoCUL and their kin with culfw or a-culfw, 38,400 baud: commands and telegrams as lines of text. Pure.

    host: brt, brc, brs      listen to T1, C1 or S1 → TMODE, CMODE, SMODE
    host: X21                start, with link quality and signal strength behind each telegram; no answer
    CUL:  b29446850…         a telegram of format A with its link CRCs; bY… one of format B

Source: culfw's command reference; wmbusmeters' and FHEM's reception of real ones (src/wmbus_cul.cc, 36_WMBUS.pm).
"""

from __future__ import annotations

from collections.abc import Iterator

from connectors.im871a.receivers.heard import HeardTelegram
from connectors.im871a.receivers.questions import Dialogue, ReceiverAnswer, ReceiverQuestion
from connectors.im871a.receivers.text import CUL, from_cul
from links.serial_splitter import Lines
from wattbus.errors import DecodeError

BAUD_RATE = 38_400
MODES = {"T1": ("brt", "TMODE"), "C1A": ("brc", "CMODE"), "C1B": ("brc", "CMODE"), "S1": ("brs", "SMODE")}
START_WITH_RSSI = b"X21\r\n"


class CulCodec:
    """Bytes in, telegrams and answers out."""

    def __init__(self) -> None:
        self.damaged = 0
        self._lines = Lines()

    def feed(self, data: bytes) -> Iterator[HeardTelegram | ReceiverAnswer]:
        """What is complete with these bytes."""
        for line in self._lines.feed(data):
            text = line.decode("ascii", "replace").strip()
            match = CUL.fullmatch(text)
            if match is None:
                yield ReceiverAnswer(text)
                continue
            try:
                yield from_cul(is_format_b=bool(match[1]), digits=match[2], rssi_dbm=match[3])
            except DecodeError:
                self.damaged += 1  # it hands over what it receives, also noise

    def pause(self) -> None:
        """Its frames have ends of their own."""

    def set_up(self, link_mode: str) -> Dialogue:
        """See `ReceiverCodec`. It hears one mode at a time."""
        if link_mode not in MODES:
            raise ValueError(f"a CUL cannot listen to {link_mode}: IM871A_LINK_MODE is one of {', '.join(MODES)}")
        command, answer = MODES[link_mode]
        yield ReceiverQuestion(command.encode() + b"\r\n", answer, "link mode; does its firmware know wireless M-Bus?")
        yield ReceiverQuestion(START_WITH_RSSI, None, "start")
