"""Which receipts are kept in memory, to be told again."""

from __future__ import annotations

import pytest

from history import publisher
from history.publisher import ReceiptPublisher
from wattbus.mqtt.client import MqttClient
from wattbus.settings import BrokerSettings
from wattbus.storage import SessionState


def state(connector: str, number: int, last_seen_ms: int) -> SessionState:
    return SessionState(connector, f"{number:016x}", 1, (), (), number, last_seen_ms)


async def test_a_connector_that_restarts_all_the_time_costs_a_bounded_number_of_sessions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(publisher, "MOST_SESSIONS", 3)
    receipts = ReceiptPublisher(MqttClient(BrokerSettings(), "history"), 1.0)
    for number in range(50):
        receipts.committed([state("meter", number, number), state("other", 1, number)])
    assert list(receipts._known["meter"]) == [f"{number:016x}" for number in (47, 48, 49)]
    assert list(receipts._known["other"]) == [f"{1:016x}"]
