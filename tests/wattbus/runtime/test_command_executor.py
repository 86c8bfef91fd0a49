"""Commands: checked, executed once, answered with what really happened."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wattbus.clock import SYSTEM_CLOCK, Clock
from wattbus.connector import Datapoint, Scalar
from wattbus.errors import CommandRejected, LinkDown
from wattbus.mqtt.client import MqttClient
from wattbus.mqtt.command_checks import checked
from wattbus.mqtt.embedded_broker import Mosquitto
from wattbus.mqtt.packets import IncomingMessage, Outgoing
from wattbus.retry import Backoff
from wattbus.runtime.command_executor import CommandExecutor
from wattbus.settings import BrokerSettings
from wattbus.testing.clock import VirtualClock
from wattbus.testing.mqtt import PlainClient, plain_client
from wattbus.testing.waiting import PATIENCE_S

TOPIC, RESULT = "c/messages/heat-set/value", "c/messages/heat-set/result"
SOON = PATIENCE_S

NUMBER = Datapoint("heat", "actuator", "continuous_numeric", min_value=5, max_value=30)
DISCRETE = Datapoint("heat", "actuator", "discrete_numeric", allowed_values=(0, 1, 2.5))
BOOL = Datapoint("heat", "actuator", "bool")
TEXT = Datapoint("heat", "actuator", "generic_text")
CHOICE = Datapoint("heat", "actuator", "discrete_text", allowed_values=("auto", "off"))
ANYTHING = Datapoint("heat", "actuator", "unknown", max_value=10)
NULLABLE = Datapoint("heat", "actuator", "generic_numeric", allowed_values=(None, 1))


@pytest.mark.parametrize(
    ("datapoint", "value", "given_to_device"),
    [
        (NUMBER, 20, 20),
        (NUMBER, 20.5, 20.5),
        (NUMBER, "20", 20),
        (NUMBER, "20.0", 20.0),
        (NUMBER, " 2e1 ", 20.0),
        (NUMBER, 5, 5),
        (NUMBER, 30.0, 30.0),
        (DISCRETE, 1, 1),
        (DISCRETE, "2.5", 2.5),
        (BOOL, True, True),
        (BOOL, 0, False),
        (BOOL, 1.0, True),
        (TEXT, "", ""),
        (TEXT, "16000 30", "16000 30"),
        (CHOICE, "auto", "auto"),
        (ANYTHING, None, None),
        (ANYTHING, "x", "x"),
        (ANYTHING, True, True),
        (NULLABLE, None, None),
        (Datapoint("serial", "actuator", "generic_numeric"), "12345678901234567890", 12345678901234567890),
    ],
)
def test_a_value_that_fits_arrives_with_the_right_type(datapoint: Datapoint, value: Any, given_to_device: Any) -> None:
    result = checked(datapoint, value)
    assert (result, type(result)) == (given_to_device, type(given_to_device))


@pytest.mark.parametrize(
    ("datapoint", "value", "reason"),
    [
        (NUMBER, 4.9, "4.9 is less than the minimum 5"),
        (NUMBER, 31, "31 is greater than the maximum 30"),
        pytest.param(NUMBER, 10**400, "is greater than the maximum 30", id="huge"),
        pytest.param(NUMBER, str(-(10**400)), "is less than the minimum 5", id="huge text"),
        (NUMBER, "31", "greater"),
        (NUMBER, "warm", "'warm' is not a number"),
        (NUMBER, "nan", "not a number"),
        (NUMBER, "1e999", "not a number"),
        (NUMBER, True, "True is not a number"),
        (NUMBER, None, "None is not a number"),
        (NUMBER, [20], "is not a value"),
        (NUMBER, {"a": 1}, "is not a value"),
        (NUMBER, float("nan"), "is not a value"),
        (DISCRETE, 3, "3 is not allowed: choose from 0, 1, 2.5"),
        (DISCRETE, True, "not a number"),
        (BOOL, 2, "neither true nor false"),
        (BOOL, "true", "neither true nor false"),
        (BOOL, None, "neither true nor false"),
        (TEXT, 1, "1 is not text"),
        (TEXT, None, "None is not text"),
        pytest.param(TEXT, "half a pair \ud800", "is not a value", id="half a pair"),
        (CHOICE, "on", "'on' is not allowed: choose from 'auto', 'off'"),
        (ANYTHING, 11, "11 is greater than the maximum 10"),
        (NULLABLE, 2, "not allowed"),
    ],
)
def test_a_value_that_does_not_fit_is_rejected_with_the_reason(datapoint: Datapoint, value: Any, reason: str) -> None:
    with pytest.raises(CommandRejected) as rejected:
        checked(datapoint, value)
    assert reason in str(rejected.value)
    assert len(str(rejected.value)) < 250


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(), lambda inner: st.lists(inner, max_size=2)
)


@given(st.sampled_from([NUMBER, DISCRETE, BOOL, TEXT, CHOICE, ANYTHING, NULLABLE]), JSON)
def test_whatever_comes_it_fits_or_is_rejected(datapoint: Datapoint, value: Any) -> None:
    with contextlib.suppress(CommandRejected):
        result = checked(datapoint, value)
        if not isinstance(result, bool) and isinstance(result, int | float):
            assert datapoint.min_value is None or result >= datapoint.min_value
            assert datapoint.max_value is None or result <= datapoint.max_value


class Device:
    """What commands end at."""

    def __init__(self) -> None:
        self.written: list[Scalar] = []
        self.fails: BaseException | None = None
        self.hold: asyncio.Event | None = None  # write() waits for it
        self.is_there = True

    async def write(self, key: str, value: Scalar) -> None:
        self.written.append(value)
        if self.hold is not None:
            await self.hold.wait()
        if self.fails is not None:
            raise self.fails


class Actuator:
    """A command desk on a bus of its own, for one actuator."""

    def __init__(self, port: int, device: Device, datapoint: Datapoint, clock: Clock, **options: Any) -> None:
        settings = BrokerSettings(mqtt_broker_port=port)
        self.bus = MqttClient(settings, "c", session_expiry_s=60, backoff=Backoff(first_s=0.05, longest_s=0.1))
        given = {"read_only": False, "timeout_s": 30, "max_age_s": 300, **options}
        self.desk = CommandExecutor("c", self.bus, clock, device.write, lambda: device.is_there, **given)
        self.datapoint = datapoint
        self.deliveries: list[IncomingMessage] = []
        self.bus.on_disconnect(self.desk.gap_begins)
        self.bus.on_connect(self._on_connect)

    async def _on_connect(self) -> None:
        await self.bus.publish(Outgoing("c/status", b"{}"))  # waiting messages have arrived when it is acknowledged
        await self.bus.drained()
        self.desk.gap_ends()

    async def consume(self) -> None:
        async for delivery in self.bus.deliveries():
            self.deliveries.append(delivery)
            self.desk.take(delivery, self.datapoint)

    def drop_connection(self) -> None:
        assert self.bus._client is not None
        sock = self.bus._client._client.socket()
        assert sock is not None
        sock.shutdown(2)  # type: ignore[attr-defined]


@contextlib.asynccontextmanager
async def actuator(
    port: int, device: Device, datapoint: Datapoint = NUMBER, clock: Clock = SYSTEM_CLOCK, **options: Any
) -> AsyncIterator[Actuator]:
    made = Actuator(port, device, datapoint, clock, **options)
    await made.bus.subscribe([TOPIC])
    tasks = [asyncio.create_task(work()) for work in (made.bus.run, made.desk.run, made.consume)]
    try:
        async with asyncio.timeout(SOON):
            while made.desk.in_gap:
                await asyncio.sleep(0.001)
        yield made
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    assert all(task.cancelled() for task in tasks), "nothing ends by itself"


async def outcomes(client: PlainClient, number: int) -> list[tuple[Any, str]]:
    return [(result["value"], result["outcome"]) for result in await client.messages(RESULT, number)]


async def test_an_applied_command_is_answered_where_it_asks_for_it(mosquitto: Mosquitto) -> None:
    device = Device()
    async with actuator(mosquitto.port, device), plain_client(mosquitto.port) as client:
        command = {"value": 21.5, "timestamp": 7, "id": "abc", "something": "new"}
        await client.publish(TOPIC, command, correlation=b"\x00abc", response_topic="my/answers", expiry_s=60)
        result = await client.message(RESULT)
        assert result.pop("timestamp") > 1_600_000_000_000
        assert result == {"id": "abc", "value": 21.5, "command_timestamp": 7, "outcome": "applied", "detail": ""}
        await client.message("my/answers", id="abc")
        assert {client.on(topic)[0].correlation for topic in (RESULT, "my/answers")} == {b"\x00abc"}
        assert device.written == [21.5]


async def test_each_command_ends_with_its_outcome(mosquitto: Mosquitto) -> None:
    device = Device()
    async with actuator(mosquitto.port, device), plain_client(mosquitto.port) as client:
        for payload in (
            {"value": 99, "timestamp": 1},
            {"value": "x"},
            {},
            b"{",
            b"",
            [1],
            {"value": 1, "timestamp": "x"},
        ):
            await client.publish(TOPIC, payload)
        assert {outcome for _, outcome in await outcomes(client, 7)} == {"rejected"}
        assert device.written == []
        for number, (fails, outcome, detail) in enumerate(
            [
                (CommandRejected("the device says no"), "rejected", "the device says no"),
                (LinkDown("no answer"), "failed", "no answer"),
                (ExceptionGroup("g", [ExceptionGroup("h", [LinkDown("gone")])]), "failed", "gone"),
                (KeyError("a bug"), "failed", "internal error: KeyError"),
                (asyncio.CancelledError(), "failed", "the link broke before the device confirmed"),
                (None, "applied", ""),
            ]
        ):
            device.fails = fails
            await client.publish(TOPIC, {"value": 10 + number, "timestamp": 1})
            result = await client.message(RESULT, value=10 + number)
            assert (result["outcome"], result["detail"]) == (outcome, detail)
        device.is_there = False
        await client.publish(TOPIC, {"value": 20})
        assert (await client.message(RESULT, value=20))["detail"] == "the device is away"
        assert device.written == list(range(10, 16))


async def test_a_read_only_connector_writes_nothing(mosquitto: Mosquitto) -> None:
    device = Device()
    async with actuator(mosquitto.port, device, read_only=True), plain_client(mosquitto.port) as client:
        await client.publish(TOPIC, {"value": 20, "timestamp": 1})
        result = await client.message(RESULT)
        assert (result["outcome"], device.written) == ("rejected", [])
        assert "READ_ONLY" in result["detail"]


async def test_a_write_that_hangs_fails_and_the_next_one_has_its_turn(mosquitto: Mosquitto) -> None:
    device = Device()
    device.hold = asyncio.Event()
    async with actuator(mosquitto.port, device, timeout_s=0.05), plain_client(mosquitto.port) as client:
        await client.publish(TOPIC, {"value": 20})
        assert "did not confirm within 0.05 s" in (await client.message(RESULT, outcome="failed"))["detail"]
        device.hold.set()
        await client.publish(TOPIC, {"value": 21})
        await client.message(RESULT, value=21, outcome="applied")


async def test_a_retained_command_is_refused(mosquitto: Mosquitto) -> None:
    device = Device()
    async with plain_client(mosquitto.port) as client:
        await client.publish(TOPIC, {"value": 20, "timestamp": 1}, retain=True)
        async with actuator(mosquitto.port, device):
            result = await client.message(RESULT)
            assert (result["outcome"], device.written) == ("rejected", [])
            assert "retained" in result["detail"]


async def test_a_command_is_acknowledged_after_its_result_was_published(mosquitto: Mosquitto) -> None:
    device = Device()
    device.hold = asyncio.Event()
    async with actuator(mosquitto.port, device) as one, plain_client(mosquitto.port) as client:
        await client.publish(TOPIC, {"value": 20})
        await client.until(lambda: device.written)
        assert not one.deliveries[0]._acknowledged
        device.hold.set()
        await client.message(RESULT, outcome="applied")
        await client.until(lambda: one.deliveries[0]._acknowledged)


async def test_one_that_must_not_be_repeated_is_acknowledged_before(mosquitto: Mosquitto) -> None:
    device = Device()
    device.hold = asyncio.Event()
    start = Datapoint("start", "actuator", "bool", repeatable=False)
    async with actuator(mosquitto.port, device, start) as one, plain_client(mosquitto.port) as client:
        await client.publish(TOPIC, {"value": True})
        await client.until(lambda: device.written)
        assert one.deliveries[0]._acknowledged
        device.hold.set()
        await client.message(RESULT, outcome="applied")


async def test_a_redelivered_command_is_answered_and_not_executed_again(mosquitto: Mosquitto) -> None:
    """The connection breaks after the command was executed, or in the middle of it."""
    device = Device()
    device.hold = asyncio.Event()
    async with actuator(mosquitto.port, device) as one, plain_client(mosquitto.port) as client:
        await client.publish(TOPIC, {"value": 20, "timestamp": 1, "id": "a"})
        await client.publish(TOPIC, {"value": 21, "timestamp": 2, "id": "b"})
        await client.until(lambda: len(one.deliveries) == 2)
        one.drop_connection()
        await client.until(lambda: len(one.deliveries) == 4)
        assert [delivery.duplicate for delivery in one.deliveries] == [False, False, True, True]
        await client.until(lambda: not one.desk.in_gap)
        device.hold.set()
        await client.message(RESULT, id="b")
        await client.until(lambda: one.deliveries[3]._acknowledged)
        assert {seen.json["outcome"] for seen in client.on(RESULT)} == {"applied"}
        assert device.written == [20, 21]
        # Executed and answered, but the acknowledgement got lost: the same delivery again.
        again = one.deliveries[2]
        one.desk.take(again, NUMBER)
        await client.until(lambda: len(client.on(RESULT)) == 3)
        assert client.on(RESULT)[-1].json == client.on(RESULT)[0].json
        assert device.written == [20, 21]


async def test_on_off_on_is_three_commands_whatever_the_broker_repeats(mosquitto: Mosquitto) -> None:
    """Without an id, and the third one's first delivery lost with the connection: it comes again as a duplicate."""
    device = Device()
    async with actuator(mosquitto.port, device, BOOL) as one, plain_client(mosquitto.port) as client:
        for number, value in enumerate((True, False), start=1):
            await client.publish(TOPIC, {"value": value})
            await client.messages(RESULT, number)
        await client.until(lambda: all(delivery._acknowledged for delivery in one.deliveries))
        acknowledge = one.bus._receiver.acknowledge_in_order
        one.bus._receiver.acknowledge_in_order = lambda _: None  # type: ignore[method-assign]
        taken, one.desk.take = one.desk.take, lambda *_: None  # type: ignore[method-assign]  # lost on the way
        await client.publish(TOPIC, {"value": True})
        await client.until(lambda: len(one.deliveries) == 3)
        one.desk.take = taken  # type: ignore[method-assign]
        one.bus._receiver.acknowledge_in_order = acknowledge  # type: ignore[method-assign]
        one.drop_connection()
        await client.until(lambda: len(one.deliveries) == 4)
        assert one.deliveries[3].duplicate
        await client.until(lambda: len(client.on(RESULT)) == 3)
        assert device.written == [True, False, True]


async def test_a_sender_that_repeats_a_command_under_its_id_has_it_executed_once(mosquitto: Mosquitto) -> None:
    device, clock = Device(), VirtualClock()
    async with actuator(mosquitto.port, device, clock=clock) as one, plain_client(mosquitto.port) as client:
        command = {"value": 20, "timestamp": 1, "id": "a"}
        for _ in range(2):
            await client.publish(TOPIC, command)
        await client.publish(TOPIC, {"value": 21, "timestamp": 1, "id": "a"})  # it gives all of them one id
        await client.publish(TOPIC, command)
        assert await outcomes(client, 4) == [(20, "applied"), (20, "applied"), (21, "applied"), (20, "applied")]
        assert device.written == [20, 21, 20]
        await client.until(lambda: all(delivery._acknowledged for delivery in one.deliveries))
        await clock.advance(301)
        await client.publish(TOPIC, command)
        await client.until(lambda: device.written == [20, 21, 20, 20])


async def test_after_a_gap_only_the_newest_is_executed(mosquitto: Mosquitto) -> None:
    device = Device()
    async with plain_client(mosquitto.port) as client:
        async with actuator(mosquitto.port, device):
            pass
        for value in (20, 21, 22):
            await client.publish(TOPIC, {"value": value, "timestamp": 1}, expiry_s=60)
        async with actuator(mosquitto.port, device):
            assert await outcomes(client, 3) == [(20, "expired"), (21, "expired"), (22, "applied")]
        assert device.written == [22]


@pytest.mark.parametrize(("expiry_s", "lives_s"), [(60, 60), (None, 300)])
async def test_a_command_that_waited_too_long_is_not_executed(
    mosquitto: Mosquitto, expiry_s: int | None, lives_s: int
) -> None:
    device, clock = Device(), VirtualClock()
    device.hold = asyncio.Event()
    async with actuator(mosquitto.port, device, clock=clock) as one, plain_client(mosquitto.port) as client:
        for value in (20, 21):
            await client.publish(TOPIC, {"value": value}, expiry_s=expiry_s)
        await client.until(lambda: len(one.deliveries) == 2)
        clock.forward(lives_s + 1)
        device.hold.set()
        assert await outcomes(client, 2) == [(20, "applied"), (21, "expired")]
        assert device.written == [20]


async def test_devices_do_not_wait_for_each_other(mosquitto: Mosquitto) -> None:
    device = Device()
    device.hold = asyncio.Event()
    async with actuator(mosquitto.port, device) as one, plain_client(mosquitto.port) as client:
        await client.publish(TOPIC, {"value": 20})
        await client.until(lambda: device.written == [20])
        one.datapoint = Datapoint("other", "actuator", "generic_numeric", device="second")
        await client.publish(TOPIC, {"value": 21})
        await client.until(lambda: device.written == [20, 21])
        device.hold.set()
        await outcomes(client, 2)


async def test_an_answer_waits_for_the_connection_without_spinning(mosquitto: Mosquitto) -> None:
    """Between the end of a socket and the bus noticing it, publishing fails at once: others must get their turn."""
    device, clock = Device(), VirtualClock()
    async with actuator(mosquitto.port, device, clock=clock) as one:
        assert one.bus._client is not None
        paho = one.bus._client._client
        paho.on_disconnect = None  # nobody notices

        def stuck(*_: object) -> None:
            raise AssertionError("the event loop stands still")

        before = signal.signal(signal.SIGALRM, stuck)
        signal.alarm(5)
        try:
            paho._sock_close()
            one.desk.refuse(
                IncomingMessage(TOPIC, b"{}", 1, False, False, None, None, None, one.bus._receiver, 0, 1),
                "there is no such actuator",
            )
            for _ in range(100):
                await asyncio.sleep(0)
        finally:
            signal.alarm(0)
            signal.signal(signal.SIGALRM, before)
        assert clock.slept[-1] > 0


async def test_too_many_commands_are_rejected_not_kept(mosquitto: Mosquitto) -> None:
    device = Device()
    device.hold = asyncio.Event()
    async with actuator(mosquitto.port, device) as one:
        for number in range(1500):
            payload = b'{"value": 20, "timestamp": %d}' % number
            one.desk.take(
                IncomingMessage(TOPIC, payload, 1, False, False, None, None, None, one.bus._receiver, 0, 1), NUMBER
            )
        assert sum(map(len, one.desk._queues.values())) == 1000
        assert {result.outcome for _, result in one.desk._answers} == {"rejected"}
