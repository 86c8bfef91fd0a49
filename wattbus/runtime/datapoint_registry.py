"""The datapoints of one connector: which there are, on which topics, and which of them are wanted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from wattbus.connector import Datapoint
from wattbus.mqtt import topics
from wattbus.mqtt.messages import DatapointMap
from wattbus.runtime.announcement_payloads import AnnouncementPayloads, Identity


@dataclass(frozen=True, slots=True)
class Topics:
    """The value topics of a connector at one moment."""

    sensors: frozenset[str] = frozenset()
    actuators: frozenset[str] = frozenset()


class DatapointRegistry:
    """Known datapoints and their topics. All are published until a datapoint map rules.

    There may be tens of thousands: what happens to one of them does not cost a look at the others.
    """

    def __init__(self, connector: str) -> None:
        self.connector = connector
        self.announcement = AnnouncementPayloads(self._datapoint_and_topic)
        self._known: dict[Identity, Datapoint] = {}
        self._sensors_of: dict[str, dict[str, None]] = {}  # device → keys, an ordered set
        self._intervals: Counter[float] = Counter()  # how many sensors are expected that often
        self._levels: dict[Identity, str] = {}
        self._used: set[str] = set()
        self._map: dict[Identity, list[str]] | None = None
        self._sensor_topics: dict[str, str] = {}
        self._actuators: dict[str, Datapoint] = {}
        self._actuator_topics: dict[str, str] = {}

    # -- knowing ----------------------------------------------------------------------------------------------------

    def describe(self, datapoints: Iterable[Datapoint]) -> list[Identity]:
        """Add or describe anew; what is new or has changed."""
        changed: list[Identity] = []
        collided = False
        for datapoint in datapoints:
            identity = (datapoint.type, datapoint.key)
            if self._known.get(identity) != datapoint:
                changed.append(identity)
                if identity not in self._known:
                    collided |= self._assign_level(identity)
                self._index(self._known.get(identity), datapoint)
                self._known[identity] = datapoint
        # Thousands may be discovered one by one: look at all of them only when others had to move.
        self._select(self._known if collided else changed)
        return changed

    def discover(self, sensors: Iterable[Datapoint]) -> list[Identity]:
        """Add sensors that were seen in a reading and are not known yet; what is new."""
        return self.describe(sensor for sensor in sensors if ("sensor", sensor.key) not in self._known)

    def _index(self, before: Datapoint | None, after: Datapoint) -> None:
        if after.type != "sensor":
            return
        if before is not None:
            self._sensors_of[before.device].pop(before.key, None)
            if before.expected_interval_s:
                self._intervals[before.expected_interval_s] -= 1
                self._intervals += Counter()  # without those that are 0
        self._sensors_of.setdefault(after.device, {})[after.key] = None
        if after.expected_interval_s:
            self._intervals[after.expected_interval_s] += 1

    def _assign_level(self, identity: Identity) -> bool:
        """Whether others have another level now, too."""
        [level] = topics.topic_ids([identity]).values()
        if level in self._used:
            self._levels = topics.topic_ids([*self._levels, identity])
            self._used.update(self._levels.values())
            return True
        self._levels[identity] = level
        self._used.add(level)
        return False

    def sensor(self, key: str) -> Datapoint | None:
        """The sensor with this key, None when there is none."""
        return self._known.get(("sensor", key))

    def sensors_of(self, device: str) -> Iterable[str]:
        """The keys of a device's sensors."""
        return self._sensors_of.get(device, {}).keys()

    @property
    def shortest_interval_s(self) -> float | None:
        """The expected interval (s) of the most frequent sensor; None when none has one."""
        return min(self._intervals, default=None)

    # -- topics -----------------------------------------------------------------------------------------------------

    def topic_of(self, key: str) -> str | None:
        """The topic of a sensor's state; None when the datapoint map leaves it out."""
        return self._sensor_topics.get(key)

    def actuator_on(self, topic: str) -> Datapoint | None:
        """The actuator that a command on `topic` is for."""
        return self._actuators.get(topic)

    @property
    def sensor_topics(self) -> dict[str, str]:
        """Key → topic of every sensor that is published."""
        return dict(self._sensor_topics)

    def choose(self, datapoint_map: DatapointMap | None) -> list[str]:
        """Let a datapoint map rule, or None: everything. Returns what in the map cannot be followed."""
        self._map = None
        faults: list[str] = []
        if datapoint_map is not None:
            wanted = [*datapoint_map.sensor.values(), *datapoint_map.actuator]
            faults += [f"{topic!r} is not a topic" for topic in wanted if not _valid(topic)]
            unknown = [key for key in datapoint_map.actuator.values() if ("actuator", key) not in self._known]
            faults += [f"{key}: there is no such actuator" for key in unknown]
            both = datapoint_map.actuator.keys() & set(datapoint_map.sensor.values())
            faults += [f"{topic} is a sensor's topic too: it would receive its readings as commands" for topic in both]
            told = {topic for topic in datapoint_map.actuator if topics.is_of_services(topic)}
            faults += [f"{topic} is where services speak of themselves: it takes no commands" for topic in sorted(told)]
            chosen: dict[Identity, list[str]] = {}
            for key, topic in datapoint_map.sensor.items():
                if _valid(topic):
                    chosen["sensor", key] = [topic]
            for topic, key in datapoint_map.actuator.items():
                if _valid(topic) and topic not in both | told:
                    chosen.setdefault(("actuator", key), []).append(topic)
            self._map = chosen
        self._select(self._known)
        return faults

    def _select(self, identities: Collection[Identity]) -> None:
        """Find the topics of these; of all of them when there are no others."""
        if identities is self._known:
            self._sensor_topics, self._actuators, self._actuator_topics = {}, {}, {}
        self.announcement.outdated(identities)
        for identity in identities:
            for topic in self._topics_of(identity):
                if identity[0] == "sensor":
                    self._sensor_topics[identity[1]] = topic
                else:
                    self._actuators[topic] = self._known[identity]
                    self._actuator_topics[identity[1]] = topic

    def _topics_of(self, identity: Identity) -> list[str]:
        if self._map is None:
            return [topics.value(self.connector, self._levels[identity])]
        return self._map.get(identity, [])

    @property
    def topics(self) -> Topics:
        """The value topics that are in use now."""
        return Topics(frozenset(self._sensor_topics.values()), frozenset(self._actuators))

    def _datapoint_and_topic(self, identity: Identity) -> tuple[Datapoint, str]:
        """What is announced; deselected datapoints keep their default topic there."""
        kind, key = identity
        chosen = (self._sensor_topics if kind == "sensor" else self._actuator_topics).get(key)
        return self._known[identity], chosen or topics.value(self.connector, self._levels[identity])


def _valid(topic: str) -> bool:
    return bool(topic) and not any(char in topic for char in "+#\0") and len(topic.encode()) <= 65535
