"""The store on PostgreSQL: the two ways of writing, several writers, queries, and the space that is used."""

from __future__ import annotations

import asyncio
import dataclasses
import random
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.support.postgres import PostgresServer
from tests.wattbus.storage.series import DAY, NOW, datapoint, opened, raw_records, reading, readings, values_of, write
from wattbus.errors import ConfigError
from wattbus.storage import (
    Announcement,
    Batch,
    BatchRefused,
    Plan,
    RawRecord,
    RawStore,
    ReadingValues,
    Retention,
    Store,
    Written,
    open_editable_store,
    open_raw_reader,
    open_raw_store,
    open_store,
)
from wattbus.storage.edits import Identity
from wattbus.storage.history_store import HistoryStore


@pytest.fixture
def database_url(postgres_copy: str) -> str:
    return postgres_copy


def number(answer: str) -> int:
    return int(answer or 0)


# -- the two ways of writing ------------------------------------------------------------------------------------------


class Log:
    """What the server was told to do in one database, from now on."""

    def __init__(self, server: PostgresServer, url: str) -> None:
        server.execute(f"ALTER DATABASE {url.rpartition('/')[2]} SET log_statement = 'all'")
        self._server = server
        self._seen = len(server.log)

    def statements(self) -> list[str]:
        """Their first two words, since the last time."""
        text, self._seen = self._server.log[self._seen :], len(self._server.log)
        return [" ".join(words) for words in re.findall(r'LOG:  (?:statement|execute [^:]*): +(\w+) "?(\w+)', text)]


async def test_new_rows_are_copied_and_others_go_by_the_staging_table(
    postgres_server: PostgresServer, database_url: str
) -> None:
    log = Log(postgres_server, database_url)
    async with opened(open_store(database_url)) as store:
        await store.write(readings(NOW, 10))
        log.statements()
        assert await store.write(readings(NOW + DAY, 10)) == Written(rows=20)
        ways = [words for words in log.statements() if words in ("COPY history", "COPY staging", "INSERT INTO")]
        assert ways == ["COPY history"]
        assert await store.write(readings(NOW + DAY, 11)) == Written(rows=2, redelivered=20)
        assert [words for words in log.statements() if words.startswith("COPY")] == ["COPY history", "COPY staging"]
        assert await store.write(readings(NOW + DAY, 12)) == Written(rows=2, redelivered=22)  # a series of repetitions
        assert await store.write(readings(NOW + 2 * DAY, 1)) == Written(rows=2)
        assert await store.write(readings(NOW + 3 * DAY, 1)) == Written(rows=2)  # it has ended
        copies = [words for words in log.statements() if words.startswith("COPY")]
        assert copies == ["COPY staging", "COPY staging", "COPY history"]


async def test_what_is_there_already_is_neither_written_nor_locked_again(
    postgres_server: PostgresServer, store: Store, database_url: str
) -> None:
    await store.write(readings(NOW, 100))
    await store.write(readings(NOW, 101))  # the attempt to copy leaves its trace once
    places = "SELECT string_agg(ctid::text || xmin::text || xmax::text, ' ' ORDER BY datapoint, time) FROM history"
    before = postgres_server.execute(places, database_url)
    assert await store.write(readings(NOW, 101)) == Written(redelivered=202)
    assert postgres_server.execute(places, database_url) == before


async def test_a_batch_is_written_in_the_order_of_datapoint_and_time(
    postgres_server: PostgresServer, store: Store, database_url: str
) -> None:
    await store.write(readings(NOW, 50))
    order = "SELECT string_agg(datapoint::text, '' ORDER BY ctid) FROM history"
    assert postgres_server.execute(order, database_url) == "1" * 50 + "2" * 50


async def test_a_commit_stands_behind_a_receipt_whatever_the_servers_default(
    postgres_server: PostgresServer, database_url: str
) -> None:
    postgres_server.execute(f"ALTER DATABASE {database_url.rpartition('/')[2]} SET synchronous_commit = off")
    async with opened(open_store(database_url)) as store:
        assert isinstance(store, HistoryStore)

        async def ask(connection: Any) -> Any:
            return (await connection.exec_driver_sql("SHOW synchronous_commit")).scalar_one()

        assert await store._engine.write(ask) == "on"


# -- several writers --------------------------------------------------------------------------------------------------


async def test_two_histories_and_the_api_write_at_once(database_url: str) -> None:
    """Of disjoint connectors, all of them making datapoints, and the API the same ones as history."""
    async with (
        opened(open_store(database_url)) as first,
        opened(open_store(database_url)) as second,
        opened(open_editable_store(database_url)) as api,
    ):
        await write(first, ReadingValues("a", NOW - 1, {"known": 0}))
        known = (await datapoint(first, "known")).id

        async def record(store: Store, connector: str) -> Written:
            total = Written()
            for n in range(30):
                values = {f"{key} {n // 5}": n for key in "zyxabc"}
                topic = f"{connector}/messages/{n}-set/value"
                total += await store.write(
                    Batch(
                        announcements=[Announcement(connector, "actuator", f"pump {n}", topic)],
                        values=[ReadingValues(connector, NOW + n, {**values, "known": n})],
                        plans=[Plan("setpoint", connector, topic, NOW + n, [n])],
                    )
                )
            return total

        async def edit() -> None:
            for n in range(30):
                await api.edits.make({Identity("a", "sensor", f"{key} {n // 5}"): None for key in "abcxyz"})
                await api.corrections.put_values(known, {NOW + m: m for m in range(n, n + 5)})
                await api.corrections.put_plans("schedule", known, {NOW + m: [n] for m in range(5)})

        one, two, _ = await asyncio.gather(record(first, "a"), record(second, "b"), edit())
        assert one.rows + one.redelivered + one.conflicts == 30 * 8
        assert two == Written(rows=30 * 8)
        datapoints = [(row.connector, row.key) for row in await api.history.datapoints()]
        assert len(datapoints) == len(set(datapoints)) == 2 * (36 + 1 + 30)
        assert len(await api.history.values(known)) == 1 + 34


async def test_late_rows_of_one_datapoint_by_two_writers_in_opposite_orders(database_url: str) -> None:
    async with opened(open_store(database_url)) as first, opened(open_store(database_url)) as second:
        forth = [reading(NOW + n, a=n, b=n) for n in range(500)]
        for _ in range(5):
            await asyncio.gather(write(first, *forth), write(second, *forth[::-1]))
        assert len(await values_of(first, "a")) == 500


async def test_two_histories_keep_one_table_within_bounds_at_once(database_url: str) -> None:
    async with opened(open_store(database_url)) as first, opened(open_store(database_url)) as second:
        for day in range(4):
            await first.write(readings(NOW + day * DAY, 3000))
        most = await first.bytes_used() * 2 // 3
        bounds = Retention(oldest_days=3, most_bytes=most)
        removed = await asyncio.gather(*(store.retain(bounds, NOW + 4 * DAY) for store in (first, second)))
        assert sorted(one.by_age for one in removed) == [0, 6000]
        assert 0.6 * most < await first.bytes_used() <= most
        assert (await second.retain(bounds, NOW + 9 * DAY)).by_age > 0  # the lock was given back


# -- what does not fit ------------------------------------------------------------------------------------------------


async def test_what_never_fits_is_refused_and_the_store_stays_sound(store: Store) -> None:
    await write(store, reading(NOW, a=1))
    too_long = "".join(chr(0x4E00 + n * 7919 % 20_000) for n in range(3000))  # longer than an index takes
    for batch in (
        Batch(values=[reading(NOW + 1, a=2, **{too_long: 1})]),
        Batch(values=[reading(2**63, a=2)]),
        Batch(values=[reading(NOW + 1, a=2), ReadingValues("half a \ud800 pair", NOW, {"a": 1})]),
    ):
        with pytest.raises(BatchRefused):
            await store.write(batch)
    assert await write(store, reading(NOW, a=1), reading(NOW + 1, a=2)) == Written(rows=1, redelivered=1)


async def test_a_database_that_cannot_keep_every_text_is_a_wrong_setting(postgres_server: PostgresServer) -> None:
    postgres_server.execute("CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    with pytest.raises(ConfigError, match=r"^DATABASE_URL: the database's encoding is LATIN1"):
        await open_store(postgres_server.url("latin"))
    postgres_server.drop_database(postgres_server.url("latin"))


# -- queries ----------------------------------------------------------------------------------------------------------


@pytest.fixture
async def full(postgres_server: PostgresServer, store: Store, raw_store: RawStore, database_url: str) -> str:
    """A database in which looking at everything would be the wrong way."""
    await store.write(Batch(values=[ReadingValues("m", NOW, {f"k{n}": n for n in range(200)})]))
    postgres_server.execute(
        f"INSERT INTO history (datapoint, time, number, is_integer) SELECT d, {NOW} + t * 60000, t, 0"
        " FROM generate_series(1, 1000) AS t, generate_series(1, 200) AS d; ANALYZE history",
        database_url,
    )
    await raw_store.write(raw_records(NOW, 1))
    postgres_server.execute(
        "INSERT INTO raw_messages (connector, time, digest, message) SELECT 1 + n % 20, n, n, repeat('x', 100)"
        " FROM generate_series(1, 50000) AS n; ANALYZE raw_messages",
        database_url,
    )
    return database_url


async def test_the_index_answers(postgres_server: PostgresServer, full: str) -> None:
    month = f"h.time BETWEEN {NOW} AND {NOW + 1000 * 60000}"
    for query, index in {
        # as a dashboard asks
        "SELECT to_timestamp(h.time / 1000.0) AS time, h.number FROM history h JOIN datapoints d ON d.id = h.datapoint"
        f" WHERE d.connector = 'm' AND d.key = 'k7' AND {month} ORDER BY h.time": "history_pkey",
        "SELECT d.key, h.number FROM datapoints d CROSS JOIN LATERAL (SELECT number FROM history WHERE datapoint = d.id"
        " ORDER BY time DESC LIMIT 1) h WHERE d.connector = 'm'": "history_pkey",
        "SELECT time FROM raw_messages WHERE connector = 1 AND time >= 5 ORDER BY time, id LIMIT 9": "one_raw_message",
        "SELECT max(time) FROM raw_messages WHERE connector = 1": "one_raw_message",
    }.items():
        plan = postgres_server.execute(f"EXPLAIN {query}", full)
        assert index in plan and "Seq Scan on history" not in plan and "Seq Scan on raw" not in plan, plan


async def test_the_stores_own_queries_use_the_index(
    postgres_server: PostgresServer, full: str, store: Store, raw_store: RawStore
) -> None:
    scans = "SELECT relname || ' ' || seq_scan FROM pg_stat_user_tables WHERE relname IN ('history', 'raw_messages')"
    before = await settled(postgres_server, scans, full)
    last = await store.last_values(range(1, 201))
    assert len(last) == 200 and {value.timestamp_ms for value in last.values()} == {NOW + 1000 * 60000}
    assert len(await store.values(7, newest_first=True, at_most=5)) == 5
    assert len(await store.aggregate(7, 900_000, "avg")) == 68
    assert len(await store.aggregate(7, 900_000, "last")) == 68
    assert await store.oldest_ms() == NOW
    assert len(await raw_store.messages("m", at_most=3, newest_first=True)) == 3
    await raw_store.connectors()
    await store.retain(Retention(oldest_days=1, most_bytes=None), NOW + DAY + 60_000)
    await raw_store.retain(Retention(oldest_days=1, most_bytes=None), NOW)
    assert await settled(postgres_server, scans, full) == before


async def settled(server: PostgresServer, query: str, url: str) -> str:
    """The answer when the server's counters, which come a moment later, have stopped to change."""
    answer, again = "", server.execute(query, url)
    while answer != again:
        await asyncio.sleep(1.1)
        answer, again = again, server.execute(query, url)
    return answer


# -- space ------------------------------------------------------------------------------------------------------------


async def test_the_bytes_used_are_about_those_on_the_disk_without_what_was_deleted(
    postgres_server: PostgresServer, store: Store, database_url: str
) -> None:
    postgres_server.execute("ALTER TABLE history SET (autovacuum_enabled = off)", database_url)
    postgres_server.execute(
        "INSERT INTO history (datapoint, time, number, is_integer, json_value) SELECT d, t, t, 0,"
        " CASE WHEN t % 50 = 0 THEN repeat(md5(t::text), 100) END"  # some large enough to be compressed
        " FROM generate_series(1, 4000) AS t, generate_series(1, 100) AS d",
        database_url,
    )
    on_disk = number(postgres_server.execute("SELECT pg_total_relation_size('history')", database_url))
    full = await store.bytes_used()
    assert 0.9 < full / on_disk < 1.1
    postgres_server.execute("DELETE FROM history WHERE time <= 3000", database_url)
    assert 0.22 < await store.bytes_used() / full < 0.28
    postgres_server.execute("VACUUM history", database_url)
    assert 0.22 < await store.bytes_used() / full < 0.28
    assert number(postgres_server.execute("SELECT pg_total_relation_size('history')", database_url)) > 0.9 * on_disk


@pytest.mark.parametrize("size", [10, 1500, 1980, 5000])
@pytest.mark.parametrize("compressible", [False, True])
async def test_the_counted_bytes_of_raw_messages_are_about_those_on_the_disk(
    postgres_server: PostgresServer, raw_store: RawStore, database_url: str, size: int, compressible: bool
) -> None:
    compressed = compressible and size > 1900
    for start in range(0, 2_500 if compressed else 3_000_000 // (size + 200), 500):
        for connector in ("m", "n"):
            records = raw_records(NOW + start * 1000, 250, connector=connector, size=size)
            await raw_store.write(records if compressible else [noise(record, size) for record in records])
    on_disk = number(postgres_server.execute("SELECT pg_total_relation_size('raw_messages')", database_url))
    assert 0.8 < await raw_store.bytes_used() / on_disk < 1.2


def noise(record: RawRecord, size: int) -> RawRecord:
    text = random.Random(record.timestamp_ms).randbytes(size).hex()[:size]
    return dataclasses.replace(record, message=f'"{text}"')


# -- rights -----------------------------------------------------------------------------------------------------------


@pytest.fixture
async def owned(postgres_server: PostgresServer) -> AsyncIterator[str]:
    """A database of a role that may do nothing but own it."""
    postgres_server.execute("CREATE ROLE plain LOGIN PASSWORD 'p'")
    postgres_server.execute("CREATE DATABASE owned OWNER plain")
    yield postgres_server.url("owned", "plain", "p")
    postgres_server.drop_database(postgres_server.url("owned"))
    postgres_server.execute("DROP ROLE plain")


async def test_a_role_that_owns_the_database_can_do_everything(owned: str) -> None:
    async with opened(open_store(owned)) as store, opened(open_raw_store(owned)) as raw_store:
        await store.write(readings(NOW - 3 * DAY, 10))
        assert await store.write(readings(NOW - 3 * DAY, 11)) == Written(rows=2, redelivered=20)
        assert (await store.retain(Retention(oldest_days=1), NOW)).by_age == 22
        await raw_store.write(raw_records(NOW - 3 * DAY, 5))
        assert (await raw_store.retain(Retention(oldest_days=1), NOW)).by_age == 5


async def test_a_role_that_may_only_read_reads(postgres_server: PostgresServer, owned: str) -> None:
    async with opened(open_raw_store(owned)) as raw_store:
        await raw_store.write(raw_records(NOW, 5))
    postgres_server.execute("CREATE ROLE looker LOGIN PASSWORD 'p'")
    postgres_server.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO looker", owned)
    async with opened(open_raw_reader(postgres_server.url("owned", "looker", "p"))) as reader:
        assert len(await reader.messages("m")) == 5
    postgres_server.execute("DROP OWNED BY looker", owned)
    postgres_server.execute("DROP ROLE looker")
