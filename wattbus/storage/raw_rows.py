"""From raw messages to rows: the connector's number, and what tells messages of one millisecond apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import blake2b

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from wattbus.storage.raw import RawRecord
from wattbus.storage.schema import raw_connectors
from wattbus.storage.values import storable

COLUMNS = ("connector", "time", "digest", "message", "connector_version")
RawRow = tuple[int, int, int, str, str | None]

_MAKE = text("INSERT INTO raw_connectors (connector, messages, bytes) VALUES (:connector, 0, 0) ON CONFLICT DO NOTHING")


async def numbers(connection: AsyncConnection, records: Sequence[RawRecord]) -> dict[str, int]:
    """Connector → its number, made if need be; asked in every transaction, because another process may have made it."""
    known = await _known(connection)
    missing = sorted({record.connector for record in records} - known.keys())
    for name in missing:
        await connection.execute(_MAKE, {"connector": name})
    return await _known(connection) if missing else known


async def _known(connection: AsyncConnection) -> dict[str, int]:
    return {row.connector: row.id for row in await connection.execute(select(raw_connectors))}


def rows(records: Sequence[RawRecord], number: Mapping[str, int]) -> list[RawRow]:
    return [
        (number[record.connector], record.timestamp_ms, _digest(record.message), record.message,
         storable(record.connector_version) if record.connector_version else record.connector_version)
        for record in records
    ]  # fmt: skip


def _digest(message: str) -> int:
    """64 bits, signed: it tells apart the few messages that one connector has in one millisecond."""
    return int.from_bytes(blake2b(message.encode(), digest_size=8).digest(), signed=True)
