"""The live model of the bus: connectors, and the last that was said of every datapoint. Bounded; no I/O."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from api.changes import Changes
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
from wattbus.storage import StoredPlan, StoredValue

MOST_CONNECTORS = 1000
MOST_TOPICS = 50_000
MOST_PREVIEWS = 10_000
MOST_LOGS = 100  # per connector
SHORTEST_GRACE_MS = 5_000  # a heartbeat may be late by this, or by a whole period

ConnectorCondition = Literal["online", "degraded", "offline", "unknown"]


@dataclass(slots=True)
class ConnectorState:
    """What a connector, or another service, says of itself."""

    name: str
    status: StatusMessage | None = None
    heartbeat: Heartbeat | None = None
    last_heard_ms: int | None = None  # when something of it arrived that was not retained
    described: tuple[DatapointDescription, ...] | None = None  # `${C}/datapoints`
    available: AvailableDatapoints | None = None  # `${C}/available_datapoints`
    available_since_ms: int = 0
    datapoint_map: DatapointMap | None = None  # what the broker retains
    logs: deque[LogMessage] = field(default_factory=lambda: deque(maxlen=MOST_LOGS))

    @property
    def is_connector(self) -> bool:
        """Whether it has datapoints or a heartbeat; other services have a status only."""
        return not (self.described is None and self.available is None and self.heartbeat is None)

    @property
    def describes_itself(self) -> bool:
        """Whether it is of our own kind; BEMCom's only say which keys are available, and wait for their map."""
        return self.described is not None

    def condition(self, now_ms: int) -> ConnectorCondition:
        """Its own status, or what its heartbeat lets one conclude."""
        if self.status is not None:
            return self.status.state
        if self.heartbeat is None:
            return "unknown"
        due, period = self.heartbeat.next_heartbeats_timestamp, self.heartbeat.next_heartbeats_timestamp
        period -= self.heartbeat.this_heartbeats_timestamp
        return "online" if now_ms <= due + max(period, SHORTEST_GRACE_MS) else "offline"


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

    def __init__(self, changes: Changes) -> None:
        self.changes = changes
        self.connectors: dict[str, ConnectorState] = {}
        self.states: dict[str, DatapointState] = {}
        self.previews: dict[str, dict[str, JsonValue]] = {}
        self.left_out = 0
        self.on_result: Callable[[ResultMessage, bytes | None], None] | None = None

    def connector(self, name: str) -> ConnectorState | None:
        """Known, or made; None when there is no room for more."""
        found = self.connectors.get(name)
        if found is None:
            if len(self.connectors) >= MOST_CONNECTORS:
                self.left_out += 1
                return None
            found = self.connectors[name] = ConnectorState(name)
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

    def state_of(self, topic: str | None) -> DatapointState:
        """What is known, an empty state when nothing is; makes none."""
        return self.states.get(topic or "") or DatapointState()

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
