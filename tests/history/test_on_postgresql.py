"""History's worst days with a PostgreSQL: nothing is missing afterwards, and nothing is there twice."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from history.service import run
from history.settings import Settings
from tests.history.conftest import NOW, SOON, Client, running
from tests.support.postgres import PostgresServer, find_binaries
from tests.support.recording import in_a_process
from wattbus.errors import ConfigError
from wattbus.mqtt.embedded_broker import Mosquitto
from wattbus.service import health
from wattbus.storage import open_store


@pytest.fixture
def settings(mosquitto: Mosquitto, postgres_url: str) -> Settings:
    return Settings(mqtt_broker_port=mosquitto.port, database_url=postgres_url, history_receipt_seconds=0.05)


@pytest.fixture(scope="module")
def own_server() -> Iterator[PostgresServer]:
    """One that tests may stop."""
    if find_binaries() is None:
        pytest.skip("PostgreSQL is not installed (Debian: postgresql)")
    server = PostgresServer()
    server.start()
    yield server
    server.remove()


async def stored(settings: Settings, connector: str = "meter") -> dict[str, dict[int, Any]]:
    """Key → time since NOW → value, of one connector."""
    store = await open_store(settings.url)
    try:
        return {
            known.key: {value.timestamp_ms - NOW: value.value for value in await store.values(known.id)}
            for known in await store.datapoints()
            if known.connector == connector
        }
    finally:
        await store.close()


async def test_a_reading_is_in_the_database_when_its_receipt_comes(
    history: asyncio.Task[None], client: Client, settings: Settings
) -> None:
    await client.reading(1, a=21, b="x", c=None, d=True, e=10**30)
    await client.until_receipt("meter", 1)
    assert await stored(settings) == {"a": {1: 21}, "b": {1: "x"}, "c": {1: None}, "d": {1: True}, "e": {1: 10**30}}


async def test_who_repeats_a_reading_gets_the_receipt_again_and_nothing_is_there_twice(
    history: asyncio.Task[None], client: Client, settings: Settings
) -> None:
    for _ in range(3):
        client.receipts.clear()
        for sequence in range(1, 101):
            await client.reading(sequence, a=sequence, b="x")
        await client.until_receipt("meter", 100)
    await client.reading(101, a=101, b="x")
    await client.until_receipt("meter", 101)
    everything = {n: n for n in range(1, 102)}
    assert await stored(settings) == {"a": everything, "b": dict.fromkeys(everything, "x")}


async def test_a_row_that_the_database_refuses_costs_that_message_only(
    history: asyncio.Task[None], client: Client, settings: Settings
) -> None:
    too_long = "".join(chr(0x4E00 + n * 7919 % 20_000) for n in range(3000))  # longer than an index takes
    for n in range(1, 10):
        await client.reading(n, **{too_long if n == 5 else "a": n})
    await client.until_receipt("meter", 9)
    assert await stored(settings) == {"a": {n: n for n in range(1, 10) if n != 5}}


async def test_nothing_is_acknowledged_while_the_server_is_away(
    mosquitto: Mosquitto, client: Client, own_server: PostgresServer
) -> None:
    settings = Settings(
        mqtt_broker_port=mosquitto.port, database_url=own_server.new_database(), history_receipt_seconds=0.05
    )
    async with running(settings):
        await client.until_state("online")
        await client.reading(1, a=1)
        await client.until_receipt("meter", 1)
        client.receipts.clear()
        own_server.stop()
        for sequence in range(2, 1501):
            await client.reading(sequence, a=sequence)
        await client.until_state("degraded")
        assert "database" in health.of("history").faults(ready=True)
        assert client.receipts == []
        own_server.start()
        await client.until_receipt("meter", 1500)
        await client.until_state("online")
        assert health.of("history").faults(ready=True) == {}
    assert await stored(settings) == {"a": {n: n for n in range(1, 1501)}}


async def test_a_server_that_comes_later_than_history_is_waited_for(
    mosquitto: Mosquitto, client: Client, own_server: PostgresServer
) -> None:
    settings = Settings(
        mqtt_broker_port=mosquitto.port, database_url=own_server.new_database(), history_receipt_seconds=0.05
    )
    own_server.stop()
    async with running(settings):
        await client.until_state("degraded")
        await client.reading(1, a=1)
        own_server.start()
        await client.until_receipt("meter", 1)
    assert await stored(settings) == {"a": {1: 1}}


async def test_history_and_server_killed_in_the_middle_of_batches(
    mosquitto: Mosquitto, client: Client, own_server: PostgresServer
) -> None:
    given = {
        "mqtt_broker_port": mosquitto.port,
        "database_url": own_server.new_database(),
        "history_batch_messages": 20,
        "history_receipt_seconds": 0.01,
    }
    process = await in_a_process("history", **given)
    await client.until_state("online")
    published = 0

    async def publish(number: int) -> None:
        nonlocal published
        for _ in range(number):
            published += 1
            await client.reading(published, a=published, b="x")

    for who in ("history", "server", "both"):
        seen = len(client.receipts)
        publishing = asyncio.create_task(publish(1000))
        await client.until(lambda seen=seen: len(client.receipts) > seen + 1)  # type: ignore[misc]
        if who != "history":
            own_server.crash()
        if who != "server":
            process.send_signal(signal.SIGKILL)
            await process.wait()
        await publishing
        if who != "history":
            own_server.start()
        if who != "server":
            await client.until_state("offline")
            process = await in_a_process("history", **given)
            await client.until_state("online")
    await client.until_receipt("meter", published)
    process.terminate()
    await process.wait()
    everything = {n: n for n in range(1, published + 1)}
    assert await stored(Settings(**given)) == {"a": everything, "b": dict.fromkeys(everything, "x")}


async def test_two_histories_share_one_database_and_the_work(settings: Settings, client: Client) -> None:
    """Each with its own name and its own connectors."""
    one = settings.model_copy(update={"history_connectors": ["a", "b"]})
    two = settings.model_copy(update={"history_connectors": ["c"], "service_name": "history-2"})
    async with running(one), running(two):
        await client.until_state("online")
        await client.until_state("online", "history-2")
        for sequence in range(1, 301):
            for connector in ("a", "b", "c"):
                await client.reading(sequence, connector=connector, **{f"v{sequence % 40}": sequence})
        for connector in ("a", "b", "c"):
            await client.until_receipt(connector, 300)
    for connector in ("a", "b", "c"):
        found = await stored(settings, connector)
        assert sum(len(values) for values in found.values()) == 300


async def test_a_history_tells_nothing_of_connectors_that_another_one_records(
    settings: Settings, client: Client
) -> None:
    """What it read in the shared database when it started is soon outdated."""
    one = settings.model_copy(update={"history_connectors": ["a"]})
    two = settings.model_copy(update={"history_connectors": ["c"], "service_name": "history-2"})
    async with running(two):
        await client.until_state("online", "history-2")
        await client.reading(1, connector="c", x=1)
        await client.until_receipt("c", 1)
        client.receipts.clear()
        async with running(one):
            await client.until_state("online")
            await client.reading(1, connector="a", x=1)
            await client.until_receipt("a", 1)
    assert {connector for connector, _ in client.receipts} == {"a"}


async def test_a_database_of_a_newer_version_is_a_wrong_setting(
    postgres_server: PostgresServer, client: Client, settings: Settings
) -> None:
    async with running(settings):
        await client.until_state("online")
    postgres_server.execute("UPDATE alembic_version SET version_num = '9999'", settings.url)
    async with asyncio.timeout(SOON):
        with pytest.raises(ConfigError, match="schema 9999"):
            await run(settings)
