"""Subscriptions that overlap, that are watched, and that an earlier process has left behind; short visits."""

from __future__ import annotations

import asyncio
from pathlib import Path

import aiomqtt
import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from tests.support.ports import free_port
from tests.wattbus.mqtt.test_client import SOON, quick, running, take
from wattbus.errors import BrokerAway, BrokerRefuses
from wattbus.mqtt.client import IncomingMessage, MqttClient, Outgoing
from wattbus.mqtt.embedded_broker import Mosquitto
from wattbus.settings import BrokerSettings


class Watching:
    """A watcher that remembers."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, bytes]] = []
        self._news = asyncio.Event()

    def __call__(self, delivery: IncomingMessage) -> None:
        self.seen.append((delivery.topic, delivery.payload))
        self._news.set()

    async def until(self, number: int) -> list[tuple[str, bytes]]:
        async with asyncio.timeout(SOON):
            while len(self.seen) < number:
                self._news.clear()
                await self._news.wait()
        return self.seen


async def test_what_is_watched_is_told_at_once_and_is_no_part_of_the_stream(broker_settings: BrokerSettings) -> None:
    bus, watching = quick(broker_settings, "a"), Watching()
    bus.watch("+/status", watching)
    await bus.subscribe(["x/values"])
    async with running(bus), running(quick(broker_settings, "b")) as other:
        await other.publish(Outgoing("x/status", b"1"))
        await other.publish(Outgoing("x/values", b"2"))
        assert [delivery.payload for delivery in await take(bus, 1)] == [b"2"]
        assert watching.seen == [("x/status", b"1")]


async def test_filters_that_overlap_deliver_once_to_the_stream_and_to_every_watcher(
    broker_settings: BrokerSettings,
) -> None:
    """Mosquitto delivers a message once for each of the overlapping subscriptions of a client."""
    bus, wide, own = quick(broker_settings, "a"), Watching(), Watching()
    bus.watch("+/status", wide)
    bus.watch("x/status", own)
    await bus.subscribe(["+/status", "x/status"])
    async with running(bus), running(quick(broker_settings, "b")) as other:
        await bus.subscribe(["y/status", "end"])
        for topic in ("x/status", "y/status", "end"):
            await other.publish(Outgoing(topic, b"1"))
        assert [delivery.topic for delivery in await take(bus, 3)] == ["x/status", "y/status", "end"]
        assert wide.seen == [("x/status", b"1"), ("y/status", b"1")]
        assert own.seen == [("x/status", b"1")]


async def test_a_narrow_filter_with_a_better_quality_of_service_is_kept(broker_settings: BrokerSettings) -> None:
    bus = quick(broker_settings, "a")
    await bus.subscribe(["+/value"], qos=0)
    await bus.subscribe(["x/value"], qos=1)
    async with running(bus), running(quick(broker_settings, "b")) as other:
        await other.publish(Outgoing("x/value", b"1"))
        assert {delivery.qos for delivery in await take(bus, 2)} == {0, 1}


async def test_a_bug_in_a_watcher_ends_nothing(
    broker_settings: BrokerSettings, caplog: pytest.LogCaptureFixture
) -> None:
    bus, watching = quick(broker_settings, "a"), Watching()

    def fails(_: IncomingMessage) -> None:
        raise ZeroDivisionError("of all things")

    bus.watch("x/status", fails)
    bus.watch("x/status", watching)
    async with running(bus), running(quick(broker_settings, "b")) as other:
        await other.publish(Outgoing("x/status", b"1"))
        await watching.until(1)
        assert bus.counters.connects == 1
    assert "ZeroDivisionError" in caplog.text


async def test_filters_that_an_earlier_process_left_in_the_session_can_be_left(
    broker_settings: BrokerSettings,
) -> None:
    async with running(quick(broker_settings, "durable", session_expiry_s=60)) as before:
        await before.subscribe(["+/values", "a/values"])
    after = quick(broker_settings, "durable", session_expiry_s=60)
    await after.subscribe(["a/values"])
    async with running(after), running(quick(broker_settings, "b")) as other:
        assert after.session_present
        assert not (await other.publish(Outgoing("b/values", b"of somebody else"))).reached_nobody
        await after.leave(["+/values", "a/values", "never/subscribed"])
        assert (await other.publish(Outgoing("b/values", b"of somebody else"))).reached_nobody
        await other.publish(Outgoing("a/values", b"ours"))
        assert [delivery.topic for delivery in await take(after, 2)] == ["b/values", "a/values"]


async def test_before_every_attempt_to_connect_somebody_may_wait(
    mosquitto: Mosquitto, broker_settings: BrokerSettings
) -> None:
    bus, asked, allowed = quick(broker_settings, "a"), asyncio.Event(), asyncio.Event()
    attempts = 0

    async def wait() -> None:
        nonlocal attempts
        attempts += 1
        if attempts == 2:
            raise BrokerAway("not this time")
        asked.set()
        await allowed.wait()

    bus.before_connect(wait)
    async with running(bus, connected=False):
        await asyncio.wait_for(asked.wait(), SOON)
        assert (bus.connected, bus.counters.connects) == (False, 0)
        allowed.set()
        await asyncio.wait_for(bus.wait_connected(), SOON)
        await mosquitto.kill()
        await mosquitto.start()
        async with asyncio.timeout(SOON):
            while bus.counters.connects < 2:
                await asyncio.sleep(0.01)
        assert attempts == 3


async def test_a_visit_is_one_connection_under_another_name(broker_settings: BrokerSettings) -> None:
    async with running(quick(broker_settings, "a", session_expiry_s=60)) as bus:
        probe_client, watching = bus.probe_client("a-guest"), Watching()
        probe_client.watch("t", watching)
        async with probe_client.visit():
            await bus.publish(Outgoing("t", b"1"))
            assert await watching.until(1) == [("t", b"1")]
        async with asyncio.timeout(SOON):  # the broker may not have seen the end of it yet
            while not (await bus.publish(Outgoing("t", b"2"))).reached_nobody:
                await asyncio.sleep(0.01)
        assert bus.counters.connects == 1


async def test_a_visit_says_whether_the_broker_is_away_or_refuses(tmp_path: Path) -> None:
    with pytest.raises(BrokerAway):
        async with MqttClient(BrokerSettings(mqtt_broker_port=free_port()), "guest").visit():
            raise AssertionError("there is no broker")
    nobody = tmp_path / "passwords"
    nobody.touch(mode=0o600)
    broker = Mosquitto(configuration_directory=tmp_path, options=["allow_anonymous false", f"password_file {nobody}"])
    await broker.start()
    with pytest.raises(BrokerRefuses):
        async with MqttClient(BrokerSettings(mqtt_broker_port=broker.port), "guest").visit():
            raise AssertionError("we were let in")
    await broker.stop()


async def test_it_is_known_for_how_long_nobody_took_what_waits(broker_settings: BrokerSettings) -> None:
    async with running(quick(broker_settings, "a")) as bus:
        await bus.subscribe(["t"])
        assert bus.untaken_s == 0
        for payload in (b"1", b"2"):
            await bus.publish(Outgoing("t", payload))
        async with asyncio.timeout(SOON):
            while bus.untaken_s < 0.5:
                await asyncio.sleep(0.01)
        await take(bus, 1)
        assert 0 < bus.untaken_s < 0.5, "somebody takes, and something is left"
        await take(bus, 1)
        assert bus.untaken_s == 0


async def test_where_the_wider_filter_is_refused_the_narrower_one_is_subscribed(
    broker_settings: BrokerSettings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Mosquitto's access rules refuse no subscription; other brokers do (reason code 135)."""
    subscribed: list[str] = []
    subscribe = aiomqtt.Client.subscribe

    async def strict(client: aiomqtt.Client, topics: list[tuple[str, SubscribeOptions]]) -> list[ReasonCode]:
        refused = ReasonCode(PacketTypes.SUBACK, "Not authorized")
        subscribed.extend(topic for topic, _ in topics if "+" not in topic)
        allowed = [entry for entry in topics if "+" not in entry[0]]
        codes = iter(await subscribe(client, allowed) if allowed else [])
        return [refused if "+" in topic else next(codes) for topic, _ in topics]

    monkeypatch.setattr(aiomqtt.Client, "subscribe", strict)
    bus, watching = quick(broker_settings, "a"), Watching()
    for topic in ("+/status", "history/status"):
        bus.watch(topic, watching)
    async with running(bus), running(quick(broker_settings, "b")) as other:
        await other.publish(Outgoing("history/status", b"1"))
        await watching.until(1)
    assert subscribed == ["history/status"]
    assert "the broker refuses the subscription to +/status: Not authorized; narrower ones" in caplog.text
