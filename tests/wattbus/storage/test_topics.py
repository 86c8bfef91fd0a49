"""Which datapoint a topic stands for, whatever is announced when: what every store promises."""

from __future__ import annotations

from typing import Any

import pytest

from tests.wattbus.storage.series import NOW, datapoint, merge, values_of, write
from wattbus.storage import (
    Announcement,
    Batch,
    Plan,
    ReadingValues,
    Store,
    TopicValue,
)


def on_topic(topic_id: str, offset: int, value: Any, connector: str = "bem") -> TopicValue:
    return TopicValue(connector, f"{connector}/messages/{topic_id}/value", NOW + offset, value)


def told(kind: Any, key: str, topic_id: str, connector: str = "bem") -> Announcement:
    return Announcement(connector, kind, key, f"{connector}/messages/{topic_id}/value")


async def names(store: Store) -> set[tuple[str, str, str | None, bool]]:
    return {(d.type, d.key, d.topic and d.topic.split("/")[2], d.announced) for d in await store.datapoints()}


async def test_a_topic_that_nobody_announced_is_recorded_under_its_id(store: Store) -> None:
    await write(store, on_topic("7", 0, 1), on_topic("pump-set", 0, True))
    assert await names(store) == {("sensor", "7", "7", False), ("actuator", "pump-set", "pump-set", False)}


async def test_an_announcement_names_what_was_recorded_before_it(store: Store) -> None:
    await write(store, on_topic("7", 0, 1))
    await store.write(Batch(announcements=[told("actuator", "pump", "7")], values=[on_topic("7", 1, 2)]))
    await write(store, on_topic("7", 2, 3))
    assert await names(store) == {("actuator", "pump", "7", True)}
    assert await values_of(store, "pump") == [(0, 1), (1, 2), (2, 3)]


@pytest.mark.parametrize("merged", [False, True])
async def test_a_series_recorded_under_topic_and_key_becomes_one(store: Store, merged: bool) -> None:
    await write(store, on_topic("7", 0, 1), on_topic("7", 1, 2))
    await write(store, ReadingValues("bem", NOW + 1, {"power": 22}), ReadingValues("bem", NOW + 2, {"power": 3}))
    await store.write(Batch(plans=[Plan("setpoint", "bem", "bem/messages/7/value", NOW, [])]))
    if merged:
        await merge(store)
    await store.write(Batch(announcements=[told("sensor", "power", "7")]))
    assert await names(store) == {("sensor", "power", "7", True)}
    assert await values_of(store, "power") == [(0, 1), (1, 22), (2, 3)]
    assert len(await store.plans("setpoint", (await datapoint(store, "power")).id)) == 1
    await write(store, on_topic("7", 3, 4), ReadingValues("bem", NOW + 4, {"power": 5}))
    assert len(await values_of(store, "power")) == 5


async def test_a_datapoint_made_after_two_became_one_is_written(store: Store) -> None:
    """The number of the one that went may be given to the next."""
    await write(store, ReadingValues("bem", NOW, {"power": 1}), on_topic("7", 1, 2))
    await store.write(Batch(announcements=[told("sensor", "power", "7")]))
    await write(store, ReadingValues("bem", NOW + 2, {"energy": 3}))
    assert await values_of(store, "energy") == [(2, 3)]
    assert await values_of(store, "power") == [(0, 1), (1, 2)]


async def test_topics_that_change_places_take_nothing_along(store: Store) -> None:
    await store.write(Batch(announcements=[told("sensor", "a", "1"), told("sensor", "b", "2")]))
    await write(store, on_topic("1", 0, "a"), on_topic("2", 0, "b"))
    await store.write(Batch(announcements=[told("sensor", "a", "2"), told("sensor", "b", "1")]))
    await write(store, on_topic("2", 1, "a"), on_topic("1", 1, "b"))
    assert await values_of(store, "a") == [(0, "a"), (1, "a")]
    assert await values_of(store, "b") == [(0, "b"), (1, "b")]


async def test_a_key_that_looks_like_another_topics_id_is_not_that_topic(store: Store) -> None:
    await write(store, on_topic("1", 0, "two"), on_topic("2", 0, "one"))
    await store.write(Batch(announcements=[told("sensor", "2", "1"), told("sensor", "1", "2")]))
    assert await values_of(store, "2") == [(0, "two")]
    assert await values_of(store, "1") == [(0, "one")]
    assert await names(store) == {("sensor", "2", "1", True), ("sensor", "1", "2", True)}


async def test_the_same_announcement_again_changes_nothing(store: Store) -> None:
    announcements = [told("sensor", f"key {n}", str(n)) for n in range(50)]
    for _ in range(3):
        await store.write(Batch(announcements=announcements))
    assert len(await store.datapoints()) == 50
    assert all(known.announced for known in await store.datapoints())


async def test_a_sensor_and_an_actuator_may_share_a_key(store: Store) -> None:
    await store.write(Batch(announcements=[told("sensor", "2/3/113", "s"), told("actuator", "2/3/113", "a-set")]))
    await write(store, on_topic("s", 0, 1), on_topic("a-set", 0, 2))
    last = await store.last_values([known.id for known in await store.datapoints()])
    assert {known.type: last[known.id].value for known in await store.datapoints()} == {"sensor": 1, "actuator": 2}


async def test_what_gets_a_setpoint_is_an_actuator(store: Store) -> None:
    await write(store, on_topic("7", 0, 1))
    await store.write(Batch(plans=[Plan("setpoint", "bem", "bem/messages/7/value", NOW, [])]))
    assert await names(store) == {("actuator", "7", "7", False)}
