"""The state topics: one retained message per sensor, all of it again after a reconnect."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass

from wattbus.clock import Clock
from wattbus.connector import Scalar
from wattbus.jsontext import dumps
from wattbus.mqtt.client import MqttClient
from wattbus.mqtt.messages import Quality
from wattbus.mqtt.packets import Outgoing
from wattbus.runtime.readings import CLOCK_WENT_BACK_MS
from wattbus.runtime.staleness import Staleness

MESSAGES_AT_ONCE = 100  # a few milliseconds; then others have their turn
TRY_AGAIN_S = 0.05


@dataclass(slots=True)
class _Sensor:
    value: Scalar
    timestamp_ms: int
    sequence: int
    judged: Quality | None  # by what the value is
    marked: Quality | None = None  # by what happened since: counts before `judged`
    published_at: float = float("-inf")
    published: tuple[Scalar, Quality | None] | None = None

    @property
    def quality(self) -> Quality | None:
        return self.marked or self.judged


class StateTopics:
    """What every sensor last said, and publishing it. Nothing waits: what cannot be sent now is sent when it can."""

    def __init__(
        self, bus: MqttClient, staleness: Staleness, clock: Clock, *, only_changes: bool, refresh_s: float
    ) -> None:
        self._bus = bus
        self._staleness = staleness
        self._clock = clock
        self._only_changes = only_changes
        self._refresh_s = refresh_s
        self._sensors: dict[str, _Sensor] = {}
        self._topics: dict[str, str] = {}
        self._unsent: OrderedDict[str, None] = OrderedDict()
        self._waiting = asyncio.Event()  # there is something unsent
        self.published_on: set[str] = set()  # topics that hold a retained state of ours

    def __contains__(self, key: str) -> bool:
        """Whether the sensor was heard in this process."""
        return key in self._sensors

    def update(
        self, key: str, topic: str, value: Scalar, timestamp_ms: int, sequence: int, quality: Quality | None
    ) -> None:
        """A sensor has spoken."""
        self._staleness.heard(key)
        known = self._sensors.get(key)
        if known is not None and timestamp_ms < known.timestamp_ms <= self._clock.now_ms() + CLOCK_WENT_BACK_MS:
            self._confirm(key, known)
            return  # late data belongs to history, not to the present state
        sensor = _Sensor(value, timestamp_ms, sequence, quality)
        if known is not None:
            sensor.published, sensor.published_at = known.published, known.published_at
        self._sensors[key] = sensor
        self._topics[key] = topic
        if self._unsent:
            self._send_later([key] if self._is_wanted(sensor) else [])
        elif self._is_wanted(sensor) and not self._send(key):
            self._send_later([key])

    def repeated(self, keys: Iterable[str]) -> None:
        """The device has said again what it said before, with the same time of its own: no news, but it is there.

        So a value that was `offline` is what it was before, or stale: a repetition makes no value younger.
        """
        for key in keys:
            sensor = self._sensors.get(key)
            if sensor is not None:
                self._confirm(key, sensor)

    def _confirm(self, key: str, sensor: _Sensor) -> None:
        marked: Quality | None = "stale" if self._staleness.is_stale(key) else None
        if sensor.marked != marked:
            sensor.marked = marked
            self._send_later([key])

    def _is_wanted(self, sensor: _Sensor) -> bool:
        if not self._only_changes:
            return True
        before = sensor.published
        if before != (sensor.value, sensor.quality) or before is None or type(before[0]) is not type(sensor.value):
            return True
        return self._clock.monotonic() - sensor.published_at >= self._refresh_s

    def mark(self, keys: Iterable[str], quality: Quality) -> None:
        """Publish that these sensors' last values are not to be trusted any more. What is `offline` stays that."""
        changed = []
        for key in keys:
            sensor = self._sensors.get(key)
            if sensor is not None and sensor.marked not in (quality, "offline"):
                sensor.marked = quality
                changed.append(key)
        self._send_later(changed)

    def mark_all(self, quality: Quality) -> None:
        """As `mark`, for every sensor."""
        self.mark(self._sensors, quality)

    def move(self, topics: dict[str, str]) -> None:
        """The sensors' topics have changed: what moved is published in its new place."""
        moved = [key for key in self._sensors if key in topics and topics[key] != self._topics.get(key)]
        self._topics = topics
        self._send_later(moved)

    def publish_all(self) -> None:
        """Publish every sensor's state again, in slices: the broker may have lost it."""
        self._send_later(self._sensors)

    def _send_later(self, keys: Iterable[str]) -> None:
        """In a task of its own: thousands at once must not keep the others waiting."""
        self._unsent.update(dict.fromkeys(keys))
        if self._unsent:
            self._waiting.set()

    async def run(self) -> None:
        """Send what waits, for ever."""
        while True:
            await self._waiting.wait()
            await self._bus.wait_connected()
            if self._send_some():
                await asyncio.sleep(0)
            else:
                await self._clock.sleep(TRY_AGAIN_S)

    def _send_some(self) -> bool:
        """Whether everything that was tried could be sent."""
        for _ in range(min(MESSAGES_AT_ONCE, len(self._unsent))):
            key = next(iter(self._unsent))
            # One without a topic is left out by the datapoint map: published when that takes it in again.
            if key in self._topics and key in self._sensors and not self._send(key):
                return False
            del self._unsent[key]
        if not self._unsent:
            self._waiting.clear()
        return True

    def _send(self, key: str) -> bool:
        sensor = self._sensors[key]
        message: dict[str, Scalar] = {"value": sensor.value, "timestamp": sensor.timestamp_ms}
        if sensor.quality is not None:
            message["quality"] = sensor.quality
        message["sequence"] = sensor.sequence
        if not self._bus.publish_now(Outgoing(self._topics[key], dumps(message), qos=0, retain=True)):
            return False
        self.published_on.add(self._topics[key])
        sensor.published, sensor.published_at = (sensor.value, sensor.quality), self._clock.monotonic()
        return True
