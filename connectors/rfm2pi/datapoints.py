"""The datapoints of a radio board and its nodes: what can be read, and what can be sent."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from connectors.rfm2pi.board import HIGHEST_NODE
from connectors.rfm2pi.nodes import BOARD, SEND, TRANSMIT, Node
from wattbus.connector import Datapoint

_BOARD_SETTINGS = (
    Datapoint(
        f"{BOARD}__group",
        data_format="discrete_numeric",
        description="network group; 0: all",
        min_value=0,
        max_value=255,
        example_value=210,
        device=BOARD,
    ),
    Datapoint(
        f"{BOARD}__frequency",
        data_format="discrete_numeric",
        unit="MHz",
        description="band; it must be the one that the radio module is made for",
        allowed_values=(433, 434, 868, 869, 915),
        example_value=433,
        device=BOARD,
    ),
    Datapoint(
        f"{BOARD}__base_id",
        data_format="discrete_numeric",
        description="node id of the board itself",
        min_value=1,
        max_value=60,
        example_value=5,
        device=BOARD,
    ),
    Datapoint(
        f"{BOARD}__quiet",
        data_format="bool",
        description="the board does not report packets with a wrong checksum",
        example_value=True,
        device=BOARD,
    ),
)
_BOARD_SAYS = (
    Datapoint(f"{BOARD}__firmware", data_format="generic_text", description="firmware and version", device=BOARD),
    Datapoint(
        f"{BOARD}__bad_frames",
        data_format="generic_numeric",
        description="packets with a wrong checksum since this connector started",
        device=BOARD,
    ),
    Datapoint(
        f"{BOARD}__unknown_lines",
        data_format="generic_numeric",
        description="lines that make no sense, since this connector started",
        device=BOARD,
    ),
)


def of_board() -> Iterator[Datapoint]:
    """What the board says of itself, and how it can be set."""
    yield from _BOARD_SAYS
    for datapoint in _BOARD_SETTINGS:
        yield datapoint
        yield replace(datapoint, type="actuator")


def values_of(node: Node, count: int) -> Iterator[Datapoint]:
    """The sensors of a node whose frames have `count` values."""
    told = "" if node.is_described else "; RFM2PI_NODES does not describe it"
    for index in range(count):
        name = node.rx.name(index)
        lowest, highest = node.rx.limits_of(name)
        yield Datapoint(
            f"{node.name}__{name}",
            data_format="generic_numeric",
            unit=node.rx.unit(index),
            description=f"value {index + 1} of node {node.number}{told}",
            min_value=lowest,
            max_value=highest,
            counter=name in node.rx.counters,
            device=node.name,
        )
    yield Datapoint(
        f"{node.name}__rssi",
        data_format="generic_numeric",
        unit="dBm",
        description=f"signal strength of node {node.number}{told}",
        device=node.name,
    )


def undecoded(node: Node, fault: str) -> Datapoint:
    """A node that is heard and cannot be read, so that a person sees it."""
    return Datapoint(
        f"{node.name}__rssi",
        data_format="generic_numeric",
        unit="dBm",
        description=f"node {node.number} is heard, but cannot be read: {fault}; describe it in RFM2PI_NODES",
        device=node.name,
    )


def of_described(nodes: Iterable[Node]) -> Iterator[Datapoint]:
    """The sensors that are known beforehand: those of nodes whose frames have a fixed number of values."""
    for node in nodes:
        if not node.rx.repeats:
            yield from values_of(node, len(node.rx.codes))


def sendable(nodes: Iterable[Node]) -> Iterator[Datapoint]:
    """The actuators of nodes: bytes as they are, and values where `tx` tells how they become bytes."""
    for node in nodes:
        if node.number > HIGHEST_NODE:
            continue
        yield Datapoint(
            f"{node.name}__{TRANSMIT}",
            "actuator",
            data_format="generic_text",
            description=f"send these bytes (0 to 255, with commas) to node {node.number}",
            example_value="1,2,3",
            device=node.name,
        )
        if node.tx is None:
            continue
        yield Datapoint(
            f"{node.name}__{SEND}",
            "actuator",
            data_format="generic_text",
            description=f"send these values to node {node.number}: {', '.join(node.tx.names)}",
            example_value=",".join("0" for _ in node.tx.names),
            device=node.name,
        )
        for index, name in enumerate(node.tx.names):
            lowest, highest = node.tx.limits_of(name)
            yield Datapoint(
                f"{node.name}__{name}",
                "actuator",
                data_format="generic_numeric",
                unit=node.tx.unit(index),
                description=f"send this to node {node.number}, with the last values of everything else in its packet",
                min_value=lowest,
                max_value=highest,
                device=node.name,
            )
