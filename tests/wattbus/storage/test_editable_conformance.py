"""What people edit, beside history in one database: what every database promises."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.wattbus.storage.series import opened
from wattbus.storage import (
    Announcement,
    Batch,
    BatchRefused,
    EditableStore,
    ReadingValues,
    Store,
    TopicValue,
    open_editable_store,
)
from wattbus.storage.control import ControlledDatapoint
from wattbus.storage.edits import DatapointEdit, Identity

SENSOR, ACTUATOR = Identity("meter", "sensor", "a b"), Identity("meter", "actuator", "x")
TOPIC = "meter/messages/a-b/value"


@pytest.fixture
async def editable(database_url: str) -> AsyncIterator[EditableStore]:
    async with opened(open_editable_store(database_url)) as editable:
        yield editable


async def test_edits_are_kept_and_short_names_are_taken_once(editable: EditableStore) -> None:
    edit = DatapointEdit("T", None, {"unit": "°C", "allowed_values": [1, None], "max_value": None})
    await editable.edits.save({SENSOR: edit, ACTUATOR: DatapointEdit(is_active=False)})
    assert await editable.edits.load() == {SENSOR: edit, ACTUATOR: DatapointEdit(is_active=False)}
    with pytest.raises(BatchRefused):
        await editable.edits.save({ACTUATOR: DatapointEdit("T")})
    swapped = {SENSOR: DatapointEdit("P"), ACTUATOR: DatapointEdit("T")}
    await editable.edits.save(swapped)
    assert await editable.edits.load() == swapped
    await editable.edits.save({SENSOR: DatapointEdit("P", True), ACTUATOR: DatapointEdit(is_active=False)})
    await editable.edits.forget_choices("meter")
    assert await editable.edits.load() == {SENSOR: DatapointEdit("P"), ACTUATOR: DatapointEdit()}


async def test_made_datapoints_do_not_disturb_history_that_runs(editable: EditableStore, store: Store) -> None:
    """`store` is another process', with all datapoints in its memory."""
    told = [Announcement(*SENSOR, TOPIC)]
    await store.write(Batch(values=[TopicValue("meter", TOPIC, 1, 5)]))  # nobody has announced it yet
    await editable.edits.make({SENSOR: TOPIC, ACTUATOR: "meter/messages/x-set/value"})
    await editable.edits.make({SENSOR: TOPIC})
    await store.write(Batch(values=[TopicValue("meter", TOPIC, 2, 6)]))
    with pytest.raises(BatchRefused):  # history tries its messages one by one then, knowing more
        await store.write(Batch(announcements=told))
    await store.write(Batch(announcements=told, values=[TopicValue("meter", TOPIC, 3, 7)]))
    known = {(row.key, row.type): row for row in await editable.history.datapoints()}
    assert known.keys() == {("a b", "sensor"), ("x", "actuator")}
    assert known["a b", "sensor"].topic == TOPIC
    recorded = await editable.history.values(known["a b", "sensor"].id)
    assert [value.value for value in recorded] == [5, 6, 7]


async def test_datapoints_that_somebody_else_made_are_found(editable: EditableStore, store: Store) -> None:
    """One after the other, in any order of their numbers."""
    await store.write(Batch(values=[ReadingValues("meter", 1, {"a": 1})]))
    for key in "bcd":
        await editable.edits.make({Identity("meter", "sensor", key): None})
        await store.write(Batch(values=[ReadingValues("meter", 1, {"new with " + key: 0})]))
        await store.write(Batch(values=[ReadingValues("meter", 1, {key: 1, "a": 1})]))
    assert len(await editable.history.datapoints()) == 7


async def test_a_key_with_a_nul_character_is_one_datapoint_for_everybody(editable: EditableStore, store: Store) -> None:
    await editable.edits.make({Identity("meter", "sensor", "a\0b"): None})
    await store.write(Batch(values=[ReadingValues("meter", 1, {"a\0b": 1, "c": 2}, {"a\0b": "st\0le"})]))
    await store.write(Batch(values=[ReadingValues("meter", 2, {"a\0b": 2})]))
    [known, _] = await editable.history.datapoints()
    assert known.key == "a␀b"
    assert [(v.value, v.quality) for v in await store.values(known.id)] == [(1, "st␀le"), (2, None)]


async def test_controllers_and_pairs(editable: EditableStore) -> None:
    [default] = await editable.control.controllers()
    assert (default.name, default.topic) == ("python_controller", "python_controller/controlled_datapoints")
    attic = await editable.control.save_controller("attic", "attic/list")
    assert attic is not None
    pair = ControlledDatapoint(attic, SENSOR, ACTUATOR)
    number = await editable.control.save_pair(pair)
    assert number is not None
    assert await editable.control.pairs() == {number: pair}
    with pytest.raises(BatchRefused):
        await editable.control.save_pair(pair)
    with pytest.raises(BatchRefused):
        await editable.control.save_pair(ControlledDatapoint(99, SENSOR, Identity("meter", "actuator", "y")))
    assert await editable.control.save_pair(pair, 99) is None
    assert await editable.control.delete_controller(attic)
    assert not await editable.control.delete_controller(attic)
    assert await editable.control.pairs() == {}
    assert await editable.control.save_controller("attic", "attic/list") != attic  # an id never means another one


async def test_corrections_reach_every_level(editable: EditableStore) -> None:
    await editable.edits.make({SENSOR: None})
    [known] = await editable.history.datapoints()
    assert await editable.corrections.put_values(known.id, {1: 5, 2: "x"}) == (2, 0)
    await editable.history.tidy(1)
    await editable.history.tidy(10_000_000)  # on SQLite what is old moves from recent to history
    assert await editable.corrections.put_values(known.id, {1: 5, 2: None, 10_000_000: True}) == (1, 2)
    values = {value.timestamp_ms: value.value for value in await editable.history.values(known.id)}
    assert values == {1: 5, 2: None, 10_000_000: True}
    delete = editable.corrections.delete_value
    assert [await delete(known.id, time) for time in (1, 10_000_000, 1)] == [True, True, False]
    assert await editable.corrections.put_plans("schedule", known.id, {1: [], 2: []}) == (2, 0)
    assert await editable.corrections.put_plans("schedule", known.id, {1: [], 2: [7]}) == (0, 2)
    assert await editable.corrections.delete_plan("schedule", known.id, 1)
    assert [plan.items for plan in await editable.history.plans("schedule", known.id)] == [[7]]
