"""One store per database kind: the conformance tests run against each."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.support.postgres import PostgresServer, postgres_server, postgres_url  # noqa: F401
from wattbus.storage import RawStore, Store, open_raw_store, open_store
from wattbus.storage.schema import metadata

KINDS = ["sqlite", "postgresql"]  # another kind is one more name here, and its URL in the two fixtures below

EMPTY = f"""
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
  WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend';
TRUNCATE {", ".join(table.name for table in metadata.sorted_tables if not table.info.get("only_on"))}
  RESTART IDENTITY CASCADE;
INSERT INTO controllers (name, topic) VALUES ('python_controller', 'python_controller/controlled_datapoints');
"""  # as a migration makes it


@pytest.fixture(params=KINDS)
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database of each kind that nobody has opened yet."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'history.db'}"
    url: str = request.getfixturevalue("postgres_url")
    return url


@pytest.fixture(params=KINDS)
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database of each kind without rows."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'history.db'}"
    url: str = request.getfixturevalue("postgres_emptied")
    return url


@pytest.fixture
def postgres_emptied(postgres_server: PostgresServer, postgres_shared: str) -> Iterator[str]:  # noqa: F811
    """The same one again and again, for tests that only use stores."""
    yield postgres_shared
    postgres_server.execute(EMPTY, postgres_shared)


@pytest.fixture(scope="session")
def postgres_shared(postgres_server: PostgresServer, postgres_original: str) -> str:  # noqa: F811
    return postgres_server.new_database(template=postgres_original)


@pytest.fixture(scope="session")
def postgres_original(postgres_server: PostgresServer) -> str:  # noqa: F811
    """A database that has our tables: copying it is quicker than making them again."""

    async def opened() -> None:
        await (await open_store(url)).close()

    url = postgres_server.new_database()
    asyncio.run(opened())
    return url


@pytest.fixture
def postgres_copy(postgres_server: PostgresServer, postgres_original: str) -> Iterator[str]:  # noqa: F811
    """One of its own, for a test that changes more than rows."""
    url = postgres_server.new_database(template=postgres_original)
    yield url
    postgres_server.drop_database(url)


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    opened = await open_store(database_url, busy_s=0.1)
    yield opened
    await opened.close()


@pytest.fixture
async def raw_store(database_url: str) -> AsyncIterator[RawStore]:
    opened = await open_raw_store(database_url, busy_s=0.1)
    yield opened
    await opened.close()
