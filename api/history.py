"""What the database has of a datapoint, and the last of everything, from the bus where it is newer."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Literal, TypeVar

from api.datapoints import KnownDatapoint
from api.errors import fault
from api.live import Live
from wattbus.recording.database_session import Database
from wattbus.storage import (
    ALWAYS,
    Aggregate,
    DatabaseAway,
    EditableStore,
    Span,
    StoredOutcome,
    StoredPlan,
    StoredValue,
)
from wattbus.storage.records import PlanKind

MOST_ROWS = 500_000  # in one answer; a month of values each five seconds
Kind = Literal["value", "setpoint", "schedule"]
T = TypeVar("T")


class History:
    """Reads the database. Every method raises DatabaseAway, and Invalid when there is too much for one answer."""

    def __init__(self, live: Live, database: Database[EditableStore]) -> None:
        self._live = live
        self._database = database

    async def values(
        self, datapoint: KnownDatapoint, span: Span = ALWAYS, *, at_most: int | None = None, newest_first: bool = False
    ) -> list[StoredValue]:
        """The values of a datapoint in time order."""
        if datapoint.id is None:
            return []
        number, limit = datapoint.id, _limit(at_most)
        found = await self._database.once(
            lambda store: store.history.values(number, span, at_most=limit, newest_first=newest_first)
        )
        return _checked(found, at_most)

    async def aggregate(
        self,
        datapoint: KnownDatapoint,
        interval_ms: int,
        function: Aggregate = "avg",
        span: Span = ALWAYS,
        *,
        at_most: int | None = None,
        newest_first: bool = False,
    ) -> list[StoredValue]:
        """One value per interval that has any, by the intervals' starts."""
        if datapoint.id is None:
            return []
        number, limit = datapoint.id, _limit(at_most)
        found = await self._database.once(
            lambda store: store.history.aggregate(
                number, interval_ms, function, span, at_most=limit, newest_first=newest_first
            )
        )
        return _checked(found, at_most)

    async def plans(
        self,
        kind: PlanKind,
        datapoint: KnownDatapoint,
        span: Span = ALWAYS,
        *,
        at_most: int | None = None,
        newest_first: bool = False,
    ) -> list[StoredPlan]:
        """The setpoints or schedules of a datapoint in time order."""
        if datapoint.id is None:
            return []
        number, limit = datapoint.id, _limit(at_most)
        found = await self._database.once(
            lambda store: store.history.plans(kind, number, span, at_most=limit, newest_first=newest_first)
        )
        return _checked(found, at_most)

    async def outcomes(
        self, datapoint: KnownDatapoint, span: Span = ALWAYS, *, at_most: int | None = None, newest_first: bool = True
    ) -> list[StoredOutcome]:
        """The outcomes of commands to a datapoint in time order."""
        if datapoint.id is None:
            return []
        number, limit = datapoint.id, _limit(at_most)
        found = await self._database.once(
            lambda store: store.history.outcomes(number, span, at_most=limit, newest_first=newest_first)
        )
        return _checked(found, at_most)

    # -- the last ---------------------------------------------------------------------------------------------------

    async def last_values(self, wanted: Collection[KnownDatapoint], span: Span = ALWAYS) -> dict[int, StoredValue]:
        """Id → last value within `span`; what the bus does not know comes from the database, while it works."""
        found: dict[int, StoredValue] = {}
        missing = []
        for datapoint in wanted:
            value = self._live.state_of(datapoint).value
            if datapoint.id is None:
                continue
            if value is not None and _within(value.timestamp_ms, span):
                found[datapoint.id] = value
            elif value is None or _is_older(span, value.timestamp_ms):
                missing.append(datapoint.id)
        if missing:
            try:
                stored = await self._database.once(lambda store: store.history.last_values(missing, span))
                by_id = {datapoint.id: datapoint for datapoint in wanted}
                now = span.to_ms is None  # else it is about the past, when nobody knows how its connector was
                found |= {n: self._judged(by_id[n], value) if now else value for n, value in stored.items()}
            except DatabaseAway:
                if not found:
                    raise
        return found

    def _judged(self, datapoint: KnownDatapoint, value: StoredValue) -> StoredValue:
        """The last value in the database as good as its connector: one that nobody hears is not live."""
        living = self._live.condition(datapoint.connector) in ("online", "degraded") and self._live.on_the_bus
        return value if living or datapoint.type != "sensor" else replace(value, quality="offline")

    async def last_plans(
        self, kind: PlanKind, wanted: Collection[KnownDatapoint], span: Span = ALWAYS
    ) -> dict[int, StoredPlan]:
        """Id → last setpoint or schedule within `span`, as the broker retains it."""
        found: dict[int, StoredPlan] = {}
        for datapoint in wanted:
            state = self._live.state_of(datapoint)
            plan = state.setpoint if kind == "setpoint" else state.schedule
            if datapoint.id is not None and plan is not None and _within(plan.timestamp_ms, span):
                found[datapoint.id] = plan
        return found


def _within(timestamp_ms: int, span: Span) -> bool:
    after = span.from_ms is None or timestamp_ms >= span.from_ms
    return after and (span.to_ms is None or timestamp_ms < span.to_ms)


def _is_older(span: Span, timestamp_ms: int) -> bool:
    """Whether the span ends before the newest value: then the last one in it is in the database."""
    return span.to_ms is not None and span.to_ms <= timestamp_ms


def _limit(at_most: int | None) -> int:
    return MOST_ROWS + 1 if at_most is None else at_most


def _checked(found: list[T], at_most: int | None) -> list[T]:
    if at_most is None and len(found) > MOST_ROWS:
        raise fault("limit", f"There are more than {MOST_ROWS}: ask for a shorter time, an interval, or a limit.")
    return found
