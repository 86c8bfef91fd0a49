"""Whether a connector lives, judged by its status and its heartbeats, and what its values are worth then."""

from __future__ import annotations

import pytest

from wattbus.mqtt.messages import Heartbeat, State, StatusMessage
from wattbus.service.effective_quality import ConnectorLife, Life, effective_quality

BEAT = Heartbeat(this_heartbeats_timestamp=0, next_heartbeats_timestamp=30_000)


def status(state: State, heartbeat_seconds: float | None = None, detail: str = "") -> StatusMessage:
    return StatusMessage(state=state, timestamp=1, detail=detail, heartbeat_seconds=heartbeat_seconds)


def test_a_retained_online_of_a_stopped_process_is_believed_for_two_heartbeats() -> None:
    life = ConnectorLife(100.0)
    life.take_status(status("online", 10.0), 100.0, retained=True)
    assert life.judged(120.0) == Life("online")
    judged = life.judged(120.1)
    assert judged.state == "offline"
    assert judged.reason == "nothing was heard of it for 20 s, though its status says online"
    life.take_heartbeat(BEAT, 130.0)
    assert life.judged(130.0).state == "online"
    assert life.overdue_at_s == 190.0


def test_a_foreign_connector_has_heartbeats_alone() -> None:
    life = ConnectorLife(0.0)
    assert life.judged(1e9).state == "unknown", "it may never have sent any"
    life.take_heartbeat(BEAT, 10.0)
    assert (life.judged(70.0).state, life.judged(70.1).state) == ("online", "offline")


def test_a_service_without_heartbeats_is_what_its_status_says() -> None:
    life = ConnectorLife(0.0)
    life.take_status(status("degraded", detail="no database"), 0.0, retained=True)
    assert life.judged(1e9) == Life("degraded", "no database")


def test_goodbye_is_at_once_and_says_why() -> None:
    life = ConnectorLife(0.0)
    life.take_heartbeat(BEAT, 0.0)
    life.take_status(status("offline", detail="stopped"), 1.0, retained=False)
    assert life.judged(1.0) == Life("offline", "stopped")
    assert life.overdue_at_s is None
    life.take_status(status("online"), 2.0, retained=False)
    assert life.judged(2.0).state == "online"


@pytest.mark.parametrize("following", [-5_000, 0, 10**15])
def test_a_period_that_makes_no_sense_is_bounded(following: int) -> None:
    life = ConnectorLife(0.0)
    life.take_heartbeat(Heartbeat(this_heartbeats_timestamp=0, next_heartbeats_timestamp=following), 0.0)
    assert life.overdue_at_s is not None
    assert 5.0 <= life.overdue_at_s <= 7200.0


@pytest.mark.parametrize(
    ("own", "life", "on_the_bus", "expected"),
    [
        (None, Life("online"), True, None),
        ("stale", Life("degraded"), True, "stale"),
        ("implausible", Life("offline"), True, "offline"),
        (None, Life("unknown"), True, None),
        (None, None, True, None),
        (None, Life("online"), False, "offline"),
    ],
)
def test_the_quality_of_a_value(own: str | None, life: Life | None, on_the_bus: bool, expected: str | None) -> None:
    assert effective_quality(own, life, on_the_bus=on_the_bus) == expected
