"""The state topics: one retained message per sensor, all of it again after a reconnect."""

from __future__ import annotations

from dataclasses import dataclass

from wattbus.clock import Clock
from wattbus.connector import Scalar
from wattbus.jsontext import dumps
from wattbus.mqtt.client import MqttClient
from wattbus.mqtt.messages import Quality
from wattbus.mqtt.packets import Outgoing
from wattbus.runtime.readings import CLOCK_WENT_BACK_MS


@dataclass(slots=True)
class _Sensor:
    value: Scalar
    timestamp_ms: int
    sequence: int
    quality: Quality | None
    heard_at: float  # monotonic seconds
    told_at: float = float("-inf")
    told: tuple[Scalar, Quality | None] | None = None


class StateTopics:
    """What every sensor last said, and telling it. Nothing waits: what cannot be sent now is sent when it can."""

    def __init__(self, bus: MqttClient, clock: Clock, *, only_changes: bool, refresh_s: float) -> None:
        self._bus = bus
        self._clock = clock
        self._only_changes = only_changes
        self._refresh_s = refresh_s
        self._sensors: dict[str, _Sensor] = {}
        self._topics: dict[str, str] = {}
        self._unsent: dict[str, None] = {}  # an ordered set
        self.told_on: set[str] = set()  # topics that hold a retained state of ours

    def update(
        self, key: str, topic: str, value: Scalar, timestamp_ms: int, sequence: int, quality: Quality | None
    ) -> None:
        """A sensor has spoken."""
        known = self._sensors.get(key)
        if known is not None and timestamp_ms < known.timestamp_ms <= self._clock.now_ms() + CLOCK_WENT_BACK_MS:
            known.heard_at = self._clock.monotonic()
            return  # late data belongs to history, not to the present state
        sensor = _Sensor(value, timestamp_ms, sequence, quality, self._clock.monotonic())
        if known is not None:
            sensor.told, sensor.told_at = known.told, known.told_at
        self._sensors[key] = sensor
        self._topics[key] = topic
        if not self._only_changes or self._is_news(sensor):
            self._tell(key)

    def _is_news(self, sensor: _Sensor) -> bool:
        now = (sensor.value, sensor.quality)
        same = sensor.told == now and (sensor.told is None or type(sensor.told[0]) is type(sensor.value))
        return not same or self._clock.monotonic() - sensor.told_at >= self._refresh_s

    def mark(self, key: str, quality: Quality) -> None:
        """Tell that a sensor's last value is not to be trusted any more."""
        sensor = self._sensors.get(key)
        if sensor is not None and sensor.quality not in (quality, "offline"):
            sensor.quality = quality
            if key in self._topics:  # else it is told when the datapoint map takes it in again
                self._tell(key)

    def silence_s(self, key: str) -> float | None:
        """Seconds since a sensor was heard; None if it never was."""
        sensor = self._sensors.get(key)
        return None if sensor is None else self._clock.monotonic() - sensor.heard_at

    def move(self, topics: dict[str, str]) -> None:
        """The sensors' topics have changed: what moved is told in its new place."""
        moved = [key for key in self._sensors if key in topics and topics[key] != self._topics.get(key)]
        self._topics = dict(topics)
        self._unsent.update(dict.fromkeys(moved))
        self.flush()

    def tell_all(self) -> None:
        self._unsent.update(dict.fromkeys(self._sensors))
        self.flush()

    def _tell(self, key: str) -> None:
        if self._unsent or not self._send(key):
            self._unsent[key] = None

    def flush(self) -> None:
        """Send what could not be sent before. Call it now and then."""
        for key in list(self._unsent):
            if key in self._topics and key in self._sensors and not self._send(key):
                return
            del self._unsent[key]

    def _send(self, key: str) -> bool:
        sensor = self._sensors[key]
        message: dict[str, Scalar] = {"value": sensor.value, "timestamp": sensor.timestamp_ms}
        if sensor.quality is not None:
            message["quality"] = sensor.quality
        message["sequence"] = sensor.sequence
        if not self._bus.publish_now(Outgoing(self._topics[key], dumps(message), qos=0, retain=True)):
            return False
        self.told_on.add(self._topics[key])
        sensor.told, sensor.told_at = (sensor.value, sensor.quality), self._clock.monotonic()
        return True
