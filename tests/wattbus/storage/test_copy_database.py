"""From a SQLite file to a PostgreSQL, and from one PostgreSQL to another by its own tools."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.postgres import PASSWORD, PASSWORD_IN_URL, PostgresServer
from tests.wattbus.storage.series import DAY, NOW, everything, opened, raw_records, reading, write
from wattbus.errors import ConfigError
from wattbus.storage import (
    Announcement,
    Batch,
    DatabaseAway,
    Outcome,
    Plan,
    RawRecord,
    SessionState,
    Written,
    open_editable_store,
    open_raw_store,
    open_store,
)
from wattbus.storage.control import ControlledDatapoint
from wattbus.storage.copy_database import move
from wattbus.storage.edits import DatapointEdit, Identity

VALUES = [21, 21.0, 0.1, 5e-324, 2**60, True, None, "", "x\0y", "naïve ☀", [1, {"a": None}], 1 / 3]
PUMP = "m/messages/p-set/value"
SENSOR, ACTUATOR = Identity("meter", "sensor", "x"), Identity("m", "actuator", "p")


async def fill(url: str) -> None:
    async with opened(open_editable_store(url)) as editable:
        store: Any = editable.history
        await write(store, *(reading(NOW + n, x=value) for n, value in enumerate(VALUES)))
        await store.tidy(NOW + DAY)
        await store.tidy(NOW + 2 * DAY)
        await write(store, *(reading(NOW + 3 * DAY + n, x=n, **{f"y{n}": n}) for n in range(20)))
        await store.write(
            Batch(
                announcements=[Announcement("m", "actuator", "p", PUMP)],
                plans=[
                    Plan("setpoint", "m", PUMP, NOW, [{"preferred_value": 1}]),
                    Plan("schedule", "m", PUMP, NOW, []),
                ],
                outcomes=[Outcome("m", PUMP, NOW, "applied", 1, "", "id", NOW - 1)],
                sessions=[SessionState("meter", "0" * 16, 5, ((2, 3),), (), NOW, NOW)],
            )
        )
        await editable.edits.save({SENSOR: DatapointEdit("T", True, {"unit": "°C"})})
        attic = await editable.control.save_controller("attic", "attic/list")
        assert attic is not None
        await editable.control.save_pair(ControlledDatapoint(attic, SENSOR, ACTUATOR))


async def content(url: str) -> list[Any]:
    """All that the store can be asked for."""
    async with opened(open_editable_store(url)) as editable:
        store = editable.history
        known = await store.datapoints()
        return [
            known,
            [await store.values(one.id) for one in known],
            [await store.plans("setpoint", one.id) for one in known],
            [await store.plans("schedule", one.id) for one in known],
            [await store.outcomes(one.id) for one in known],
            await store.recent_sessions(0),
            await editable.edits.load(),
            await editable.control.controllers(),
            await editable.control.pairs(),
        ]


async def moved(file: Path, url: str) -> tuple[int, str]:
    """By the command; its exit code, and what it says."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "wattbus.storage.copy_database",
        file,
        env={**os.environ, "DATABASE_URL": url},
        stdout=-1,
        stderr=-2,
    )
    said, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, said.decode()


async def test_everything_is_there_and_history_goes_on(tmp_path: Path, postgres_url: str) -> None:
    file = tmp_path / "history.db"
    await fill(f"sqlite:///{file}")
    async with opened(open_raw_store(f"sqlite:///{tmp_path / 'raw.db'}")) as raw_store:
        await raw_store.write([*raw_records(NOW, 50), RawRecord("a", NOW, '{"1": 1.0}')])
        raw = await everything(raw_store, "m", 1000, newest_first=False)
    code, said = await moved(file, postgres_url)
    assert (code, [line.split() for line in said.splitlines()][:2]) == (0, [["22", "datapoints"], ["52", "history"]])
    assert await content(postgres_url) == await content(f"sqlite:///{file}")
    assert (await moved(tmp_path / "raw.db", postgres_url))[0] == 0
    async with opened(open_store(postgres_url)) as store, opened(open_raw_store(postgres_url)) as raw_store:
        again = [reading(NOW + n, x=value) for n, value in enumerate(VALUES)]
        assert await write(store, *again, reading(NOW + 9 * DAY, new=1)) == Written(rows=1, redelivered=len(VALUES))
        assert len({known.id for known in await store.datapoints()}) == 23
        assert await raw_store.write([*raw_records(NOW, 50), RawRecord("new", NOW, "1")]) == Written(
            rows=1, redelivered=50
        )
        assert await everything(raw_store, "m", 1000, newest_first=False) == raw
        assert [(known.connector, known.messages) for known in await raw_store.connectors()] == [
            ("a", 1),
            ("m", 50),
            ("new", 1),
        ]
        assert 50 * 100 < await raw_store.bytes_used() < 50 * 300


async def test_it_moves_nothing_when_something_is_there_already(tmp_path: Path, postgres_url: str) -> None:
    file = tmp_path / "history.db"
    await fill(f"sqlite:///{file}")
    async with opened(open_store(postgres_url)) as store:
        await store.write(Batch(sessions=[SessionState("meter", "0" * 16, 5, (), (), NOW, NOW)]))
    code, said = await moved(file, postgres_url)
    assert code == 1 and said == "DATABASE_URL: the table sessions is not empty there; nothing was moved\n"
    async with opened(open_store(postgres_url)) as store:
        assert await store.datapoints() == []


@pytest.mark.parametrize("url", ["sqlite:///other.db", "", "postgresql://u:geheim@127.0.0.1:1/x"])
async def test_what_cannot_be_done_moves_nothing(tmp_path: Path, url: str) -> None:
    file = tmp_path / "history.db"
    with pytest.raises((ConfigError, DatabaseAway), match=r"no file|DATABASE_URL"):
        await move(file, url)
    async with opened(open_store(f"sqlite:///{file}")):
        with pytest.raises((ConfigError, DatabaseAway)) as refused:
            await move(file, url)
    assert "geheim" not in str(refused.value)


async def test_a_dump_is_a_backup(postgres_server: PostgresServer, postgres_url: str, tmp_path: Path) -> None:
    await fill(postgres_url)
    before = await content(postgres_url)
    dump = tmp_path / "dump.sql"
    postgres_server.run("pg_dump", "--no-owner", "--dbname", postgres_url, to=dump)
    copy = postgres_server.new_database()
    postgres_server.run("psql", "-q", "-X", "-v", "ON_ERROR_STOP=1", "--dbname", copy, "-f", "-", given=dump)
    assert await content(copy) == before
    async with opened(open_store(copy)) as store:
        assert await write(store, reading(NOW, x=21), reading(NOW, new=1)) == Written(rows=1, redelivered=1)
    postgres_server.drop_database(copy)
    assert PASSWORD not in dump.read_text() and PASSWORD_IN_URL not in dump.read_text()
