"""Connections to PostgreSQL: one that writes, a few that read."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeVar

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from wattbus.errors import ConfigError
from wattbus.storage.engine import MIGRATIONS, Writer, reading
from wattbus.storage.errors import plain_errors
from wattbus.storage.migrate import migrate, one_migration_at_a_time
from wattbus.storage.postgres import timescale
from wattbus.storage.postgres.driver import connect

READERS = 4
LOCK_S = 10.0  # how long a statement waits in the server for somebody else's lock
ANSWER_S = 60.0  # a query that has no answer after so long is given up
WRITE_ANSWER_S = 300.0  # so is a statement that writes: uniting two long series may take minutes
PUBLISH_OFFLINE_S = 3.0  # what a transaction that is under way gets when its service ends

# A client that is gone must not hold its locks for hours; a commit stands behind every receipt, whatever the server's
# default is; plans for empty tables must not be kept for full ones. What a server does not know is left out.
SESSION = {
    "synchronous_commit": "on",
    "idle_in_transaction_session_timeout": "60s",
    "tcp_keepalives_idle": "30",
    "tcp_keepalives_interval": "10",
    "tcp_keepalives_count": "3",
    "plan_cache_mode": "force_custom_plan",
    "client_min_messages": "warning",
    "jit": "off",  # takes longer to compile than these statements run
    **timescale.SESSION,
}

T = TypeVar("T")


class PostgresEngine:
    """`Engine` of one PostgreSQL database."""

    def __init__(self, url: str, lock_s: float = LOCK_S) -> None:
        self._url = url
        writing = _engine(url, {**SESSION, "lock_timeout": f"{lock_s * 1000:.0f}"}, WRITE_ANSWER_S, pool_size=1)
        self._writer = Writer(writing.execution_options(isolation_level="READ COMMITTED"), PUBLISH_OFFLINE_S)
        self._readers = _engine(url, SESSION, ANSWER_S, pool_size=READERS, pool_pre_ping=True).execution_options(
            isolation_level="REPEATABLE READ", postgresql_readonly=True
        )

    async def open(self) -> None:
        """Bring the database to our schema; one service at a time. Raises DatabaseAway, ConfigError."""
        engine = _engine(self._url, SESSION, None, pool_size=1)  # a large table may take its time
        try:
            with plain_errors(opening=True):
                async with engine.begin() as connection:
                    await _require_utf8(connection)
                    await connection.execute(text(f"SELECT pg_advisory_xact_lock({MIGRATIONS})"))
                    async with one_migration_at_a_time():
                        await connection.run_sync(migrate)
                await timescale.prepare(engine)
        finally:
            await engine.dispose()

    async def write(self, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        """As `Engine.write`."""
        return await self._writer.write(work)

    def reading(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """As `Engine.reading`."""
        return reading(self._readers)

    async def close(self) -> None:
        """As `Engine.close`."""
        await self._writer.close()
        await self._readers.dispose()


def _engine(url: str, session: Mapping[str, str], answer_s: float | None, **pool: Any) -> AsyncEngine:
    connecting = functools.partial(connect, url, answer_s, session)
    return create_async_engine("postgresql+asyncpg://", async_creator=connecting, max_overflow=0, **pool)


async def _require_utf8(connection: AsyncConnection) -> None:
    encoding = (await connection.execute(text("SHOW server_encoding"))).scalar_one()
    if encoding != "UTF8":
        raise ConfigError(
            f"DATABASE_URL: the database's encoding is {encoding}, in which not every text can be kept; make it with "
            "CREATE DATABASE name ENCODING 'UTF8' TEMPLATE template0"
        )
