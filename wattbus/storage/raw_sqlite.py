"""Raw messages in one SQLite file, alone or beside history's tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import blake2b

from sqlalchemy import ColumnElement, func, insert, inspect, select, text, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from wattbus.storage import bulk
from wattbus.storage.engine import SqliteEngine
from wattbus.storage.errors import DatabaseAway
from wattbus.storage.migrate import refuse_newer
from wattbus.storage.raw import RawConnector, RawCursor, RawRecord, StoredRawMessage
from wattbus.storage.raw_retention import COST, RawRetainer
from wattbus.storage.records import ALWAYS, Removed, Retention, Span, Written
from wattbus.storage.schema import raw_connectors, raw_messages

_COLUMNS = "connector, time, digest, message, connector_version"
_COUNT_NEW = text(
    "UPDATE raw_connectors SET messages = messages + new.number, bytes = bytes + new.cost FROM"
    f" (SELECT connector, count(*) AS number, sum({COST}) AS cost FROM raw_messages WHERE id > :last"
    " GROUP BY connector) AS new WHERE raw_connectors.id = new.connector"
)


class SqliteRawReader:
    """`RawReader` of one SQLite file."""

    def __init__(self, engine: SqliteEngine) -> None:
        self._engine = engine

    async def check(self) -> None:
        """Raises ConfigError when the schema is newer than ours, DatabaseAway when there are no such tables (yet)."""
        async with self._engine.reading() as connection:
            await connection.run_sync(refuse_newer)
            if not await connection.run_sync(lambda sync: inspect(sync).has_table(raw_messages.name)):
                raise DatabaseAway("the database has no raw messages: raw_db never wrote to it")

    async def connectors(self) -> list[RawConnector]:
        of_one = raw_messages.c.connector == raw_connectors.c.id
        query = (
            select(
                raw_connectors.c.connector,
                raw_connectors.c.messages,
                select(func.min(raw_messages.c.time)).where(of_one).scalar_subquery(),
                select(func.max(raw_messages.c.time)).where(of_one).scalar_subquery(),
                raw_connectors.c.bytes,
            )
            .where(raw_connectors.c.messages > 0)
            .order_by(raw_connectors.c.connector)
        )
        async with self._engine.reading() as connection:
            return [RawConnector(*row) for row in await connection.execute(query)]

    async def messages(
        self,
        connector: str,
        span: Span = ALWAYS,
        *,
        at_most: int | None = None,
        newest_first: bool = False,
        after: RawCursor | None = None,
    ) -> list[StoredRawMessage]:
        columns = raw_messages.c
        order = (columns.time.desc(), columns.id.desc()) if newest_first else (columns.time, columns.id)
        number = select(raw_connectors.c.id).where(raw_connectors.c.connector == connector).scalar_subquery()
        query = (
            select(columns.time, columns.message, columns.connector_version, columns.id)
            .where(columns.connector == number, *_within(span), *_behind(after, newest_first))
            .order_by(*order)
            .limit(at_most)
        )
        async with self._engine.reading() as connection:
            found = await connection.execute(query)
            return [StoredRawMessage(time, message, version, (time, id_)) for time, message, version, id_ in found]

    async def close(self) -> None:
        await self._engine.close()


class SqliteRawStore(SqliteRawReader):
    """`RawStore` in one SQLite file."""

    def __init__(self, engine: SqliteEngine) -> None:
        super().__init__(engine)
        self._retainer = RawRetainer(engine)

    async def write(self, records: Sequence[RawRecord]) -> Written:
        async def work(connection: AsyncConnection) -> Written:
            numbers = await _numbers(connection, {record.connector for record in records})
            rows = [
                (numbers[record.connector], record.timestamp_ms, _digest(record.message), record.message,
                 record.connector_version)
                for record in records
            ]  # fmt: skip
            last = (await connection.execute(select(func.coalesce(func.max(raw_messages.c.id), 0)))).scalar_one()
            new = await bulk.insert_large(connection, raw_messages.name, _COLUMNS, rows, "ON CONFLICT DO NOTHING")
            if new:
                await connection.execute(_COUNT_NEW, {"last": last})
            return Written(rows=new, redelivered=len(rows) - new)

        return await self._engine.write(work)

    async def retain(self, retention: Retention, now_ms: int) -> Removed:
        return await self._retainer.retain(retention, now_ms)

    async def bytes_used(self) -> int:
        return await self._retainer.bytes_used()


async def _numbers(connection: AsyncConnection, names: Iterable[str]) -> dict[str, int]:
    """Connector → its number; asked in every transaction, because another process may have made it."""
    known = {row.connector: row.id for row in await connection.execute(select(raw_connectors))}
    for name in sorted(set(names) - known.keys()):
        row = insert(raw_connectors).values(connector=name, messages=0, bytes=0).returning(raw_connectors.c.id)
        known[name] = (await connection.execute(row)).scalar_one()
    return known


def _digest(message: str) -> int:
    """64 bits, signed: it tells apart the few messages that one connector has in one millisecond."""
    return int.from_bytes(blake2b(message.encode(), digest_size=8).digest(), signed=True)


def _within(span: Span) -> list[ColumnElement[bool]]:
    bounds: list[ColumnElement[bool]] = []
    if span.from_ms is not None:
        bounds.append(raw_messages.c.time >= span.from_ms)
    if span.to_ms is not None:
        bounds.append(raw_messages.c.time < span.to_ms)
    return bounds


def _behind(cursor: RawCursor | None, newest_first: bool) -> list[ColumnElement[bool]]:
    if cursor is None:
        return []
    place, time = tuple_(raw_messages.c.time, raw_messages.c.id), raw_messages.c.time
    if newest_first:
        return [place < cursor, time <= cursor[0]]  # the second one is for the index
    return [place > cursor, time >= cursor[0]]
