"""Locks that writers of one database hold until their transaction ends, always taken in this order.

On SQLite there is one writer at a time. On PostgreSQL history processes and the API write side by side: whoever changes
the list of datapoints is alone with it, so that two of them can never wait for each other.
"""

from __future__ import annotations

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

# Any number will do that nobody else in the database uses: "wattbus" in ASCII, and which lock.
MIGRATIONS = 0x77617474627573 << 8 | 1
DATAPOINTS = 0x77617474627573 << 8 | 2
RETENTION = {"history": 0x77617474627573 << 8 | 3, "raw_messages": 0x77617474627573 << 8 | 4}


async def alone_with_datapoints(connection: AsyncConnection) -> None:
    """Take it before values are written in the same transaction."""
    if connection.dialect.name == "postgresql":
        await connection.execute(text(f"SELECT pg_advisory_xact_lock({DATAPOINTS})"))
