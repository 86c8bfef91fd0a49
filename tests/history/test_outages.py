"""Database, broker or history go away for a while: nothing is missing afterwards, and nothing is there twice."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sqlite3
import sys
from pathlib import Path

import pytest

from history.service import run
from history.settings import Settings
from tests.history.conftest import SOON, Client, playing, running, stored
from wattbus.errors import ConfigError
from wattbus.mqtt.embedded_broker import Mosquitto
from wattbus.service import health
from wattbus.storage.sqlite import engine
from wattbus.testing.waiting import PATIENCE_S

# -- the database goes away -------------------------------------------------------------------------------------------


async def test_nothing_is_acknowledged_while_the_database_is_locked(
    client: Client, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "BUSY_S", 0.2)
    with contextlib.closing(sqlite3.connect(tmp_path / "history.db", isolation_level=None)) as other:
        async with running(settings):
            await client.until_state("online")
            other.execute("BEGIN EXCLUSIVE")
            for sequence in range(1, 31):
                await client.reading(sequence, a=sequence)
            await client.until_state("degraded")
            faults = health.of("history").faults(ready=True)
            assert "locked" in faults["database"]
        await client.until_state("offline")
        assert client.receipts == []
        other.execute("ROLLBACK")
    async with running(settings):  # the broker still has them all: none was acknowledged
        await client.until_receipt("meter", 30)
    assert stored(tmp_path) == {"a": {n: float(n) for n in range(1, 31)}}


async def test_a_database_that_was_locked_for_a_while_gets_everything(
    history: asyncio.Task[None], client: Client, tmp_path: Path
) -> None:
    with contextlib.closing(sqlite3.connect(tmp_path / "history.db", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        for sequence in range(1, 3001):  # more than history takes while it waits
            await client.reading(sequence, a=sequence)
        await client.until_state("degraded")
        assert client.receipts == []
        other.execute("ROLLBACK")
    await client.until_receipt("meter", 3000)
    await client.until_state("online")
    assert health.of("history").faults(ready=True) == {}
    assert stored(tmp_path) == {"a": {n: float(n) for n in range(1, 3001)}}


async def test_a_full_disk_loses_nothing(
    client: Client, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = [*engine.WRITER_PRAGMAS, "max_page_count=60"]
    monkeypatch.setattr(engine, "WRITER_PRAGMAS", disk)
    async with running(settings):
        await client.until_state("online")
        for sequence in range(1, 401):
            await client.reading(sequence, a="x" * 1000)
        await client.until_state("degraded")
        upto = max((receipt.upto for _, receipt in client.receipts), default=0)
        assert len(stored(tmp_path).get("a", {})) == upto < 400
        disk[-1] = "max_page_count=1000000"  # somebody made room
        await client.until_receipt("meter", 400)
        await client.until_state("online")
    assert list(stored(tmp_path)["a"]) == list(range(1, 401))


async def test_a_database_that_cannot_be_opened_at_the_start_is_waited_for(
    client: Client, settings: Settings, tmp_path: Path
) -> None:
    (tmp_path / "history.db").write_bytes(b"no database " * 1000)
    async with running(settings):
        await client.until_state("degraded")
        await client.until(lambda: client.bus.connected)
        (tmp_path / "history.db").unlink()
        await client.until_state("online")
        await client.reading(1, a=1)
        await client.until_receipt("meter", 1)


async def test_a_database_of_a_newer_version_is_a_wrong_setting(
    client: Client, settings: Settings, tmp_path: Path
) -> None:
    async with running(settings):
        await client.until_state("online")
    with contextlib.closing(sqlite3.connect(tmp_path / "history.db", isolation_level=None)) as database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
    async with asyncio.timeout(SOON):
        with pytest.raises(ConfigError, match="schema 9999"):
            await run(settings)
        with pytest.raises(ConfigError, match="DATABASE_URL"):
            await run(settings.model_copy(update={"database_url": "history.db"}))


# -- the broker goes away ---------------------------------------------------------------------------------------------


async def test_a_broker_that_comes_back_without_its_state_hears_all_receipts_again(
    history: asyncio.Task[None], client: Client, mosquitto: Mosquitto, tmp_path: Path
) -> None:
    await client.reading(1, a=1)
    await client.reading(1, connector="other", a=1)
    await client.until_receipt("meter", 1)
    await client.until_receipt("other", 1)
    for round_ in range(2):
        client.receipts.clear()
        await mosquitto.kill()
        await mosquitto.start()
        await client.until_receipt("meter", round_ + 1)  # retained again, without a new reading
        await client.until_receipt("other", 1)
        await client.reading(round_ + 2, a=1)
        await client.until_receipt("meter", round_ + 2)
    assert list(stored(tmp_path)["a"]) == [1, 2, 3]


async def test_receipts_of_the_last_day_are_told_again_after_a_start(client: Client, settings: Settings) -> None:
    async with running(settings):
        await client.until_state("online")
        await client.reading(3, a=1)
        await client.until_receipt("meter", 3, missing=[(1, 2)])
    client.receipts.clear()
    async with running(settings):
        await client.until_receipt("meter", 3, missing=[(1, 2)])


async def test_a_broker_that_forbids_receipts_is_told_of_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "acl").write_text("topic write meter/#\ntopic write history/status\ntopic read #\n")
    broker = Mosquitto(configuration_directory=tmp_path, options=[f"acl_file {tmp_path}/acl"])
    await broker.start()
    settings = Settings(mqtt_broker_port=broker.port, data_directory=tmp_path, history_receipt_seconds=0.01)
    async with playing(broker.port) as client, running(settings):
        await client.until_state("online")
        for sequence in range(1, 30):
            await client.reading(sequence, a=sequence)
        async with asyncio.timeout(SOON):
            while stored(tmp_path).get("a", {}).get(29) is None or "no receipts for meter" not in caplog.text:
                await asyncio.sleep(0.01)
    assert caplog.text.count("no receipts for meter") == 1
    await broker.stop()


# -- history goes away ------------------------------------------------------------------------------------------------

PROCESS = (
    "import asyncio, sys; from pathlib import Path; from history.service import run; from history.settings import "
    "Settings; asyncio.run(run(Settings(mqtt_broker_port=int(sys.argv[1]), data_directory=Path(sys.argv[2]), "
    "history_batch_messages=50, history_receipt_seconds=0.05)))"
)


async def start_process(port: int, directory: Path) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(sys.executable, "-c", PROCESS, str(port), str(directory))


async def test_killed_in_the_middle_of_batches_nothing_is_missing_and_nothing_twice(
    client: Client, mosquitto: Mosquitto, tmp_path: Path
) -> None:
    number = 3000
    process = await start_process(mosquitto.port, tmp_path)
    await client.until_state("online")

    async def publish() -> None:
        for sequence in range(1, number + 1):
            await client.reading(sequence, a=sequence, b="x")

    publishing = asyncio.create_task(publish())
    for _ in range(3):
        seen = len(client.receipts)
        await client.until(lambda seen=seen: len(client.receipts) > seen + 1)  # type: ignore[misc]
        process.send_signal(signal.SIGKILL)
        await process.wait()
        await client.until_state("offline")
        process = await start_process(mosquitto.port, tmp_path)
        await client.until_state("online")
    async with asyncio.timeout(SOON):
        await publishing
    await client.until_receipt("meter", number)
    process.terminate()
    await process.wait()
    everything = {n: float(n) for n in range(1, number + 1)}
    assert stored(tmp_path) == {"a": everything, "b": dict.fromkeys(everything, '"x"')}


async def test_it_ends_within_seconds_and_says_goodbye(client: Client, settings: Settings) -> None:
    task = asyncio.create_task(run(settings))
    await client.until_state("online")
    for sequence in range(1, 200):
        await client.reading(sequence, a=sequence)
    task.cancel()
    async with asyncio.timeout(PATIENCE_S):
        await asyncio.wait([task])
    assert task.cancelled()
    await client.until_state("offline")
