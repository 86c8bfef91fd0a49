"""A database that goes away and comes back, as a service that writes sees it."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.wattbus.storage.series import NOW, reading
from wattbus.recording.database_session import Database, DatabaseProof
from wattbus.service import health
from wattbus.service.status_publisher import StatusPublisher
from wattbus.storage import Batch, DatabaseAway, Store, Written, open_store
from wattbus.testing.clock import VirtualClock


@pytest.fixture
def publisher() -> StatusPublisher:
    return StatusPublisher("test", clock=VirtualClock())


@pytest.fixture
async def database(tmp_path: Path, publisher: StatusPublisher) -> AsyncIterator[Database[Store]]:
    async def quickly(url: str) -> Store:
        return await open_store(url, busy_s=0.05)

    made = Database(f"sqlite:///{tmp_path / 'history.db'}", publisher, quickly, clock=VirtualClock())
    yield made
    await made.close()


async def write(database: Database[Store], at: int) -> Written:
    return await database.once(lambda store: store.write(Batch(values=[reading(NOW + at, a=at)])), DatabaseProof.COMMIT)


async def test_only_a_write_that_was_committed_ends_what_a_write_has_begun(
    database: Database[Store], publisher: StatusPublisher, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Reading goes on while the database is locked, or its disk full: that it can be read is no news."""
    await write(database, 0)
    with contextlib.closing(sqlite3.connect(tmp_path / "history.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        for at in (1, 2):
            with pytest.raises(DatabaseAway, match="locked"):
                await write(database, at)
            assert await database.once(lambda store: store.oldest_ms()) == NOW
            await database.once(lambda store: store.tidy(NOW), DatabaseProof.NONE)
            assert (publisher.state, publisher.works) == ("degraded", False)
            assert "locked" in health.of("test").faults(ready=True)["database"]
        other.execute("ROLLBACK")
    assert publisher.state == "degraded"
    await write(database, 3)
    assert (publisher.state, database.fault) == ("online", "")
    assert caplog.text.count("database: the database does not work") == 1
    assert caplog.text.count("database: over after") == 1


async def test_what_a_read_has_begun_ends_with_a_read(
    tmp_path: Path, publisher: StatusPublisher, database: Database[Store]
) -> None:
    file = tmp_path / "history.db"
    file.write_bytes(b"no database " * 1000)
    with pytest.raises(DatabaseAway):
        await database.once(lambda store: store.datapoints())
    assert publisher.state == "degraded"
    file.unlink()
    await database.once(lambda store: store.datapoints())
    assert publisher.state == "online"


async def test_tables_that_are_not_there_any_more_are_opened_again(database: Database[Store], tmp_path: Path) -> None:
    await write(database, 0)
    with contextlib.closing(sqlite3.connect(tmp_path / "history.db", isolation_level=None)) as other:
        other.executescript("ALTER TABLE recent RENAME TO elsewhere")
    for at in (1, 2):
        with pytest.raises(DatabaseAway, match="no such table: recent"):
            await write(database, at)
    with contextlib.closing(sqlite3.connect(tmp_path / "history.db", isolation_level=None)) as other:
        other.executescript("ALTER TABLE elsewhere RENAME TO recent")
    assert await write(database, 0) == Written(redelivered=1)


async def test_a_schema_that_became_newer_is_waited_for_and_not_written_to(
    database: Database[Store], publisher: StatusPublisher, tmp_path: Path
) -> None:
    """The setting was right when the service started."""
    await write(database, 0)
    with contextlib.closing(sqlite3.connect(tmp_path / "history.db", isolation_level=None)) as other:
        other.execute("UPDATE alembic_version SET version_num = '9999'")
        for at in (1, 2):
            with pytest.raises(DatabaseAway, match="schema 9999"):
                await write(database, at)
        assert "schema 9999" in publisher.detail
        other.execute("UPDATE alembic_version SET version_num = '0004'")
    assert await write(database, 1) == Written(rows=1)
