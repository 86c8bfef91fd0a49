"""The store on SQLite: two levels, retention, migrations, and a database that is away."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine

from wattbus.errors import ConfigError
from wattbus.storage import (
    Batch,
    DatabaseAway,
    Outcome,
    Plan,
    ReadingValues,
    Retention,
    SessionState,
    Store,
    Written,
    levels,
    open_store,
)
from wattbus.storage.schema import metadata
from wattbus.storage.sqlite import SqliteStore

NOW = 1_700_000_000_000
DAY = 86_400_000


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "history.db"


@contextlib.contextmanager
def beside(file: Path) -> Iterator[sqlite3.Connection]:
    """A second connection to the file, as another process has."""
    with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as connection:
        yield connection


def readings(start: int, number: int, step: int = 1000, **values: Any) -> Batch:
    return Batch(values=[ReadingValues("m", start + n * step, values or {"a": n, "b": n / 7}) for n in range(number)])


def count(file: Path, table: str) -> int:
    with beside(file) as database:
        return int(database.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


# -- two levels -------------------------------------------------------------------------------------------------------


async def test_a_merge_is_due_after_many_rows_or_five_minutes(
    store: Store, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.write(readings(NOW, 10))
    await store.tidy(NOW + DAY)
    assert count(file, "recent") == 20
    await store.tidy(NOW + DAY + 299_999)
    assert count(file, "history") == 0
    await store.tidy(NOW + DAY + 300_000)
    assert (count(file, "recent"), count(file, "history")) == (0, 20)
    monkeypatch.setattr(levels, "ROWS_BEFORE_MERGE", 20)
    await store.write(readings(NOW + 2 * DAY, 10))
    await store.tidy(NOW + 3 * DAY)
    assert (count(file, "recent"), count(file, "history")) == (0, 40)


async def test_late_rows_go_to_history_directly_and_the_watermark_survives(store: Store, file: Path) -> None:
    await store.write(readings(NOW, 10))
    await store.tidy(NOW + DAY)
    await store.tidy(NOW + 2 * DAY)
    await store.close()
    again = await open_store(f"sqlite:///{file}")
    await again.write(readings(NOW - DAY, 5))
    assert (count(file, "recent"), count(file, "history")) == (0, 30)
    await again.close()


@settings(max_examples=30, deadline=None)
@given(
    steps=st.lists(
        st.one_of(
            st.lists(st.tuples(st.integers(0, 400), st.integers(0, 3)), min_size=1, max_size=20),  # (time, value)
            st.integers(0, 400),  # a merge at this clock
        ),
        max_size=12,
    )
)
def test_no_row_is_ever_in_both_levels_or_lost(steps: list[Any], tmp_path_factory: pytest.TempPathFactory) -> None:
    file = tmp_path_factory.mktemp("levels") / "history.db"

    async def play() -> None:
        store = await open_store(f"sqlite:///{file}")
        expected: dict[int, int] = {}
        total = Written()
        for step in steps:
            if isinstance(step, int):
                await store.tidy(0)
                await store.tidy(300_000 + step * 1000)
            else:
                batch = Batch(values=[ReadingValues("m", 300_000 + time * 1000, {"a": value}) for time, value in step])
                total += await store.write(batch)
                expected.update(step)
        stored = [((value.timestamp_ms - 300_000) // 1000, value.value) for value in await store.values(1)]
        assert stored == sorted(expected.items())
        assert total.rows == len(expected)
        await store.close()

    asyncio.run(play())


# -- retention --------------------------------------------------------------------------------------------------------


async def test_what_is_too_old_goes_on_both_levels(store: Store, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wattbus.storage.retention.ROWS_PER_STEP", 7)
    await store.write(readings(NOW - 3 * DAY, 50))
    await store.tidy(NOW - DAY)
    await store.tidy(NOW)
    await store.write(readings(NOW - 3 * DAY + 500, 30))  # late
    await store.write(readings(NOW, 20))
    topic = "m/messages/p-set/value"
    plans = [Plan("setpoint", "m", topic, NOW - 5 * DAY + n, [n]) for n in range(3)]
    outcomes = [Outcome("m", topic, NOW - 5 * DAY, "applied", 1), Outcome("m", topic, NOW, "applied", 1)]
    await store.write(Batch(plans=plans, outcomes=outcomes))
    removed = await store.retain(Retention(oldest_days=2, most_bytes=None), NOW)
    assert removed.by_age == 2 * 80 + 2 + 1
    assert [v.timestamp_ms for v in await store.values(1)] == [NOW + n * 1000 for n in range(20)]
    assert [plan.items for plan in await store.plans("setpoint", 3)] == [[2]]  # still in force
    assert [outcome.timestamp_ms for outcome in await store.outcomes(3)] == [NOW]
    assert (await store.retain(Retention(oldest_days=2, most_bytes=None), NOW)).by_age == 0
    removed = await store.retain(Retention(oldest_days=2, most_bytes=None), NOW + 3 * DAY)  # those in recent
    assert removed.by_age == 2 * 20 + 1


async def test_the_oldest_go_when_it_is_too_much_and_the_file_shrinks(store: Store, file: Path) -> None:
    for day in range(10):
        await store.write(readings(NOW + day * DAY, 5000, a="x" * 50, b=day))
    await store.tidy(NOW + 10 * DAY)
    await store.tidy(NOW + 11 * DAY)
    with beside(file) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    before, size_before = await store.bytes_used(), file.stat().st_size
    most = before // 2
    removed = await store.retain(Retention(oldest_days=None, most_bytes=most), NOW)
    assert removed.by_size > 0 and removed.by_age == 0
    assert most * 0.7 < removed.bytes_used <= most
    times = [value.timestamp_ms for value in await store.values(1)]
    assert times[-1] == NOW + 9 * DAY + 4999 * 1000
    assert times[0] > NOW + 3 * DAY
    assert len(times) + len(await store.values(2)) == 100_000 - removed.by_size
    with beside(file) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert file.stat().st_size < size_before * 0.75
    assert (await store.retain(Retention(oldest_days=None, most_bytes=most), NOW)).by_size == 0


async def test_one_row_from_1970_does_not_cost_the_rest(store: Store) -> None:
    await store.write(readings(0, 1))
    for day in range(4):
        await store.write(readings(NOW + day * DAY, 5000, a="x" * 50))
    used = await store.bytes_used()
    removed = await store.retain(Retention(oldest_days=None, most_bytes=used * 9 // 10), NOW)
    assert 0 < removed.by_size < 8000


async def test_silent_sessions_are_forgotten(store: Store) -> None:
    old = SessionState("m", "0" * 16, 1, (), (), NOW - 40 * DAY, NOW - 31 * DAY)
    young = SessionState("m", "1" * 16, 1, (), (), NOW - 40 * DAY, NOW - 29 * DAY)
    await store.write(Batch(sessions=[old, young]))
    await store.retain(Retention(), NOW)
    assert await store.recent_sessions(0) == [young]


async def test_writing_goes_on_while_retention_works(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wattbus.storage.retention.ROWS_PER_STEP", 10)
    await store.write(readings(NOW - 3 * DAY, 3000))
    await store.tidy(NOW - DAY)
    await store.tidy(NOW)
    retaining = asyncio.create_task(store.retain(Retention(oldest_days=1, most_bytes=None), NOW))
    written = 0
    while not retaining.done():
        written += (await store.write(readings(NOW + written, 1))).rows
    assert written > 20
    assert (await retaining).by_age == 6000


# -- away -------------------------------------------------------------------------------------------------------------


async def test_a_locked_database_is_away_and_works_again_afterwards(store: Store, file: Path) -> None:
    await store.write(readings(NOW, 1))
    with beside(file) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(DatabaseAway, match="locked"):
            await store.write(readings(NOW + 5000, 1, new=1))
        assert len(await store.values(1)) == 1  # reading goes on
        other.execute("ROLLBACK")
    assert await store.write(readings(NOW + 5000, 1, new=1)) == Written(rows=1)


async def test_a_full_database_keeps_nothing_of_the_batch_and_works_again_afterwards(store: Store, file: Path) -> None:
    assert isinstance(store, SqliteStore)
    await store.write(readings(NOW, 1))
    await limit_pages(store, 40)
    with pytest.raises(DatabaseAway, match="full"):
        await store.write(readings(NOW + DAY, 10_000, a=1, brand_new="x" * 100))
    assert count(file, "recent") == 2
    assert len(await store.datapoints()) == 2
    await limit_pages(store, 1_000_000)
    assert await store.write(readings(NOW + DAY, 1000, a=1, brand_new="x")) == Written(rows=2000)


async def limit_pages(store: SqliteStore, pages: int) -> None:
    """What a full disk is to SQLite, for this one connection."""

    async def work(connection: Any) -> None:
        await connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")

    await store._engine.write(work)


async def test_a_file_that_is_no_database_and_a_folder_that_cannot_be_made_are_away(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("this is not a database, but long enough to look like one" * 100)
    with pytest.raises(DatabaseAway, match="not a database"):
        await open_store(f"sqlite:///{tmp_path / 'text'}")
    with pytest.raises(DatabaseAway):
        await open_store(f"sqlite:///{tmp_path / 'text' / 'below' / 'history.db'}")


@pytest.mark.parametrize("url", ["", "history.db", "sqlite://", "sqlite:///:memory:", "mysql://host/db"])
async def test_a_url_that_cannot_be_meant_is_a_wrong_setting(url: str) -> None:
    with pytest.raises(ConfigError, match="DATABASE_URL"):
        await open_store(url)


# -- migrations -------------------------------------------------------------------------------------------------------


async def test_the_migrations_make_the_schema_that_the_code_uses(store: Store, file: Path) -> None:
    engine = create_engine(f"sqlite:///{file}")
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    engine.dispose()
    with beside(file) as database:
        layouts = dict(database.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table'"))
        assert "PRIMARY KEY (time, datapoint)" in layouts["recent"] and "WITHOUT ROWID" in layouts["recent"]
        assert "PRIMARY KEY (datapoint, time)" in layouts["history"] and "WITHOUT ROWID" in layouts["history"]
        assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert database.execute("PRAGMA auto_vacuum").fetchone() == (2,)


async def test_a_newer_schema_is_refused_and_left_alone(store: Store, file: Path) -> None:
    await store.write(readings(NOW, 1))
    await store.close()
    with beside(file) as database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(ConfigError, match=r"schema 9999.*none newer than \d{4}"):
        await open_store(f"sqlite:///{file}")
    assert count(file, "recent") == 2


async def test_two_services_open_one_new_database_at_once(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'shared.db'}"
    first, second = await asyncio.gather(open_store(url), open_store(url))
    await first.write(readings(NOW, 1, a=1))
    await second.write(readings(NOW, 1, a=1, b=2))
    assert len(await first.datapoints()) == 2
    await first.write(readings(NOW + 1, 1, b=3))
    assert [value.value for value in await second.values(2)] == [2, 3]
    await first.tidy(NOW + DAY)
    await first.tidy(NOW + 2 * DAY)
    assert await second.write(readings(NOW, 1, a=1, b=2)) == Written(redelivered=2)
    assert count(tmp_path / "shared.db", "recent") == 0
    await first.close()
    await second.close()
