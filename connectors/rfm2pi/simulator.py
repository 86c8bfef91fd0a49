"""A radio board that is not there, with nodes around it: for trying out, and for tests.

It understands commands as RF12demo.14 does (JeeLib), or as the firmware it is told to have.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from connectors.rfm2pi.layout import ONE, PayloadLayout
from connectors.rfm2pi.ready import ready_decoders
from connectors.rfm2pi.settings import Settings
from links.serial_stage import stage
from wattbus.errors import CommandRejected

log = logging.getLogger(__name__)

# rf12demo: of an RFM69Pi or RFM2Pi. rfm12pi: the first board's, without OK, RSSI and `v`, which can be locked.
# letters: the newer one for RFM69Pi. mute: commands do nothing, nothing is answered.
Firmware = Literal["rf12demo", "rfm12pi", "letters", "mute"]
# Unit, or the name of a value → middle and swing.
USUAL = {"V": (230.0, 5.0), "W": (800.0, 700.0), "Cel": (20.0, 4.0), "%": (50.0, 10.0), "battery": (2.8, 0.1)}
REMEMBERED = 1000  # packets that were sent, and commands
RISING_UNITS = ("{pulse}", "W.h", "kW.h")
BANDS = {4: 433, 8: 868, 9: 915}


@dataclass
class SimulatedBoard:
    """The board's side of the line: `hears()` bytes, says lines through `say`. What it sent lies in `sent`."""

    say: Callable[[bytes], None]
    firmware: Firmware = "rf12demo"
    group: int = 212
    frequency: int = 868
    base_id: int = 1
    quiet: bool = False
    locked: bool = False
    silent: bool = False  # it says nothing any more, as if its radio had hung
    sent: list[tuple[int, bytes]] = field(default_factory=list)  # node (0: all) and bytes of each packet
    commands: list[str] = field(default_factory=list)
    _number: int = 0
    _stack: list[int] = field(default_factory=list)
    _line: str = ""

    # -- the radio --------------------------------------------------------------------------------------------------

    def receives(self, node: int, data: bytes, rssi: int = -50) -> None:
        """A packet of a node came in over the radio."""
        numbers = " ".join(map(str, [node, *data]))
        self.line(f" {numbers}" if self.firmware == "rfm12pi" else f"OK {numbers} ({rssi})")

    def receives_noise(self) -> None:
        """A packet whose checksum is wrong."""
        if not self.quiet:
            self.line("? " + " ".join(str(random.randrange(256)) for _ in range(20)))

    def line(self, text: str) -> None:
        if not self.silent:
            self.say(text.encode("latin-1") + b"\r\n")

    # -- the serial line --------------------------------------------------------------------------------------------

    def hears(self, data: bytes) -> None:
        """Commands, byte by byte as they come."""
        for char in data.decode("ascii", "ignore"):
            if self.firmware in ("rf12demo", "rfm12pi"):
                self._hears_char(char)
            elif self.firmware == "letters":
                self._hears_letter(char)

    def _hears_char(self, char: str) -> None:
        if char.isdecimal():
            self._number = (10 * self._number + int(char)) % 65536
        elif char == ",":
            self._stack.append(self._number % 256)
            self._number = 0
        elif char > " ":
            packet = "".join(f"{byte}," for byte in self._stack)
            self._notes(f"{packet}{self._number}{char}")
            self.line(f"> {packet}{self._number}{char}")
            self._executes(char, self._number, bytes(self._stack))
            self._number = 0
            self._stack.clear()

    def _notes(self, command: str) -> None:
        log.info("the board is told: %s", command)
        self.commands.append(command)
        del self.commands[:-REMEMBERED]

    def _executes(self, command: str, number: int, data: bytes) -> None:
        if command in ("s", "a"):
            self.sent.append((number, data))
            del self.sent[:-REMEMBERED]
            self.line(f" -> {len(data)} b")
        elif command == "v":
            self._tells_how_it_is_set(with_name=True)
        elif command in "igbq" and not self.locked:
            self._is_set(command, number)
            self._tells_how_it_is_set()

    def _is_set(self, what: str, number: int) -> None:
        if what == "i":
            self.base_id = number & 0x1F
        elif what == "g":
            self.group = number & 0xFF
        elif what == "b":
            self.frequency = BANDS.get(number, self.frequency)
        else:
            self.quiet = bool(number)

    def _tells_how_it_is_set(self, with_name: bool = False) -> None:
        told = f"i{self.base_id} g{self.group} @ {self.frequency} MHz"
        if self.firmware == "rf12demo":
            name = "[RF12demo.14]" if with_name else ""
            self.line(f"{name} {chr(64 + self.base_id)} {told}{' q1' if self.quiet else ''}")
        elif with_name:  # it takes v for a letter that it does not know, and helps
            self.line("Available commands:")
            self.line("  <nn> i     - set node ID (standard node ids are 1..26)")
            self.line("Current configuration:")
            self.line(f"{64 + self.base_id} {told}  Lock: {int(not self.locked)}")

    def _hears_letter(self, char: str) -> None:
        if not self._line and char in "vL":
            self._notes(char)
            if char == "v":
                self.line("|emonBase_rfm69pi_LPL V1.1.1")
                return
            self.line("|Settings")
            self.line(f"|RF Band: {self.frequency}MHz")
            self.line(f"|Group: {self.group}")
            self.line(f"|Node ID: {self.base_id}")
        elif char == "\n":
            self._executes_line(self._line)
            self._line = ""
        else:
            self._line += char

    def _executes_line(self, line: str) -> None:
        if not line or not line[1:].isdecimal():
            return
        self._notes(line)
        if line[0] in "bgi":
            self._is_set(line[0], int(line[1:]))
            told = {"b": f"RF Band = {self.frequency}MHz", "g": f"Group {self.group}", "i": f"Node {self.base_id}"}
            self.line(f"|{told[line[0]]}")


@dataclass(frozen=True, slots=True)
class SimulatedNode:
    """A node that sends a frame every `interval_s` seconds."""

    number: int
    layout: PayloadLayout
    interval_s: float

    def frame(self, second: float) -> bytes:
        """Its frame at a moment: values that go up and down slowly, each in its own way; counters rise."""
        count = range(len(self.layout.codes))
        try:
            return self.layout.encode([self._usual(index, second) for index in count])
        except CommandRejected:  # they do not fit into the data codes
            return self.layout.encode([self._small(index, second) for index in count])

    def _usual(self, index: int, second: float) -> float:
        name, unit = self.layout.name(index), self.layout.unit(index)
        if name in self.layout.counters or unit in RISING_UNITS:
            return int(second / self.interval_s)
        if (usual := USUAL.get(name) or USUAL.get(unit)) is None:
            return self._small(index, second)
        middle, swing = usual
        return round(middle + swing * _wave(index, second), 2)

    def _small(self, index: int, second: float) -> float:
        """Something that is 0 to 100 before its scale, and fits into every data code."""
        scales = self.layout.scales
        scale = scales[index if len(scales) > 1 else 0] if scales else ONE
        return scale.apply(round(50 + 50 * _wave(index, second)))


def _wave(index: int, second: float) -> float:
    return math.sin(second / 60 + index)


def simulated_nodes(settings: Settings) -> list[SimulatedNode]:
    """The described nodes; an emonTx and an emonTH when there are none."""
    described = {node.number: node.rx for node in settings.nodes.described.values() if not node.rx.repeats}
    layouts: Mapping[int, PayloadLayout] = described or {
        8: ready_decoders()["emontx3"].layout,
        23: ready_decoders()["emonth2"].layout,
    }
    return [SimulatedNode(number, layout, 5.0 + index) for index, (number, layout) in enumerate(layouts.items())]


async def simulate(
    settings: Settings,
    host: str = "127.0.0.1",
    port: int = 0,
    started: Callable[[str, int], None] | None = None,
    *,
    interval_s: float | None = None,
) -> None:
    """Be a board with nodes, for ever: on a pseudo-terminal, and on TCP when a port is given.

    The pseudo-terminal's name is that of RFM2PI_PORT when that is a path outside /dev that is free. `started` is told
    the path and 0, then address and port of TCP. `interval_s`: time between two frames of every node.
    """
    board = SimulatedBoard(say=lambda _: None)
    async with stage(settings.port, board.hears, host, port, started) as scene, asyncio.TaskGroup() as tasks:
        board.say = scene.say
        for node in simulated_nodes(settings):
            tasks.create_task(_sends(node, board, interval_s or node.interval_s))


async def _sends(node: SimulatedNode, board: SimulatedBoard, interval_s: float) -> None:
    loop = asyncio.get_running_loop()
    while True:
        board.receives(node.number, node.frame(loop.time()), rssi=-40 - node.number)
        await asyncio.sleep(interval_s)
