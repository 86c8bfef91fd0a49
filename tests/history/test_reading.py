"""What each message on each topic means."""

from __future__ import annotations

import json
from typing import Any

import pytest

from history.reading import MessageReader, Records
from history.receipts import Arrived
from history.subscriptions import subscriptions
from wattbus.mqtt.topics import match
from wattbus.storage import Announcement, Outcome, Plan, ReadingValues, TopicValue

NOW = 1_700_000_000_000
SESSION = "0123456789abcdef"


class Told:
    """A reader and what it complained of."""

    def __init__(self, *connectors: str) -> None:
        self.bad: list[tuple[str, str]] = []
        self.reader = MessageReader(
            connectors,
            lambda kind, fault: self.bad.append((kind, fault)),
            lambda: NOW,
            is_beyond=lambda _, timestamp_ms: timestamp_ms > NOW + 3_600_000,
        )

    def read(self, topic: str, payload: Any, retained: bool = False) -> Records:
        records = Records()
        raw = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        self.reader.read(records, topic, raw, retained)
        return records


def test_subscriptions_are_static_and_may_name_connectors() -> None:
    assert subscriptions([])[:2] == ["+/values", "+/messages/+/value"]
    named = subscriptions(["a", "b"])
    assert len(named) == 2 * len(subscriptions([]))
    assert any(match(pattern, "b/messages/7/setpoint") for pattern in named)
    assert not any(match(pattern, "c/values") for pattern in named)


def test_a_reading() -> None:
    message = {"session": SESSION, "sequence": 3, "timestamp": NOW, "values": {"a": 1, "b": "x"}}
    extra = {"quality": {"a": "stale"}, "dropped": [[1, 2]]}
    records = Told().read("meter/values", {**message, **extra})
    assert records.arrived == [Arrived("meter", SESSION, 3, ((1, 2),))]
    assert records.batch.values == [ReadingValues("meter", NOW, {"a": 1, "b": "x"}, {"a": "stale"})]


def test_a_pure_report_of_losses_has_no_values() -> None:
    message = {"session": SESSION, "sequence": 0, "timestamp": NOW, "values": {}, "dropped": [[1, 2]]}
    records = Told().read("meter/values", message)
    assert (records.arrived, records.batch.values) == ([Arrived("meter", SESSION, 0, ((1, 2),))], [])


def test_a_reading_with_a_fault_keeps_what_is_sound_and_its_number() -> None:
    told = Told()
    payload = (
        b'{"session":"0123456789abcdef","sequence":7,"timestamp":1700000000000,'
        b'"values":{"a":NaN,"b":2,"c":"\\ud800","d\\udfff":1}}'
    )
    records = told.read("meter/values", payload)
    assert records.arrived == [Arrived("meter", SESSION, 7)]
    assert records.batch.values == [ReadingValues("meter", NOW, {"b": 2})]
    assert [kind for kind, _ in told.bad] == ["values"]


def test_a_reading_of_which_nothing_is_sound_counts_as_lost() -> None:
    told = Told()
    records = told.read("meter/values", {"session": SESSION, "sequence": 7, "timestamp": "noon", "values": {"a": 1}})
    assert (records.arrived, records.batch.values) == ([Arrived("meter", SESSION, 7, lost=True)], [])


TOPICS = [
    "m/values",
    "m/messages/7/value",
    "m/messages/7/result",
    "m/messages/7/setpoint",
    "m/messages/7/schedule",
    "m/datapoints",
    "m/datapoint_map",
]
NONSENSE = [
    b"{",
    b"\xff\xfe\x00",
    b"null",
    b"17",
    b'"text"',
    b"[]",
    b"[[[[1]]]]",
    b'{"value":',
    b'{"value": NaN, "timestamp": 1}',
    b'{"value": 1, "timestamp": "noon"}',
    b'{"value": 1, "timestamp": 1e400}',
    b'{"value": 1, "timestamp": 99999999999999999999999}',
    b'{"setpoint": 1, "timestamp": 1}',
    b'{"schedule": [1], "timestamp": 1}',
    b'{"sensor": [], "actuator": 1}',
    b'[{"key": 1}]',
    b'{"session": "x", "sequence": 1, "timestamp": 1, "values": {}}',
    b'{"session": "0123456789abcdef", "sequence": -1, "timestamp": 1, "values": {}}',
    b'{"session": "0123456789abcdef", "sequence": true, "timestamp": 1, "values": {}}',
    b'{"\\ud800": 1}',
    b"[" * 100_000,
    b'{"a":' * 100_000,
    b'{"value": ' + b"9" * 10_000 + b', "timestamp": 1}',
]


@pytest.mark.parametrize("topic", TOPICS)
@pytest.mark.parametrize("payload", NONSENSE, ids=lambda payload: repr(payload[:30]))
def test_nonsense_is_told_and_nothing_else_happens(topic: str, payload: bytes) -> None:
    told = Told()
    records = told.read(topic, payload)
    assert not records.arrived
    assert not records.batch or (topic, payload[:6]) == ("m/messages/7/value", b'{"valu')
    silent = (topic == "m/datapoints" and payload == b"[]") or (topic.endswith("/value") and b'"sequence"' in payload)
    if not records.batch and not silent:
        assert told.bad and told.bad[0][1].startswith(topic)


@pytest.mark.parametrize("topic", TOPICS)
def test_an_empty_payload_only_clears_a_retained_message(topic: str) -> None:
    told = Told()
    assert not told.read(topic, b"").batch
    assert not told.bad


def test_a_value_topic_of_a_connector_without_readings() -> None:
    records = Told().read("bem/messages/7/value", {"value": "21.5", "timestamp": NOW, "quality": "stale"})
    assert records.batch.values == [TopicValue("bem", "bem/messages/7/value", NOW, "21.5", "stale")]


def test_a_value_that_came_as_a_reading_is_skipped() -> None:
    assert not Told().read("m/messages/7/value", {"value": 1, "timestamp": NOW, "sequence": 9}).batch


@pytest.mark.parametrize("value", ['say "sequence"', {"sequence": 5}, ["sequence"]])
def test_a_value_that_only_holds_the_word_is_recorded(value: Any) -> None:
    records = Told().read("m/messages/7/value", {"value": value, "timestamp": NOW})
    assert records.batch.values == [TopicValue("m", "m/messages/7/value", NOW, value)]


def test_a_command_without_a_timestamp_gets_the_present_one_unless_it_is_an_old_retained_one() -> None:
    told = Told()
    assert told.read("m/messages/7-set/value", {"value": 1}).batch.values == [
        TopicValue("m", "m/messages/7-set/value", NOW, 1)
    ]
    assert not told.read("m/messages/7-set/value", {"value": 1}, retained=True).batch
    assert [kind for kind, _ in told.bad] == ["value"]


def test_setpoints_schedules_and_outcomes() -> None:
    told = Told()
    item = {"from_timestamp": None, "to_timestamp": None, "preferred_value": 19, "acceptable_values": ["17"], "own": 1}
    records = told.read("m/messages/p-set/setpoint", {"setpoint": [item], "timestamp": NOW})
    topic = "m/messages/p-set/value"
    assert records.batch.plans == [Plan("setpoint", "m", topic, NOW, [item])]
    records = told.read("m/messages/p-set/schedule", {"schedule": None, "timestamp": NOW})
    assert records.batch.plans == [Plan("schedule", "m", topic, NOW, None)]
    outcome = {"id": "i", "value": 1, "command_timestamp": None, "timestamp": NOW, "outcome": "failed", "detail": "d"}
    records = told.read("m/messages/p-set/result", outcome)
    assert records.batch.outcomes == [Outcome("m", topic, NOW, "failed", 1, "d", "i", None)]
    assert told.bad == []


def test_what_topics_stand_for() -> None:
    told = Told()
    the_map = {"sensor": {"a b": "m/messages/1/value"}, "actuator": {"m/messages/2/value": "c"}}
    assert told.read("m/datapoint_map", the_map).batch.announcements == [
        Announcement("m", "sensor", "a b", "m/messages/1/value"),
        Announcement("m", "actuator", "c", "m/messages/2/value"),
    ]
    described = [
        {"key": "a b", "type": "sensor", "topic": "m/messages/a-b/value", "unit": "V", "new field": 1},
        {"key": "theirs", "type": "sensor", "topic": "other/messages/a-b/value"},
        {"key": "broken"},
    ]
    assert told.read("m/datapoints", described).batch.announcements == [
        Announcement("m", "sensor", "a b", "m/messages/a-b/value")
    ]
    assert [kind for kind, _ in told.bad] == ["datapoints"]
    assert not told.read("m/datapoint_map", the_map).batch  # its own description rules


def test_only_wanted_connectors_are_read() -> None:
    told = Told("a")
    message = {"value": 1, "timestamp": NOW}
    assert told.read("a/messages/7/value", message).batch
    assert not told.read("b/messages/7/value", message).batch


# -- times that cannot be right ---------------------------------------------------------------------------------------

FUTURES = [NOW + 3_600_001, NOW * 1000, NOW * 1_000_000, 10**40]  # ms; also in microseconds, nanoseconds, nonsense


@pytest.mark.parametrize("future", FUTURES)
def test_a_reading_from_the_future_has_the_time_of_its_arrival_and_is_marked(future: int) -> None:
    told = Told()
    message = {"session": SESSION, "sequence": 3, "timestamp": future, "values": {"a": 1, "b": 2}}
    records = told.read("meter/values", {**message, "quality": {"a": "stale"}})
    arrived = Arrived("meter", SESSION, 3)
    reading = ReadingValues("meter", NOW, {"a": 1, "b": 2}, {"a": "stale", "b": "implausible"})
    assert (records.arrived, records.batch.values, records.restamped) == ([arrived], [reading], [(arrived, reading)])
    assert told.bad == []


def test_also_one_with_a_fault() -> None:
    payload = f'{{"session":"{SESSION}","sequence":7,"timestamp":{NOW}000,"values":{{"a":NaN,"b":2}}}}'
    records = Told().read("meter/values", payload.encode())
    assert records.batch.values == [ReadingValues("meter", NOW, {"b": 2}, {"b": "implausible"})]


@pytest.mark.parametrize("future", FUTURES)
def test_a_value_from_the_future_is_taken_when_it_arrives_and_not_when_it_is_retained(future: int) -> None:
    told = Told()
    topic = "bem/messages/7/value"
    records = told.read(topic, {"value": 21, "timestamp": future})
    assert records.batch.values == [TopicValue("bem", topic, NOW, 21, "implausible")]
    assert told.read(topic, {"value": 21, "timestamp": future}, retained=True).batch.values == []
    assert told.read(topic, {"value": 21, "timestamp": NOW + 3_600_000}, retained=True).batch.values == [
        TopicValue("bem", topic, NOW + 3_600_000, 21)
    ]


@pytest.mark.parametrize("future", FUTURES)
def test_plans_and_outcomes_from_the_future_too(future: int) -> None:
    told = Told()
    records = told.read("bem/messages/7/setpoint", {"setpoint": [], "timestamp": future}, retained=True)
    assert records.batch.plans == [Plan("setpoint", "bem", "bem/messages/7/value", NOW, [], is_restamped=True)]
    outcome = {"id": "x", "value": 1, "command_timestamp": None, "timestamp": future, "outcome": "applied"}
    [stored] = told.read("bem/messages/7/result", outcome).batch.outcomes
    assert stored == Outcome("bem", "bem/messages/7/value", NOW, "applied", 1, "", "x", None)
