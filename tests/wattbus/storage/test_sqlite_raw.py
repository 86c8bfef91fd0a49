"""Raw messages in one SQLite file: its index, its size, and whoever else has it open."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.wattbus.storage.series import DAY, NOW, raw_records
from wattbus.errors import ConfigError
from wattbus.storage import DatabaseAway, RawStore, Retention, open_raw_reader, open_raw_store


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "raw.db"


@pytest.fixture
async def store(file: Path) -> AsyncIterator[RawStore]:
    opened = await open_raw_store(f"sqlite:///{file}", busy_s=0.1)
    yield opened
    await opened.close()


async def test_the_index_answers(store: RawStore, file: Path) -> None:
    await store.write(raw_records(NOW, 10))
    with contextlib.closing(sqlite3.connect(file)) as database:
        query = "SELECT time FROM raw_messages WHERE connector = 1 AND time >= 5 ORDER BY time, id LIMIT 9"
        plan = " ".join(row[3] for row in database.execute(f"EXPLAIN QUERY PLAN {query}"))
    assert "one_raw_message_per_content (connector=? AND time>?)" in plan
    assert "TEMP B-TREE FOR RIGHT PART OF ORDER BY" in plan  # sorts only what shares a millisecond


# -- reading what somebody else writes --------------------------------------------------------------------------------


async def test_a_reader_changes_nothing_and_needs_no_writer_to_be_away(store: RawStore, file: Path) -> None:
    await store.write(raw_records(NOW, 5))
    reader = await open_raw_reader(f"sqlite:///{file}")
    with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert len(await reader.messages("m")) == 5
        other.execute("ROLLBACK")
    await store.write(raw_records(NOW + DAY, 1))
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


async def test_the_file_shrinks_when_much_was_removed(store: RawStore, file: Path) -> None:
    for day in range(10):
        await store.write(raw_records(NOW + day * DAY, 2000, size=500))
    truncate(file)
    size_before, most = file.stat().st_size, await store.bytes_used() // 2
    await store.retain(Retention(oldest_days=None, most_bytes=most), NOW)
    truncate(file)
    assert file.stat().st_size < size_before * 0.75


@pytest.mark.parametrize("size", [10, 300, 1500, 2500, 3900, 5000, 20_000])
async def test_the_counted_bytes_are_about_those_of_the_file(store: RawStore, file: Path, size: int) -> None:
    for start in range(0, 5_000_000 // (size + 200), 500):
        both = raw_records(NOW + start * 1000, 250, size=size) + raw_records(
            NOW + start * 1000, 250, connector="n", size=size
        )
        await store.write(both)
    truncate(file)
    assert 0.8 < await store.bytes_used() / file.stat().st_size < 1.2


def truncate(file: Path) -> None:
    with contextlib.closing(sqlite3.connect(file)) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
