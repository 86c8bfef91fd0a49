"""What the sensors and the connectors of the controlled pairs said last."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

from pydantic_core import from_json

from controller.decision import SensorState
from controller.pairs import Pair
from wattbus.clock import Clock
from wattbus.mqtt.messages import BadMessage, Heartbeat, State, StatusMessage, ValueMessage, parse
from wattbus.service.effective_quality import ConnectorLife

SENSOR_GRACE_S = 60.0  # a connector may restart without its sensors counting as unknown


@dataclass(slots=True)
class ObservedConnector:
    """What a connector said of itself; `offline_at` (monotonic seconds) while its status says that it is away."""

    life: ConnectorLife
    offline_at: float | None = None

    @classmethod
    def remembered(cls, state: State, instance: str, offline_at: float | None, now_s: float) -> ObservedConnector:
        """What an earlier process knew; the connector itself will say more."""
        life = ConnectorLife(now_s)
        life.take_status(StatusMessage(state=state, timestamp=0, instance=instance), now_s, retained=True)
        return cls(life, offline_at)

    @property
    def state(self) -> State | None:
        """By its status alone; None: it has none."""
        return self.life.status.state if self.life.status is not None else None

    @property
    def instance(self) -> str:
        return self.life.status.instance if self.life.status is not None else ""


@dataclass(slots=True)
class Heard:
    """What a sensor said last, and when (ms)."""

    state: SensorState
    at_ms: int


class ObservedState:
    """Sensors by topic, connectors by name."""

    def __init__(self, clock: Clock) -> None:
        self.sensors: dict[str, Heard] = {}
        self.connectors: dict[str, ObservedConnector] = {}
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

    def take_status(self, connector: str, payload: bytes, retained: bool) -> bool:
        """Whether the connector came (back), or is another process than before. Raises BadMessage."""
        if not payload:
            self.connectors.pop(connector, None)
            return False
        message, now = parse(StatusMessage, payload), self._clock.monotonic()
        known = self._connector(connector)
        same = known.state == "online" and known.instance == message.instance
        known.life.take_status(message, now, retained=retained)
        if message.state != "offline":
            known.offline_at = None
        elif known.offline_at is None:
            known.offline_at = now
        return message.state == "online" and not same

    def take_heartbeat(self, connector: str, payload: bytes) -> bool:
        """Whether the connector was overdue. Raises BadMessage."""
        message, now = parse(Heartbeat, payload), self._clock.monotonic()
        known = self._connector(connector)
        was_overdue = known.life.overdue_at_s is not None and known.life.overdue_at_s < now
        known.life.take_heartbeat(message, now)
        return was_overdue

    def listen_anew(self) -> None:
        """The connection to the broker is new: what was missed meanwhile is not the connectors' fault."""
        for known in self.connectors.values():
            known.life.listen_anew(self._clock.monotonic())

    def _connector(self, name: str) -> ObservedConnector:
        known = self.connectors.get(name)
        if known is None:
            known = self.connectors[name] = ObservedConnector(ConnectorLife(self._clock.monotonic()))
        return known

    def sensor_of(self, pair: Pair) -> SensorState | None:
        """What is known of a pair's sensor: the last value of a connector that stays away is not a live one."""
        heard = self.sensors.get(pair.sensor)
        if heard is None:
            return None
        lost_at = self.sensor_lost_at(pair)
        if lost_at is None or self._clock.monotonic() < lost_at:
            return heard.state
        return replace(heard.state, quality="offline")  # as `effective_quality`, after the time that a restart gets

    def sensor_lost_at(self, pair: Pair) -> float | None:
        """When (monotonic seconds) the sensor counts as away: its connector says so, or its heartbeat is overdue."""
        connector = self.connectors.get(pair.sensor_connector)
        if connector is None:
            return None
        if connector.offline_at is not None:
            return connector.offline_at + SENSOR_GRACE_S
        return connector.life.overdue_at_s


def _is_no_number(payload: bytes) -> bool:
    """NaN and Infinity are not JSON, but BEMCom's connectors can send them: such a sensor knows nothing."""
    try:
        content = from_json(payload)
    except ValueError:
        return False
    value = content.get("value") if isinstance(content, dict) else None
    return isinstance(value, float) and not math.isfinite(value)
