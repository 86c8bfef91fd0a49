"""One process for each name, on a real broker; and a status that is always our own words."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path

import pytest

from wattbus.clock import SYSTEM_CLOCK, Clock
from wattbus.mqtt.client import MqttClient
from wattbus.mqtt.embedded_broker import Mosquitto
from wattbus.retry import Backoff
from wattbus.service import health
from wattbus.service.lifecycle import in_service, on_the_bus
from wattbus.service.status_publisher import StatusPublisher
from wattbus.settings import BrokerSettings
from wattbus.testing.clock import VirtualClock
from wattbus.testing.mqtt import PlainClient, plain_client
from wattbus.testing.waiting import PATIENCE_S

SOON = PATIENCE_S
NAME = "boiler"


class Service:
    """A service that does nothing but being there."""

    def __init__(self, port: int, clock: Clock = SYSTEM_CLOCK, records: Iterable[str] | None = None) -> None:
        self.status_publisher = StatusPublisher(NAME, clock=clock, records=None if records is None else list(records))
        settings = BrokerSettings(mqtt_broker_port=port)
        self.bus = MqttClient(
            settings, NAME, will=self.status_publisher.will, backoff=Backoff(first_s=0.05, longest_s=0.2)
        )
        self.lost = 0
        self.bus.on_disconnect(self._count)

    def _count(self) -> None:
        self.lost += 1

    @property
    def fault(self) -> str:
        """Who has its name."""
        return self.status_publisher.name_lock.fault if self.status_publisher.name_lock else ""

    @contextlib.asynccontextmanager
    async def running(self, *, connected: bool = True) -> AsyncIterator[Service]:
        entered, leave = asyncio.Event(), asyncio.Event()

        async def run() -> None:
            async with on_the_bus(self.bus, self.status_publisher):
                entered.set()
                await leave.wait()

        task = asyncio.create_task(in_service(NAME, run))
        try:
            async with asyncio.timeout(SOON):
                await entered.wait()
                if connected:
                    await self.bus.wait_connected()
            yield self
        finally:
            leave.set()
            await task


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(SOON):
        while not condition():
            await asyncio.sleep(0.01)


async def told(client: PlainClient, service: Service, **fields: object) -> None:
    await client.message(f"{NAME}/status", instance=service.status_publisher.instance, **fields)


def status_of(instance: str, state: str = "online") -> dict[str, object]:
    return {"state": state, "timestamp": SYSTEM_CLOCK.now_ms(), "instance": instance}


async def test_a_second_process_says_that_the_name_is_taken_and_disturbs_nobody(
    mosquitto: Mosquitto, caplog: pytest.LogCaptureFixture
) -> None:
    clock = VirtualClock()
    first, second = Service(mosquitto.port), Service(mosquitto.port, clock)
    async with plain_client(mosquitto.port) as client:
        async with first.running():
            await told(client, first, state="online")
            async with second.running(connected=False):
                await until(lambda: second.fault)
                assert f"instance {first.status_publisher.instance}" in second.fault and "process " in second.fault
                for _ in range(3):
                    asked = len(client.on(f"{NAME}/who"))
                    await clock.advance(61)
                    await until(lambda asked=asked: len(client.on(f"{NAME}/who")) > asked)  # type: ignore[misc]
                assert "is taken" in health.of(NAME).faults(ready=True)["name"]
                assert not health.of(NAME).faults(ready=False)
                assert (first.lost, first.bus.counters.connects, second.bus.counters.connects) == (0, 1, 0)
        states = {seen.json["instance"] for seen in client.on(f"{NAME}/status")}
        assert states == {first.status_publisher.instance}, (
            "the second one says nothing below a name that is not its own"
        )
        logs = f"{NAME}/logs"
        await client.until(lambda: any("wants to run under" in seen.json["msg"] for seen in client.on(logs)))
    errors = [record.message for record in caplog.records if record.levelno >= logging.WARNING]
    assert [sum(text in error for error in errors) for text in ("is taken", "wants to run under the name")] == [1, 1]


async def test_when_the_first_one_goes_the_second_takes_over(mosquitto: Mosquitto) -> None:
    clock = VirtualClock()
    first, second = Service(mosquitto.port), Service(mosquitto.port, clock)
    async with plain_client(mosquitto.port) as client, contextlib.AsyncExitStack() as stack:
        async with first.running():
            await stack.enter_async_context(second.running(connected=False))
            await until(lambda: second.fault)
        await told(client, first, state="offline")
        await clock.advance(61)
        await told(client, second, state="online")
        assert not second.fault


async def test_what_a_dead_process_left_retained_is_asked_and_does_not_answer(mosquitto: Mosquitto) -> None:
    async with plain_client(mosquitto.port) as client:
        await client.publish(f"{NAME}/status", status_of("dead"), retain=True)
        service = Service(mosquitto.port)
        begun = asyncio.get_running_loop().time()
        async with service.running():
            await told(client, service, state="online")
        took_s = asyncio.get_running_loop().time() - begun
        assert took_s > 2.9
        assert len(client.on(f"{NAME}/who")) == 3


async def test_two_that_start_at_once_come_to_terms(mosquitto: Mosquitto) -> None:
    one, other = Service(mosquitto.port), Service(mosquitto.port)
    async with one.running(connected=False), other.running(connected=False):
        await until(lambda: bool(one.fault) != bool(other.fault))
        waits, works = (one, other) if one.fault else (other, one)
        await until(lambda: works.bus.connected)
        lost = works.lost
        assert not waits.bus.connected
        async with plain_client(mosquitto.port) as client:
            await told(client, works, state="online")
            await client.publish(f"{NAME}/who", {"instance": "third", "host": "pi", "process": 7})
            await client.until(lambda: len(client.on(f"{NAME}/status")) > 1)
        assert (works.lost, bool(waits.fault)) == (lost, True)


async def test_a_status_that_others_cleared_or_wrote_is_told_again(mosquitto: Mosquitto) -> None:
    service, topic = Service(mosquitto.port), f"{NAME}/status"
    async with plain_client(mosquitto.port) as client, service.running():
        await told(client, service, state="online")
        for foreign in (b"", b"{", status_of("gone", "offline")):
            count = len(client.on(topic))
            await client.publish(topic, foreign, retain=True)
            await client.until(lambda count=count: len(client.on(topic)) >= count + 2)  # type: ignore[misc]
            assert client.last(topic)["instance"] == service.status_publisher.instance
        assert service.bus.backoff.longest_s < 1


async def test_a_twin_that_does_not_ask_is_told_once_and_given_time_until_it_is_gone(
    mosquitto: Mosquitto, caplog: pytest.LogCaptureFixture
) -> None:
    """An earlier version pushes us out, and we it: once a minute is enough."""
    service = Service(mosquitto.port)
    async with plain_client(mosquitto.port) as client, service.running():
        await told(client, service, state="online")
        for _ in range(2):
            await client.publish(f"{NAME}/status", status_of("twin"), retain=True)
            await until(lambda: service.bus.backoff.longest_s == 60)
        errors = [record.message for record in caplog.records if "is running under the name" in record.message]
        assert len(errors) == 1
        assert "instance twin" in errors[0]

        await client.until(lambda: client.last(f"{NAME}/status")["instance"] == service.status_publisher.instance)
        service.bus.backoff.first_s = service.bus.backoff.longest_s = 0.05  # the minute is over
        await mosquitto.kill()
        await until(lambda: not service.bus.connected)
        await mosquitto.start()
        await until(lambda: service.bus.connected)
        await until(lambda: service.bus.backoff.longest_s == 0.2)


async def test_a_broker_that_lets_nobody_ask_is_used_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "acl").write_text(f"topic write {NAME}/status\ntopic readwrite {NAME}/logs\n")
    broker = Mosquitto(configuration_directory=tmp_path, options=[f"acl_file {tmp_path}/acl"])
    await broker.start()
    async with Service(broker.port).running() as service:
        assert service.bus.connected
    await broker.stop()


async def test_a_history_says_whose_readings_it_keeps_and_whether_it_can(mosquitto: Mosquitto) -> None:
    service = Service(mosquitto.port, records=["a", "b"])
    async with plain_client(mosquitto.port, f"{NAME}/status") as client:
        async with service.running():
            await told(client, service, state="online", records=["a", "b"], recording=True)
            service.status_publisher.report_fault("overlap", "b is recorded by another one, too")
            await told(client, service, state="degraded", detail="b is recorded by another one, too", recording=True)
            service.status_publisher.set("degraded", "no database")
            await told(client, service, state="degraded", recording=False)
            service.status_publisher.set("online", "7 MiB used")
            service.status_publisher.report_fault("overlap", "")
            await told(client, service, state="online", detail="7 MiB used", recording=True)
            assert service.bus._client is not None
            service.bus._client._client.socket().shutdown(2)
            await told(client, service, state="offline", detail="the connection was lost", records=["a", "b"])
            await until(lambda: service.bus.connected)
        await told(client, service, state="offline", detail="stopped", records=["a", "b"], recording=False)
    assert "records" not in StatusPublisher("other").will.payload.decode()
