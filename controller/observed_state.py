"""What the sensors and the connectors of the controlled pairs said last."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

from pydantic_core import from_json

from controller.decision import SensorState
from controller.pairs import Pair
from wattbus.clock import Clock
from wattbus.mqtt.messages import BadMessage, State, StatusMessage, ValueMessage, parse

SENSOR_GRACE_S = 60.0  # a connector may restart without its sensors counting as unknown


@dataclass(slots=True)
class ConnectorState:
    """What a connector said of itself last; `offline_at` (monotonic seconds) while it is away."""

    state: State
    instance: str
    offline_at: float | None = None


@dataclass(slots=True)
class Heard:
    """What a sensor said last, and when (ms)."""

    state: SensorState
    at_ms: int


class ObservedState:
    """Sensors by topic, connectors by name."""

    def __init__(self, clock: Clock) -> None:
        self.sensors: dict[str, Heard] = {}
        self.connectors: dict[str, ConnectorState] = {}
        self._clock = clock

    def keep_only(self, pairs: Iterable[Pair]) -> None:
        """Forget what no pair needs."""
        pairs = list(pairs)
        topics = {pair.sensor for pair in pairs}
        names = {name for pair in pairs for name in (pair.sensor_connector, pair.actuator_connector)}
        self.sensors = {topic: heard for topic, heard in self.sensors.items() if topic in topics}
        self.connectors = {name: known for name, known in self.connectors.items() if name in names}

    def take_sensor(self, topic: str, payload: bytes) -> None:
        """A sensor has spoken. Raises BadMessage; the last value stays, unless this one is NaN or Infinity."""
        if not payload:  # its connector took it off the bus
            if (known := self.sensors.get(topic)) is not None:
                self._note(topic, SensorState(known.state.value, "offline"))
            return
        try:
            message = parse(ValueMessage, payload)
        except BadMessage:
            if _is_no_number(payload):
                self._note(topic, SensorState(None, "implausible"))
            raise
        self._note(topic, SensorState(message.value, message.quality))

    def _note(self, topic: str, state: SensorState) -> None:
        self.sensors[topic] = Heard(state, self._clock.now_ms())

    def take_status(self, connector: str, payload: bytes) -> bool:
        """Whether the connector came (back), or is another process than before. Raises BadMessage."""
        if not payload:
            self.connectors.pop(connector, None)
            return False
        message = parse(StatusMessage, payload)
        before = self.connectors.get(connector)
        offline_at = None
        if message.state == "offline":
            offline_at = before.offline_at if before is not None else None
            offline_at = self._clock.monotonic() if offline_at is None else offline_at
        self.connectors[connector] = ConnectorState(message.state, message.instance, offline_at)
        known = before is not None and before.state == "online" and before.instance == message.instance
        return message.state == "online" and not known

    def sensor_of(self, pair: Pair) -> SensorState | None:
        """What is known of a pair's sensor: the last value of a connector that stays away is not a live one."""
        heard = self.sensors.get(pair.sensor)
        if heard is None:
            return None
        lost_at = self.sensor_lost_at(pair)
        if lost_at is None or self._clock.monotonic() < lost_at:
            return heard.state
        return replace(heard.state, quality="offline")

    def sensor_lost_at(self, pair: Pair) -> float | None:
        """When (monotonic seconds) the sensor counts as away because its connector is."""
        connector = self.connectors.get(pair.sensor_connector)
        if connector is None or connector.offline_at is None:
            return None
        return connector.offline_at + SENSOR_GRACE_S


def _is_no_number(payload: bytes) -> bool:
    """NaN and Infinity are no JSON, but BEMCom's connectors can send them: such a sensor knows nothing."""
    try:
        content = from_json(payload)
    except ValueError:
        return False
    value = content.get("value") if isinstance(content, dict) else None
    return isinstance(value, float) and not math.isfinite(value)
