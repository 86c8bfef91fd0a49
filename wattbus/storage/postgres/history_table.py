"""Values in one table, keyed (datapoint, time): COPY for what is new, a staging table for what may be there already."""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter

from sqlalchemy import Table, text
from sqlalchemy.ext.asyncio import AsyncConnection

from wattbus.storage.postgres.driver import RowIsThere, copy
from wattbus.storage.records import Written
from wattbus.storage.schema import history
from wattbus.storage.value_table import COLUMNS, Row

STAGING = "staging"  # a temporary table: each connection has its own

_COLUMNS = ", ".join(COLUMNS)
_MAKE_STAGING = text(
    f"CREATE TEMPORARY TABLE IF NOT EXISTS {STAGING} (time bigint, datapoint integer, number double precision,"
    " whole smallint, other text, quality text) ON COMMIT DELETE ROWS"
)
_INSERT_NEW = text(f"INSERT INTO history ({_COLUMNS}) SELECT {_COLUMNS} FROM {STAGING} ON CONFLICT DO NOTHING")
# Only what differs: a row that is there already is not even locked. 21 and 21.0 are the same number: a sender may
# write it either way. The bounds of the time are for the chunks of a hypertable.
_REPLACE_DIFFERENT = text(
    f"INSERT INTO history ({_COLUMNS}) SELECT {', '.join(f'new.{name}' for name in COLUMNS)} FROM {STAGING} AS new"
    " JOIN history AS old ON old.datapoint = new.datapoint AND old.time = new.time"
    " WHERE old.time BETWEEN :oldest AND :newest AND (old.number IS DISTINCT FROM new.number"
    " OR old.other IS DISTINCT FROM new.other OR old.quality IS DISTINCT FROM new.quality)"
    " ON CONFLICT (datapoint, time) DO UPDATE SET number = excluded.number, whole = excluded.whole,"
    " other = excluded.other, quality = excluded.quality"
)

_key = itemgetter(1, 0)  # datapoint, time


class HistoryTable:
    """`ValueTable` of a PostgreSQL database."""

    tables: Sequence[Table] = (history,)

    def __init__(self) -> None:
        self._likely_new = True

    async def load(self, connection: AsyncConnection) -> None:
        """Nothing is kept in memory."""

    async def insert(self, connection: AsyncConnection, rows: list[Row]) -> Written:
        """Sorted, because neighbours in the table are read together, and it is faster than one that jumps about.

        After a batch with rows that were there already the next one is not tried with COPY: senders repeat in series,
        and a COPY that fails has written for nothing.
        """
        if not rows:
            return Written()
        rows.sort(key=_key)
        if self._likely_new and await _copied(connection, rows):
            return Written(rows=len(rows))
        written = await _merged(connection, rows)
        self._likely_new = written.redelivered + written.conflicts == 0
        return written

    def tidy_is_due(self, now_ms: int) -> bool:
        return False

    async def tidy(self, connection: AsyncConnection, now_ms: int) -> None:
        """Nothing to do: the database does it by itself."""


async def _copied(connection: AsyncConnection, rows: list[Row]) -> bool:
    """False when one of them is there already; then none was written."""
    savepoint = await connection.begin_nested()
    try:
        await copy(connection, history.name, COLUMNS, rows)
    except RowIsThere:
        await savepoint.rollback()
        return False
    await savepoint.commit()
    return True


async def _merged(connection: AsyncConnection, rows: list[Row]) -> Written:
    """By way of the staging table. Of several for one key within the batch the last one counts."""
    last: list[Row] = []
    redelivered = conflicts = 0
    for row in rows:
        if not last or _key(last[-1]) != _key(row):
            last.append(row)
            continue
        same = _same(last[-1], row)
        redelivered, conflicts = redelivered + same, conflicts + (not same)
        last[-1] = row
    await connection.execute(_MAKE_STAGING)
    await copy(connection, STAGING, COLUMNS, last)
    new = (await connection.execute(_INSERT_NEW)).rowcount
    if new < len(last):
        times = [row[0] for row in last]
        bounds = {"oldest": min(times), "newest": max(times)}
        replaced = (await connection.execute(_REPLACE_DIFFERENT, bounds)).rowcount
        redelivered, conflicts = redelivered + len(last) - new - replaced, conflicts + replaced
    return Written(rows=new, redelivered=redelivered, conflicts=conflicts)


def _same(one: Row, other: Row) -> bool:
    return (one[2], one[4], one[5]) == (other[2], other[4], other[5])
