"""The live model of the bus: connectors, and the last that was said of every datapoint. Bounded; no I/O."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Protocol

from api.changes import Changes
from wattbus.clock import SYSTEM_CLOCK, Clock
from wattbus.connector import DatapointType
from wattbus.jsontext import JsonValue
from wattbus.mqtt.messages import (
    AvailableDatapoints,
    DatapointDescription,
    DatapointMap,
    Heartbeat,
    LogMessage,
    ResultMessage,
    StatusMessage,
)
from wattbus.service.effective_quality import ConnectorLife, Life, LifeState, effective_quality
from wattbus.storage import StoredPlan, StoredValue

MOST_CONNECTORS = 1000
MOST_TOPICS = 50_000
MOST_PREVIEWS = 10_000
MOST_LOGS = 100  # per connector


@dataclass(slots=True)
class LiveConnector:
    """What a connector, or another service, says of itself."""

    name: str
    life: ConnectorLife
    last_heard_ms: int | None = None  # when something of it arrived that was not retained
    described: tuple[DatapointDescription, ...] | None = None  # `${C}/datapoints`
    available: AvailableDatapoints | None = None  # `${C}/available_datapoints`
    available_since_ms: int = 0
    datapoint_map: DatapointMap | None = None  # what the broker retains
    logs: deque[LogMessage] = field(default_factory=lambda: deque(maxlen=MOST_LOGS))

    @property
    def status(self) -> StatusMessage | None:
        """The last status, None when there is none."""
        return self.life.status

    @property
    def heartbeat(self) -> Heartbeat | None:
        """The last heartbeat, None when none was heard."""
        return self.life.heartbeat

    @property
    def is_connector(self) -> bool:
        """Whether it has datapoints or a heartbeat; other services have a status only."""
        return not (self.described is None and self.available is None and self.heartbeat is None)

    @property
    def describes_itself(self) -> bool:
        """Whether it is of our own kind; BEMCom's only say which keys are available, and wait for their map."""
        return self.described is not None


class Addressed(Protocol):
    """A datapoint, as far as its state needs it."""

    @property
    def connector(self) -> str:
        """Whose it is."""

    @property
    def type(self) -> DatapointType:
        """Sensor or actuator."""

    @property
    def topic(self) -> str | None:
        """Its value topic, None when it is not known."""


@dataclass(slots=True)
class DatapointState:
    """The last that was said on the topics of one datapoint."""

    value: StoredValue | None = None
    setpoint: StoredPlan | None = None
    schedule: StoredPlan | None = None
    outcome: ResultMessage | None = None


class Live:
    """Connectors by name, states by value topic, previews by service and the value topic of the actuator.

    Whoever changes something here tells it through `changes`. What does not fit the bounds is counted in `left_out`.
    """

    def __init__(self, changes: Changes, clock: Clock = SYSTEM_CLOCK) -> None:
        self.changes = changes
        self.on_the_bus = True  # whether there is a connection to the broker
        self._clock = clock
        self._judged: dict[str, str] = {}  # connector → the state that was published through `changes`
        self.connectors: dict[str, LiveConnector] = {}
        self.states: dict[str, DatapointState] = {}
        self.previews: dict[str, dict[str, JsonValue]] = {}
        self.left_out = 0
        self.on_result: Callable[[ResultMessage, bytes | None], None] | None = None

    def connector(self, name: str) -> LiveConnector | None:
        """Known, or made; None when there is no room for more."""
        found = self.connectors.get(name)
        if found is None:
            if len(self.connectors) >= MOST_CONNECTORS:
                self.left_out += 1
                return None
            found = self.connectors[name] = LiveConnector(name, ConnectorLife(self._clock.monotonic()))
        return found

    def state(self, topic: str) -> DatapointState | None:
        """As `connector`, for the datapoint with this value topic."""
        found = self.states.get(topic)
        if found is None:
            if len(self.states) >= MOST_TOPICS:
                self.left_out += 1
                return None
            found = self.states[topic] = DatapointState()
        return found

    def state_of(self, datapoint: Addressed | None) -> DatapointState:
        """What is known, an empty state when nothing is; makes none.

        A sensor's value has its effective quality: how far it is to be trusted now.
        """
        if datapoint is None or datapoint.topic is None or datapoint.topic not in self.states:
            return DatapointState()
        state = self.states[datapoint.topic]
        if state.value is None or datapoint.type != "sensor":
            return state
        own = state.value.quality
        quality = effective_quality(own, self.life_of(datapoint.connector), on_the_bus=self.on_the_bus)
        if quality == own:
            return state
        return replace(state, value=replace(state.value, quality=quality))

    def life_of(self, connector: str) -> Life | None:
        """Whether a connector lives now; None when nothing was heard of it."""
        known = self.connectors.get(connector)
        return None if known is None else known.life.judged(self._clock.monotonic())

    def condition(self, connector: str) -> LifeState:
        """In one word."""
        life = self.life_of(connector)
        return "unknown" if life is None else life.state

    def look_at_lives(self) -> None:
        """Report through `changes` who went and who came back because time passed; call it every second."""
        for name in self.connectors:
            state = self.condition(name)
            before = self._judged.get(name)
            self._judged[name] = state
            if before is not None and before != state:
                self.changes.tell("connector", name)
                if "offline" in (before, state):
                    self._values_of(f"{name}/")

    def bus_is(self, connected: bool) -> None:
        """The connection to the broker has come or gone: nothing can be known of anybody without it."""
        if connected:
            for known in self.connectors.values():
                known.life.listen_anew(self._clock.monotonic())
        if connected != self.on_the_bus:
            self.on_the_bus = connected
            self._values_of("")

    def _values_of(self, prefix: str) -> None:
        for topic, state in self.states.items():
            if state.value is not None and topic.startswith(prefix):
                self.changes.tell("value", topic)

    def file_preview(self, service: str, actuator: str, preview: JsonValue) -> None:
        """Keep what a controller says it will do with an actuator; None takes it back."""
        filed = self.previews.get(service, {})
        if preview is None:
            filed.pop(actuator, None)
        elif actuator in filed or sum(map(len, self.previews.values())) < MOST_PREVIEWS:
            self.previews.setdefault(service, filed)[actuator] = preview
        else:
            self.left_out += 1
        if not filed:
            self.previews.pop(service, None)
        self.changes.tell("preview", service)

    def forget_maps(self) -> None:
        """The connection is new: what the broker retains will come again."""
        for connector in self.connectors.values():
            connector.datapoint_map = None
