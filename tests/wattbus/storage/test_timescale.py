"""What is said to TimescaleDB, recorded by a real PostgreSQL that was given its functions and its catalogue.

TimescaleDB itself is not part of these tests: what it makes of these statements they cannot say. Statements of its own
grammar, which PostgreSQL does not read, are taken out before they reach the server and recorded, too.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event

from tests.support.postgres import PostgresServer
from tests.wattbus.storage.series import DAY, NOW, opened, raw_records, readings
from wattbus.storage import Batch, Outcome, Plan, Retention, Written, open_raw_reader, open_raw_store, open_store

STUB = Path(__file__).with_name("timescale_stub.sql").read_text()
WEEK = 7 * DAY
DAYS_ONLY = Retention(oldest_days=30, most_bytes=None)


@pytest.fixture
def database_url(postgres_server: PostgresServer, postgres_url: str) -> str:
    """Of a server that looks as if it had TimescaleDB; our stand-ins come before the real catalogue."""
    name = postgres_url.rpartition("/")[2]
    postgres_server.execute(f"ALTER DATABASE {name} SET search_path = public, pg_catalog")
    postgres_server.execute(STUB, postgres_url)
    return postgres_url


@pytest.fixture
def calls(postgres_server: PostgresServer, database_url: str) -> Any:
    """What was called since the last time."""

    def take() -> list[str]:
        taken = "WITH taken AS (DELETE FROM calls RETURNING n, call) SELECT call FROM taken ORDER BY n"
        return postgres_server.execute(taken, database_url).splitlines()

    return take


@pytest.fixture
def grammar() -> Iterator[list[str]]:
    """Statements that only TimescaleDB reads."""
    seen: list[str] = []

    def take_out(_c: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, _many: Any) -> tuple[str, Any]:
        if "timescaledb.compress" not in statement:
            return statement, parameters
        seen.append(statement)
        return "SELECT 1", ()

    event.listen(Engine, "before_cursor_execute", take_out, retval=True)
    yield seen
    event.remove(Engine, "before_cursor_execute", take_out)


def chunks(server: PostgresServer, url: str, table: str, *ends: int) -> None:
    rows = ", ".join(f"('public', '{table}', {end - WEEK}, {end})" for end in ends)
    server.execute(f"INSERT INTO timescaledb_information.chunks VALUES {rows}", url)


# -- making hypertables -----------------------------------------------------------------------------------------------


async def test_the_tables_become_hypertables_once(database_url: str, calls: Any, grammar: list[str]) -> None:
    async with opened(open_store(database_url)) as store:
        assert await store.write(readings(NOW, 10)) == Written(rows=20)
        assert await store.write(readings(NOW, 11)) == Written(rows=2, redelivered=20)
    assert calls() == [
        "create_hypertable history by time, chunks of 604800000 bigint, default indexes f",
        "set_integer_now_func history wattbus_now_ms",
        "add_compression_policy history 1209600000 bigint",
        "create_hypertable raw_messages by time, chunks of 604800000 bigint, default indexes f",
        "set_integer_now_func raw_messages wattbus_now_ms",
        "add_compression_policy raw_messages 1209600000 bigint",
    ]
    assert grammar == [
        "ALTER TABLE history SET (timescaledb.compress, timescaledb.compress_segmentby = 'datapoint',"
        " timescaledb.compress_orderby = 'time')",
        "ALTER TABLE raw_messages SET (timescaledb.compress, timescaledb.compress_segmentby = 'connector',"
        " timescaledb.compress_orderby = 'time, digest')",
    ]
    async with opened(open_store(database_url)), opened(open_raw_store(database_url)):
        assert calls() == [] and len(grammar) == 2


@pytest.mark.usefixtures("grammar")
async def test_the_now_of_policies_is_in_milliseconds(postgres_server: PostgresServer, database_url: str) -> None:
    async with opened(open_store(database_url)):
        apart = "SELECT abs(wattbus_now_ms() - extract(epoch FROM clock_timestamp()) * 1000) < 5000"
        assert postgres_server.execute(apart, database_url) == "t"


@pytest.mark.usefixtures("grammar")
async def test_tables_that_have_rows_stay_plain_and_that_is_said(
    postgres_server: PostgresServer, database_url: str, calls: Any, caplog: pytest.LogCaptureFixture
) -> None:
    view = (
        "CREATE OR REPLACE VIEW pg_available_extensions AS"
        " SELECT 'timescaledb'::name AS name, '2.17.2'::text AS installed_version WHERE {}"
    )
    postgres_server.execute(view.format("false"), database_url)  # not there yet
    async with opened(open_store(database_url)) as store:
        await store.write(readings(NOW - 60 * DAY, 10))
    assert calls() == [] and caplog.records == []
    postgres_server.execute(view.format("true"), database_url)
    async with opened(open_store(database_url)) as store:
        assert [call for call in calls() if "create" in call and "history" in call] == []
        assert "history has rows already and stays a plain table" in caplog.text
        assert (await store.retain(DAYS_ONLY, NOW)).by_age == 20


async def test_a_role_that_may_not_switch_it_on_works_with_plain_tables(
    postgres_server: PostgresServer, database_url: str, calls: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """The server itself says no to CREATE EXTENSION: it has none of this name."""
    postgres_server.execute(
        "CREATE OR REPLACE VIEW pg_available_extensions AS SELECT 'timescaledb'::name AS name,"
        " NULL::text AS installed_version",
        database_url,
    )
    async with opened(open_store(database_url)) as store:
        assert await store.write(readings(NOW, 10)) == Written(rows=20)
    [line] = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert line.startswith("TimescaleDB is there, but cannot be used: extension ") and line.endswith("tables are plain")
    assert calls() == []


async def test_an_edition_without_compression_works_without(
    database_url: str, calls: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """As the plain server says no to the settings of compression."""
    async with opened(open_store(database_url)) as store:
        assert await store.write(readings(NOW, 10)) == Written(rows=20)
    assert [call.split()[0] for call in calls()] == ["create_hypertable", "set_integer_now_func"] * 2
    assert "TimescaleDB does not compress history: unrecognized parameter namespace" in caplog.text


@pytest.mark.usefixtures("grammar")
async def test_a_table_that_is_not_taken_stays_plain(
    postgres_server: PostgresServer, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    postgres_server.execute("DROP FUNCTION set_integer_now_func", database_url)
    async with opened(open_store(database_url)) as store:
        assert await store.write(readings(NOW - 60 * DAY, 10)) == Written(rows=20)
        assert (await store.retain(DAYS_ONLY, NOW)).by_age == 20
    assert "TimescaleDB does not take history, it stays a plain table: function set_integer_now_func" in caplog.text


# -- retention --------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("grammar")
async def test_the_policy_follows_the_setting(database_url: str, calls: Any) -> None:
    async with opened(open_store(database_url)) as store:
        topic = "m/messages/p-set/value"
        plans = [Plan("setpoint", "m", topic, NOW - 40 * DAY + n, [n]) for n in range(3)]
        await store.write(Batch(plans=plans, outcomes=[Outcome("m", topic, NOW - 40 * DAY, "applied", 1)]))
        calls()
        assert (await store.retain(DAYS_ONLY, NOW)).by_age == 2 + 1  # setpoints and outcomes lie in plain tables
        assert calls() == ["remove_retention_policy history", "add_retention_policy history 2592000000 bigint"]
        await store.retain(DAYS_ONLY, NOW + DAY)
        assert calls() == []
    async with opened(open_store(database_url)) as store, opened(open_raw_store(database_url)) as raw_store:
        await store.retain(DAYS_ONLY, NOW + DAY)
        assert calls() == []
        await store.retain(Retention(oldest_days=0.5, most_bytes=None), NOW)
        assert calls() == ["remove_retention_policy history", "add_retention_policy history 43200000 bigint"]
        await raw_store.retain(DAYS_ONLY, NOW)
        assert calls() == [
            "remove_retention_policy raw_messages",
            "add_retention_policy raw_messages 2592000000 bigint",
        ]
        await store.retain(Retention(oldest_days=None, most_bytes=None), NOW)
        assert calls() == ["remove_retention_policy history"]
        await store.retain(Retention(oldest_days=None, most_bytes=None), NOW)
        assert calls() == []


@pytest.mark.usefixtures("grammar")
async def test_an_edition_without_policies_gets_its_chunks_dropped(
    postgres_server: PostgresServer, database_url: str, calls: Any
) -> None:
    postgres_server.execute("UPDATE edition SET has_policies = false", database_url)
    async with opened(open_store(database_url)) as store:
        await store.write(readings(NOW - 45 * DAY, 10))
        await store.write(readings(NOW, 10))
        chunks(postgres_server, database_url, "history", NOW - 44 * DAY, NOW - 23 * DAY, NOW + DAY)
        calls()
        assert (await store.retain(DAYS_ONLY, NOW)).by_age == 20
        assert calls() == [f"drop_chunks history {NOW - 44 * DAY} bigint"]
        assert (await store.retain(DAYS_ONLY, NOW)).by_age == 0
        assert calls() == []


@pytest.mark.usefixtures("grammar")
async def test_of_too_much_the_oldest_chunks_go_but_never_the_last(
    postgres_server: PostgresServer, database_url: str, calls: Any
) -> None:
    ends = [NOW + week * WEEK for week in range(1, 5)]
    async with opened(open_store(database_url)) as store:
        assert await store.oldest_ms() is None
        for week in range(4):
            await store.write(readings(NOW + week * WEEK, 10))
        chunks(postgres_server, database_url, "history", *ends)
        assert await store.bytes_used() == 80 * 100  # as the stand-in says
        assert await store.oldest_ms() == ends[0] - 1
        calls()
        removed = await store.retain(Retention(oldest_days=None, most_bytes=4000), NOW)
        assert (removed.by_age, removed.by_size, removed.bytes_used) == (0, 40, 4000)
        assert calls() == [f"drop_chunks history {end} bigint" for end in ends[:2]]
        removed = await store.retain(Retention(oldest_days=None, most_bytes=1), NOW)
        assert (removed.by_size, removed.bytes_used) == (20, 2000)
        assert len(await store.values(1)) == 10
        chunks(postgres_server, database_url, "history", NOW * 1000)  # one row came with microseconds
        assert (await store.retain(Retention(oldest_days=None, most_bytes=1), NOW)).by_size == 0


@pytest.mark.usefixtures("grammar")
async def test_raw_messages_of_dropped_chunks_are_not_counted(
    postgres_server: PostgresServer, database_url: str
) -> None:
    async with opened(open_raw_store(database_url)) as raw_store, opened(open_raw_reader(database_url)) as reader:
        await raw_store.write(raw_records(NOW, 10) + raw_records(NOW, 30, connector="a"))
        assert [(c.connector, c.messages, c.bytes_used) for c in await reader.connectors()] == [
            ("a", 30, 3000),
            ("m", 10, 1000),
        ]
        chunks(postgres_server, database_url, "raw_messages", NOW + 5000, NOW + DAY)
        removed = await raw_store.retain(Retention(oldest_days=None, most_bytes=3500), NOW)
        assert (removed.by_size, removed.bytes_used) == (10, 3000)
        assert [(c.connector, c.messages, c.first_ms) for c in await reader.connectors()] == [
            ("a", 25, NOW + 5000),
            ("m", 5, NOW + 5000),
        ]
        assert len(await reader.messages("m")) == 5
