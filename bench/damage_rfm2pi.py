"""What becomes of radio nodes' lines that lost something on the serial line, which has no checksum.

    python -m bench.damage_rfm2pi [--lines 20000] [--seed 1]

Frames of described nodes and of one that nobody described go through the connector's ear, one line of three damaged:
a byte lost, a byte changed, a run of up to 30 bytes lost, or a line end lost. Prints for each kind of damage how many
lines were refused (kept raw), how many gave values that the node did not send, and how many of those are marked as
implausible.
"""

from __future__ import annotations

import argparse
import logging
import random
from collections import Counter
from collections.abc import Callable, Iterable

from connectors.rfm2pi import codec, datapoints
from connectors.rfm2pi.hearing import Hearing
from connectors.rfm2pi.presence import Presence
from connectors.rfm2pi.settings import Settings
from connectors.rfm2pi.simulator import SimulatedNode, simulated_nodes
from links.serial_silence import SilenceWatch
from links.serial_splitter import Lines
from wattbus.clock import SYSTEM_CLOCK
from wattbus.connector import Datapoint, Scalar
from wattbus.errors import DecodeError
from wattbus.flattening import flatten
from wattbus.jsontext import JsonValue
from wattbus.runtime.readings import Plausibility
from wattbus.settings import load

NODES = "{5: {decoder: emonpi}, 8: {decoder: emontx3}, 19: {decoder: emonth1}, 23: {decoder: emonth2}}"
UNKNOWN_NODE = 9
LONGEST_RUN = 30
INTERVAL_S = 10.0

Values = dict[str, Scalar]
Damage = Callable[[bytearray, random.Random], None]


def _byte_lost(line: bytearray, draw: random.Random) -> None:
    del line[draw.randrange(len(line) - 2)]


def _byte_changed(line: bytearray, draw: random.Random) -> None:
    line[draw.randrange(len(line) - 2)] ^= 1 << draw.randrange(8)


def _run_lost(line: bytearray, draw: random.Random) -> None:
    at = draw.randrange(len(line))
    del line[at : at + draw.randint(2, LONGEST_RUN)]


def _end_lost(line: bytearray, draw: random.Random) -> None:
    del line[-2:]


KINDS: dict[str, Damage] = {
    "a byte lost": _byte_lost,
    "a byte changed": _byte_changed,
    f"2 to {LONGEST_RUN} bytes lost": _run_lost,
    "the line end lost": _end_lost,
}


class Ear:
    """Hears a stream as the connector does, and keeps the readings with what is implausible in them."""

    def __init__(self, settings: Settings) -> None:
        self.readings: list[tuple[Values, bool]] = []
        self.refused = 0
        self._nodes = settings.nodes
        self._sensors = {point.key: point for point in datapoints.of_described(self._nodes.described.values())}
        self._plausibility = Plausibility()
        presence = Presence(self._nodes, 0, SYSTEM_CLOCK)
        self._hearing = Hearing(settings, self._nodes, presence, SilenceWatch(None))
        self._lines = Lines(512)
        self._moment = 0

    def hear(self, data: bytes) -> None:
        for line in self._lines.feed(data):
            self._hearing.take(line, 0, self)

    def emit(self, raw: JsonValue, timestamp_ms: int | None = None) -> None:
        self._moment += 1
        try:
            [reading] = codec.decode(raw, self._nodes)
        except DecodeError:
            self.refused += 1
            return
        values = flatten(reading).values
        judged = [self._plausibility.quality(self._sensors.get(key), values[key], self._moment) for key in values]
        self.readings.append((values, any(judged)))

    def connected(self) -> None:
        pass

    def announce(self, datapoints: Iterable[Datapoint]) -> None:
        pass

    def unit(self, name: str, up: bool, reason: str = "") -> None:
        pass


def _line(node: SimulatedNode, second: float) -> bytes:
    numbers = " ".join(map(str, [node.number, *node.frame(second)]))
    return f"OK {numbers} (-{40 + node.number})\r\n".encode()


def measure(damage: Damage, lines: int, seed: int) -> Counter[str]:
    """Every third line is damaged; the one after it may suffer, too, and is judged with it."""
    draw = random.Random(seed)
    settings = load(Settings, {"CONNECTOR_NAME": "radio", "RFM2PI_NODES": NODES})
    nodes = simulated_nodes(settings)
    nodes.append(SimulatedNode(UNKNOWN_NODE, nodes[0].layout, INTERVAL_S))
    ear = Ear(settings)
    told: Counter[str] = Counter()
    for number in range(3 * lines):
        second = number * INTERVAL_S
        line = bytearray(_line(nodes[draw.randrange(len(nodes))], second))
        if number % 3 != 1 or number < 3 * len(nodes):
            ear.hear(bytes(line))
            continue
        truth = Ear(settings)
        next_line = _line(nodes[draw.randrange(len(nodes))], second + 1)
        truth.hear(bytes(line) + next_line)
        damage(line, draw)
        ear.readings.clear()
        refused = ear.refused
        ear.hear(bytes(line) + next_line)
        sent = [values for values, _ in truth.readings]
        wrong = [doubted for values, doubted in ear.readings if values not in sent]
        told["lines"] += 1
        told["refused"] += ear.refused > refused
        told["wrong"] += bool(wrong)
        told["doubted"] += any(wrong)
    return told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", type=int, default=20_000, help="damaged lines of each kind (%(default)d)")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    logging.disable()  # the connector tells of nodes that are none
    for kind, damage in KINDS.items():
        told = measure(damage, arguments.lines, arguments.seed)
        share = {what: f"{100 * told[what] / told['lines']:.1f} %" for what in ("refused", "wrong", "doubted")}
        print(
            f"{kind}: refused {share['refused']}, wrong values {share['wrong']} (marked implausible {share['doubted']})"
        )


if __name__ == "__main__":
    main()
