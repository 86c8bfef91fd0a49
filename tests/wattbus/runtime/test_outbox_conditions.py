"""What an outbox says of itself, and what becomes of a history that nobody stands behind."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.support.connector import ScriptedConnector
from tests.wattbus.runtime.one_connector import NAME, passing, running, settings_for
from wattbus.errors import ReadingsLost
from wattbus.mqtt.embedded_broker import Mosquitto
from wattbus.runtime.connector_runtime import Runtime
from wattbus.runtime.outbox import Outbox
from wattbus.runtime.outbox_conditions import LOSS_SHOWN_S, OutboxConditions
from wattbus.service.conditions import Conditions
from wattbus.testing.clock import VirtualClock
from wattbus.testing.mqtt import plain_client


def test_full_and_lost_begin_and_end(tmp_path: Path) -> None:
    clock = VirtualClock()
    conditions = Conditions("meter", clock=clock)
    outbox = Outbox("a", tmp_path, max_bytes=65536, clock=clock)
    seen = OutboxConditions(outbox, conditions, clock)
    while not outbox.overflowed:
        outbox.put(outbox.last_sequence + 1, b"{" + b"x" * 998 + b"}")
    assert seen.overflowed() == outbox.overflowed
    assert seen.overflowed() == 0
    assert "outbox full: the oldest" in conditions.not_ready()
    outbox.release("a", [(1, outbox.last_sequence)])
    seen.look()
    assert not conditions.not_ready()
    seen.lost("b", [(3, 7), (9, 9)], "torn")
    seen.lost("a", [(1, 1)], "too large")
    assert conditions.texts() == ["6 readings: torn; 1 readings: too large (3–7, 9 of session b; 1 of session a)"]
    clock.forward(LOSS_SHOWN_S + 1)
    seen.look()
    assert not len(conditions)


async def test_a_history_that_nobody_stands_behind_is_asked_and_then_not_repeated_to(
    mosquitto: Mosquitto, tmp_path: Path
) -> None:
    """The broker died with its history and retains for ever that it was online."""
    clock, connector = VirtualClock(), ScriptedConnector()
    async with plain_client(mosquitto.port) as client:
        dead = {"state": "online", "timestamp": 1, "instance": "dead", "records": [], "recording": True}
        await client.publish("history/status", dead, retain=True)
        async with running(connector, settings_for(mosquitto, tmp_path), clock, settled=False) as runtime:
            for number in range(5):
                connector.read({"room": number})
            await passing(clock, lambda: client.on("history/who"))
            await passing(clock, lambda: runtime._sender.ledger.history == "away")
            status = await client.until(
                lambda: (last := client.last(f"{NAME}/status")) and "no receipt" in last["detail"] and last
            )
            assert status["state"] == "degraded"
            sent = len(client.on(f"{NAME}/values"))
            for _ in range(400):
                await clock.advance(1)
            assert len(client.on(f"{NAME}/values")) == sent, "it is held, not repeated"
            await client.publish("history/status", {**dead, "instance": "new"})
            receipt = {"session": runtime._outbox.session, "upto": 5, "missing": []}
            await client.publish(f"history/receipts/{NAME}", receipt)
            await passing(clock, lambda: not len(runtime._outbox))
            await passing(clock, lambda: "no receipt" not in client.last(f"{NAME}/status")["detail"])


async def test_a_stop_that_cannot_save_waits_for_history_then_says_what_it_loses(
    mosquitto: Mosquitto, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = settings_for(mosquitto, tmp_path, OUTBOX_STOP_SECONDS="0.2")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "outbox").write_text("in the way")
    connector = ScriptedConnector()
    runtime = Runtime(connector, settings)
    task = asyncio.create_task(runtime.run())
    async with plain_client(mosquitto.port) as client:
        await client.until(lambda: connector.running.is_set())
        for number in range(3):
            connector.read({"room": number})
        await client.until(lambda: (client.last(f"{NAME}/status") or {}).get("state") == "degraded")
        await client.until(lambda: "memory only" in client.last(f"{NAME}/status")["detail"])
        task.cancel()
        with pytest.raises(ReadingsLost, match=r"loses 3 readings .* numbers 1–3 of session"):
            await task
        assert client.last(f"{NAME}/status")["state"] == "offline", "it says goodbye all the same"


async def test_a_stop_that_cannot_save_is_saved_by_a_receipt(mosquitto: Mosquitto, tmp_path: Path) -> None:
    settings = settings_for(mosquitto, tmp_path, OUTBOX_STOP_SECONDS="60")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "outbox").write_text("in the way")
    connector = ScriptedConnector()
    runtime = Runtime(connector, settings)
    task = asyncio.create_task(runtime.run())
    async with plain_client(mosquitto.port) as client:
        await client.until(lambda: connector.running.is_set())
        connector.read({"room": 1})
        await client.until(lambda: client.on(f"{NAME}/values"))
        task.cancel()
        await client.until(lambda: not connector.running.is_set())
        await client.publish(f"history/receipts/{NAME}", {"session": runtime._outbox.session, "upto": 1, "missing": []})
        await asyncio.wait([task])
    assert task.cancelled()
