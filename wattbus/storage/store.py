"""What a store promises, whichever database is behind it."""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal, Protocol

from wattbus.storage.records import (
    ALWAYS,
    Batch,
    PlanKind,
    Removed,
    Retention,
    SessionState,
    Span,
    StoredDatapoint,
    StoredOutcome,
    StoredPlan,
    StoredValue,
    Written,
)

Aggregate = Literal["avg", "min", "max", "last", "count"]


class Store(Protocol):
    """Durable and idempotent. Every method raises `DatabaseAway` when the database is away, locked or full."""

    async def write(self, batch: Batch) -> Written:
        """Write the batch in one transaction; when this returns it survives a power cut.

        Values, setpoints and schedules are keyed (datapoint, timestamp): an equal one is a redelivery. Of different
        setpoints or schedules the later written wins; a value for a time that is taken gets one of the next
        milliseconds, always the same one, so that it may be written again. Raises BatchRefused when the database will
        never take it. A write that has begun is finished before a cancellation gets through.
        """

    async def rehearse(self, batch: Batch) -> None:
        """Write the batch and take it back: raises what `write` raises."""

    async def tidy(self, now_ms: int) -> None:
        """What the table of values needs from time to time, if it is due. Call it after writing, when nobody waits."""

    async def retain(self, retention: Retention, now_ms: int) -> Removed:
        """Remove what is too old or too much, in steps that leave room for writers between them."""

    async def sessions(self, keys: Collection[tuple[str, str]]) -> list[SessionState]:
        """The states of these (connector, session) that are known."""

    async def recent_sessions(self, since_ms: int) -> list[SessionState]:
        """The states of all sessions heard since then, in the order in which they were first seen."""

    async def datapoints(self) -> list[StoredDatapoint]:
        """All datapoints, by id."""

    async def values(
        self, datapoint: int, span: Span = ALWAYS, *, at_most: int | None = None, newest_first: bool = False
    ) -> list[StoredValue]:
        """The values of a datapoint in time order."""

    async def last_values(self, datapoints: Collection[int], span: Span = ALWAYS) -> dict[int, StoredValue]:
        """The newest value in `span` of each datapoint that has one."""

    async def aggregate(
        self,
        datapoint: int,
        interval_ms: int,
        function: Aggregate,
        span: Span = ALWAYS,
        *,
        at_most: int | None = None,
        newest_first: bool = False,
    ) -> list[StoredValue]:
        """One value per interval that has any; timestamps are the intervals' starts, multiples since 1970 UTC.

        `avg`, `min` and `max` are over the numbers in the interval, None if there are none; `count` counts values of
        every type; `last` is the newest value as it is.
        """

    async def plans(
        self,
        kind: PlanKind,
        datapoint: int,
        span: Span = ALWAYS,
        *,
        at_most: int | None = None,
        newest_first: bool = False,
    ) -> list[StoredPlan]:
        """The setpoints or schedules of a datapoint in time order."""

    async def outcomes(
        self, datapoint: int, span: Span = ALWAYS, *, at_most: int | None = None, newest_first: bool = False
    ) -> list[StoredOutcome]:
        """The outcomes of commands to a datapoint in time order."""

    async def bytes_used(self) -> int:
        """How much the stored data occupies, without what is free for reuse."""

    async def oldest_ms(self, from_ms: int | None = None) -> int | None:
        """The time of the oldest value (of those from `from_ms` on), None when there is none."""

    async def close(self) -> None:
        """Let go of the database."""
