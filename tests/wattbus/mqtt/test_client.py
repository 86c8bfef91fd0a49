"""The bus on a real Mosquitto, and what it uses of the MQTT library beneath it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from wattbus.errors import BrokerAway, PublishError
from wattbus.mqtt.client import IncomingMessage, MqttClient, Outgoing
from wattbus.mqtt.embedded_broker import Mosquitto
from wattbus.mqtt.topics import match
from wattbus.retry import Backoff
from wattbus.settings import BrokerSettings
from wattbus.testing.waiting import PATIENCE_S

SOON = PATIENCE_S


@contextlib.asynccontextmanager
async def running(bus: MqttClient, connected: bool = True) -> AsyncIterator[MqttClient]:
    task = asyncio.create_task(bus.run())
    try:
        async with asyncio.timeout(SOON):
            if connected:
                await bus.wait_connected()
        yield bus
    finally:
        task.cancel()
        await asyncio.wait([task])
    assert task.cancelled(), "the bus ended by itself"


def quick(settings: BrokerSettings, name: str, **options: object) -> MqttClient:
    return MqttClient(settings, name, backoff=Backoff(first_s=0.05, longest_s=0.2), **options)  # type: ignore[arg-type]


async def take(bus: MqttClient, number: int, acknowledge: bool = True) -> list[IncomingMessage]:
    taken: list[IncomingMessage] = []
    async with asyncio.timeout(SOON):
        while len(taken) < number:
            taken += await bus.next_deliveries(number - len(taken))
    if acknowledge:
        for delivery in taken:
            delivery.acknowledge()
    return taken


async def test_a_message_arrives_with_its_mqtt5_properties(broker_settings: BrokerSettings) -> None:
    async with running(quick(broker_settings, "a")) as a, running(quick(broker_settings, "b")) as b:
        await b.subscribe(["house/+/value"])
        sent = Outgoing("house/x/value", b"1", expiry_s=60, correlation=b"\x01id", response_topic="back")
        published = await a.publish(sent)
        [got] = await take(b, 1)
        assert (got.topic, got.payload, got.qos, got.retain) == ("house/x/value", b"1", 1, False)
        assert (got.correlation, got.response_topic) == (b"\x01id", "back")
        assert got.expiry_s is not None and 58 <= got.expiry_s <= 60
        assert not published.reached_nobody


async def test_publishing_to_nobody_is_seen(broker_settings: BrokerSettings) -> None:
    async with running(quick(broker_settings, "a")) as a:
        assert (await a.publish(Outgoing("nobody/listens", b"1"))).reached_nobody


async def test_starts_without_a_broker_and_finds_it_later(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    broker = Mosquitto(configuration_directory=tmp_path)
    settings = BrokerSettings(mqtt_broker_port=broker.port)
    async with running(quick(settings, "early"), connected=False) as bus:
        with pytest.raises(BrokerAway):
            await bus.publish(Outgoing("a", b"1"))
        assert not bus.publish_now(Outgoing("a", b"1", qos=0))
        await bus.subscribe(["a"])
        async with asyncio.timeout(SOON):
            while "no connection to the broker" not in caplog.text:
                await asyncio.sleep(0.01)
        await broker.start()
        async with asyncio.timeout(SOON):
            await bus.wait_connected()
        await bus.publish(Outgoing("a", b"1"))
        assert [d.payload for d in await take(bus, 1)] == [b"1"]
    await broker.stop()
    assert sum("no connection to the broker" in record.message for record in caplog.records) == 1


async def test_subscribes_again_after_a_broker_restart_without_state(
    mosquitto: Mosquitto, broker_settings: BrokerSettings
) -> None:
    connects: list[int] = []
    bus = quick(broker_settings, "phoenix", session_expiry_s=60)

    async def note() -> None:
        connects.append(bus.counters.connects)

    bus.on_connect(note)
    async with running(bus):
        await bus.subscribe(["t"])
        for _ in range(2):
            await mosquitto.kill()
            await mosquitto.start()
            async with asyncio.timeout(SOON):
                while True:
                    with contextlib.suppress(BrokerAway):
                        await bus.wait_connected()
                        if not (await bus.publish(Outgoing("t", b"x"))).reached_nobody:
                            break
                    await asyncio.sleep(0)
            assert [d.payload for d in await take(bus, 1)] == [b"x"]
    assert len(connects) >= 3


async def test_a_publish_in_flight_when_the_broker_dies_is_told(
    mosquitto: Mosquitto, broker_settings: BrokerSettings
) -> None:
    async with running(quick(broker_settings, "a")) as a:
        futures = [await a.publish_soon(Outgoing("t", b"x" * 1000)) for _ in range(50)]
        await mosquitto.kill()
        outcomes = await asyncio.gather(*futures, return_exceptions=True)
        assert all(isinstance(outcome, BrokerAway) or outcome is not None for outcome in outcomes)
        assert len(outcomes) == 50


async def test_unacknowledged_messages_come_again_once_each_in_order(broker_settings: BrokerSettings) -> None:
    async with running(quick(broker_settings, "sender")) as sender:
        async with running(quick(broker_settings, "durable", session_expiry_s=60)) as first:
            await first.subscribe(["t"])
            for number in range(10):
                await sender.publish(Outgoing("t", str(number).encode()))
            taken = await take(first, 10, acknowledge=False)
            for delivery in [*taken[:3], *taken[5:]]:  # 3 and 4 are not done: nothing after 2 may be acknowledged
                delivery.acknowledge()
        await sender.publish(Outgoing("t", b"while away"))
        async with running(quick(broker_settings, "durable", session_expiry_s=60)) as second:
            assert second.session_present
            again = await take(second, 8)
            assert [d.payload for d in again] == [b"3", b"4", b"5", b"6", b"7", b"8", b"9", b"while away"]
            assert all(d.duplicate for d in again[:7])


async def test_backpressure_holds_no_more_than_the_high_water_mark_and_loses_nothing(
    broker_settings: BrokerSettings,
) -> None:
    number = 5000
    async with running(quick(broker_settings, "sender")) as sender:
        slow = quick(broker_settings, "slow", session_expiry_s=60, high_water=200)
        async with running(slow):
            await slow.subscribe(["t"])

            async def send() -> None:
                for index in range(number):
                    await sender.publish_soon(Outgoing("t", str(index).encode()))

            sending = asyncio.create_task(send())
            got: list[int] = []
            most = 0
            async with asyncio.timeout(PATIENCE_S):
                while len(got) < number:
                    most = max(most, len(slow._receiver))
                    for delivery in await slow.next_deliveries(20):
                        got.append(int(delivery.payload))
                        delivery.acknowledge()
            await sending
    assert got == list(range(number))
    assert most <= 200 + 100  # one read of the socket may bring a few more than the mark


async def test_denied_publishing_is_an_error_that_names_the_topic(tmp_path: Path) -> None:
    (tmp_path / "acl").write_text("topic write mine/#\ntopic read #\n")
    broker = Mosquitto(configuration_directory=tmp_path, options=[f"acl_file {tmp_path}/acl"])
    await broker.start()
    async with running(quick(BrokerSettings(mqtt_broker_port=broker.port), "a")) as bus:
        await bus.publish(Outgoing("mine/x", b"1"))
        with pytest.raises(PublishError, match="theirs/x: the broker refuses it: Not authorized") as denied:
            await bus.publish(Outgoing("theirs/x", b"1"))
        assert denied.value.code == 135
    await broker.stop()


async def test_signs_in_with_user_and_password(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    passwords = tmp_path / "passwords"
    tool = shutil.which("mosquitto_passwd")
    assert tool
    subprocess.run([tool, "-b", "-c", passwords, "meter", "secret"], check=True, capture_output=True)
    broker = Mosquitto(
        configuration_directory=tmp_path, options=["allow_anonymous false", f"password_file {passwords}"]
    )
    await broker.start()
    good = BrokerSettings(mqtt_broker_port=broker.port, mqtt_username="meter", mqtt_password="secret")
    async with running(quick(good, "a")) as bus:
        await bus.publish(Outgoing("t", b"1"))
    bad = BrokerSettings(mqtt_broker_port=broker.port, mqtt_username="meter", mqtt_password="wrong")
    with caplog.at_level(logging.WARNING):
        async with running(quick(bad, "b"), connected=False):
            async with asyncio.timeout(SOON):
                while "Not authorized" not in caplog.text:
                    await asyncio.sleep(0.01)
    assert "wrong" not in caplog.text
    await broker.stop()


@pytest.fixture
def certificates(tmp_path: Path) -> Path:
    """A certificate authority and a certificate for 127.0.0.1, made for this test."""
    for arguments in (
        "req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 2 -subj /CN=test-ca",
        "req -newkey rsa:2048 -nodes -keyout server.key -out server.csr -subj /CN=127.0.0.1",
        "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out server.pem -days 2 -extfile names",
    ):
        (tmp_path / "names").write_text("subjectAltName=IP:127.0.0.1\n")
        subprocess.run(["openssl", *arguments.split()], cwd=tmp_path, check=True, capture_output=True)
    return tmp_path


async def test_speaks_tls_and_refuses_a_broker_it_does_not_know(
    certificates: Path, caplog: pytest.LogCaptureFixture
) -> None:
    options = [f"certfile {certificates}/server.pem", f"keyfile {certificates}/server.key"]
    broker = Mosquitto(configuration_directory=certificates, options=options)
    await broker.start()
    known = BrokerSettings(mqtt_broker_port=broker.port, mqtt_ca_file=str(certificates / "ca.pem"))
    async with running(quick(known, "a")) as bus:
        await bus.subscribe(["t"])
        for _ in range(200):  # more than one TLS record, so that what waits inside the TLS layer is read too
            await bus.publish_soon(Outgoing("t", b"x" * 3000))
        assert len(await take(bus, 200)) == 200
    unknown = BrokerSettings(mqtt_broker_port=broker.port, mqtt_tls=True)
    async with running(quick(unknown, "b"), connected=False):
        async with asyncio.timeout(SOON):
            while "certificate verify failed" not in caplog.text:
                await asyncio.sleep(0.01)
    await broker.stop()


async def test_the_last_will_is_published_when_the_process_dies(broker_settings: BrokerSettings) -> None:
    will = Outgoing("dying/status", b"offline", retain=True)
    async with running(quick(broker_settings, "watcher")) as watcher:
        await watcher.subscribe(["dying/status"])
        async with running(quick(broker_settings, "dying", will=will)) as dying:
            assert dying._client is not None
            sock = dying._client._client.socket()
            assert sock is not None
            sock.shutdown(socket.SHUT_RDWR)
            [got] = await take(watcher, 1)
            assert got.payload == b"offline"


async def test_a_broker_that_accepts_and_never_answers_is_given_up(caplog: pytest.LogCaptureFixture) -> None:
    reached = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reached.set()
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with running(quick(BrokerSettings(mqtt_broker_port=port), "a"), connected=False):
        async with asyncio.timeout(SOON):
            await reached.wait()
    server.close()


@pytest.mark.parametrize(
    ("topic_filter", "topic", "matches"),
    [
        ("a/b", "a/b", True),
        ("a/+", "a/b", True),
        ("a/+", "a/b/c", False),
        ("a/#", "a", True),
        ("a/#", "a/b/c", True),
        ("+/values", "x/values", True),
        ("+/values", "x/y/values", False),
        ("a/b/c", "a/b", False),
    ],
)
def test_topic_filters_match_as_the_standard_says(topic_filter: str, topic: str, matches: bool) -> None:
    assert match(topic_filter, topic) is matches


async def test_a_broker_that_closes_before_it_answers_is_tried_again_at_once() -> None:
    """It was killed just then; its successor may be there already."""
    visits = 0

    def visited(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal visits
        visits += 1
        writer.close()

    server = await asyncio.start_server(visited, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, running(quick(BrokerSettings(mqtt_broker_port=port), "patient"), connected=False):
        async with asyncio.timeout(PATIENCE_S):  # in which the library would wait for an answer a dozen times
            while visits < 20:
                await asyncio.sleep(0.01)
