"""Which nodes are heard: one that falls silent counts as away, without touching the others."""

from __future__ import annotations

from dataclasses import dataclass

from connectors.rfm2pi.nodes import Node, Nodes
from wattbus.clock import Clock
from wattbus.connector import Link

KNOWN_AFTER_FRAMES = 3  # a node that nobody expects is missed once it was heard this often: neighbours pass by
UNREADABLE_FRAMES = 3  # in a row: then the node counts as away
LOOK_EVERY_S = 1.0


@dataclass(slots=True)
class _Heard:
    node: Node
    at: float
    frames: int = 0
    unreadable: int = 0  # frames in a row


class Presence:
    """Kept over all entries of `run()`. Limits in seconds; 0 never."""

    def __init__(self, nodes: Nodes, silent_s: float, clock: Clock) -> None:
        self._silent_s = silent_s
        self._clock = clock
        now = clock.monotonic()
        self._nodes = {number: _Heard(node, now) for number, node in nodes.described.items() if node.is_expected}

    def line_is_open(self) -> None:
        """While the line was away nobody could be heard."""
        for heard in self._nodes.values():
            heard.at = max(heard.at, self._clock.monotonic())

    def heard(self, node: Node, link: Link) -> None:
        """A readable frame of a node."""
        self._note(node).unreadable = 0
        link.unit(node.name, up=True)

    def unreadable(self, node: Node, fault: str, link: Link) -> None:
        """A frame of a node that its decoder does not fit.

        Of a node that nobody described the status does not tell: it may be a neighbour's.
        """
        heard = self._note(node)
        heard.unreadable += 1
        if node.is_described and heard.unreadable >= UNREADABLE_FRAMES:
            link.unit(node.name, up=False, reason=fault)

    async def watch(self, link: Link) -> None:
        """Tell of nodes that are silent for too long; for ever."""
        while True:
            await self._clock.sleep(LOOK_EVERY_S)
            now = self._clock.monotonic()
            for heard in self._nodes.values():
                limit_s = self._limit(heard.node)
                is_known = heard.node.is_expected or heard.frames >= KNOWN_AFTER_FRAMES
                if is_known and limit_s and now - heard.at > limit_s:
                    link.unit(heard.node.name, up=False, reason=f"not heard for {limit_s:g} s")

    def _note(self, node: Node) -> _Heard:
        heard = self._nodes.setdefault(node.number, _Heard(node, 0.0))
        heard.at = self._clock.monotonic()
        heard.frames += 1
        return heard

    def _limit(self, node: Node) -> float:
        return self._silent_s if node.silent_s is None else node.silent_s
