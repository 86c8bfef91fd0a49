"""raw_db's worst days with a PostgreSQL: nothing is missing afterwards, and nothing is there twice."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from raw_db.settings import Settings
from tests.cli.conftest import completed
from tests.raw_db.conftest import NOW, Client, metric, running, stored, until, until_stored
from tests.support.postgres import PASSWORD, PASSWORD_IN_URL, PostgresServer, find_binaries
from tests.support.recording import in_a_process
from wattbus.mqtt.embedded_broker import Mosquitto
from wattbus.service import health


@pytest.fixture
def settings(mosquitto: Mosquitto, postgres_url: str) -> Settings:
    return Settings(mqtt_broker_port=mosquitto.port, database_url=postgres_url)


@pytest.fixture(scope="module")
def own_server() -> Iterator[PostgresServer]:
    """One that tests may stop."""
    if find_binaries() is None:
        pytest.skip("PostgreSQL is not installed (Debian: postgresql)")
    server = PostgresServer()
    server.start()
    yield server
    server.remove()


@pytest.mark.usefixtures("raw_db")
async def test_a_redelivery_stores_nothing_twice(client: Client, settings: Settings) -> None:
    before = metric("redelivered_total")
    for _ in range(3):
        for at in range(20):
            await client.raw(at, f'{{"n": {at}, "n": 1.0}}')
    await client.raw(20, "0")
    found = await until_stored(settings, 21)
    assert [(m.message, m.timestamp_ms - NOW) for m in found[:2]] == [
        ('{"n": 0, "n": 1.0}', 0),
        ('{"n": 1, "n": 1.0}', 1),
    ]
    await until(lambda: metric("redelivered_total") - before == 40)


async def test_nothing_is_acknowledged_while_the_server_is_away(
    mosquitto: Mosquitto, client: Client, own_server: PostgresServer
) -> None:
    settings = Settings(mqtt_broker_port=mosquitto.port, database_url=own_server.new_database())
    async with running(settings):
        await client.until_state("online")
        await client.raw(0, "0")
        await until_stored(settings, 1)
        own_server.stop()
        for at in range(1, 1500):
            await client.raw(at, str(at))
        await client.until_state("degraded")
        assert "database" in health.of("raw-db").faults(ready=True)
    await client.until_state("offline")
    own_server.start()
    assert len(await stored(settings)) == 1
    async with running(settings):  # the broker still has them all: none was acknowledged
        found = await until_stored(settings, 1500)
    assert [int(message.message) for message in found] == list(range(1500))


async def test_raw_db_and_server_killed_in_the_middle_of_batches(
    mosquitto: Mosquitto, client: Client, own_server: PostgresServer
) -> None:
    given = {
        "mqtt_broker_port": mosquitto.port,
        "database_url": own_server.new_database(),
        "raw_db_batch_messages": 20,
    }
    process = await in_a_process("raw_db", **given)
    await client.until_state("online")
    published = 0

    async def publish(number: int) -> None:
        nonlocal published
        for _ in range(number):
            published += 1
            await client.raw(published - 1, f'{{"n": {published - 1}}}')

    for who in ("raw_db", "server", "both"):
        there = published
        publishing = asyncio.create_task(publish(1000))
        await until_stored(Settings(**given), there + 30)
        if who != "raw_db":
            own_server.crash()
        if who != "server":
            process.send_signal(signal.SIGKILL)
            await process.wait()
        await publishing
        if who != "raw_db":
            own_server.start()
        if who != "server":
            await client.until_state("offline")
            process = await in_a_process("raw_db", **given)
            await client.until_state("online")
    found = await until_stored(Settings(**given), published)
    process.terminate()
    await process.wait()
    assert [message.message for message in found] == [f'{{"n": {at}}}' for at in range(published)]


async def test_the_command_reads_it_and_never_tells_the_password(
    raw_db: asyncio.Task[None], client: Client, settings: Settings, tmp_path: Path
) -> None:
    for at in range(3):
        await client.raw(at, str(at))
    await until_stored(settings, 3)
    nowhere = settings.url.rpartition("/")[0] + "/nowhere"
    listed, printed, away, wrong = await asyncio.gather(
        completed("raw", DATABASE_URL=settings.url, cwd=tmp_path),
        completed("raw", "meter", "--last", "1", "--database", settings.url, cwd=tmp_path),
        completed("raw", DATABASE_URL=nowhere, cwd=tmp_path),
        completed("raw", DATABASE_URL=settings.url + "?password=x", cwd=tmp_path),
    )
    assert listed.output[1].split()[:2] == ["meter", "3"]
    assert printed.output == [f'{{"raw_message": 2, "timestamp": {NOW + 2}, "connector_version": "0.1.0"}}']
    assert away.faults == ['database "nowhere" does not exist']
    assert wrong.faults[0].startswith("DATABASE_URL: unknown parameter")
    told = "\n".join(line for command in (listed, printed, away, wrong) for line in command.output + command.errors)
    assert PASSWORD not in told and PASSWORD_IN_URL not in told
