"""The table of raw messages in any of our databases: how they are read, and what rows they become."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import blake2b

from sqlalchemy import ColumnElement, func, inspect, select, text, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from wattbus.storage.engine import Engine
from wattbus.storage.errors import DatabaseAway
from wattbus.storage.migrate import refuse_newer
from wattbus.storage.raw import RawConnector, RawCursor, RawRecord, StoredRawMessage
from wattbus.storage.records import ALWAYS, Span
from wattbus.storage.schema import raw_connectors, raw_messages
from wattbus.storage.values import storable


class RawTableReader:
    """`RawReader`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def check(self) -> None:
        """Raises ConfigError when the schema is newer than ours, DatabaseAway when there are no such tables (yet)."""
        async with self._engine.reading() as connection:
            await connection.run_sync(refuse_newer)
            if not await connection.run_sync(lambda sync: inspect(sync).has_table(raw_messages.name)):
                raise DatabaseAway("the database has no raw messages: raw_db never wrote to it")

    async def connectors(self) -> list[RawConnector]:
        """As `RawReader.connectors`."""
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
        """As `RawReader.messages`."""
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
        """As `RawReader.close`."""
        await self._engine.close()


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


# -- rows --------------------------------------------------------------------------------------------------------------

RAW_COLUMNS = ("connector", "time", "digest", "message", "connector_version")
RawRow = tuple[int, int, int, str, str | None]

_MAKE = text("INSERT INTO raw_connectors (connector, messages, bytes) VALUES (:connector, 0, 0) ON CONFLICT DO NOTHING")


async def connector_numbers(connection: AsyncConnection, records: Sequence[RawRecord]) -> dict[str, int]:
    """Connector → its number, made if need be; asked in every transaction, because another process may have made it."""
    known = await _known(connection)
    missing = sorted({record.connector for record in records} - known.keys())
    for name in missing:
        await connection.execute(_MAKE, {"connector": name})
    return await _known(connection) if missing else known


async def _known(connection: AsyncConnection) -> dict[str, int]:
    return {row.connector: row.id for row in await connection.execute(select(raw_connectors))}


def raw_rows(records: Sequence[RawRecord], number: Mapping[str, int]) -> list[RawRow]:
    return [
        (number[record.connector], record.timestamp_ms, _digest(record.message), record.message,
         storable(record.connector_version) if record.connector_version else record.connector_version)
        for record in records
    ]  # fmt: skip


def _digest(message: str) -> int:
    """64 bits, signed: it tells apart the few messages that one connector has in one millisecond."""
    return int.from_bytes(blake2b(message.encode(), digest_size=8).digest(), signed=True)
