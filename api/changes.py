"""Telling whoever listens what changed, without waiting for anybody.

A listener that is slow gets the newest of each thing once, however often it changed meanwhile; what it holds is bounded
by the number of things there are.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

ChangeKind = Literal["value", "setpoint", "schedule", "outcome", "connector", "datapoints", "logs", "preview", "pairs"]


@dataclass(frozen=True, slots=True)
class Change:
    """Something is new: ask the live model what.

    `subject` is the value topic of a datapoint for `value`, `setpoint`, `schedule` and `outcome`; the name of the
    connector for `connector`, `datapoints` and `logs`; that of the service for `preview`; nothing for `pairs`.
    """

    kind: ChangeKind
    subject: str


class Subscription:
    """What changed since it was last asked."""

    def __init__(self, wanted: Callable[[Change], bool]) -> None:
        self._wanted = wanted
        self._pending: dict[Change, None] = {}
        self._something = asyncio.Event()

    def tell(self, change: Change) -> None:
        """Note a change, if it is wanted."""
        if self._wanted(change):
            self._pending[change] = None
            self._something.set()

    async def changes(self) -> list[Change]:
        """Wait until something changed; all of it, each once, in the order in which it changed first."""
        await self._something.wait()
        return self.taken()

    def taken(self) -> list[Change]:
        """What changed, without waiting."""
        changes = list(self._pending)
        self._pending.clear()
        self._something.clear()
        return changes


def everything(_: Change) -> bool:
    """The wish to hear of every change."""
    return True


class Changes:
    """All who listen."""

    def __init__(self) -> None:
        self._subscriptions: set[Subscription] = set()

    def tell(self, kind: ChangeKind, subject: str = "") -> None:
        """Something is new: whoever listens hears of it when they ask next."""
        change = Change(kind, subject)
        for subscription in self._subscriptions:
            subscription.tell(change)

    @contextlib.contextmanager
    def subscribed(self, wanted: Callable[[Change], bool] = everything) -> Iterator[Subscription]:
        """Listen to those changes that are `wanted`, as long as the context lasts."""
        subscription = Subscription(wanted)
        self._subscriptions.add(subscription)
        try:
            yield subscription
        finally:
            self._subscriptions.discard(subscription)

    @property
    def listeners(self) -> int:
        """How many listen now."""
        return len(self._subscriptions)
