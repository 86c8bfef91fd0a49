"""The two levels of SQLite's values: every row lies in exactly one of them, as the watermark says.

The watermark is the newest time that a merge has taken out of `recent`. Rows newer than it go to `recent`, whose key
begins with the time, so that a batch is appended at the end of the file's tree; the others go to `history` directly.

When the clock was ahead and is right again, the watermark follows it back: else all rows would go to `history` one by
one until the time that the clock had shown. What a merge took to `history` meanwhile lies beyond the watermark then, in
a span that is remembered: a row within it is looked up in `history` before it goes to `recent`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Table, text
from sqlalchemy.ext.asyncio import AsyncConnection

from wattbus.storage import bulk
from wattbus.storage.records import Written
from wattbus.storage.schema import history, recent
from wattbus.storage.values import COLUMNS, Row, insert_beside

ROWS_BEFORE_MERGE = 200_000
MS_BEFORE_MERGE = 300_000
GRACE_MS = 10_000  # rows this young stay in recent, so that their late neighbours need not go to history one by one
LONG_AGO = -(2**62)

_COLUMNS = ", ".join(COLUMNS)
_SET = ", ".join(f"{name} = excluded.{name}" for name in COLUMNS if name not in ("time", "datapoint"))
# 21 and 21.0 are the same number: a sender may write it either way.
_CHANGED = " OR ".join(f"{name} IS NOT excluded.{name}" for name in ("number", "json_value", "quality"))
_SAME_KEY = "present.time = given.time AND present.datapoint = given.datapoint"
_DIFFERENT = (
    f"{_SAME_KEY} AND (present.number IS NOT given.number OR present.json_value IS NOT given.json_value"
    " OR present.quality IS NOT given.quality)"
)
_KEYS = {recent.name: "time, datapoint", history.name: "datapoint, time"}

_COUNT_RECENT = text("SELECT count(*) FROM recent")
_NEWEST_RECENT = text("SELECT max(time) FROM recent")
_MARKS = "SELECT name, value FROM storage_state WHERE name IN ('watermark', 'ahead_from', 'ahead_to')"
_FORGET_MARKS = text("DELETE FROM storage_state WHERE name IN ('watermark', 'ahead_from', 'ahead_to')")
_KEEP_MARK = text("INSERT INTO storage_state (name, value) VALUES (:name, :value)")
_MERGE = text(
    f"INSERT INTO history ({_COLUMNS}) SELECT {_COLUMNS} FROM recent WHERE time <= :watermark "
    f"ORDER BY datapoint, time ON CONFLICT (datapoint, time) DO UPDATE SET {_SET}"
)
_FORGET_MERGED = text("DELETE FROM recent WHERE time <= :watermark")
_FIRST_BEYOND = text(
    "SELECT min(first) FROM (SELECT (SELECT min(time) FROM history WHERE datapoint = id AND time > :watermark) AS first"
    " FROM datapoints)"
)


@dataclass(frozen=True, slots=True)
class Marks:
    """Up to `watermark` rows lie in `history`; of `ahead_from` to `ahead_to` (both included) some do, too."""

    watermark: int = LONG_AGO
    ahead_from: int | None = None
    ahead_to: int | None = None

    def may_be_ahead(self, time: int) -> bool:
        return self.ahead_from is not None and self.ahead_to is not None and self.ahead_from <= time <= self.ahead_to


class TwoLevelTable:
    """`ValueTable` of a SQLite file, with what is known about the levels without asking the database."""

    tables: Sequence[Table] = (recent, history)

    def __init__(self) -> None:
        self._in_recent = 0
        self._waiting = 0  # rows that the last merge left in recent
        self._merged_ms: int | None = None
        self._marks = Marks()

    async def load(self, connection: AsyncConnection) -> None:
        """As `ValueTable.load`."""
        self._in_recent = (await connection.execute(_COUNT_RECENT)).scalar_one()
        await self._load_marks(connection)

    async def _load_marks(self, connection: AsyncConnection) -> None:
        """Asked in every transaction: another service may have merged the same file."""
        found = {row.name: int(row.value) for row in await connection.exec_driver_sql(_MARKS)}
        self._marks = Marks(found.get("watermark", LONG_AGO), found.get("ahead_from"), found.get("ahead_to"))

    # -- inserting --------------------------------------------------------------------------------------------------

    async def insert(self, connection: AsyncConnection, rows: list[Row]) -> Written:
        """As `ValueTable.insert`."""
        if not rows:
            return Written()
        await self._load_marks(connection)

        async def place(some: list[Row]) -> tuple[Written, list[Row]]:
            return await self._place(connection, some)

        async def replace(some: list[Row]) -> Written:
            return await self._replace(connection, some)

        return await insert_beside(rows, place, replace)

    async def replace(self, connection: AsyncConnection, rows: list[Row]) -> Written:
        """As `ValueTable.replace`."""
        await self._load_marks(connection)
        return await self._replace(connection, rows)

    async def _place(self, connection: AsyncConnection, rows: list[Row]) -> tuple[Written, list[Row]]:
        """Insert what is new; what its time has another value for is given back."""
        written, taken = Written(), []
        for table, part in await self._by_level(connection, rows):
            new = await bulk.insert(connection, table, COLUMNS, part, "ON CONFLICT DO NOTHING")
            self._in_recent += new if table is recent else 0
            different = await bulk.matching(connection, table, COLUMNS, part, _DIFFERENT) if new < len(part) else []
            written += Written(rows=new, redelivered=len(part) - new - len(different))
            taken += [part[index] for index in different]
        return written, taken

    async def _replace(self, connection: AsyncConnection, rows: list[Row]) -> Written:
        written = Written()
        for table, part in await self._by_level(connection, rows):
            new = await bulk.insert(connection, table, COLUMNS, part, "ON CONFLICT DO NOTHING")
            self._in_recent += new if table is recent else 0
            changing = f"ON CONFLICT ({_KEYS[table.name]}) DO UPDATE SET {_SET} WHERE {_CHANGED}"
            conflicts = await bulk.insert(connection, table, COLUMNS, part, changing) if new < len(part) else 0
            written += Written(rows=new, redelivered=len(part) - new - conflicts, conflicts=conflicts)
        return written

    async def _by_level(self, connection: AsyncConnection, rows: list[Row]) -> list[tuple[Table, list[Row]]]:
        """The tables that have some of the rows, each with its rows."""
        marks = self._marks
        settled = [row for row in rows if row[0] <= marks.watermark]
        new = [row for row in rows if row[0] > marks.watermark]
        if marks.ahead_to is not None:
            in_doubt = [row for row in new if marks.may_be_ahead(row[0])]
            merged = set(await bulk.matching(connection, history, COLUMNS, in_doubt, _SAME_KEY)) if in_doubt else set()
            settled += [row for index, row in enumerate(in_doubt) if index in merged]
            new = [row for row in new if not marks.may_be_ahead(row[0])]
            new += [row for index, row in enumerate(in_doubt) if index not in merged]
        settled.sort(key=_by_datapoint)
        return [(table, part) for table, part in ((recent, new), (history, settled)) if part]

    # -- merging ----------------------------------------------------------------------------------------------------

    def tidy_is_due(self, now_ms: int) -> bool:
        """As `ValueTable.tidy_is_due`."""
        if self._merged_ms is None or now_ms < self._merged_ms:  # the first time, or the clock was set back
            self._merged_ms = now_ms
        old = now_ms - self._merged_ms >= MS_BEFORE_MERGE and self._in_recent > 0
        return self._in_recent - self._waiting >= ROWS_BEFORE_MERGE or old or self._marks.watermark > now_ms

    async def tidy(self, connection: AsyncConnection, now_ms: int) -> None:
        """Sort what is old enough into `history`; rows with a time in the future wait until it has come."""
        await self._load_marks(connection)
        settled = now_ms - GRACE_MS
        marks = self._marks
        if marks.watermark > now_ms:  # a merge never goes so far: the clock was set back
            marks = await _followed_back(connection, marks, settled)
        newest = (await connection.execute(_NEWEST_RECENT)).scalar()
        watermark = max(marks.watermark, settled if newest is None else min(settled, newest))
        self._merged_ms = now_ms
        await connection.execute(_MERGE, {"watermark": watermark})
        await connection.execute(_FORGET_MERGED, {"watermark": watermark})
        over = marks.ahead_to is None or watermark >= marks.ahead_to
        await _keep(connection, Marks(watermark) if over else Marks(watermark, marks.ahead_from, marks.ahead_to))
        await self.load(connection)
        self._waiting = self._in_recent


async def _followed_back(connection: AsyncConnection, marks: Marks, watermark: int) -> Marks:
    """The marks for a watermark that goes back to this one."""
    first = (await connection.execute(_FIRST_BEYOND, {"watermark": watermark})).scalar()
    if first is None:
        return Marks(watermark)
    return Marks(watermark, int(first), max(marks.watermark, marks.ahead_to or LONG_AGO))


async def _keep(connection: AsyncConnection, marks: Marks) -> None:
    await connection.execute(_FORGET_MARKS)
    values = {"watermark": marks.watermark, "ahead_from": marks.ahead_from, "ahead_to": marks.ahead_to}
    for name, value in values.items():
        if value is not None:
            await connection.execute(_KEEP_MARK, {"name": name, "value": value})


def _by_datapoint(row: Row) -> tuple[Any, ...]:
    return row[1], row[0]
