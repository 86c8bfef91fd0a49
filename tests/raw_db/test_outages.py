"""Database or raw_db go away for a while: nothing is missing afterwards, and nothing is there twice."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sqlite3
import sys
from pathlib import Path

import pytest

from raw_db.service import run
from raw_db.settings import Settings
from tests.raw_db.conftest import NOW, SOON, Client, running, stored, until_stored
from wattbus.errors import ConfigError
from wattbus.mqtt.embedded_broker import Mosquitto
from wattbus.service import health
from wattbus.storage.sqlite import engine


async def test_nothing_is_acknowledged_while_the_database_is_locked(
    client: Client, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with contextlib.closing(sqlite3.connect(tmp_path / "raw.db", isolation_level=None)) as other:
        async with running(settings):
            await client.until_state("online")
            other.execute("BEGIN EXCLUSIVE")
            for at in range(30):
                await client.raw(at, str(at))
            await client.until_state("degraded")
            assert "locked" in health.of("raw-db").faults(ready=True)["database"]
        await client.until_state("offline")
        other.execute("ROLLBACK")
    assert await stored(settings) == []
    async with running(settings):  # the broker still has them all: none was acknowledged
        assert len(await until_stored(settings, 30)) == 30


async def test_a_database_that_was_locked_for_a_while_gets_everything(
    raw_db: asyncio.Task[None], client: Client, settings: Settings, tmp_path: Path
) -> None:
    with contextlib.closing(sqlite3.connect(tmp_path / "raw.db", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        for at in range(3000):  # more than raw_db takes while it waits
            await client.raw(at, str(at))
        await client.until_state("degraded")
        other.execute("ROLLBACK")
    assert [int(message.message) for message in await until_stored(settings, 3000)] == list(range(3000))
    await client.until_state("online")
    assert health.of("raw-db").faults(ready=True) == {}


async def test_a_full_disk_loses_nothing(client: Client, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = [*engine.WRITER_PRAGMAS, "max_page_count=60"]
    monkeypatch.setattr(engine, "WRITER_PRAGMAS", disk)
    async with running(settings):
        await client.until_state("online")
        for at in range(400):
            await client.raw(at, f'"{at:01000}"')
        await client.until_state("degraded")
        assert len(await stored(settings)) < 400
        disk[-1] = "max_page_count=1000000"  # somebody made room
        found = await until_stored(settings, 400)
        await client.until_state("online")
    assert [message.timestamp_ms - NOW for message in found] == list(range(400))


async def test_a_database_that_cannot_be_opened_at_the_start_is_waited_for(
    client: Client, settings: Settings, tmp_path: Path
) -> None:
    (tmp_path / "raw.db").write_bytes(b"no database " * 1000)
    async with running(settings):
        await client.until_state("degraded")
        (tmp_path / "raw.db").unlink()
        await client.until_state("online")
        await client.raw(1, "1")
        await until_stored(settings, 1)


async def test_a_database_that_cannot_be_meant_is_a_wrong_setting(
    client: Client, settings: Settings, tmp_path: Path
) -> None:
    async with running(settings):
        await client.until_state("online")
    with contextlib.closing(sqlite3.connect(tmp_path / "raw.db", isolation_level=None)) as database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
    async with asyncio.timeout(SOON):
        with pytest.raises(ConfigError, match="schema 9999"):
            await run(settings)
        with pytest.raises(ConfigError, match="DATABASE_URL"):
            await run(settings.model_copy(update={"database_url": "raw.db"}))


PROCESS = (
    "import asyncio, sys; from pathlib import Path; from raw_db.service import run; from raw_db.settings import "
    "Settings; asyncio.run(run(Settings(mqtt_broker_port=int(sys.argv[1]), data_directory=Path(sys.argv[2]), "
    "raw_db_batch_messages=50)))"
)


async def start_process(port: int, directory: Path) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(sys.executable, "-c", PROCESS, str(port), str(directory))


async def test_killed_in_the_middle_of_batches_nothing_is_missing_and_nothing_twice(
    client: Client, mosquitto: Mosquitto, settings: Settings, tmp_path: Path
) -> None:
    process = await start_process(mosquitto.port, tmp_path)
    await client.until_state("online")
    published = 0

    async def publish(number: int) -> None:
        nonlocal published
        for at in range(published, published + number):
            await client.raw(at, f'{{"n": {at}}}')
        published += number

    for round_ in range(3):
        publishing = asyncio.create_task(publish(500))
        await until_stored(settings, round_ * 520 + 60)
        with contextlib.closing(sqlite3.connect(tmp_path / "raw.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            await publishing
            await publish(20)  # taken by raw_db, and not committed
            process.send_signal(signal.SIGKILL)
            await process.wait()
            other.execute("ROLLBACK")
        await client.until_state("offline")
        assert len(await stored(settings)) < published
        process = await start_process(mosquitto.port, tmp_path)
        await client.until_state("online")
    found = await until_stored(settings, published)
    process.terminate()
    await process.wait()
    assert [message.message for message in found] == [f'{{"n": {at}}}' for at in range(published)]
