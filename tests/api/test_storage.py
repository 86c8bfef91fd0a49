"""What people edit, in the database: beside history in the same file, whoever opens it first."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from wattbus.storage import (
    Announcement,
    Batch,
    BatchRefused,
    EditableStore,
    TopicValue,
    open_editable_store,
    open_store,
)
from wattbus.storage.control import ControlledDatapoint
from wattbus.storage.edits import DatapointEdit, Identity

SENSOR, ACTUATOR = Identity("meter", "sensor", "a b"), Identity("meter", "actuator", "x")
TOPIC = "meter/messages/a-b/value"


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'history.db'}"


@pytest.fixture
async def store(url: str) -> AsyncIterator[EditableStore]:
    store = await open_editable_store(url)
    yield store
    await store.close()


async def test_edits(store: EditableStore) -> None:
    edit = DatapointEdit("T", None, {"unit": "°C", "allowed_values": [1, None], "max_value": None})
    await store.edits.save({SENSOR: edit, ACTUATOR: DatapointEdit(is_active=False)})
    assert await store.edits.load() == {SENSOR: edit, ACTUATOR: DatapointEdit(is_active=False)}
    with pytest.raises(BatchRefused):
        await store.edits.save({ACTUATOR: DatapointEdit("T")})
    swapped = {SENSOR: DatapointEdit("P"), ACTUATOR: DatapointEdit("T")}
    await store.edits.save(swapped)
    assert await store.edits.load() == swapped
    await store.edits.save({SENSOR: DatapointEdit("P", True), ACTUATOR: DatapointEdit(is_active=False)})
    await store.edits.forget_choices("meter")
    assert await store.edits.load() == {SENSOR: DatapointEdit("P"), ACTUATOR: DatapointEdit()}


async def test_made_datapoints_do_not_disturb_history_that_runs(store: EditableStore, url: str) -> None:
    history = await open_store(url)  # as another process has it, with all datapoints in its memory
    told = [Announcement(*SENSOR, TOPIC)]
    await history.write(Batch(values=[TopicValue("meter", TOPIC, 1, 5)]))  # nobody has announced it yet
    await store.edits.make({SENSOR: TOPIC, ACTUATOR: "meter/messages/x-set/value"})
    await store.edits.make({SENSOR: TOPIC})
    await history.write(Batch(values=[TopicValue("meter", TOPIC, 2, 6)]))
    with pytest.raises(BatchRefused):  # history tries its messages one by one then, knowing more
        await history.write(Batch(announcements=told))
    await history.write(Batch(announcements=told, values=[TopicValue("meter", TOPIC, 3, 7)]))
    known = {(row.key, row.type): row for row in await store.history.datapoints()}
    assert known.keys() == {("a b", "sensor"), ("x", "actuator")}
    assert known["a b", "sensor"].topic == TOPIC
    recorded = await store.history.values(known["a b", "sensor"].id)
    assert [value.value for value in recorded] == [5, 6, 7]
    await history.close()


async def test_controllers_and_pairs(store: EditableStore) -> None:
    [default] = await store.control.controllers()
    assert (default.name, default.topic) == ("python_controller", "python_controller/controlled_datapoints")
    attic = await store.control.save_controller("attic", "attic/list")
    assert attic is not None
    pair = ControlledDatapoint(attic, SENSOR, ACTUATOR)
    number = await store.control.save_pair(pair)
    assert number is not None
    assert await store.control.pairs() == {number: pair}
    with pytest.raises(BatchRefused):
        await store.control.save_pair(pair)
    with pytest.raises(BatchRefused):
        await store.control.save_pair(ControlledDatapoint(99, SENSOR, Identity("meter", "actuator", "y")))
    assert await store.control.save_pair(pair, 99) is None
    assert await store.control.delete_controller(attic)
    assert not await store.control.delete_controller(attic)
    assert await store.control.pairs() == {}
    assert await store.control.save_controller("attic", "attic/list") != attic  # an id never means another one


async def test_corrections_reach_both_levels(store: EditableStore) -> None:
    await store.edits.make({SENSOR: None})
    [known] = await store.history.datapoints()
    assert await store.corrections.put_values(known.id, {1: 5, 2: "x"}) == (2, 0)
    await store.history.tidy(1)
    await store.history.tidy(10_000_000)  # what is old moves from recent to history
    assert await store.corrections.put_values(known.id, {1: 5, 2: None, 10_000_000: True}) == (1, 2)
    values = {value.timestamp_ms: value.value for value in await store.history.values(known.id)}
    assert values == {1: 5, 2: None, 10_000_000: True}
    assert [await store.corrections.delete_value(known.id, time) for time in (1, 10_000_000, 1)] == [True, True, False]
    assert await store.corrections.put_plans("schedule", known.id, {1: [], 2: []}) == (2, 0)
    assert await store.corrections.delete_plan("schedule", known.id, 1)
    assert [plan.timestamp_ms for plan in await store.history.plans("schedule", known.id)] == [2]
