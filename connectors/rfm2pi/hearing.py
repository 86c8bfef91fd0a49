"""What becomes of each line that is heard: raw messages, signs of life, counts."""

from __future__ import annotations

import logging
from collections import Counter

from connectors.rfm2pi import codec, datapoints
from connectors.rfm2pi.codec import BadFrame, Info, RadioFrame, Said, Unknown, text_of, understand
from connectors.rfm2pi.cuts import Cuts
from connectors.rfm2pi.nodes import Node, Nodes
from connectors.rfm2pi.presence import Presence
from connectors.rfm2pi.settings import Settings
from links.serial_silence import SilenceWatch
from wattbus.connector import Link
from wattbus.errors import DecodeError

log = logging.getLogger(__name__)

LINE = "line"  # the unit that is away while only nonsense is heard
NONSENSE_BYTES = 1000  # without a line between that makes sense


class Hearing:
    """Kept over all entries of `run()`; the counts are of the process."""

    def __init__(self, settings: Settings, nodes: Nodes, presence: Presence, silence: SilenceWatch) -> None:
        self.bad_frames = 0
        self.unknown_lines = 0
        self.heard_a_node = False
        self._is_plain = settings.rfm2pi_plain
        self._only_described = settings.rfm2pi_only_described_nodes
        self._baudrate = settings.port.baudrate
        self._nodes = nodes
        self._presence = presence
        self._silence = silence
        self._cuts = Cuts()
        self._nonsense_bytes = 0
        self._readable: set[int] = set()
        self._unreadable: Counter[int] = Counter()
        # How many values of a node are announced; those of described ones are known beforehand.
        self._announced = {node.number: len(node.rx.codes) for node in nodes.described.values() if not node.rx.repeats}

    def line_is_open(self) -> None:
        self._cuts = Cuts()
        self._presence.line_is_open()

    def take(self, line: bytes, now_ms: int, link: Link) -> Said | None:
        """A line was heard. What the board says of itself comes back; None: it was of a node, or nonsense."""
        text = text_of(line)
        log.debug("heard: %s", text)
        if self._is_plain:
            self._take_plain(text, len(line), now_ms, link)
            return None
        said = understand(text)
        if isinstance(said, RadioFrame):
            node = self._nodes[said.node]
            fault = self._cuts.fault(node, len(said.data), has_ok=said.is_marked, has_rssi=said.rssi is not None)
            self._take_frame(node, text, fault, now_ms, link)
            return None
        self._cuts.other_line()
        if isinstance(said, Unknown):
            self._take_unknown(text, len(line), now_ms, link)
            return None
        if isinstance(said, BadFrame):
            self.bad_frames += 1
            return None
        if isinstance(said, Info):
            self._makes_sense(link)
            if not self._silence.is_silent:  # a board that answers while no node is heard has not come back
                link.connected()
                link.emit(text, now_ms)
            if not self.heard_a_node:  # until nodes were heard, a board that answers is a sign of life
                self._silence.fed()
        return said

    def dropped(self, lines: int, count: int, link: Link) -> None:
        """So many lines that were too long for a frame were left out, and so many bytes of them."""
        self.unknown_lines += lines
        self._note_nonsense(count, link)

    def _take_plain(self, text: str, length: int, now_ms: int, link: Link) -> None:
        try:
            number, values = codec.plain_values(text)
        except DecodeError:
            self._take_unknown(text, length, now_ms, link)
        else:
            node = self._nodes[number]
            self._take_frame(node, text, self._cuts.fault(node, len(values)), now_ms, link)

    def _take_unknown(self, text: str, length: int, now_ms: int, link: Link) -> None:
        """Kept raw, all the same: the runtime counts what cannot be decoded. A silent line does not come back by it."""
        self.unknown_lines += 1
        self._note_nonsense(length, link)
        if not self._silence.is_silent:
            link.emit(text, now_ms)

    def _take_frame(self, node: Node, text: str, fault: str, now_ms: int, link: Link) -> None:
        self._makes_sense(link)
        if fault:
            self.unknown_lines += 1
            if not self._silence.is_silent:
                link.emit({"cut": text, "because": fault}, now_ms)
            return
        self._silence.fed()
        link.connected()
        self.heard_a_node = True
        if not node.is_described and self._only_described:
            return
        try:
            [reading] = codec.decode(text, self._nodes, plain=self._is_plain)
        except DecodeError as error:
            self._presence.unreadable(node, str(error), link)
            self._tell_unreadable(node, str(error), link)
        else:
            self._presence.heard(node, link)
            self._announce(node, len(reading.values[node.name].keys() - {"rssi"}), link)
        link.emit(text, now_ms)

    def _tell_unreadable(self, node: Node, fault: str, link: Link) -> None:
        """Of a node that was never heard otherwise, once, so that a person sees it; a number that was damaged on the
        serial line does not come twice.
        """
        self._unreadable[node.number] += 1
        if self._unreadable[node.number] == 2 and node.number not in self._readable:
            self._announced[node.number] = 0
            log.warning("node %d is heard, but cannot be read: %s", node.number, fault)
            link.announce([datapoints.undecoded(node, fault)])

    def _announce(self, node: Node, count: int, link: Link) -> None:
        self._readable.add(node.number)
        if count > self._announced.get(node.number, 0):
            self._announced[node.number] = count
            link.announce(datapoints.values_of(node, count))

    # -- nonsense ---------------------------------------------------------------------------------------------------

    def _makes_sense(self, link: Link) -> None:
        self._nonsense_bytes = 0
        link.unit(LINE, up=True)

    def _note_nonsense(self, count: int, link: Link) -> None:
        self._nonsense_bytes += count
        if self._nonsense_bytes >= NONSENSE_BYTES:
            asked = f"is {self._baudrate} bit/s its speed, and does no other program read the port?"
            link.unit(LINE, up=False, reason=f"only nonsense is heard: {asked}")
