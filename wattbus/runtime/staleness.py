"""Which sensors were not heard for longer than expected; the cost follows what is due, not all there is."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator

from wattbus.clock import Clock


class Staleness:
    """When each sensor was heard; `limit_s` says after how many seconds without news its value is stale, None: never.

    A sensor waits in a heap for the moment at which it would be stale. Hearing it does not touch the heap: when the
    moment comes and it was heard meanwhile, it waits on.
    """

    def __init__(self, limit_s: Callable[[str], float | None], clock: Clock) -> None:
        self._limit_s = limit_s
        self._clock = clock
        self._heard_at: dict[str, float] = {}
        self._due: list[tuple[float, str]] = []
        self._waiting: dict[str, float] = {}  # key → its moment in the heap; older entries there are void

    def heard(self, key: str) -> None:
        """There is news of this sensor."""
        now = self._clock.monotonic()
        self._heard_at[key] = now
        if key not in self._waiting:
            self._wait(key, now)

    def described(self, key: str) -> None:
        """The sensor's limit may be another one."""
        if key in self._heard_at:
            self._wait(key, self._heard_at[key])

    def is_stale(self, key: str) -> bool:
        """Whether a sensor was not heard for longer than expected."""
        limit_s, heard_at = self._limit_s(key), self._heard_at.get(key)
        return limit_s is not None and heard_at is not None and heard_at + limit_s < self._clock.monotonic()

    def turned_stale(self) -> Iterator[str]:
        """Those whose moment came since the last time."""
        now = self._clock.monotonic()
        while self._due and self._due[0][0] < now:
            moment, key = heapq.heappop(self._due)
            if self._waiting.get(key) != moment:
                continue
            del self._waiting[key]
            if self.is_stale(key):
                yield key
            else:
                self._wait(key, self._heard_at[key])

    def _wait(self, key: str, since: float) -> None:
        limit_s = self._limit_s(key)
        if limit_s is None:
            self._waiting.pop(key, None)
            return
        moment = since + limit_s
        if self._waiting.get(key) != moment:
            self._waiting[key] = moment
            heapq.heappush(self._due, (moment, key))
