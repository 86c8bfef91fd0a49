"""What differs between databases for values: the tables they lie in, how they get there, and how old ones go."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from sqlalchemy import Table
from sqlalchemy.ext.asyncio import AsyncConnection

from wattbus.storage.records import Removed, Retention, Written

Row = tuple[int, int, float | None, int, str | None, str | None]  # time, datapoint, number, whole, other, quality
COLUMNS = ("time", "datapoint", "number", "whole", "other", "quality")
TAKEN_MS = 50  # how far a value goes from a time that is taken; a device whose clock stands still fills that soon


class ValueTable(Protocol):
    """Where values lie. Its methods work within a writer's transaction."""

    tables: Sequence[Table]  # each value lies in one of them

    async def load(self, connection: AsyncConnection) -> None:
        """Learn what the database says: at the start, and after a rollback."""

    async def insert(self, connection: AsyncConnection, rows: list[Row]) -> Written:
        """Put each row where it belongs. It may change the order of `rows`.

        A row whose key has another value gets the next free millisecond (`TAKEN_MS` at most, then it replaces what is
        there): after a clock was set back, times come again that belong to older values.
        """

    async def replace(self, connection: AsyncConnection, rows: list[Row]) -> Written:
        """Put each row where it belongs, in the place of what its key has."""

    def tidy_is_due(self, now_ms: int) -> bool: ...

    async def tidy(self, connection: AsyncConnection, now_ms: int) -> None: ...


async def insert_beside(
    rows: list[Row],
    place: Callable[[list[Row]], Awaitable[tuple[Written, list[Row]]]],
    replace: Callable[[list[Row]], Awaitable[Written]],
) -> Written:
    """What `ValueTable.insert` promises. `place` inserts rows and gives back those whose time has another value."""
    written, waiting = await place(rows)
    for _ in range(TAKEN_MS):
        if not waiting:
            return written
        placed, waiting = await place([(row[0] + 1, *row[1:]) for row in waiting])
        written += Written(conflicts=placed.rows, redelivered=placed.redelivered)
    replaced = await replace(waiting) if waiting else Written()
    return written + Written(conflicts=replaced.rows + replaced.conflicts, redelivered=replaced.redelivered)


class Retainer(Protocol):
    """Keeps what is stored within bounds; see `Store.retain` and its neighbours."""

    async def retain(self, retention: Retention, now_ms: int) -> Removed: ...

    async def bytes_used(self) -> int: ...

    async def oldest_ms(self, from_ms: int | None = None) -> int | None: ...
