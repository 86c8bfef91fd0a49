"""How far each sender's sessions are; written in the transaction of the values that they speak of."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence

from sqlalchemy import Row, delete, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from wattbus.storage import bulk
from wattbus.storage.records import Ranges, SessionState
from wattbus.storage.schema import sessions

KEYS_PER_QUERY = 5_000

_COLUMNS = ("connector", "session", "upto", "missing", "dropped", "first_seen", "last_seen")
_REPLACE = (
    "ON CONFLICT (connector, session) DO UPDATE SET upto = excluded.upto, missing = excluded.missing, "
    "dropped = excluded.dropped, last_seen = excluded.last_seen"
)


async def write(connection: AsyncConnection, states: Sequence[SessionState]) -> None:
    """Insert or replace the states of sessions."""
    rows = [
        (s.connector, s.session, s.upto, json.dumps(s.missing), json.dumps(s.dropped), s.first_seen_ms, s.last_seen_ms)
        for s in states
    ]
    if rows:
        await bulk.insert(connection, sessions, _COLUMNS, rows, _REPLACE)


async def load(connection: AsyncConnection, keys: Collection[tuple[str, str]]) -> list[SessionState]:
    """The states of these sessions, as far as they are known."""
    found: list[SessionState] = []
    remaining = list(keys)
    while remaining:  # in parts: the number of parameters is limited
        part, remaining = remaining[:KEYS_PER_QUERY], remaining[KEYS_PER_QUERY:]
        wanted = tuple_(sessions.c.connector, sessions.c.session).in_(part)
        found += [_state(row) for row in await connection.execute(select(sessions).where(wanted))]
    return found


async def load_recent(connection: AsyncConnection, since_ms: int) -> list[SessionState]:
    """The states of sessions seen since a time (ms)."""
    query = select(sessions).where(sessions.c.last_seen >= since_ms).order_by(sessions.c.first_seen)
    return [_state(row) for row in await connection.execute(query)]


async def prune(connection: AsyncConnection, before_ms: int) -> None:
    """Forget sessions that were not heard since then."""
    await connection.execute(delete(sessions).where(sessions.c.last_seen < before_ms))


def _state(row: Row[tuple[object, ...]]) -> SessionState:
    return SessionState(
        row.connector, row.session, row.upto, _ranges(row.missing), _ranges(row.dropped), row.first_seen, row.last_seen
    )


def _ranges(text: str) -> Ranges:
    return tuple((first, last) for first, last in json.loads(text))
