"""Datapoints, their topics, and the datapoint map's rule over them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.effort import calls_of
from wattbus.connector import Datapoint, DatapointType
from wattbus.mqtt import topics
from wattbus.mqtt.messages import DatapointDescription, DatapointMap
from wattbus.runtime.datapoint_registry import DatapointRegistry

Identity = tuple[DatapointType, str]


@pytest.mark.parametrize(
    ("kind", "key", "level"),
    [
        ("sensor", "p30_garage__report 2__Curr user", "p30_garage__report-2__Curr-user"),
        ("sensor", "2/3/113", "2-3-113"),
        ("actuator", "2/3/113", "2-3-113-set"),
        ("sensor", "a+b#c$d\"e'f\tg\x00h\u2028i", "a-b-c-d-e-f-g-h-i"),
        ("sensor", "Zähler°C", "Zähler°C"),
        ("sensor", "1-0:96.99.1", "1-0:96.99.1"),
        ("sensor", "", "-"),
        ("sensor", "half \ud800", "half--"),
    ],
)
def test_a_topic_can_be_read_and_typed(kind: DatapointType, key: str, level: str) -> None:
    assert topics.topic_ids([(kind, key)]) == {(kind, key): level}


def test_keys_that_collide_all_get_a_hash() -> None:
    ids = topics.topic_ids([("sensor", "a/b"), ("sensor", "a b"), ("sensor", "c")])
    assert ids["sensor", "c"] == "c"
    assert ids["sensor", "a/b"].startswith("a-b~")
    assert ids["sensor", "a b"].startswith("a-b~")
    assert len(set(ids.values())) == 3


def test_a_sensor_named_like_an_actuators_topic_does_not_receive_commands() -> None:
    ids = topics.topic_ids([("actuator", "heat"), ("sensor", "heat-set")])
    assert len(set(ids.values())) == 2
    assert ids["actuator", "heat"].endswith("-set")
    assert not ids["sensor", "heat-set"].endswith("-set")


def test_endless_keys_are_cut() -> None:
    ids = topics.topic_ids([("sensor", "x" * 70_000), ("sensor", "x" * 70_001), ("actuator", "x" * 70_000)])
    assert len(set(ids.values())) == 3
    assert max(map(len, ids.values())) < 250


KEYS = st.lists(
    st.tuples(st.sampled_from(["sensor", "actuator"]), st.text("a/ +~-", max_size=3) | st.sampled_from(["a-set", "a"])),
    max_size=8,
    unique=True,
)


@given(KEYS, st.randoms(use_true_random=False))
def test_topics_do_not_depend_on_the_order_of_discovery(keys: list[Identity], random: Any) -> None:
    expected = {identity: topics.value("c", level) for identity, level in topics.topic_ids(keys).items()}
    assert len(set(expected.values())) == len(keys)
    random.shuffle(keys)
    catalogue = DatapointRegistry("c")
    for kind, key in keys:
        catalogue.describe([Datapoint(key, kind)])
    found: dict[Identity, str] = {("sensor", key): topic for key, topic in catalogue.sensor_topics.items()}
    for topic in catalogue.topics.actuators:
        datapoint = catalogue.actuator_on(topic)
        assert datapoint is not None
        found["actuator", datapoint.key] = topic
    assert found == expected
    described = json.loads(catalogue.announcement.descriptions())
    assert {(entry["type"], entry["key"]): entry["topic"] for entry in described} == expected


def test_describing_anew_is_news_only_when_something_changed() -> None:
    catalogue = DatapointRegistry("c")
    assert catalogue.describe([Datapoint("a", unit="V")])
    assert not catalogue.describe([Datapoint("a", unit="V")])
    assert catalogue.describe([Datapoint("a", unit="mV")])
    assert not catalogue.discover([Datapoint("a", unit="")]), "what is known is not described by a reading"
    sensor = catalogue.sensor("a")
    assert sensor is not None
    assert sensor.unit == "mV"


def test_an_actuator_that_is_described_anew_is_the_one_that_is_commanded() -> None:
    catalogue = DatapointRegistry("c")
    catalogue.describe([Datapoint("a", "actuator", max_value=1)])
    catalogue.describe([Datapoint("a", "actuator", max_value=2)])
    actuator = catalogue.actuator_on("c/messages/a-set/value")
    assert actuator is not None
    assert actuator.max_value == 2


def test_a_command_that_must_not_be_repeated_is_announced_as_such() -> None:
    catalogue = DatapointRegistry("c")
    catalogue.describe([Datapoint("start", "actuator", repeatable=False), Datapoint("limit", "actuator")])
    start, limit = json.loads(catalogue.announcement.descriptions())
    assert start["repeatable"] is False
    assert "repeatable" not in limit
    assert DatapointDescription.model_validate(limit).repeatable


@pytest.mark.parametrize("topic", ["other/status", "c/who"])
def test_no_actuator_listens_where_services_speak_of_themselves(topic: str) -> None:
    catalogue = DatapointRegistry("c")
    catalogue.describe([Datapoint("a", "actuator")])
    [fault] = catalogue.choose(DatapointMap(sensor={}, actuator={topic: "a", "c/deep/status": "a"}))
    assert topic in fault
    assert catalogue.topics.actuators == {"c/deep/status"}


@pytest.mark.parametrize("chosen", [False, True])
def test_thousands_discovered_one_by_one_cost_the_same_each(chosen: bool) -> None:
    catalogue = DatapointRegistry("c")
    if chosen:
        everything = {f"k{number}": f"c/messages/{number}/value" for number in range(3000)}
        catalogue.choose(DatapointMap(sensor=everything, actuator={}))

    def discover(first: int) -> int:
        return calls_of(lambda: [catalogue.discover([Datapoint(f"k{number}")]) for number in range(first, first + 100)])

    early = discover(0)
    for number in range(100, 2900):
        catalogue.discover([Datapoint(f"k{number}")])
    assert discover(2900) <= 1.2 * early
    assert len(catalogue.sensor_topics) == 3000


def test_a_map_rules_until_it_goes() -> None:
    catalogue = DatapointRegistry("c")
    catalogue.describe([Datapoint("a"), Datapoint("b"), Datapoint("x", "actuator"), Datapoint("y", "actuator")])
    assert (
        catalogue.choose(DatapointMap(sensor={"a": "t/a", "later": "t/later"}, actuator={"t/1": "x", "t/2": "x"})) == []
    )
    assert catalogue.topics.sensors == {"t/a"}
    assert catalogue.topics.actuators == {"t/1", "t/2"}
    catalogue.describe([Datapoint("later"), Datapoint("never")])
    assert catalogue.sensor_topics == {"a": "t/a", "later": "t/later"}
    described = {entry["key"]: entry["topic"] for entry in json.loads(catalogue.announcement.descriptions())}
    assert described["b"] == "c/messages/b/value"
    assert described["a"] == "t/a"
    catalogue.choose(None)
    assert len(catalogue.topics.sensors) == 4
    assert len(catalogue.topics.actuators) == 2


def test_what_in_a_map_cannot_be_followed_is_named() -> None:
    catalogue = DatapointRegistry("c")
    catalogue.describe([Datapoint("a"), Datapoint("x", "actuator")])
    faults = catalogue.choose(
        DatapointMap(sensor={"a": "t", "b": "with/+"}, actuator={"t": "x", "": "x", "u": "who?", "y" * 70_000: "x"})
    )
    assert len(faults) == 5
    assert catalogue.topics.sensors == {"t"}
    assert catalogue.topics.actuators == frozenset()
