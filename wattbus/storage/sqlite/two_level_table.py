"""The two levels of SQLite's values: every row lies in exactly one of them, as the watermark says.

The watermark is the newest time that a merge has taken out of `recent`. Rows newer than it go to `recent`, whose key
begins with the time, so that a batch is appended at the end of the file's tree; the others go to `history` directly.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Table, text
from sqlalchemy.ext.asyncio import AsyncConnection

from wattbus.storage import bulk
from wattbus.storage.records import Written
from wattbus.storage.schema import history, recent
from wattbus.storage.value_table import COLUMNS, Row

ROWS_BEFORE_MERGE = 200_000
MS_BEFORE_MERGE = 300_000
GRACE_MS = 10_000  # rows this young stay in recent, so that their late neighbours need not go to history one by one

_COUNT_RECENT = text("SELECT count(*) FROM recent")
_COLUMNS = ", ".join(COLUMNS)
_SET = "number = excluded.number, whole = excluded.whole, other = excluded.other, quality = excluded.quality"
# 21 and 21.0 are the same number: a sender may write it either way.
_DIFFERENT = "number IS NOT excluded.number OR other IS NOT excluded.other OR quality IS NOT excluded.quality"


class Levels:
    """`ValueTable` of a SQLite file, with what is known about the levels without asking the database."""

    tables: Sequence[Table] = (recent, history)

    def __init__(self) -> None:
        self._in_recent = 0
        self._waiting = 0  # rows that the last merge left in recent
        self._merged_ms: int | None = None

    async def load(self, connection: AsyncConnection) -> None:
        self._in_recent = (await connection.execute(_COUNT_RECENT)).scalar_one()

    async def insert(self, connection: AsyncConnection, rows: list[Row]) -> Written:
        if not rows:
            return Written()
        watermark = await _watermark(connection)
        new = [row for row in rows if row[0] > watermark]
        written = await _insert(connection, recent, "time, datapoint", new)
        self._in_recent += written.rows
        if len(new) < len(rows):
            late = [row for row in rows if row[0] <= watermark]
            late.sort(key=_by_datapoint)
            written += await _insert(connection, history, "datapoint, time", late)
        return written

    def tidy_is_due(self, now_ms: int) -> bool:
        if self._merged_ms is None or now_ms < self._merged_ms:  # the first time, or the clock was set back
            self._merged_ms = now_ms
        old = now_ms - self._merged_ms >= MS_BEFORE_MERGE and self._in_recent > 0
        return self._in_recent - self._waiting >= ROWS_BEFORE_MERGE or old

    async def tidy(self, connection: AsyncConnection, now_ms: int) -> None:
        """Sort what is old enough into `history`; rows with a time in the future wait until it has come.

        The watermark only rises: were it to fall, a row's twin could be written to the other level.
        """
        newest = (await connection.execute(text("SELECT max(time) FROM recent"))).scalar()
        settled = now_ms - GRACE_MS
        watermark = max(await _watermark(connection), settled if newest is None else min(settled, newest))
        self._merged_ms = now_ms
        await connection.execute(
            text(
                f"INSERT INTO history ({_COLUMNS}) SELECT {_COLUMNS} FROM recent WHERE time <= :watermark "
                f"ORDER BY datapoint, time ON CONFLICT (datapoint, time) DO UPDATE SET {_SET}"
            ),
            {"watermark": watermark},
        )
        await connection.execute(text("DELETE FROM recent WHERE time <= :watermark"), {"watermark": watermark})
        await connection.execute(
            text(
                "INSERT INTO storage_state (name, value) VALUES ('watermark', :watermark) "
                "ON CONFLICT (name) DO UPDATE SET value = excluded.value"
            ),
            {"watermark": watermark},
        )
        await self.load(connection)
        self._waiting = self._in_recent


async def _watermark(connection: AsyncConnection) -> int:
    """Asked in every transaction: another service may have merged the same file."""
    stored = (await connection.exec_driver_sql("SELECT value FROM storage_state WHERE name = 'watermark'")).scalar()
    return -(2**62) if stored is None else int(stored)


async def _insert(connection: AsyncConnection, table: Table, key: str, rows: list[Row]) -> Written:
    if not rows:
        return Written()
    new = await bulk.insert(connection, table, COLUMNS, rows, "ON CONFLICT DO NOTHING")
    if new == len(rows):
        return Written(rows=new)
    replace = f"ON CONFLICT ({key}) DO UPDATE SET {_SET} WHERE {_DIFFERENT}"
    conflicts = await bulk.insert(connection, table, COLUMNS, rows, replace)
    return Written(rows=new, redelivered=len(rows) - new - conflicts, conflicts=conflicts)


def _by_datapoint(row: Row) -> tuple[Any, ...]:
    return row[1], row[0]
