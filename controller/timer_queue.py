"""When to look at whom again: one heap for everything, however many there are."""

from __future__ import annotations

import heapq

SLACK = 64  # outdated entries that the heap may hold beyond its live ones


class TimerQueue:
    """One moment (monotonic seconds) per name; a later `set` replaces an earlier one."""

    def __init__(self) -> None:
        self._at: dict[str, float] = {}
        self._heap: list[tuple[float, str]] = []

    def set(self, name: str, at: float) -> None:
        self._at[name] = at
        if len(self._heap) > 2 * len(self._at) + SLACK:
            self._heap = [(moment, known) for known, moment in self._at.items()]
            heapq.heapify(self._heap)
        else:
            heapq.heappush(self._heap, (at, name))

    def sooner(self, name: str, at: float) -> None:
        """At `at`, or when it was planned anyway if that is earlier."""
        if at < self._at.get(name, float("inf")):
            self.set(name, at)

    def drop(self, name: str) -> None:
        self._at.pop(name, None)

    def due(self, now: float) -> list[str]:
        """Take out those whose moment has come."""
        names = []
        while self._heap and self._heap[0][0] <= now:
            at, name = heapq.heappop(self._heap)
            if self._at.get(name) == at:
                del self._at[name]
                names.append(name)
        return names

    def next_at(self) -> float:
        """The next moment; infinity when there is none."""
        while self._heap and self._at.get(self._heap[0][1]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else float("inf")
