"""The store on SQLite: two levels, retention, migrations, and a database that is away."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.wattbus.storage.series import DAY, NOW, readings
from wattbus.errors import ConfigError
from wattbus.storage import (
    Batch,
    DatabaseAway,
    ReadingValues,
    Retention,
    Store,
    Written,
    open_store,
)
from wattbus.storage.history_store import HistoryStore
from wattbus.storage.sqlite import two_level_table


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "history.db"


@pytest.fixture
def database_url(file: Path) -> str:
    return f"sqlite:///{file}"


@contextlib.contextmanager
def beside(file: Path) -> Iterator[sqlite3.Connection]:
    """A second connection to the file, as another process has."""
    with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as connection:
        yield connection


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
    monkeypatch.setattr(two_level_table, "ROWS_BEFORE_MERGE", 20)
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


async def test_the_watermark_follows_a_clock_back_that_was_years_ahead(store: Store, file: Path) -> None:
    """Else each row would be written to its place in a large table by itself until that year has come."""
    ahead = NOW + 3650 * DAY
    await store.write(readings(ahead - 60_000, 10))
    await store.tidy(ahead - 300_000)
    await store.tidy(ahead)
    assert (count(file, "recent"), count(file, "history")) == (0, 20)
    await store.tidy(NOW)  # the clock is right again
    await store.write(readings(NOW + 1000, 10))
    assert (count(file, "recent"), count(file, "history")) == (20, 20)
    await store.close()
    again = await open_store(f"sqlite:///{file}")
    await again.write(readings(NOW + 20_000, 10))
    assert (count(file, "recent"), count(file, "history")) == (40, 20)
    await again.tidy(NOW)
    await again.tidy(NOW + DAY)
    assert (count(file, "recent"), count(file, "history")) == (0, 60)
    await again.close()


@settings(max_examples=30, deadline=None)
@given(
    steps=st.lists(
        st.one_of(
            st.lists(st.tuples(st.integers(0, 400), st.integers(0, 3)), min_size=1, max_size=20),  # (time, value)
            st.lists(st.tuples(st.integers(0, 20), st.integers(0, 3)), min_size=1, max_size=1),
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
                rows = [(300_000 + time // 3 * 3000 + time % 3, value) for time, value in step]
                total += await store.write(Batch(values=[ReadingValues("m", at, {"a": value}) for at, value in rows]))
                for at, value in rows:
                    while expected.setdefault(at, value) != value:
                        at += 1
        stored = [(value.timestamp_ms, value.value) for value in await store.values(1)]
        assert len(dict(stored)) == len(stored), "one of them is on both levels"
        assert total.rows + total.conflicts == len(stored)
        if all(len(step) == 1 for step in steps if not isinstance(step, int)):
            assert stored == sorted(expected.items())
        assert {at - at % 1000 for at, _ in stored} == {at - at % 1000 for at in expected}
        await store.close()

    asyncio.run(play())


# -- retention --------------------------------------------------------------------------------------------------------


async def test_the_file_shrinks_when_much_was_removed(store: Store, file: Path) -> None:
    for day in range(10):
        await store.write(readings(NOW + day * DAY, 5000, a="x" * 50, b=day))
    await store.tidy(NOW + 10 * DAY)
    await store.tidy(NOW + 11 * DAY)
    truncate_log(file)
    before, size_before = await store.bytes_used(), file.stat().st_size
    await store.retain(Retention(oldest_days=None, most_bytes=before // 2), NOW)
    truncate_log(file)
    assert file.stat().st_size < size_before * 0.75


def truncate_log(file: Path) -> None:
    with beside(file) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")


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
    assert isinstance(store, HistoryStore)
    await store.write(readings(NOW, 1))
    await limit_pages(store, 40)
    with pytest.raises(DatabaseAway, match="full"):
        await store.write(readings(NOW + DAY, 10_000, a=1, brand_new="x" * 100))
    assert count(file, "recent") == 2
    assert len(await store.datapoints()) == 2
    await limit_pages(store, 1_000_000)
    assert await store.write(readings(NOW + DAY, 1000, a=1, brand_new="x")) == Written(rows=2000)


async def limit_pages(store: HistoryStore, pages: int) -> None:
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
