"""What is not well, in one list: begun and ended once, with a cause that is renewed, said everywhere."""

from __future__ import annotations

import logging

import pytest

from wattbus import metrics
from wattbus.mqtt.messages import ConditionMessage
from wattbus.service.conditions import CURES, LONGEST_CAUSE, MOST_CONDITIONS, Conditions
from wattbus.service.status_publisher import StatusPublisher
from wattbus.testing.clock import START_MS, VirtualClock


def present(service: str, name: str) -> float | None:
    return metrics.REGISTRY.get_sample_value("wattbus_condition", {"service": service, "condition": name})


async def test_a_condition_begins_is_renewed_and_ends_each_time_anew(caplog: pytest.LogCaptureFixture) -> None:
    clock, changes = VirtualClock(), []
    conditions = Conditions("meter-c", lambda: changes.append(clock.now_ms()), clock)
    for _ in range(2):
        conditions.hold("outbox disk", "no space left")
        conditions.hold("outbox disk", "no space left")
        conditions.hold("outbox disk", "read-only file system")
        [condition] = conditions
        assert (condition.cause, condition.cure) == ("read-only file system", CURES["outbox disk"])
        assert present("meter-c", "outbox disk") == 1
        assert conditions.not_ready() == "outbox disk: read-only file system"
        await clock.advance(61)
        conditions.end("outbox disk")
        conditions.end("outbox disk")
        assert (len(conditions), conditions.not_ready(), present("meter-c", "outbox disk")) == (0, "", 0)
    lines = [record.message for record in caplog.records if record.levelno >= logging.WARNING]
    begin, end = "outbox disk: no space left", "outbox disk: over after 1 min 1 s"
    assert [line.partition(".")[0] for line in lines] == [begin, end] * 2
    assert all(CURES["outbox disk"] in line for line in lines[::2])
    assert len(changes) == 6, "what is the same is no change"


async def test_what_does_not_keep_a_service_from_its_job_leaves_it_ready() -> None:
    conditions = Conditions("x", clock=VirtualClock())
    conditions.hold("records overlap", "another history has b, too", ready=True)
    assert conditions.not_ready() == ""
    assert conditions.texts() == ["another history has b, too"]


async def test_the_status_carries_them_bounded() -> None:
    clock = VirtualClock()
    publisher = StatusPublisher("meter", clock=clock)
    publisher.report_fault("publishing refused: meter/values", "not authorised " * 100)
    assert publisher.state == "degraded"
    message = publisher._message(publisher.state, publisher.detail)
    cure = CURES["publishing refused"]
    cause = ("not authorised " * 100)[:LONGEST_CAUSE]
    expected = ConditionMessage(name="publishing refused: meter/values", since=START_MS, cause=cause, cure=cure)
    assert expected.payload() in message.payload
    for number in range(100):
        publisher.report_fault(f"subscription refused: {number}", "no")
    assert len(publisher.conditions.messages()) == MOST_CONDITIONS
    for condition in list(publisher.conditions):
        publisher.report_fault(condition.name, "")
    assert publisher.state == "online"
    assert b"conditions" not in publisher._message("online", "").payload
