"""What a connector does with its readings while histories come, go, and are taken off the bus."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.connector import ScriptedConnector
from tests.wattbus.runtime.one_connector import NAME, passing, running, settings_for
from wattbus.clock import SYSTEM_CLOCK
from wattbus.mqtt.embedded_broker import Mosquitto
from wattbus.runtime.retransmission import NO_RECEIPT_S
from wattbus.testing.clock import VirtualClock
from wattbus.testing.mqtt import PlainClient, plain_client

GRACE_S = 60


async def status(client: PlainClient, name: str, state: str, *records: str, recording: bool | None = None) -> None:
    told: dict[str, Any] = {"state": state, "timestamp": SYSTEM_CLOCK.now_ms(), "instance": name, "records": records}
    told["recording"] = state == "online" if recording is None else recording
    await client.publish(f"{name}/status", told, retain=True)


@pytest.mark.parametrize("records", [(), (NAME, "other")])
async def test_a_history_of_any_name_that_records_us_is_sent_again_what_it_gave_no_receipt_for(
    mosquitto: Mosquitto, tmp_path: Path, records: tuple[str, ...]
) -> None:
    connector, clock = ScriptedConnector(), VirtualClock()
    async with plain_client(mosquitto.port) as client:
        await status(client, "archive", "online", *records)
        async with running(connector, settings_for(mosquitto, tmp_path), clock) as runtime:
            connector.read({"a": 1})
            await client.messages("meter/values", 1)
            await clock.advance(NO_RECEIPT_S + 2)
            first, again = (message["sequence"] for message in await client.messages("meter/values", 2))
            assert (first, again, len(runtime._outbox)) == (1, 1, 1)


async def test_a_history_that_complains_is_sent_again_what_it_lacks_one_without_database_is_not(
    mosquitto: Mosquitto, tmp_path: Path
) -> None:
    connector, clock = ScriptedConnector(), VirtualClock()
    async with plain_client(mosquitto.port) as client:
        await status(client, "history", "degraded", recording=False)
        async with running(connector, settings_for(mosquitto, tmp_path), clock) as runtime:
            connector.read({"a": 1})
            await client.messages("meter/values", 1)
            await clock.advance(10 * NO_RECEIPT_S)
            assert len(client.on("meter/values")) == 1
            await status(client, "history", "degraded", recording=True)
            await passing(clock, lambda: runtime._sender.ledger.history == "online")
            await clock.advance(NO_RECEIPT_S + 2)
            await client.messages("meter/values", 2)


async def test_it_is_enough_that_a_history_was_seen_once_also_after_a_restart(
    mosquitto: Mosquitto, tmp_path: Path
) -> None:
    clock, settings = VirtualClock(), settings_for(mosquitto, tmp_path)
    async with plain_client(mosquitto.port) as client:
        await status(client, "archive", "offline", NAME)
        first = ScriptedConnector()
        async with running(first, settings, clock) as runtime:
            first.read({"a": 1})
            await client.messages("meter/values", 1)
            await clock.advance(10 * GRACE_S)
            assert len(runtime._outbox) == 1
    await mosquitto.kill()
    await mosquitto.start()  # it has forgotten that there is a history
    async with plain_client(mosquitto.port) as client:
        second = ScriptedConnector()
        async with running(second, settings, clock) as runtime:
            await client.messages("meter/values", 1)
            await clock.advance(10 * GRACE_S)
            assert len(runtime._outbox) == 1


async def test_a_history_of_others_is_none_of_ours(mosquitto: Mosquitto, tmp_path: Path) -> None:
    connector, clock = ScriptedConnector(), VirtualClock()
    async with plain_client(mosquitto.port) as client:
        await status(client, "history", "online", "other")
        async with running(connector, settings_for(mosquitto, tmp_path), clock) as runtime:
            connector.read({"a": 1})
            await client.messages("meter/values", 1)
            await passing(clock, lambda: len(runtime._outbox) == 0)  # nobody wants it


async def test_when_the_last_history_is_taken_off_the_bus_the_broker_has_the_last_word(
    mosquitto: Mosquitto, tmp_path: Path
) -> None:
    connector, clock = ScriptedConnector(), VirtualClock()
    async with plain_client(mosquitto.port) as client:
        for name in ("history", "history-2"):
            await status(client, name, "offline")
        async with running(connector, settings_for(mosquitto, tmp_path), clock) as runtime:
            connector.read({"a": 1})
            await client.messages("meter/values", 1)
            await client.publish("history/status", b"", retain=True)
            await clock.advance(10 * GRACE_S)
            assert len(runtime._outbox) == 1, "there is another one"
            await client.publish("history-2/status", b"", retain=True)
            await passing(clock, lambda: runtime._sender.ledger.history == "unknown")
            assert len(runtime._outbox) == 1, "it may tell its status again: it lives"
            await passing(clock, lambda: len(runtime._outbox) == 0)
            await status(client, "history-3", "online")
            await passing(clock, lambda: runtime._sender.ledger.history == "online")
            connector.read({"a": 2})
            await client.messages("meter/values", 2)
            await clock.advance(1)
            assert len(runtime._outbox) == 1, "it waits for the receipt of the new one"
