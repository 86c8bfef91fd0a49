"""Raw messages in one SQLite file, alone or beside history's tables."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from wattbus.storage import bulk
from wattbus.storage.engine import Engine, TakenBack, rehearsed
from wattbus.storage.raw import RawRecord
from wattbus.storage.raw_retention import RawSteppingRetainer
from wattbus.storage.raw_table import RAW_COLUMNS, RawTableReader, connector_numbers, raw_rows
from wattbus.storage.records import Removed, Retention, Written
from wattbus.storage.schema import raw_messages
from wattbus.storage.sqlite.pages import give_back

# Bytes of a row of a file with pages of 4096, and of its index entry: rows that fit lie on a page as a whole, so that
# two of 1,400 bytes fill one; larger ones go on to pages of their own. Measured within 10 %. Whoever changes this must
# count all rows again in a migration.
_LENGTH = "length(CAST(message AS BLOB))"
COST = f"30 + CASE WHEN {_LENGTH} <= 4050 THEN 4096 / (4088 / ({_LENGTH} + 32)) ELSE {_LENGTH} + 400 END"

_COUNT_NEW = text(
    "UPDATE raw_connectors SET messages = messages + new.number, bytes = bytes + new.cost FROM"
    f" (SELECT connector, count(*) AS number, sum({COST}) AS cost FROM raw_messages WHERE id > :last"
    " GROUP BY connector) AS new WHERE raw_connectors.id = new.connector"
)
_DELETE = text(
    "DELETE FROM raw_messages WHERE id IN (SELECT id FROM raw_messages WHERE connector = :connector AND time < :cutoff"
    f" ORDER BY time LIMIT :rows) RETURNING {COST}"
)


class SqliteRawStore(RawTableReader):
    """`RawStore` in one SQLite file."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self._retainer = RawSteppingRetainer(engine, _DELETE, give_back)

    async def open(self) -> None:
        """As `Openable.open`."""
        await self._engine.open()

    async def write(self, records: Sequence[RawRecord]) -> Written:
        """As `RawStore.write`."""
        if not records:
            return Written()
        return await self._engine.write(lambda connection: self._write(connection, records))

    async def rehearse(self, records: Sequence[RawRecord]) -> None:
        """As `RawStore.rehearse`."""
        with contextlib.suppress(TakenBack):
            await self._engine.write(lambda connection: rehearsed(self._write(connection, records)))

    async def _write(self, connection: AsyncConnection, records: Sequence[RawRecord]) -> Written:
        rows = raw_rows(records, await connector_numbers(connection, records))
        last = (await connection.execute(select(func.coalesce(func.max(raw_messages.c.id), 0)))).scalar_one()
        new = await bulk.insert_large(connection, raw_messages, RAW_COLUMNS, rows, "ON CONFLICT DO NOTHING")
        if new:
            await connection.execute(_COUNT_NEW, {"last": last})
        return Written(rows=new, redelivered=len(rows) - new)

    async def retain(self, retention: Retention, now_ms: int) -> Removed:
        """As `RawStore.retain`."""
        return await self._retainer.retain(retention, now_ms)

    async def bytes_used(self) -> int:
        """As `RawStore.bytes_used`."""
        return await self._retainer.bytes_used()

    async def oldest_ms(self, from_ms: int | None = None) -> int | None:
        """As `RawStore.oldest_ms`."""
        return await self._retainer.oldest_ms(from_ms)
