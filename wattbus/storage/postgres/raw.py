"""Raw messages in a PostgreSQL database, alone or beside history's tables."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from wattbus.storage import bulk
from wattbus.storage.engine import Engine, TakenBack, rehearsed
from wattbus.storage.postgres import timescale
from wattbus.storage.postgres.retention import TableRetainer, leave_it
from wattbus.storage.postgres.timescale import RAW_MESSAGES
from wattbus.storage.raw import RawConnector, RawRecord
from wattbus.storage.raw_retention import RawSteppingRetainer
from wattbus.storage.raw_table import RAW_COLUMNS, RawTableReader, connector_numbers, raw_rows
from wattbus.storage.records import Removed, Retention, Written
from wattbus.storage.schema import raw_connectors, raw_messages

# Bytes of a row and of its index entry. Messages of up to 2,000 bytes lie on a page of 8,168 as a whole; larger ones
# are compressed and, if that is not enough, lie in pieces elsewhere. Whoever changes this must count all rows again in
# a migration.
_SIZE = "(pg_column_size(message) + coalesce(pg_column_size(connector_version), 0) + 60)"
COST = f"50 + CASE WHEN {_SIZE} <= 2040 THEN 8168 / (8168 / {_SIZE}) ELSE {_SIZE} * 104 / 100 + 60 END"

_KEY = ("connector", "time", "digest")
_INSERT = (
    f"INSERT INTO raw_messages ({', '.join(RAW_COLUMNS)})"
    f" SELECT * FROM {bulk.arrays(raw_messages, RAW_COLUMNS)} ON CONFLICT DO NOTHING RETURNING {', '.join(_KEY)}"
)
_COUNT_NEW = (
    "UPDATE raw_connectors SET messages = messages + new.number, bytes = bytes + new.cost FROM"
    f" (SELECT connector, count(*) AS number, sum({COST}) AS cost FROM raw_messages"
    f" JOIN {bulk.arrays(raw_messages, _KEY)} AS given ({', '.join(_KEY)}) USING ({', '.join(_KEY)})"
    " GROUP BY connector) AS new WHERE raw_connectors.id = new.connector"
)
_DELETE = text(
    "DELETE FROM raw_messages WHERE ctid = ANY (ARRAY(SELECT ctid FROM raw_messages WHERE connector = :connector"
    f" AND time < :cutoff ORDER BY time LIMIT :rows)) RETURNING {COST}"
)
# What is counted in raw_connectors does not hear of chunks that the database drops by itself.
_CONNECTORS_IN_CHUNKS = text(
    "SELECT c.connector, count(*) AS messages, min(m.time) AS first, max(m.time) AS last"
    " FROM raw_messages AS m JOIN raw_connectors AS c ON c.id = m.connector GROUP BY c.connector ORDER BY c.connector"
)


class PostgresRawReader(RawTableReader):
    """`RawReader` of a PostgreSQL database."""

    async def connectors(self) -> list[RawConnector]:
        """As `RawReader.connectors`."""
        async with self._engine.reading() as connection:
            if await timescale.is_hypertable(connection, RAW_MESSAGES):
                found = (await connection.execute(_CONNECTORS_IN_CHUNKS)).all()
                used = await timescale.bytes_used(connection, RAW_MESSAGES)
                total = sum(row.messages for row in found)
                return [
                    RawConnector(row.connector, row.messages, row.first, row.last, used * row.messages // total)
                    for row in found
                ]
        return await super().connectors()


class PostgresRawStore(PostgresRawReader):
    """`RawStore` in a PostgreSQL database."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self._retainer = TableRetainer(engine, RAW_MESSAGES, RawSteppingRetainer(engine, _DELETE, leave_it))

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
        numbers = await connector_numbers(connection, records)
        await _alone_with(connection, {numbers[record.connector] for record in records})
        rows = raw_rows(records, numbers)
        added = await connection.exec_driver_sql(_INSERT, bulk.as_arrays(rows))
        new = [tuple(key) for key in added]
        if new:
            await connection.exec_driver_sql(_COUNT_NEW, bulk.as_arrays(new))
        return Written(rows=len(new), redelivered=len(rows) - len(new))

    async def retain(self, retention: Retention, now_ms: int) -> Removed:
        """As `RawStore.retain`."""
        return await self._retainer.retain(retention, now_ms)

    async def bytes_used(self) -> int:
        """As `RawStore.bytes_used`."""
        return await self._retainer.bytes_used()

    async def oldest_ms(self, from_ms: int | None = None) -> int | None:
        """As `RawStore.oldest_ms`."""
        return await self._retainer.oldest_ms(from_ms)


async def _alone_with(connection: AsyncConnection, connectors: set[int]) -> None:
    """Whoever else writes messages of these connectors waits here, so that two of them never wait for each other."""
    query = select(raw_connectors.c.id).where(raw_connectors.c.id.in_(sorted(connectors)))
    await connection.execute(query.order_by(raw_connectors.c.id).with_for_update())
