"""Values in one table, keyed (datapoint, time): COPY for what is new, a staging table for what may be there already."""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter

from sqlalchemy import Table, text
from sqlalchemy.ext.asyncio import AsyncConnection

from wattbus.storage.postgres.driver import RowIsThere, copy
from wattbus.storage.records import Written
from wattbus.storage.schema import history
from wattbus.storage.values import COLUMNS, Row, insert_beside

STAGING = "staging"  # a temporary table: each connection has its own

_COLUMNS = ", ".join(COLUMNS)
_MAKE_STAGING = text(
    f"CREATE TEMPORARY TABLE IF NOT EXISTS {STAGING} (time bigint, datapoint integer, number double precision,"
    " is_integer smallint, json_value text, quality text, number_of_row integer) ON COMMIT DELETE ROWS"
)
_EMPTY_STAGING = text(f"DELETE FROM {STAGING}")
_INSERT_NEW = text(
    f"INSERT INTO history ({_COLUMNS}) SELECT {_COLUMNS} FROM {STAGING} ORDER BY number_of_row ON CONFLICT DO NOTHING"
)
# Only what differs: a row that is there already is not even locked. 21 and 21.0 are the same number: a sender may
# write it either way. The bounds of the time are for the chunks of a hypertable.
_FROM_DIFFERENT = (
    f"FROM {STAGING} AS new JOIN history AS old ON old.datapoint = new.datapoint AND old.time = new.time"
    " WHERE old.time BETWEEN :oldest AND :newest AND (old.number IS DISTINCT FROM new.number"
    " OR old.json_value IS DISTINCT FROM new.json_value OR old.quality IS DISTINCT FROM new.quality)"
)
_DIFFERENT = text(f"SELECT new.number_of_row {_FROM_DIFFERENT} ORDER BY new.number_of_row")
_REPLACE_DIFFERENT = text(
    f"INSERT INTO history ({_COLUMNS}) SELECT {', '.join(f'new.{name}' for name in COLUMNS)} {_FROM_DIFFERENT}"
    " ON CONFLICT (datapoint, time) DO UPDATE SET number = excluded.number, is_integer = excluded.is_integer,"
    " json_value = excluded.json_value, quality = excluded.quality"
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

        async def place(some: list[Row]) -> tuple[Written, list[Row]]:
            return await _place(connection, some)

        async def replace(some: list[Row]) -> Written:
            return await _replace(connection, some)

        written = await insert_beside(rows, place, replace)
        self._likely_new = written.redelivered + written.conflicts == 0
        return written

    async def replace(self, connection: AsyncConnection, rows: list[Row]) -> Written:
        """As `ValueTable.replace`."""
        return await _replace(connection, rows)

    def tidy_is_due(self, now_ms: int) -> bool:
        """As `ValueTable.tidy_is_due`."""
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


async def _place(connection: AsyncConnection, rows: list[Row]) -> tuple[Written, list[Row]]:
    """By way of the staging table insert what is new; what its time has another value for is given back."""
    new = await _inserted(connection, rows)
    different = (await connection.execute(_DIFFERENT, _bounds(rows))).scalars().all() if new < len(rows) else ()
    return Written(rows=new, redelivered=len(rows) - new - len(different)), [rows[index] for index in different]


async def _replace(connection: AsyncConnection, rows: list[Row]) -> Written:
    """By way of the staging table; of several rows for one key the last one counts."""
    last = list({_key(row): row for row in rows}.values())
    new = await _inserted(connection, last)
    replaced = (await connection.execute(_REPLACE_DIFFERENT, _bounds(last))).rowcount if new < len(last) else 0
    return Written(rows=new, redelivered=len(rows) - new - replaced, conflicts=replaced)


async def _inserted(connection: AsyncConnection, rows: list[Row]) -> int:
    """Stage the rows, insert those that are new, of several for one key the first; how many."""
    await connection.execute(_MAKE_STAGING)
    await connection.execute(_EMPTY_STAGING)
    await copy(connection, STAGING, (*COLUMNS, "number_of_row"), [(*row, number) for number, row in enumerate(rows)])
    return (await connection.execute(_INSERT_NEW)).rowcount


def _bounds(rows: list[Row]) -> dict[str, int]:
    times = [row[0] for row in rows]
    return {"oldest": min(times), "newest": max(times)}
