"""raw_db end to end, on a real broker with a real database: what it records, and what it makes of nonsense."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import Phase, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from history import service as history_service
from history.settings import Settings as HistorySettings
from raw_db import service as service_module
from raw_db.envelope import open_envelope
from raw_db.settings import Settings
from tests.raw_db.conftest import NOW, Client, metric, playing, running, stored, until, until_stored
from tests.raw_db.json_texts import JSON_TEXTS
from tests.raw_db.test_envelope import NO_RAW_MESSAGES
from wattbus.mqtt.embedded_broker import Mosquitto
from wattbus.recording import retention_job
from wattbus.storage import BatchRefused, RawRecord, Written, open_store
from wattbus.storage.sqlite.raw import SqliteRawStore
from wattbus.testing.waiting import PATIENCE_S

# -- byte for byte ----------------------------------------------------------------------------------------------------


@examples(max_examples=8, deadline=None, phases=[Phase.generate])
@given(texts=st.lists(JSON_TEXTS, min_size=1, max_size=15))
def test_what_was_published_comes_back_byte_for_byte(
    texts: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    asyncio.run(_round_trip(texts, tmp_path_factory.mktemp("round_trip")))


async def _round_trip(texts: list[str], folder: Path) -> None:
    broker = Mosquitto(configuration_directory=folder)
    await broker.start()
    settings = Settings(mqtt_broker_port=broker.port, data_directory=folder)
    async with playing(broker.port) as client, running(settings):
        await client.until_state("online")
        for at, text in enumerate(texts):
            await client.raw(at, text)
        found = await until_stored(settings, len(texts))
    await broker.stop()
    assert [(message.timestamp_ms - NOW, message.message.encode()) for message in found] == [
        (at, text.encode()) for at, text in enumerate(texts)
    ]


@pytest.mark.usefixtures("raw_db")
async def test_both_forms_are_recorded_with_their_versions(client: Client, settings: Settings) -> None:
    await client.publish(
        "bem/raw_message_to_db",
        b'{"payload": {"raw_message": {"a.b": 1.0, "a": 1}, "timestamp": %d}, "connector_version": "0.7.0"}' % NOW,
    )
    await client.publish("bem/raw_message_to_db", b'{"raw_message": "<xml/>", "timestamp": %d}' % (NOW + 1))
    found = await until_stored(settings, 2, "bem")
    assert [(message.message, message.connector_version) for message in found] == [
        ('{"a.b": 1.0, "a": 1}', "0.7.0"),
        ('"<xml/>"', None),
    ]


# -- nothing twice ----------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("raw_db")
async def test_a_redelivery_stores_nothing_twice(client: Client, settings: Settings) -> None:
    before = metric("redelivered_total")
    for _ in range(3):
        for at in range(20):
            await client.raw(at, f'{{"n": {at}}}')
    await client.raw(20, "0")
    assert len(await until_stored(settings, 21)) == 21
    await until(lambda: metric("redelivered_total") - before == 40)


@pytest.mark.usefixtures("raw_db")
async def test_different_messages_of_one_millisecond_are_all_kept_in_their_order(
    client: Client, settings: Settings
) -> None:
    texts = ['{"1": 1}', '{"1": 1.0}', '{"1":1}', '"x"', "2", "1"]
    for text in [*texts, *texts]:
        await client.raw(0, text)
    await client.raw(0, "1", connector="other")
    await until_stored(settings, 1, "other")
    assert [message.message for message in await stored(settings)] == texts


# -- nonsense ---------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("raw_db")
async def test_a_payload_that_is_no_raw_message_is_counted_and_costs_nothing_else(
    client: Client, settings: Settings
) -> None:
    before = metric("bad_messages_total", reason="unreadable")
    bad = [payload for payload in NO_RAW_MESSAGES if payload]
    for at, payload in enumerate(bad):
        await client.publish("meter/raw_message_to_db", payload)
        await client.raw(at, str(at))
    await client.publish("meter/raw_message_to_db", b"")  # clears a retained message: nothing to count
    assert len(await until_stored(settings, len(bad))) == len(bad)
    assert metric("bad_messages_total", reason="unreadable") - before == len(bad)


async def test_a_bug_that_one_message_wakes_costs_that_message_only(
    raw_db: asyncio.Task[None], client: Client, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    takes = open_envelope

    def buggy(payload: bytes) -> object:
        return 1 / 0 if b"poison" in payload else takes(payload)

    monkeypatch.setattr(service_module, "open_envelope", buggy)
    for at in range(10):
        await client.raw(at, '"poison"' if at == 4 else str(at))
    found = await until_stored(settings, 9)
    assert [message.message for message in found] == [str(at) for at in range(10) if at != 4]


async def test_a_row_that_the_database_refuses_costs_that_message_only(
    raw_db: asyncio.Task[None], client: Client, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    takes = SqliteRawStore.write

    async def refuses(store: SqliteRawStore, records: Sequence[RawRecord]) -> Written:
        if any("poison" in record.message for record in records):
            raise BatchRefused("poison")
        return await takes(store, records)

    monkeypatch.setattr(SqliteRawStore, "write", refuses)
    for at in range(10):
        await client.raw(at, '"poison"' if at == 4 else str(at))
    found = await until_stored(settings, 9)
    assert [message.message for message in found] == [str(at) for at in range(10) if at != 4]


# -- retention --------------------------------------------------------------------------------------------------------


async def test_what_is_too_old_goes_by_itself(
    client: Client, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = metric("removed_total", reason="age")
    async with running(settings):
        await client.until_state("online")
        for at in range(20):
            await client.raw(at, str(at))
        await client.raw(86_400_000, '"of today"')
        await until_stored(settings, 21)
    await client.until_state("offline")
    monkeypatch.setattr(retention_job, "FIRST_S", 0)
    async with running(settings.model_copy(update={"raw_db_retention_days": 0.5})):
        await client.until_state("online")
        await until(lambda: metric("removed_total", reason="age") - before == 20)
    assert [message.message for message in await stored(settings)] == ['"of today"']
    assert metric("database_bytes") > 0


# -- settings ---------------------------------------------------------------------------------------------------------


async def test_the_topics_are_a_setting_and_an_old_subscription_brings_nothing(
    client: Client, settings: Settings
) -> None:
    async with running(settings):
        await client.until_state("online")  # this leaves a subscription to all connectors at the broker
    await client.until_state("offline")
    async with running(settings.model_copy(update={"mqtt_topic_all_raw_messages": "b/raw/+"})):
        await client.until_state("online")
        await client.raw(0, "1", connector="a")
        await client.publish("b/raw/x", {"raw_message": 1, "timestamp": NOW})
        await until_stored(settings, 1, "b")
    assert await stored(settings, "a") == []


async def test_history_and_raw_db_share_one_database(client: Client, settings: Settings, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'shared.db'}"
    shared = settings.model_copy(update={"database_url": url})
    history = asyncio.create_task(
        history_service.run(HistorySettings(mqtt_broker_port=settings.mqtt_broker_port, database_url=url))
    )
    async with running(shared):
        await client.until_state("online")
        store = await open_store(url)
        for at in range(300):
            await client.raw(at, f'"{at:0300}"')
            await client.publish("meter/messages/a/value", {"value": at, "timestamp": NOW + at})
        assert len(await until_stored(shared, 300)) == 300
        async with asyncio.timeout(PATIENCE_S):
            while not (known := await store.datapoints()) or len(await store.values(known[0].id)) < 300:
                await asyncio.sleep(0.02)
        await store.close()
    history.cancel()
    await asyncio.wait([history])
