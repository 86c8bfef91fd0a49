"""The store on SQLite: one file, two levels of values, one writer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from typing import TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection

from wattbus.connector import DatapointType
from wattbus.storage import commands, queries, sessions
from wattbus.storage.engine import SqliteEngine
from wattbus.storage.levels import Levels, Row
from wattbus.storage.records import (
    ALWAYS,
    Batch,
    PlanKind,
    ReadingValues,
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
from wattbus.storage.registry import Registry
from wattbus.storage.retention import Retainer
from wattbus.storage.schema import history, recent
from wattbus.storage.store import Aggregate
from wattbus.storage.values import Unstorable, to_columns

T = TypeVar("T")


class SqliteStore:
    """`Store` in one SQLite file; see `wattbus.storage.store` for what the methods promise."""

    def __init__(self, engine: SqliteEngine) -> None:
        self._engine = engine
        self._registry = Registry()
        self._levels = Levels()
        self._changing = asyncio.Lock()
        self._sound = False  # whether registry and levels say what the database says
        self._queries = queries.Queries((recent, history))
        self._retainer = Retainer(engine)

    async def open(self) -> None:
        await self._engine.open()
        await self._change(_nothing)

    async def close(self) -> None:
        await self._engine.close()

    # -- writing ----------------------------------------------------------------------------------------------------

    async def write(self, batch: Batch) -> Written:
        async def work(connection: AsyncConnection) -> Written:
            await self._registry.announce(connection, batch.announcements)
            rows, refused = await self._value_rows(connection, batch)
            written = Written(refused=refused) + await self._levels.insert(connection, rows)
            written += await self._write_commands(connection, batch)
            await sessions.write(connection, batch.sessions)
            return written

        return await self._change(work)

    async def _change(self, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        """Do `work` in one transaction. After a rollback the memory knows too much, and learns again."""

        async def transaction(connection: AsyncConnection) -> T:
            if not self._sound:
                await self._registry.load(connection)
                await self._levels.load(connection)
            self._sound = False
            return await work(connection)

        async with self._changing:
            result = await self._engine.write(transaction)
            self._sound = True
        return result

    async def _value_rows(self, connection: AsyncConnection, batch: Batch) -> tuple[list[Row], int]:
        await self._make_datapoints(connection, batch)
        rows: list[Row] = []
        refused = 0
        for record in batch.values:
            if isinstance(record, ReadingValues):
                refused += self._rows_of_reading(record, rows)
                continue
            try:
                columns = to_columns(record.value)
            except Unstorable:
                refused += 1
                continue
            rows.append((record.timestamp_ms, self._id_of(record.topic), *columns, record.quality))
        return rows, refused

    def _rows_of_reading(self, reading: ReadingValues, rows: list[Row]) -> int:
        ids, time, quality = self._registry.sensors(reading.connector), reading.timestamp_ms, reading.quality
        refused = 0
        for key, value in reading.values.items():
            if type(value) is float and -1e308 < value < 1e308:  # nearly every value, without a call
                rows.append((time, ids[key], value, 0, None, quality.get(key)))
                continue
            try:
                rows.append((time, ids[key], *to_columns(value), quality.get(key)))
            except Unstorable:
                refused += 1
        return refused

    async def _make_datapoints(self, connection: AsyncConnection, batch: Batch) -> None:
        keys: list[tuple[str, str]] = []
        topics: list[tuple[str, str, DatapointType]] = []
        for record in batch.values:
            if isinstance(record, ReadingValues):
                ids = self._registry.sensors(record.connector)
                if not record.values.keys() <= ids.keys():
                    keys += [(record.connector, key) for key in record.values if key not in ids]
            elif self._registry.of_topic(record.topic) is None:
                likely: DatapointType = "actuator" if record.topic.endswith("-set/value") else "sensor"
                topics.append((record.connector, record.topic, likely))
        topics += [(plan.connector, plan.topic, "actuator") for plan in batch.plans]
        topics += [(outcome.connector, outcome.topic, "actuator") for outcome in batch.outcomes]
        await self._registry.add_sensors(connection, keys)
        await self._registry.add_topics(connection, topics)

    async def _write_commands(self, connection: AsyncConnection, batch: Batch) -> Written:
        written = Written()
        for plan in batch.plans:
            written += await _unless_unstorable(commands.write_plan(connection, plan, self._id_of))
        for outcome in batch.outcomes:
            written += await _unless_unstorable(commands.write_outcome(connection, outcome, self._id_of))
        return written

    def _id_of(self, topic: str) -> int:
        found = self._registry.of_topic(topic)
        if found is None:
            raise LookupError(f"no datapoint was made for {topic}")
        return found

    async def tidy(self, now_ms: int) -> None:
        if self._levels.merge_is_due(now_ms):
            await self._change(lambda connection: self._levels.merge(connection, now_ms))

    async def retain(self, retention: Retention, now_ms: int) -> Removed:
        return await self._retainer.retain(retention, now_ms)

    # -- reading ----------------------------------------------------------------------------------------------------

    async def sessions(self, keys: Collection[tuple[str, str]]) -> list[SessionState]:
        async with self._engine.reading() as connection:
            return await sessions.load(connection, keys)

    async def recent_sessions(self, since_ms: int) -> list[SessionState]:
        async with self._engine.reading() as connection:
            return await sessions.load_recent(connection, since_ms)

    async def datapoints(self) -> list[StoredDatapoint]:
        async with self._engine.reading() as connection:
            return await queries.known_datapoints(connection)

    async def values(
        self, datapoint: int, span: Span = ALWAYS, *, at_most: int | None = None, newest_first: bool = False
    ) -> list[StoredValue]:
        async with self._engine.reading() as connection:
            return await self._queries.values(connection, datapoint, span, at_most, newest_first)

    async def last_values(self, datapoints: Collection[int], span: Span = ALWAYS) -> dict[int, StoredValue]:
        async with self._engine.reading() as connection:
            return await self._queries.last_values(connection, datapoints, span)

    async def aggregate(
        self, datapoint: int, interval_ms: int, function: Aggregate, span: Span = ALWAYS
    ) -> list[StoredValue]:
        async with self._engine.reading() as connection:
            return await self._queries.aggregate(connection, datapoint, interval_ms, function, span)

    async def plans(
        self,
        kind: PlanKind,
        datapoint: int,
        span: Span = ALWAYS,
        *,
        at_most: int | None = None,
        newest_first: bool = False,
    ) -> list[StoredPlan]:
        async with self._engine.reading() as connection:
            return await queries.plans(connection, kind, datapoint, span, at_most, newest_first)

    async def outcomes(
        self, datapoint: int, span: Span = ALWAYS, *, at_most: int | None = None, newest_first: bool = False
    ) -> list[StoredOutcome]:
        async with self._engine.reading() as connection:
            return await queries.told_outcomes(connection, datapoint, span, at_most, newest_first)

    async def bytes_used(self) -> int:
        return await self._retainer.bytes_used()


async def _nothing(_: AsyncConnection) -> None:
    """Only learn what the database says."""


async def _unless_unstorable(writing: Awaitable[Written]) -> Written:
    try:
        return await writing
    except Unstorable:
        return Written(refused=1)
