"""What differs between databases for values: the tables they lie in, how they get there, and how old ones go."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from sqlalchemy import Table
from sqlalchemy.ext.asyncio import AsyncConnection

from wattbus.storage.records import Removed, Retention, Written

Row = tuple[int, int, float | None, int, str | None, str | None]  # time, datapoint, number, whole, other, quality
COLUMNS = ("time", "datapoint", "number", "whole", "other", "quality")


class ValueTable(Protocol):
    """Where values lie. Its methods work within a writer's transaction."""

    tables: Sequence[Table]  # each value lies in one of them

    async def load(self, connection: AsyncConnection) -> None:
        """Learn what the database says: at the start, and after a rollback."""

    async def insert(self, connection: AsyncConnection, rows: list[Row]) -> Written:
        """Put each row where it belongs; the later one wins. It may change the order of `rows`."""

    def tidy_is_due(self, now_ms: int) -> bool: ...

    async def tidy(self, connection: AsyncConnection, now_ms: int) -> None: ...


class Retainer(Protocol):
    """Keeps what is stored within bounds; see `Store.retain` and its neighbours."""

    async def retain(self, retention: Retention, now_ms: int) -> Removed: ...

    async def bytes_used(self) -> int: ...

    async def oldest_ms(self) -> int | None: ...
