"""The store of history on any of our databases, and that store as people edit it: what the databases have in common."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Collection
from typing import TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection

from wattbus.storage import queries, sessions
from wattbus.storage.batch_rows import BatchRows
from wattbus.storage.control import ControlTables
from wattbus.storage.corrections import Corrections
from wattbus.storage.edits import Edits
from wattbus.storage.engine import Engine, TakenBack, rehearsed
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
from wattbus.storage.registry import DatapointIds
from wattbus.storage.store import Aggregate, Store
from wattbus.storage.values import Retainer, ValueTable

T = TypeVar("T")


class HistoryStore:
    """`Store`; see `wattbus.storage.store` for what the methods promise."""

    def __init__(self, engine: Engine, table: ValueTable, retainer: Retainer) -> None:
        self._engine = engine
        self._table = table
        self._registry = DatapointIds(table.tables)
        self._rows = BatchRows(self._registry)
        self._queries = queries.Queries(table.tables)
        self._retainer = retainer
        self._changing = asyncio.Lock()
        self._sound = False  # whether registry and table say what the database says

    async def open(self) -> None:
        """As `Openable.open`."""
        await self._engine.open()
        await self._change(_nothing)

    async def close(self) -> None:
        """As `Store.close`."""
        await self._engine.close()

    # -- writing ----------------------------------------------------------------------------------------------------

    async def write(self, batch: Batch) -> Written:
        """As `Store.write`."""
        return await self._change(lambda connection: self._write(connection, batch))

    async def rehearse(self, batch: Batch) -> None:
        """As `Store.rehearse`."""
        with contextlib.suppress(TakenBack):
            await self._change(lambda connection: rehearsed(self._write(connection, batch)))

    async def _write(self, connection: AsyncConnection, batch: Batch) -> Written:
        await self._registry.announce(connection, batch.announcements)
        await self._rows.make_datapoints(connection, batch)
        rows, refused = self._rows.of_values(batch)
        written = Written(refused=refused) + await self._table.insert(connection, rows)
        written += await self._rows.write_commands(connection, batch)
        await sessions.write(connection, batch.sessions)
        return written

    async def _change(self, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        """Do `work` in one transaction. After a rollback the memory knows too much, and learns again."""

        async def transaction(connection: AsyncConnection) -> T:
            if not self._sound:
                await self._registry.load(connection)
                await self._table.load(connection)
            self._sound = False
            return await work(connection)

        async with self._changing:
            result = await self._engine.write(transaction)
            self._sound = True
        return result

    async def tidy(self, now_ms: int) -> None:
        """As `Store.tidy`."""
        if self._table.tidy_is_due(now_ms):
            await self._change(lambda connection: self._table.tidy(connection, now_ms))

    async def retain(self, retention: Retention, now_ms: int) -> Removed:
        """As `Store.retain`."""
        return await self._retainer.retain(retention, now_ms)

    # -- reading ----------------------------------------------------------------------------------------------------

    async def sessions(self, keys: Collection[tuple[str, str]]) -> list[SessionState]:
        """As `Store.sessions`."""
        async with self._engine.reading() as connection:
            return await sessions.load(connection, keys)

    async def recent_sessions(self, since_ms: int) -> list[SessionState]:
        """As `Store.recent_sessions`."""
        async with self._engine.reading() as connection:
            return await sessions.load_recent(connection, since_ms)

    async def datapoints(self) -> list[StoredDatapoint]:
        """As `Store.datapoints`."""
        async with self._engine.reading() as connection:
            return await queries.known_datapoints(connection)

    async def values(
        self, datapoint: int, span: Span = ALWAYS, *, at_most: int | None = None, newest_first: bool = False
    ) -> list[StoredValue]:
        """As `Store.values`."""
        async with self._engine.reading() as connection:
            return await self._queries.values(connection, datapoint, span, at_most, newest_first)

    async def last_values(self, datapoints: Collection[int], span: Span = ALWAYS) -> dict[int, StoredValue]:
        """As `Store.last_values`."""
        async with self._engine.reading() as connection:
            return await self._queries.last_values(connection, datapoints, span)

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
        """As `Store.aggregate`."""
        async with self._engine.reading() as connection:
            return await self._queries.aggregate(
                connection, datapoint, interval_ms, function, span, at_most, newest_first
            )

    async def plans(
        self,
        kind: PlanKind,
        datapoint: int,
        span: Span = ALWAYS,
        *,
        at_most: int | None = None,
        newest_first: bool = False,
    ) -> list[StoredPlan]:
        """As `Store.plans`."""
        async with self._engine.reading() as connection:
            return await queries.plans(connection, kind, datapoint, span, at_most, newest_first)

    async def outcomes(
        self, datapoint: int, span: Span = ALWAYS, *, at_most: int | None = None, newest_first: bool = False
    ) -> list[StoredOutcome]:
        """As `Store.outcomes`."""
        async with self._engine.reading() as connection:
            return await queries.told_outcomes(connection, datapoint, span, at_most, newest_first)

    async def bytes_used(self) -> int:
        """As `Store.bytes_used`."""
        return await self._retainer.bytes_used()

    async def oldest_ms(self, from_ms: int | None = None) -> int | None:
        """As `Store.oldest_ms`."""
        return await self._retainer.oldest_ms(from_ms)


class EditableStore:
    """History to read, and what people edit, over the connections of one database."""

    def __init__(self, engine: Engine, history: HistoryStore, table: ValueTable) -> None:
        self._history = history
        self.history: Store = history
        self.edits = Edits(engine)
        self.control = ControlTables(engine)
        self.corrections = Corrections(engine, table)

    async def open(self) -> None:
        await self._history.open()

    async def close(self) -> None:
        await self._history.close()


async def _nothing(_: AsyncConnection) -> None:
    """Only learn what the database says."""
