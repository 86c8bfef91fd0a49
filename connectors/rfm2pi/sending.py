"""From a command to the bytes of a packet, for the actuators of nodes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from connectors.rfm2pi.nodes import SEND, TRANSMIT, Node
from wattbus.connector import Scalar
from wattbus.errors import CommandRejected


@dataclass(frozen=True, slots=True)
class Packet:
    """What a command becomes. `values` are to be remembered once it was sent."""

    node: int
    data: bytes
    values: tuple[float, ...] | None = None


class OutgoingPacket:
    """Knows which actuator means what, and what each node was last sent."""

    def __init__(self, nodes: Iterable[Node]) -> None:
        self._nodes = {node.number: node for node in nodes}
        self._by_name = {node.name: node for node in self._nodes.values()}
        self._last = {node.number: node.tx_defaults for node in self._nodes.values() if node.tx_defaults}

    def packet(self, key: str, value: Scalar) -> Packet:
        """The packet that a command asks for. Raises CommandRejected."""
        name, _, what = key.rpartition("__")
        node = self._by_name.get(name)
        if node is None:
            raise CommandRejected(f"there is no actuator {key}")
        if what == TRANSMIT:
            return Packet(node.number, _bytes(str(value)))
        if node.tx is None:
            raise CommandRejected(f"there is no actuator {key}")
        values = _numbers(str(value)) if what == SEND else self._one_changed(node, what, value)
        data = node.tx.encode(values)
        for name, number in zip(node.tx.names, values, strict=True):
            lowest, highest = node.tx.limits_of(name)
            if (lowest is not None and number < lowest) or (highest is not None and number > highest):
                raise CommandRejected(f"{name}: {number:g} is beyond its limits")
        return Packet(node.number, data, values)

    def sent(self, packet: Packet) -> None:
        """The board has confirmed it."""
        if packet.values is not None:
            self._last[packet.node] = packet.values

    def _one_changed(self, node: Node, name: str, value: Scalar) -> tuple[float, ...]:
        assert node.tx is not None
        if name not in node.tx.names or isinstance(value, str) or value is None:
            raise CommandRejected(f"node {node.name} takes no {name} {value!r}")
        last = self._last.get(node.number)
        if last is None and len(node.tx.names) > 1:
            raise CommandRejected(
                f"the other values in a packet to {node.name} are not known: send all of them once with "
                f"{node.name}__{SEND}, or give `defaults`"
            )
        values = list(last or (0.0,))
        values[node.tx.names.index(name)] = float(value)
        return tuple(values)


def _bytes(text: str) -> bytes:
    try:
        return bytes(int(part) for part in text.split(","))
    except ValueError:
        raise CommandRejected(f"{text!r:.80} are no bytes; expected 0 to 255 with commas, such as 1,2,3") from None


def _numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise CommandRejected(f"{text!r:.80} are no values; expected numbers with commas") from None
