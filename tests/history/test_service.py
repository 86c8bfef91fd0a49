"""History end to end, on a real broker with a real database: what it records, and what it makes of nonsense."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from history import reading as reading_module
from history.settings import Settings
from tests.history.conftest import NOW, SESSION, Client, rows, running, stored
from tests.support.recording import until
from wattbus import metrics
from wattbus.clock import SYSTEM_CLOCK
from wattbus.mqtt.embedded_broker import Mosquitto
from wattbus.mqtt.messages import ValuesMessage
from wattbus.storage import Batch, BatchRefused, ReadingValues, Written, batch_rows
from wattbus.storage.history_store import HistoryStore

OLD_SESSION = "fedcba9876543210"


# -- the straight path ------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("history")
async def test_a_reading_is_in_the_database_when_its_receipt_comes(client: Client, tmp_path: Path) -> None:
    await client.reading(1, a=21, b="x", c=None, d=True)
    await client.until_receipt("meter", 1)
    assert stored(tmp_path) == {"a": {1: 21.0}, "b": {1: '"x"'}, "c": {1: "null"}, "d": {1: "true"}}


@pytest.mark.usefixtures("history")
async def test_receipts_name_what_is_missing_until_it_comes_or_is_given_up(client: Client, tmp_path: Path) -> None:
    await client.reading(5, a=5)
    await client.until_receipt("meter", 5, missing=[(1, 4)])
    await client.reading(2, a=2)
    await client.until_receipt("meter", 5, missing=[(1, 1), (3, 4)])
    await client.reading(0, dropped=[(1, 1), (4, 4)])
    await client.until_receipt("meter", 5, missing=[(3, 3)])
    await client.reading(3, a=3)
    await client.until_receipt("meter", 5)
    assert stored(tmp_path) == {"a": {2: 2.0, 3: 3.0, 5: 5.0}}


@pytest.mark.usefixtures("history")
async def test_who_repeats_a_reading_evidently_lacks_the_receipt(client: Client, tmp_path: Path) -> None:
    await client.reading(1, a=1)
    await client.until_receipt("meter", 1)
    client.receipts.clear()
    await client.reading(1, a=1)
    await client.until_receipt("meter", 1)
    assert stored(tmp_path) == {"a": {1: 1.0}}


@pytest.mark.usefixtures("history")
async def test_the_newest_session_stays_retained(client: Client, mosquitto: Mosquitto) -> None:
    await client.reading(1, session=OLD_SESSION, a=1)
    await client.until_receipt("meter", 1, OLD_SESSION)
    await client.reading(1, a=2)
    await client.until_receipt("meter", 1)
    await client.reading(2, session=OLD_SESSION, a=3)
    await client.until_receipt("meter", 2, OLD_SESSION)
    await client.until(lambda: client.receipts[-1][1].session == SESSION)


@pytest.mark.usefixtures("history")
async def test_setpoints_schedules_and_outcomes_are_kept(client: Client, tmp_path: Path) -> None:
    item = {"from_timestamp": None, "to_timestamp": None, "preferred_value": 19, "min_value": 18, "max_value": None}
    await client.publish("meter/messages/p-set/setpoint", {"setpoint": [item], "timestamp": NOW}, retain=True)
    await client.publish("meter/messages/p-set/schedule", {"schedule": [], "timestamp": NOW}, retain=True)
    outcome = {"id": "i", "value": 1, "command_timestamp": NOW, "timestamp": NOW, "outcome": "applied", "detail": ""}
    await client.publish("meter/messages/p-set/result", outcome)
    await client.publish("meter/messages/p-set/value", {"value": 1, "timestamp": NOW, "id": "i"})
    await client.reading(1, a=1)
    await client.until_receipt("meter", 1)
    assert [json.loads(items) for (items,) in rows(tmp_path, "SELECT items FROM setpoints")] == [[item]]
    assert rows(tmp_path, "SELECT items FROM schedules") == [("[]",)]
    assert rows(tmp_path, "SELECT outcome, value, command_id FROM outcomes") == [("applied", "1", "i")]
    assert rows(tmp_path, "SELECT type, key FROM datapoints WHERE topic IS NOT NULL") == [("actuator", "p-set")]
    assert stored(tmp_path)["p-set"] == {0: 1.0}


@pytest.mark.usefixtures("history")
async def test_value_topics_in_bemcoms_form_are_recorded_beside_readings_and_none_twice(
    client: Client, tmp_path: Path
) -> None:
    for n in range(20):
        await client.reading(n + 1, a=n)
        state = {"value": n, "timestamp": NOW + n + 1, "sequence": n + 1}
        await client.publish("meter/messages/a/value", state, retain=True, qos=0)
        await client.publish("bem/messages/7/value", {"value": n, "timestamp": NOW + n}, retain=True)
        await client.publish("bem/messages/7/value", {"value": n, "timestamp": NOW + n}, retain=True)
        if n == 10:
            the_map = {"sensor": {"Channel__P": "bem/messages/7/value"}, "actuator": {}}
            await client.publish("bem/datapoint_map", the_map, retain=True)
    await client.publish("bem/messages/8/value", {"value": 'a "sequence" of words', "timestamp": NOW})
    await client.reading(21, a=20)
    await client.until_receipt("meter", 21)
    assert stored(tmp_path) == {"a": {n + 1: float(n) for n in range(21)}}
    assert stored(tmp_path, "bem") == {
        "Channel__P": {n: float(n) for n in range(20)},
        "8": {0: '"a \\"sequence\\" of words"'},
    }


async def test_only_the_named_connectors_are_recorded(client: Client, settings: Settings, tmp_path: Path) -> None:
    async with running(settings):
        await client.until_state("online")  # this leaves subscriptions to everything at the broker
    await client.until_state("offline")
    async with running(settings.model_copy(update={"history_connectors": ["b", "c"]})):
        await client.until_state("online")
        for name in ("a", "b", "c"):
            await client.reading(1, connector=name, x=1)
        await client.until_receipt("c", 1)
    assert [stored(tmp_path, name) for name in ("a", "b", "c")] == [{}, {"x": {1: 1.0}}, {"x": {1: 1.0}}]


# -- payloads ---------------------------------------------------------------------------------------------------------

NONSENSE = [b"{", b"\xff\x00", b"null", b'{"value": NaN, "timestamp": 1}', b'{"timestamp": "x"}', b"[" * 50_000]


@pytest.mark.usefixtures("history")
async def test_an_unparseable_payload_on_every_topic_costs_nothing_else(client: Client, tmp_path: Path) -> None:
    topics = ["values", "datapoints", "datapoint_map"]
    topics += [f"messages/7/{kind}" for kind in ("value", "result", "setpoint", "schedule")]
    before = bad_messages()
    sequence = 0
    for topic in topics:
        for payload in NONSENSE:
            await client.publish(f"meter/{topic}", payload)
            sequence += 1
            await client.reading(sequence, a=sequence)
    await client.publish("meter/messages/7/value", b"")
    await client.until_receipt("meter", sequence)
    assert stored(tmp_path) == {"a": {n: float(n) for n in range(1, sequence + 1)}}
    assert bad_messages() - before == len(topics) * len(NONSENSE)


def bad_messages() -> float:
    kinds = ("values", "datapoints", "datapoint_map", "value", "result", "setpoint", "schedule")
    samples = [metrics.REGISTRY.get_sample_value(BAD, {"service": "history", "kind": kind}) for kind in kinds]
    return sum(sample or 0 for sample in samples)


BAD = "wattbus_history_bad_messages_total"


@pytest.mark.usefixtures("history")
async def test_values_that_no_column_holds_are_left_out_alone(client: Client, tmp_path: Path) -> None:
    head = b'{"session":"0123456789abcdef","sequence":1,"timestamp":%d,"values":' % (NOW + 1)
    values = b'{"a":1,"b":NaN,"c":"\\ud800","d":%b,"e":%b}' % (b"9" * 5000, b"9" * 30)
    await client.publish("meter/values", head + values + b"}")
    await client.until_receipt("meter", 1)
    assert stored(tmp_path) == {"a": {1: 1.0}, "e": {1: "9" * 30}}


async def test_a_bug_that_one_message_wakes_costs_that_message_only(
    history: asyncio.Task[None], client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def buggy(payload: bytes) -> Any:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(reading_module, "_json", buggy)
    await client.reading(1, a=1)
    await client.publish("meter/datapoints", [])
    for sequence in range(2, 10):
        await client.reading(sequence, a=sequence)
    await client.until_receipt("meter", 9)
    assert stored(tmp_path) == {"a": {n: float(n) for n in range(1, 10)}}


async def test_a_row_that_the_database_refuses_costs_that_message_only(
    history: asyncio.Task[None], client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    takes = HistoryStore.write

    async def refuses(store: HistoryStore, batch: Batch) -> Written:
        if any(isinstance(record, ReadingValues) and "poison" in record.values for record in batch.values):
            raise BatchRefused("poison")
        return await takes(store, batch)

    monkeypatch.setattr(HistoryStore, "write", refuses)
    for n in range(1, 10):
        values: dict[str, Any] = {"poison" if n == 5 else "a": n}
        await client.reading(n, **values)
    await client.until_receipt("meter", 9)
    assert stored(tmp_path) == {"a": {n: float(n) for n in range(1, 10) if n != 5}}


async def test_one_value_that_wakes_a_bug_in_the_storage_costs_itself_and_is_named(
    history: asyncio.Task[None],
    client: Client,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Neither its neighbours in the reading, nor the recording: it was tried again for ever."""
    takes = batch_rows.to_columns

    def buggy(value: Any) -> Any:
        return 1 / 0 if value == "poison" else takes(value)

    monkeypatch.setattr(batch_rows, "to_columns", buggy)
    await client.reading(1, a="poison")
    for n in range(2, 6):
        await client.reading(n, a=n, b="poison" if n == 4 else "x")
    await client.until_receipt("meter", 5)
    assert stored(tmp_path) == {
        "a": {n: float(n) for n in range(2, 6)},
        "b": dict.fromkeys((2, 3, 5), '"x"'),
    }
    assert rows(tmp_path, "SELECT upto, missing, dropped FROM sessions") == [(5, "[]", "[[1, 1]]")]
    assert f"meter: a at {NOW + 1}: ZeroDivisionError" in caplog.text
    assert caplog.text.count("Traceback") == 1


async def test_a_reading_that_cannot_be_read_because_of_a_bug_is_not_asked_for_again(
    history: asyncio.Task[None], client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    takes = reading_module.MessageReader._add

    def buggy(reader: Any, records: Any, reading: ReadingValues, arrived: Any) -> None:
        return takes(reader, records, reading, arrived) if "poison" not in reading.values else 1 / 0  # type: ignore

    monkeypatch.setattr(reading_module.MessageReader, "_add", buggy)
    await client.reading(1, poison=1)
    await client.reading(2, a=2)
    await client.until_receipt("meter", 2)
    assert rows(tmp_path, "SELECT upto, missing, dropped FROM sessions") == [(2, "[]", "[[1, 1]]")]


# -- time -------------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("history")
async def test_a_time_in_the_future_is_not_believed_and_the_reading_is_there_once(
    client: Client, tmp_path: Path
) -> None:
    now_ms = SYSTEM_CLOCK.now_ms()
    payload = ValuesMessage(session=SESSION, sequence=1, timestamp=now_ms * 1000, values={"a": 5}).payload()
    await client.publish("meter/values", payload)
    await client.until_receipt("meter", 1)
    await client.until_state("degraded")
    client.receipts.clear()
    for _ in range(2):  # in one batch and in two
        await client.publish("meter/values", payload)
    await client.until_receipt("meter", 1)
    await client.reading(2, a=6)
    await client.until_receipt("meter", 2)
    found = rows(tmp_path, "SELECT time, number, quality FROM recent ORDER BY number")
    assert [(number, quality) for _, number, quality in found] == [(5.0, "implausible"), (6.0, None)]
    assert 0 <= found[0][0] - now_ms < 60_000


async def test_what_is_retained_with_a_time_in_the_future_makes_no_row_at_each_start(
    client: Client, settings: Settings, tmp_path: Path
) -> None:
    future_ms = SYSTEM_CLOCK.now_ms() + 7_200_000
    value, setpoint = {"value": 21, "timestamp": future_ms}, {"setpoint": None, "timestamp": future_ms}
    async with running(settings):
        await client.until_state("online")
        await client.publish("bem/messages/7/value", value, retain=True)
        await client.publish("bem/messages/7-set/setpoint", setpoint, retain=True)
        await until(lambda: stored(tmp_path, "bem") != {} and len(rows(tmp_path, "SELECT * FROM setpoints")) == 1)
    for number in (1, 2):
        changed = settings.model_copy(update={"service_name": f"history-{number}"})
        async with running(changed):  # with a session of its own: what is retained comes again
            await client.until_state("degraded", changed.name)
            await client.reading(number, a=1)
            await client.until_receipt("meter", number)
    assert len(stored(tmp_path, "bem")["7"]) == len(rows(tmp_path, "SELECT * FROM setpoints")) == 1
    async with running(settings.model_copy(update={"service_name": "history-3", "future_limit_seconds": 8000.0})):
        await until(lambda: len(rows(tmp_path, "SELECT * FROM setpoints")) == 2)
        await until(lambda: future_ms - NOW in stored(tmp_path, "bem")["7"])
