"""TimescaleDB, where a server has it: tables in chunks of a week, old chunks compressed, too old ones dropped whole.

Everything that is said to TimescaleDB stands here. The statements are those of its 2.x API with integer times; from
2.11 on compressed chunks take late data with ON CONFLICT.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

from sqlalchemy import exc, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from wattbus.storage.engine import MIGRATIONS

log = logging.getLogger(__name__)

DAY_MS = 86_400_000
CHUNK_MS = 7 * DAY_MS
COMPRESS_AFTER_MS = 14 * DAY_MS  # what connectors held back for days still finds chunks that are not
# Of our sessions: else late data, or a datapoint that gets its name, may be refused when it reaches old chunks.
SESSION = {"timescaledb.max_tuples_decompressed_per_dml_transaction": "0"}


@dataclass(frozen=True, slots=True)
class Hypertable:
    """A table that can be one. `segment_by` is what queries name, `order_by` the rest of its unique key."""

    name: str
    segment_by: str
    order_by: str


HISTORY = Hypertable("history", "datapoint", "time")
RAW_MESSAGES = Hypertable("raw_messages", "connector", "time, digest")

_AVAILABLE = text("SELECT installed_version IS NOT NULL FROM pg_available_extensions WHERE name = 'timescaledb'")
_CREATE_EXTENSION = text("CREATE EXTENSION IF NOT EXISTS timescaledb")
_HAS_CATALOGUE = text("SELECT to_regclass('timescaledb_information.hypertables') IS NOT NULL")
_IS_HYPERTABLE = text(
    "SELECT EXISTS (SELECT 1 FROM timescaledb_information.hypertables"
    " WHERE hypertable_schema = current_schema() AND hypertable_name = :name)"
)
_NOW_FUNCTION = (
    "CREATE OR REPLACE FUNCTION wattbus_now_ms() RETURNS bigint LANGUAGE sql STABLE"
    " AS 'SELECT (extract(epoch FROM now()) * 1000)::bigint'"
)
_DROP_AFTER = text(
    "SELECT (config ->> 'drop_after')::bigint FROM timescaledb_information.jobs WHERE proc_name = 'policy_retention'"
    " AND hypertable_schema = current_schema() AND hypertable_name = :name"
)
_CHUNK_ENDS = text(
    "SELECT range_end_integer FROM timescaledb_information.chunks"
    " WHERE hypertable_schema = current_schema() AND hypertable_name = :name ORDER BY range_end_integer"
)


def create_statements(table: Hypertable) -> list[str]:
    """What makes an empty table a hypertable."""
    return [
        f"SELECT create_hypertable('{table.name}', 'time', chunk_time_interval => BIGINT '{CHUNK_MS}',"
        " create_default_indexes => FALSE, if_not_exists => TRUE)",
        _NOW_FUNCTION,
        f"SELECT set_integer_now_func('{table.name}', 'wattbus_now_ms', replace_if_exists => TRUE)",
    ]


def compress_statements(table: Hypertable) -> list[str]:
    """What compresses its old chunks, in the editions that can."""
    return [
        f"ALTER TABLE {table.name} SET (timescaledb.compress, timescaledb.compress_segmentby = '{table.segment_by}',"
        f" timescaledb.compress_orderby = '{table.order_by}')",
        f"SELECT add_compression_policy('{table.name}', compress_after => BIGINT '{COMPRESS_AFTER_MS}',"
        " if_not_exists => TRUE)",
    ]


def retention_statements(table: Hypertable, drop_after_ms: int | None) -> list[str]:
    """What drops its chunks when they are older than that; None: never. An existing policy cannot be changed."""
    statements = [f"SELECT remove_retention_policy('{table.name}', if_exists => TRUE)"]
    if drop_after_ms is not None:
        statements.append(f"SELECT add_retention_policy('{table.name}', drop_after => BIGINT '{drop_after_ms}')")
    return statements


async def prepare(engine: AsyncEngine) -> None:
    """Make hypertables of our tables, if the server can and they are empty. Says so when it could but does not."""
    if not await _is_there(engine):
        return
    for table in (HISTORY, RAW_MESSAGES):
        try:
            async with engine.begin() as connection:
                await _make_hypertable(connection, table)
        except exc.DBAPIError as error:
            log.warning("TimescaleDB does not take %s, it stays a plain table: %s", table.name, _reason(error))


async def _make_hypertable(connection: AsyncConnection, table: Hypertable) -> None:
    await connection.execute(text(f"SELECT pg_advisory_xact_lock({MIGRATIONS})"))
    if await is_hypertable(connection, table):
        return
    if (await connection.execute(text(f"SELECT EXISTS (SELECT 1 FROM {table.name})"))).scalar_one():
        log.warning("TimescaleDB is there, but %s has rows already and stays a plain table", table.name)
        return
    for statement in create_statements(table):
        await connection.exec_driver_sql(statement)
    try:
        async with connection.begin_nested():
            for statement in compress_statements(table):
                await connection.exec_driver_sql(statement)
    except exc.DBAPIError as error:
        log.warning("TimescaleDB does not compress %s: %s", table.name, _reason(error))


async def _is_there(engine: AsyncEngine) -> bool:
    """A transaction of its own: a server that did not preload the library ends the whole connection."""
    async with engine.begin() as connection:
        installed = (await connection.execute(_AVAILABLE)).scalar()
    if installed is not False:
        return bool(installed)
    try:
        async with engine.begin() as connection:
            await connection.execute(text(f"SELECT pg_advisory_xact_lock({MIGRATIONS})"))
            await connection.execute(_CREATE_EXTENSION)
    except (exc.DBAPIError, OSError) as error:
        log.warning("TimescaleDB is there, but cannot be used: %s; tables are plain", _reason(error))
        return False
    return True


async def is_hypertable(connection: AsyncConnection, table: Hypertable) -> bool:
    if not (await connection.execute(_HAS_CATALOGUE)).scalar_one():
        return False
    return bool((await connection.execute(_IS_HYPERTABLE, {"name": table.name})).scalar_one())


async def bytes_used(connection: AsyncConnection, table: Hypertable) -> int:
    """Of all chunks with their indexes; what chunks that were dropped occupied was given back."""
    return int((await connection.execute(text(f"SELECT coalesce(hypertable_size('{table.name}'), 0)"))).scalar_one())


async def chunk_ends_ms(connection: AsyncConnection, table: Hypertable) -> list[int]:
    """Where its chunks end (excluded), rising."""
    return [int(end) for end in (await connection.execute(_CHUNK_ENDS, {"name": table.name})).scalars()]


async def keep_for(connection: AsyncConnection, table: Hypertable, keep_ms: int | None) -> None:
    """Let its policy drop what is older than that, None: nothing; where it does already, nothing is changed.

    Raises what the driver raises, in the editions that have no policies.
    """
    if (await connection.execute(_DROP_AFTER, {"name": table.name})).scalar() != keep_ms:
        for statement in retention_statements(table, keep_ms):
            await connection.exec_driver_sql(statement)


async def drop_chunks(connection: AsyncConnection, table: Hypertable, before_ms: int) -> int:
    """Drop the chunks that end there or earlier; how many rows they held."""
    held = await connection.execute(
        text(f"SELECT count(*) FROM {table.name} WHERE time < :before"), {"before": before_ms}
    )
    await connection.exec_driver_sql(f"SELECT drop_chunks('{table.name}', older_than => BIGINT '{before_ms}')")
    return int(held.scalar_one())


def _reason(error: BaseException) -> str:
    return (str(getattr(error, "orig", None) or error) or type(error).__name__).splitlines()[0]
