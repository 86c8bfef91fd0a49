"""Tells frames from what is left of them. The serial line has no checksum, so only what a line lacks gives it away."""

from __future__ import annotations

from collections import defaultdict, deque

from connectors.rfm2pi.nodes import Node

REMEMBERED_FRAMES = 10


class Cuts:
    """What is known since the line was opened; `fault()` is asked once for every frame, in their order.

    Most firmware begins a frame with OK: after one such, a frame without it is the rest of another. Old firmware has
    no OK: there only the first frame after opening can be a rest. A node whose frames came with an RSSI has one in
    each. A node that nobody described sends frames of few lengths: another one is not believed before it comes again.
    What is described has its length in its data codes, or none.
    """

    def __init__(self) -> None:
        self._is_first = True
        self._has_ok = False
        self._has_rssi: set[int] = set()
        self._lengths: defaultdict[int, deque[int]] = defaultdict(lambda: deque(maxlen=REMEMBERED_FRAMES))

    def other_line(self) -> None:
        """A line came that is not a frame: the next one begins where it should."""
        self._is_first = False

    def fault(self, node: Node, length: int, *, has_ok: bool = True, has_rssi: bool = False) -> str:
        """Why this frame is a rest or a part, "" when nothing speaks against it. `length` in bytes or values."""
        was_first, self._is_first = self._is_first, False
        self._has_ok = self._has_ok or has_ok
        if not has_ok and (was_first or self._has_ok):
            return "its beginning is missing"
        if has_rssi:
            self._has_rssi.add(node.number)
        elif node.number in self._has_rssi:
            return "its RSSI is missing"
        return "" if node.is_described else self._length_fault(node.number, length)

    def _length_fault(self, number: int, length: int) -> str:
        lengths = self._lengths[number]
        is_usual = length in lengths or not lengths
        usual = lengths[-1] if lengths else length
        lengths.append(length)
        return "" if is_usual else f"its length is {length}, and was {usual}"
