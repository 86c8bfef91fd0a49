"""Which sensors and actuators belong together: what the API tells, and what the settings tell."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from pydantic import ValidationError

from controller.settings import ConfiguredPair
from wattbus.connector import DatapointType
from wattbus.jsontext import JsonValue, loads
from wattbus.mqtt import topics
from wattbus.mqtt.messages import BadMessage, DatapointDescription

LONGEST_TOPIC = 65_535  # bytes (MQTT 5, 1.5.4)

Identity = tuple[DatapointType, str]  # type, "connector/key"


@dataclass(frozen=True, slots=True)
class Pair:
    """A sensor and the actuator that the controller sets, by their topics; `actuator` takes the commands."""

    sensor: str
    actuator: str
    setpoint: str
    schedule: str

    @property
    def sensor_connector(self) -> str:
        return self.sensor.split("/")[0]

    @property
    def actuator_connector(self) -> str:
        return self.actuator.split("/")[0]

    def as_json(self) -> JsonValue:
        """As `controlled_datapoints` has it."""
        actuator = {"value": self.actuator, "setpoint": self.setpoint, "schedule": self.schedule}
        return {"sensor": {"value": self.sensor}, "actuator": actuator}


def pairs_in(payload: bytes) -> list[Pair]:
    """The pairs of a `controlled_datapoints` message; an empty payload has none. Raises BadMessage."""
    if not payload:
        return []
    try:
        content = loads(payload)
    except ValueError as error:
        raise BadMessage(str(error)) from None
    return pairs_from(content)


def pairs_from(content: JsonValue) -> list[Pair]:
    """Raises BadMessage when an entry is no pair: half a list must not end the control of the other half."""
    if not isinstance(content, list):
        raise BadMessage("not a list")
    return [_pair(index, entry) for index, entry in enumerate(content)]


def _pair(index: int, entry: JsonValue) -> Pair:
    try:
        sensor, actuator = entry["sensor"], entry["actuator"]
        pair = Pair(sensor["value"], actuator["value"], actuator["setpoint"], actuator["schedule"])
    except (TypeError, KeyError):
        raise BadMessage(f"[{index}]: not a pair of a sensor and an actuator with their topics") from None
    for topic in (pair.sensor, pair.actuator, pair.setpoint, pair.schedule):
        if not is_topic(topic):
            raise BadMessage(f"[{index}]: {topic!r:.100} is not a topic")
    if len({pair.sensor, pair.actuator, pair.setpoint, pair.schedule}) < 4:
        raise BadMessage(f"[{index}]: one topic is used twice")
    return pair


def announced(payload: bytes, faulty: Callable[[str], None] = lambda _: None) -> list[DatapointDescription]:
    """The datapoints in a `${C}/datapoints` message; `faulty` hears of entries that are none. Raises BadMessage."""
    try:
        content = loads(payload)
    except ValueError as error:
        raise BadMessage(str(error)) from None
    if not isinstance(content, list):
        raise BadMessage("not a list")
    described = []
    for entry in content:
        try:
            described.append(DatapointDescription.model_validate(entry))
        except ValidationError as error:
            faulty(str(error.errors(include_url=False, include_input=False)[0]["msg"]))
    return described


def is_topic(topic: JsonValue) -> bool:
    """Whether it names one topic: text without wildcards."""
    if not isinstance(topic, str) or not topic or any(char in topic for char in "+#\0"):
        return False
    return len(topic.encode()) <= LONGEST_TOPIC


class PairDirectory:
    """Finds the topics of configured datapoints in the connectors' announcements; nobody guesses topics."""

    def __init__(self, configured: Iterable[ConfiguredPair]) -> None:
        self._configured = list(configured)
        self._topics: dict[Identity, str] = {}
        self._wanted: set[Identity] = {identity for pair in self._configured for identity in _identities(pair)}

    @property
    def connectors(self) -> set[str]:
        """The connectors whose announcements are needed."""
        return {name.split("/", 1)[0] for _, name in self._wanted}

    @property
    def unknown(self) -> list[str]:
        """Configured datapoints that no announcement has had yet."""
        return sorted(f"{kind} {name}" for kind, name in self._wanted if (kind, name) not in self._topics)

    @property
    def topics(self) -> dict[str, str]:
        """`sensor connector/key` → topic, to be remembered."""
        return {f"{kind} {name}": topic for (kind, name), topic in self._topics.items()}

    def remember(self, known: Mapping[str, JsonValue]) -> None:
        """Take over what an earlier process knew."""
        for kind, name in self._wanted:
            topic = known.get(f"{kind} {name}")
            if isinstance(topic, str) and is_topic(topic):
                self._topics[kind, name] = topic

    def learn(self, connector: str, payload: bytes, faulty: Callable[[str], None]) -> None:
        """Take an announcement in; `faulty` hears of entries that make no sense. Raises BadMessage.

        What it does not mention keeps its topic: a connector that has just started may not have seen it yet.
        """
        if not payload:
            return
        for described in announced(payload, faulty):
            identity = (described.type, f"{connector}/{described.key}")
            if identity in self._wanted and is_topic(described.topic):
                self._topics[identity] = described.topic

    def pairs(self) -> list[Pair]:
        """The configured pairs whose topics are known."""
        found = []
        for configured in self._configured:
            sensor, actuator = (self._topics.get(identity) for identity in _identities(configured))
            if sensor is not None and actuator is not None and sensor != actuator:
                stem = actuator.removesuffix("/value")
                found.append(Pair(sensor, actuator, f"{stem}/setpoint", f"{stem}/schedule"))
        return found


def _identities(pair: ConfiguredPair) -> tuple[Identity, Identity]:
    return ("sensor", pair.sensor), ("actuator", pair.actuator)


def merged(told: Iterable[Pair], configured: Iterable[Pair]) -> dict[str, Pair]:
    """Actuator's topic → pair. An actuator has one sensor: what the settings say rules, else the later in the list."""
    return {pair.actuator: pair for pair in [*told, *configured]}


def status_topics(pairs: Iterable[Pair]) -> set[str]:
    """Where the connectors of these pairs say how they are."""
    return {topics.status(name) for pair in pairs for name in (pair.sensor_connector, pair.actuator_connector)}
