"""Which item of a setpoint or schedule rules when, prepared once so that asking is cheap. Pure."""

from __future__ import annotations

import heapq
from bisect import bisect_right
from collections.abc import Sequence
from typing import Generic

from controller.decision import Item, begin
from wattbus.mqtt.messages import ScheduleItem, SetpointItem


class Timeline(Generic[Item]):
    """The items of one message, as spans in which one item or none rules."""

    def __init__(self, items: Sequence[Item] | None) -> None:
        self.items: tuple[Item, ...] = tuple(items or ())
        self._changes, self._ruling = _spans(self.items)

    def at(self, now_ms: int) -> Item | None:
        """The item that rules at `now_ms`, as `decision.ruling` finds it."""
        return self._ruling[bisect_right(self._changes, now_ms)]

    def next_change(self, now_ms: int) -> int | None:
        """The next moment (ms) at which another item rules; None: never."""
        index = bisect_right(self._changes, now_ms)
        return self._changes[index] if index < len(self._changes) else None

    def changes(self, after_ms: int, until_ms: int) -> list[int]:
        """All such moments after the first (exclusive) and before the second."""
        return self._changes[bisect_right(self._changes, after_ms) : bisect_right(self._changes, until_ms - 1)]


def next_change(setpoint: Timeline[SetpointItem], schedule: Timeline[ScheduleItem], now_ms: int) -> int | None:
    """The next moment (ms) at which an item of either begins or ends to rule; None: never."""
    moments = (setpoint.next_change(now_ms), schedule.next_change(now_ms))
    return min((moment for moment in moments if moment is not None), default=None)


def _spans(items: Sequence[Item]) -> tuple[list[int], list[Item | None]]:
    """Moments of change, and who rules before the first, between them and after the last."""
    order = sorted(range(len(items)), key=lambda index: (begin(items[index]), index))
    moments = sorted({t for item in items for t in (item.from_timestamp, item.to_timestamp) if t is not None})
    open_items: list[tuple[int, Item]] = []  # heap: the latest begin, then the later in the list, is on top
    changes: list[int] = []
    rulers: list[Item | None] = []
    begun = 0
    for moment in [float("-inf"), *moments]:
        while begun < len(order) and begin(items[order[begun]]) <= moment:
            heapq.heappush(open_items, (-begun, items[order[begun]]))
            begun += 1
        while open_items and _over(open_items[0][1], moment):
            heapq.heappop(open_items)
        ruler = open_items[0][1] if open_items else None
        if not rulers:
            rulers.append(ruler)
        elif ruler is not rulers[-1]:
            changes.append(int(moment))
            rulers.append(ruler)
    return changes, rulers


def _over(item: Item, moment: float) -> bool:
    return item.to_timestamp is not None and item.to_timestamp <= moment
