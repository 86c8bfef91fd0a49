"""Raw messages in the database: pages, lists, retention, and beside history's tables."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from wattbus.errors import ConfigError
from wattbus.storage import (
    Batch,
    DatabaseAway,
    RawConnector,
    RawReader,
    RawRecord,
    RawStore,
    ReadingValues,
    Retention,
    Span,
    StoredRawMessage,
    Written,
    open_raw_reader,
    open_raw_store,
    open_store,
    raw_retention,
)

NOW = 1_700_000_000_000
DAY = 86_400_000


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "raw.db"


@pytest.fixture
async def store(file: Path) -> AsyncIterator[RawStore]:
    opened = await open_raw_store(f"sqlite:///{file}", busy_s=0.1)
    yield opened
    await opened.close()


def records(start: int, number: int, step: int = 1000, connector: str = "m", size: int = 10) -> list[RawRecord]:
    return [RawRecord(connector, start + n * step, f'"{n:0{size}}"', "0.1.0") for n in range(number)]


async def everything(reader: RawReader, connector: str, page: int, newest_first: bool) -> list[StoredRawMessage]:
    found: list[StoredRawMessage] = []
    while part := await reader.messages(
        connector, at_most=page, newest_first=newest_first, after=found[-1].cursor if found else None
    ):
        found += part
    return found


# -- writing and reading ----------------------------------------------------------------------------------------------


async def test_pages_give_each_message_once_also_within_one_millisecond(store: RawStore) -> None:
    written = [RawRecord("m", NOW + n // 7, str(n)) for n in range(100)]
    await store.write(written[50:])
    await store.write(written[:50])  # late
    await store.write([RawRecord("other", NOW, "0")])
    for page in (1, 3, 1000):
        forth = await everything(store, "m", page, newest_first=False)
        assert [m.timestamp_ms for m in forth] == [record.timestamp_ms for record in written]
        assert {m.message for m in forth} == {record.message for record in written}
        assert await everything(store, "m", page, newest_first=True) == forth[::-1]


async def test_a_span_begins_with_its_start_and_ends_before_its_end(store: RawStore) -> None:
    await store.write(records(NOW, 10))
    found = await store.messages("m", Span(NOW + 2000, NOW + 5000))
    assert [m.timestamp_ms - NOW for m in found] == [2000, 3000, 4000]
    assert await store.messages("m", Span(NOW + 2000, NOW + 5000), after=found[1].cursor) == found[2:]
    assert await store.messages("nobody") == []


async def test_connectors_are_listed_with_what_they_have(store: RawStore) -> None:
    assert await store.connectors() == []
    assert await store.write(records(NOW, 5) + records(NOW, 3, connector="a")) == Written(rows=8)
    again = [*records(NOW, 5), RawRecord("m", NOW + 5000, "5")]
    assert await store.write(again) == Written(rows=1, redelivered=5)
    a, m = await store.connectors()
    assert a == RawConnector("a", 3, NOW, NOW + 2000, a.bytes_used)
    assert (m.messages, m.first_ms, m.last_ms) == (6, NOW, NOW + 5000)
    assert await store.write(again) == Written(redelivered=6)
    assert await store.connectors() == [a, m]


async def test_the_index_answers(store: RawStore, file: Path) -> None:
    await store.write(records(NOW, 10))
    with contextlib.closing(sqlite3.connect(file)) as database:
        query = "SELECT time FROM raw_messages WHERE connector = 1 AND time >= 5 ORDER BY time, id LIMIT 9"
        plan = " ".join(row[3] for row in database.execute(f"EXPLAIN QUERY PLAN {query}"))
    assert "one_raw_message_per_content (connector=? AND time>?)" in plan
    assert "TEMP B-TREE FOR RIGHT PART OF ORDER BY" in plan  # sorts only what shares a millisecond


# -- reading what somebody else writes --------------------------------------------------------------------------------


async def test_a_reader_changes_nothing_and_needs_no_writer_to_be_away(store: RawStore, file: Path) -> None:
    await store.write(records(NOW, 5))
    reader = await open_raw_reader(f"sqlite:///{file}")
    with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert len(await reader.messages("m")) == 5
        other.execute("ROLLBACK")
    await store.write(records(NOW + DAY, 1))
    assert len(await reader.messages("m")) == 6
    await reader.close()


async def test_a_reader_makes_no_database_and_says_what_it_misses(tmp_path: Path, file: Path) -> None:
    with pytest.raises(DatabaseAway, match="there is no file"):
        await open_raw_reader(f"sqlite:///{file}")
    assert not file.exists()
    sqlite3.connect(file).execute("CREATE TABLE something (else_ TEXT)").connection.close()
    with pytest.raises(DatabaseAway, match="no raw messages"):
        await open_raw_reader(f"sqlite:///{file}")
    await (await open_raw_store(f"sqlite:///{tmp_path / 'new.db'}")).close()
    with contextlib.closing(sqlite3.connect(tmp_path / "new.db", isolation_level=None)) as database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(ConfigError, match="schema 9999"):
        await open_raw_reader(f"sqlite:///{tmp_path / 'new.db'}")


# -- retention --------------------------------------------------------------------------------------------------------


async def test_what_is_too_old_goes(store: RawStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(raw_retention, "ROWS_PER_STEP", 7)
    await store.write(records(NOW - 3 * DAY, 50) + records(NOW - 3 * DAY, 21, connector="gone") + records(NOW, 20))
    removed = await store.retain(Retention(oldest_days=2, most_bytes=None), NOW)
    assert (removed.by_age, removed.by_size) == (71, 0)
    [left] = await store.connectors()
    assert (left.connector, left.messages, left.first_ms) == ("m", 20, NOW)
    assert removed.bytes_used == await store.bytes_used() == left.bytes_used
    assert (await store.retain(Retention(oldest_days=None, most_bytes=None), NOW + 9 * DAY)).by_age == 0


async def test_of_too_much_the_oldest_of_all_connectors_go_and_the_file_shrinks(store: RawStore, file: Path) -> None:
    for day in range(10):
        for connector in ("a", "b"):
            await store.write(records(NOW + day * DAY, 1000, connector=connector, size=500))
    await store.write([RawRecord("rare", 5, "1"), RawRecord("future", NOW + 3650 * DAY, "1")])
    truncate(file)
    size_before, most = file.stat().st_size, await store.bytes_used() // 2
    removed = await store.retain(Retention(oldest_days=None, most_bytes=most), NOW)
    assert most * 0.8 < removed.bytes_used <= most
    found = {known.connector: known for known in await store.connectors()}
    assert found.keys() == {"a", "b", "future"}
    assert abs(found["a"].first_ms - found["b"].first_ms) < DAY
    assert found["a"].last_ms == NOW + 9 * DAY + 999_000
    truncate(file)
    assert file.stat().st_size < size_before * 0.75
    assert (await store.retain(Retention(oldest_days=None, most_bytes=most), NOW)).by_size == 0


@pytest.mark.parametrize("size", [10, 300, 1500, 2500, 3900, 5000, 20_000])
async def test_the_counted_bytes_are_about_those_of_the_file(store: RawStore, file: Path, size: int) -> None:
    for start in range(0, 5_000_000 // (size + 200), 500):
        both = records(NOW + start * 1000, 250, size=size) + records(NOW + start * 1000, 250, connector="n", size=size)
        await store.write(both)
    truncate(file)
    assert 0.8 < await store.bytes_used() / file.stat().st_size < 1.2


def truncate(file: Path) -> None:
    with contextlib.closing(sqlite3.connect(file)) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")


# -- beside history ---------------------------------------------------------------------------------------------------


async def test_raw_messages_do_not_cost_history_its_values_in_a_shared_database(store: RawStore, file: Path) -> None:
    history = await open_store(f"sqlite:///{file}")
    await history.write(Batch(values=[ReadingValues("m", NOW + n, {"a": n}) for n in range(1000)]))
    alone = await history.bytes_used()
    await store.write(records(NOW, 5000, size=500))
    most = alone + await store.bytes_used() // 5  # they are counted with an error
    removed = await history.retain(Retention(oldest_days=None, most_bytes=most), NOW)
    assert removed.by_size == 0
    removed = await store.retain(Retention(oldest_days=1, most_bytes=None), NOW + 9 * DAY)
    assert (removed.by_age, removed.bytes_used) == (5000, 0)
    assert len(await history.values(1)) == 1000
    await history.close()
