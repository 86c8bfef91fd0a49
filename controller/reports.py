"""What the controller tells: what it will send and why, per actuator, and every command as it is decided."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from controller.actuator import Actuator
from controller.control import Control
from controller.orders import Order, SentCommand
from controller.preview import HORIZON_MS
from controller.timer_queue import TimerQueue
from wattbus.clock import Clock
from wattbus.errors import BrokerAway, PublishError
from wattbus.jsontext import JsonValue, dumps
from wattbus.mqtt.client import MqttClient
from wattbus.mqtt.packets import Outgoing

TELL_AT_MOST_EVERY_S = 1.0
READINGS_AT_MOST_EVERY_S = 30.0  # the reason names the sensor's value, which changes all the time
REFRESH_S = 3600.0  # the next 24 hours move on


def preview_topic(service: str, actuator: str) -> str:
    """Where the preview of an actuator stands."""
    return f"{service}/preview/{actuator}"


def decisions_topic(service: str) -> str:
    """Where every command that was sent is reported."""
    return f"{service}/decisions"


def preview_message(actuator: Actuator, control: Control, clock: Clock, dry_run: bool) -> dict[str, JsonValue]:
    """The content of `${service}/preview/${actuator's topic}`, without its timestamp."""
    now_ms = clock.now_ms()
    sensor = control.surroundings.sensor_of(actuator.pair)
    decision = actuator.decision
    return {
        "sensor": actuator.pair.sensor,
        "actuator": actuator.pair.actuator,
        "decision": {"value": decision.value, "reason": decision.reason} if decision.applies else None,
        "reason": decision.reason,
        "sent": _sent(actuator.sent, dry_run),
        "coming": [
            {"from_timestamp": coming.from_ms, "value": coming.value, "reason": coming.reason}
            for coming in actuator.coming(sensor, now_ms)
        ],
        "dry_run": dry_run,
    }


def _sent(sent: SentCommand | None, dry_run: bool) -> JsonValue:
    if sent is None or dry_run:
        return None
    return {
        "value": sent.value,
        "timestamp": sent.timestamp_ms,
        "id": sent.id,
        "outcome": sent.outcome,
        "detail": sent.detail,
    }


def decision_message(actuator: Actuator, order: Order, command_id: str, now_ms: int, dry_run: bool) -> bytes:
    """The content of `${service}/decisions`."""
    return dumps(
        {
            "sensor": actuator.pair.sensor,
            "actuator": actuator.pair.actuator,
            "value": order.value,
            "reason": order.reason,
            "cause": order.cause,
            "id": command_id,
            "timestamp": now_ms,
            "dry_run": dry_run,
        }
    )


@dataclass(frozen=True, slots=True)
class _Told:
    """A preview, when it was looked at last and when it was published (monotonic seconds)."""

    content: dict[str, JsonValue]
    looked_at: float
    published_at: float


NEVER_TOLD = _Told({}, float("-inf"), float("-inf"))


class Previews:
    """Publishes previews, retained: at changes, at most once a second each; again after a connect."""

    def __init__(
        self, service: str, bus: MqttClient, clock: Clock, message: Callable[[str], dict[str, JsonValue] | None]
    ):
        self._service = service
        self._bus = bus
        self._clock = clock
        self._message = message
        self._timers = TimerQueue()
        self._told: dict[str, _Told] = {}
        self._gone: dict[str, None] = {}
        self._news = asyncio.Event()

    def changed(self, actuator: str, urgent: bool = True) -> None:
        """There is something new about an actuator."""
        told = self._told.get(actuator, NEVER_TOLD)
        self._timers.sooner(actuator, told.looked_at + (TELL_AT_MOST_EVERY_S if urgent else READINGS_AT_MOST_EVERY_S))
        self._news.set()

    def forget(self, actuator: str) -> None:
        """It is not controlled any more."""
        self._timers.drop(actuator)
        self._told.pop(actuator, None)
        self._gone[actuator] = None
        self._news.set()

    def tell_all(self) -> None:
        """The connection is new: perhaps the broker has lost its state."""
        for actuator in self._told:
            self._timers.sooner(actuator, float("-inf"))
        self._told.clear()
        self._news.set()

    async def run(self) -> None:
        """Publish what is new, for ever."""
        while True:
            await self._bus.wait_connected()
            self._news.clear()
            try:
                await self._tell()
            except BrokerAway:
                await self._clock.sleep(0.05)  # the bus may not have noticed yet: let it
                continue
            await wake_or_pause(self._clock, self._news, self._timers.next_at() - self._clock.monotonic())

    async def _tell(self) -> None:
        for actuator in list(self._gone):
            await self._publish(actuator, b"")
            self._gone.pop(actuator, None)
        due = self._timers.due(self._clock.monotonic())
        for index, actuator in enumerate(due):
            try:
                await self._tell_one(actuator)
            except BrokerAway:
                for unheard in due[index:]:
                    self._timers.sooner(unheard, float("-inf"))
                raise

    async def _tell_one(self, actuator: str) -> None:
        content = self._message(actuator)
        if content is None:
            return
        now = self._clock.monotonic()
        told = self._told.get(actuator, NEVER_TOLD)
        if told.content != content or now >= told.published_at + REFRESH_S:
            now_ms = self._clock.now_ms()
            times = {"timestamp": now_ms, "until": now_ms + HORIZON_MS}
            await self._publish(actuator, dumps({**content, **times}))
            told = _Told(content, now, now)
        self._told[actuator] = _Told(content, now, told.published_at)
        self._timers.sooner(actuator, told.published_at + REFRESH_S)

    async def _publish(self, actuator: str, payload: bytes) -> None:
        with contextlib.suppress(PublishError):  # a topic too long for the broker: control goes on without its preview
            await self._bus.publish(Outgoing(preview_topic(self._service, actuator), payload, retain=True))


async def wake_or_pause(clock: Clock, wake: asyncio.Event, seconds: float) -> None:
    """Wait until `wake` is set, but at most for `seconds`."""
    waiting: set[asyncio.Future[Any]] = {asyncio.ensure_future(wake.wait())}
    if seconds < float("inf"):
        waiting.add(asyncio.ensure_future(clock.sleep(max(0.0, seconds))))
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for future in waiting:
            future.cancel()
