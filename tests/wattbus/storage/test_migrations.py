"""From every earlier schema to ours, and not from a later one: what every database goes through when it is opened."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from tests.wattbus.storage.series import DAY, NOW, opened, reading, readings, values_of, write
from wattbus.errors import ConfigError
from wattbus.storage import (
    Batch,
    RawRecord,
    ReadingValues,
    Store,
    Written,
    open_editable_store,
    open_raw_reader,
    open_raw_store,
    open_store,
)
from wattbus.storage.edit_tables import controllers
from wattbus.storage.schema import metadata

CONFIG = Config()
CONFIG.set_main_option("script_location", "wattbus.storage:migrations")
SCHEMAS = sorted(script.revision for script in ScriptDirectory.from_config(CONFIG).walk_revisions())


@pytest.fixture
def database_url(empty_url: str) -> str:
    return empty_url


@contextlib.asynccontextmanager
async def connected(url: str) -> AsyncIterator[AsyncConnection]:
    """A connection as another program has it."""
    driver = url.replace("sqlite:", "sqlite+aiosqlite:").replace("postgresql:", "postgresql+asyncpg:")
    engine = create_async_engine(driver)
    async with engine.begin() as connection:
        yield connection
    await engine.dispose()


def differences(connection: Connection) -> list[Any]:
    """Between the tables that are there and those that the code means."""

    def is_meant(table: Any, name: str | None, kind: str, reflected: bool, other: Any) -> bool:
        return kind != "table" or table.info.get("only_on") in (None, connection.dialect.name)

    context = MigrationContext.configure(connection, opts={"include_object": is_meant})
    return list(compare_metadata(context, metadata))


async def test_the_migrations_make_the_schema_that_the_code_uses(store: Store, database_url: str) -> None:
    assert controllers.name in metadata.tables
    async with connected(database_url) as connection:
        assert await connection.run_sync(differences) == []


def upgrade_to(revision: str) -> Callable[[Connection], None]:
    def work(connection: Connection) -> None:
        config = Config()
        config.set_main_option("script_location", "wattbus.storage:migrations")
        config.attributes["connection"] = connection
        command.upgrade(config, revision)

    return work


@pytest.mark.parametrize("earlier", SCHEMAS)
async def test_every_earlier_schema_goes_forward_and_keeps_what_it_has(database_url: str, earlier: str) -> None:
    async with connected(database_url) as connection:
        await connection.run_sync(upgrade_to(earlier))
        await connection.execute(
            text("INSERT INTO datapoints (connector, type, key, announced) VALUES ('meter', 'sensor', 'a', true)")
        )
        newest = "recent" if connection.dialect.name == "sqlite" else "history"
        is_integer = "whole" if earlier < "0004" else "is_integer"
        await connection.execute(
            text(f"INSERT INTO {newest} (datapoint, time, number, {is_integer}) SELECT id, :now, 5, 1 FROM datapoints"),
            {"now": NOW},
        )
    async with opened(open_store(database_url)) as store:
        assert await write(store, reading(NOW, a=5), reading(NOW + 1, a=6)) == Written(rows=1, redelivered=1)
        assert await values_of(store, "a") == [(0, 5), (1, 6)]
    async with opened(open_raw_store(database_url)) as raw, opened(open_editable_store(database_url)) as editable:
        assert await raw.write([RawRecord("meter", NOW, "1")]) == Written(rows=1)
        assert [known.name for known in await editable.control.controllers()] == ["python_controller"]
    async with connected(database_url) as connection:
        assert await connection.run_sync(differences) == []


async def test_a_newer_schema_is_refused_and_left_alone(store: Store, database_url: str) -> None:
    await store.write(readings(NOW, 1))
    await store.close()
    async with connected(database_url) as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    for opening in (open_store, open_editable_store, open_raw_store, open_raw_reader):
        with pytest.raises(ConfigError, match=r"^DATABASE_URL: the database has schema 9999, .*none newer than \d{4}"):
            await opening(database_url)  # type: ignore[operator]
    async with connected(database_url) as connection:
        assert (await connection.execute(text("SELECT count(*) FROM datapoints"))).scalar_one() == 2
        assert (await connection.execute(text("SELECT version_num FROM alembic_version"))).scalars().all() == ["9999"]


# -- several at once --------------------------------------------------------------------------------------------------


async def test_services_of_one_process_open_their_databases_at_once(database_url: str, tmp_path: Path) -> None:
    own = f"sqlite:///{tmp_path / 'raw.db'}"
    async with contextlib.AsyncExitStack() as closing:
        first, second, *_ = await asyncio.gather(
            *(
                closing.enter_async_context(opened(opening))
                for opening in (
                    open_store(database_url),
                    open_store(database_url),
                    open_editable_store(database_url),
                    open_raw_store(database_url),
                    open_raw_store(own),
                )
            )
        )
        await first.write(readings(NOW, 1, a=1))
        await second.write(readings(NOW, 1, a=1, b=2))
        assert len(await first.datapoints()) == 2
        await first.write(readings(NOW + 1, 1, b=3))
        assert await values_of(second, "b") == [(0, 2), (1, 3)]
        await first.tidy(NOW + DAY)
        await first.tidy(NOW + 2 * DAY)
        assert await second.write(readings(NOW, 1, a=1, b=2)) == Written(redelivered=2)
    for url in (database_url, own):
        async with connected(url) as connection:
            assert len((await connection.execute(text("SELECT version_num FROM alembic_version"))).all()) == 1


OPEN = (
    "import asyncio, sys; from wattbus import storage; from wattbus.storage import Batch, ReadingValues\n"
    "async def main():\n"
    "    opening, url, name = getattr(storage, sys.argv[1]), sys.argv[2], sys.argv[3]\n"
    "    sys.stdin.readline()\n"
    "    store = await opening(url)\n"
    "    if sys.argv[1] == 'open_store':\n"
    "        await store.write(Batch(values=[ReadingValues(name, 1, {'a': 1})]))\n"
    "    await store.close()\n"
    "asyncio.run(main())"
)


async def test_processes_open_one_new_database_at_once(database_url: str) -> None:
    kinds = ("open_store", "open_raw_store", "open_editable_store", "open_store")
    processes = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", OPEN, kind, database_url, f"meter{number}", stdin=-1, stderr=-1
        )
        for number, kind in enumerate(kinds)
    ]
    told = await asyncio.gather(*(process.communicate(b"go\n") for process in processes))
    assert [fault.decode() for _, fault in told] == [""] * len(kinds)
    async with opened(open_store(database_url)) as store:
        assert {known.connector for known in await store.datapoints()} == {"meter0", "meter3"}
        assert await store.write(Batch(values=[ReadingValues("meter0", 1, {"a": 1})])) == Written(redelivered=1)
