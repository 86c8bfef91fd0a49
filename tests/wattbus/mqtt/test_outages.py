"""What an outage says, what a kept session sends before we have subscribed, and another client of the same id."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from pathlib import Path

import aiomqtt
import pytest

from tests.wattbus.mqtt.test_client import SOON, certificates, quick, running, take  # noqa: F401
from wattbus.errors import PublishError
from wattbus.mqtt import client as client_module
from wattbus.mqtt.embedded_broker import Mosquitto
from wattbus.mqtt.packets import LONGEST_PAYLOAD, TOO_LARGE, Outgoing
from wattbus.mqtt.refusals import Refusals
from wattbus.mqtt.subscribing import Subscriptions
from wattbus.settings import BrokerSettings


async def until(condition: object) -> None:
    async with asyncio.timeout(SOON):
        while not condition():  # type: ignore[operator]
            await asyncio.sleep(0.01)


async def test_what_a_kept_session_sends_before_the_subscriptions_stand_is_acknowledged_on_its_connection(
    broker_settings: BrokerSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The broker sends what waited right behind its CONNACK. A reader that never acknowledges it fills its window."""
    async with running(quick(broker_settings, "sender")) as sender:
        async with running(quick(broker_settings, "durable", session_expiry_s=60)) as first:
            await first.subscribe(["t"])
        for number in range(20):
            await sender.publish(Outgoing("t", str(number).encode()))
        restore = Subscriptions.restore
        second = quick(broker_settings, "durable", session_expiry_s=60)
        await second.subscribe(["t"])

        async def late(self: Subscriptions, client: aiomqtt.Client) -> None:
            if client is second._client:
                for message in await take(second, 20):  # all of them came, and were acknowledged, before this
                    assert message.connection == 1
            await restore(self, client)

        monkeypatch.setattr(Subscriptions, "restore", late)
        async with running(second):
            pass
        monkeypatch.undo()
        async with running(quick(broker_settings, "durable", session_expiry_s=60)) as third:
            assert third.session_present
            await sender.publish(Outgoing("t", b"end"))
            assert [message.payload for message in await take(third, 1)] == [b"end"], "nothing comes again"


async def test_the_reason_that_holds_now_is_said_once_each(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    broker = Mosquitto(configuration_directory=tmp_path)
    await broker.start()
    settings = BrokerSettings(mqtt_broker_port=broker.port)
    async with running(quick(settings, "a")) as bus:
        assert bus.fault == ""
        await broker.stop()
        await until(lambda: "refused" in bus.fault.lower())
        strict = Mosquitto(configuration_directory=tmp_path, port=broker.port, options=["allow_anonymous false"])
        (tmp_path / "mosquitto.conf").unlink()
        strict._lines = lambda: [f"listener {broker.port} 127.0.0.1", "allow_anonymous false"]  # type: ignore[method-assign]
        await strict.start()
        await until(lambda: "Not authorized" in bus.fault)
        await strict.stop()
        await broker.start()
        async with asyncio.timeout(SOON):
            await bus.wait_connected()
        assert bus.fault == ""
    await broker.stop()
    lines = [record.message for record in caplog.records if "no connection to the broker" in record.message]
    assert sum("Not authorized" in line for line in lines) == 1
    assert len(lines) == len(set(lines)) <= client_module.MOST_REASONS


async def test_a_renewed_ca_file_is_read_at_the_next_attempt(certificates: Path) -> None:  # noqa: F811
    options = [f"certfile {certificates}/server.pem", f"keyfile {certificates}/server.key"]
    broker = Mosquitto(configuration_directory=certificates, options=options)
    await broker.start()
    trusted = certificates / "trusted.pem"
    trusted.write_text((certificates / "server.pem").read_text())  # not the authority: verification fails
    settings = BrokerSettings(mqtt_broker_port=broker.port, mqtt_ca_file=str(trusted))
    async with running(quick(settings, "a"), connected=False) as bus:
        await until(lambda: "certificate verify failed" in bus.fault)
        trusted.write_text("nonsense")
        await until(lambda: "MQTT_CA_FILE: cannot read" in bus.fault)
        shutil.copy(certificates / "ca.pem", trusted)
        async with asyncio.timeout(SOON):
            await bus.wait_connected()
    await broker.stop()


async def test_another_client_of_the_same_id_is_a_condition_and_we_come_less_often(
    broker_settings: BrokerSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "SHORT_LIVED_S", 1.0)
    said: list[tuple[str, str]] = []
    bus = quick(broker_settings, "twin")
    bus.backoff.longest_s = 5.0
    bus.on_refusal(lambda name, reason: said.append((name, reason)))
    async with running(bus):
        while not said:
            with contextlib.suppress(aiomqtt.MqttError):
                async with aiomqtt.Client("127.0.0.1", broker_settings.mqtt_broker_port, identifier="twin"):
                    await until(lambda: bus.connected or said)
        assert said[0][0] == "second client"
        assert "another program seems to use the client id twin" in said[0][1]
        assert bus.backoff.failures >= 3, "each time it waits longer"
        await until(lambda: said[-1] == ("second client", ""))
        assert bus.backoff.failures == 0


async def test_what_is_too_large_never_leaves_and_is_said(broker_settings: BrokerSettings) -> None:
    said: list[tuple[str, str]] = []
    bus = quick(broker_settings, "a")
    bus.on_refusal(lambda name, reason: said.append((name, reason)))
    large = b"x" * (LONGEST_PAYLOAD + 70_000)
    async with running(bus):
        with pytest.raises(PublishError) as refused:
            await bus.publish(Outgoing("a/raw", large))
        assert refused.value.code == TOO_LARGE
        assert bus.publish_now(Outgoing("a/state", large, qos=0)), "it is done with: the others must not wait for it"
        assert [name for name, _ in said] == ["too large: a/raw", "too large: a/state"]
        assert bus.counters.publish_refused == 2
        await bus.publish(Outgoing("a/raw", b"x" * LONGEST_PAYLOAD))


def test_a_refusal_ends_when_nothing_was_refused_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    said: list[tuple[str, str]] = []
    refusals = Refusals(lambda name, reason: said.append((name, reason)))
    for reading in range(100):  # every second one is too large
        now[0] += 1.0
        (refusals.refused("x", "too large") if reading % 2 else refusals.accepted("x"))
    assert ("x", "") not in said
    now[0] += 61.0
    refusals.accepted("x")
    assert said[-1] == ("x", "")
    assert not refusals


async def test_denied_publishing_is_a_condition_until_the_broker_takes_it_again(tmp_path: Path) -> None:
    rules = tmp_path / "acl"
    rules.write_text("topic read #\n")
    broker = Mosquitto(configuration_directory=tmp_path, options=[f"acl_file {rules}"])
    await broker.start()
    said: list[tuple[str, str]] = []
    bus = quick(BrokerSettings(mqtt_broker_port=broker.port), "a")
    bus.on_refusal(lambda name, reason: said.append((name, reason)))
    async with running(bus):
        for _ in range(2):
            with pytest.raises(PublishError):
                await bus.publish(Outgoing("t", b"1"))
        rules.write_text("topic readwrite #\n")
        await broker.stop()
        await broker.start()
        await until(lambda: bus.connected and bus.counters.connects == 2)
        await bus.publish(Outgoing("t", b"1"))
    await broker.stop()
    assert said == [*[("publishing refused: t", "Not authorized")] * 2, ("publishing refused: t", "")]
