"""The datapoints: what connectors announce, what the database has, and what people said about them, in one view."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

from api.live import LiveConnector
from wattbus.connector import DataFormat, DatapointType
from wattbus.jsontext import JsonValue
from wattbus.mqtt import topics
from wattbus.mqtt.messages import AvailableDatapoints
from wattbus.storage import StoredDatapoint
from wattbus.storage.edits import DatapointEdit, Identity

EDITABLE = ("data_format", "description", "unit", "min_value", "max_value", "allowed_values")


@dataclass(frozen=True, slots=True)
class KnownDatapoint:
    """A datapoint as people see it. `id` is None until the database has one for it; `topic` is its value topic."""

    id: int | None
    connector: str
    type: DatapointType
    key: str
    topic: str | None = None
    data_format: DataFormat = "unknown"
    short_name: str | None = None
    description: str = ""
    unit: str = ""
    min_value: float | None = None
    max_value: float | None = None
    allowed_values: tuple[JsonValue, ...] | None = None
    is_active: bool = True
    example_value: JsonValue = None
    expected_interval_s: float | None = None
    announced: bool = False  # whether its connector names it now

    @property
    def identity(self) -> Identity:
        return Identity(self.connector, self.type, self.key)

    def topic_of(self, kind: str) -> str | None:
        """`setpoint`, `schedule` or `result` beside the value topic."""
        return f"{self.topic.removesuffix('/value')}/{kind}" if self.topic else None


# What a connector says of a datapoint that people are shown.
_SHOWN = {field.name for field in fields(KnownDatapoint)} - {"key", "type"}


class Datapoints:
    """All of them, by id, by identity and by topic; replaced as a whole when something changes."""

    def __init__(self, datapoints: Iterable[KnownDatapoint] = ()) -> None:
        self.by_identity = {datapoint.identity: datapoint for datapoint in datapoints}
        self.by_id = {datapoint.id: datapoint for datapoint in self if datapoint.id is not None}
        self.by_topic = {datapoint.topic: datapoint for datapoint in self if datapoint.topic is not None}
        self.by_connector: dict[str, list[KnownDatapoint]] = defaultdict(list)
        for datapoint in self:
            self.by_connector[datapoint.connector].append(datapoint)

    def __iter__(self) -> Iterator[KnownDatapoint]:
        return iter(self.by_identity.values())

    def __len__(self) -> int:
        return len(self.by_identity)


def united(
    connectors: Iterable[LiveConnector],
    stored: Iterable[StoredDatapoint],
    edits: Mapping[Identity, DatapointEdit],
) -> Datapoints:
    """The datapoints, those of the database first, each with its newest announcement and what people said."""
    facts: dict[Identity, dict[str, Any]] = {}
    for row in stored:
        facts[Identity(row.connector, row.type, row.key)] = {"id": row.id, "topic": row.topic}
    for connector in connectors:
        for identity, told in announced_by(connector).items():
            facts.setdefault(identity, {"id": None}).update(told, announced=True)
    return Datapoints(_edited(identity, told, edits.get(identity)) for identity, told in facts.items())


def _edited(identity: Identity, told: dict[str, Any], edit: DatapointEdit | None) -> KnownDatapoint:
    if edit is not None:
        told |= {name: value for name, value in edit.fields.items() if name in EDITABLE}
        told |= {"short_name": edit.short_name, "is_active": edit.is_active is not False}
    if told.get("allowed_values") is not None:
        told["allowed_values"] = tuple(told["allowed_values"])
    return KnownDatapoint(connector=identity.connector, type=identity.type, key=identity.key, **told)


def announced_by(connector: LiveConnector) -> dict[Identity, dict[str, Any]]:
    """What a connector says of each of its datapoints."""
    if connector.described is not None:
        return {
            Identity(connector.name, told.type, told.key): told.model_dump(include=_SHOWN)
            for told in connector.described
        }
    if connector.available is not None:
        return _from_examples(connector.name, connector.available)
    return {}


def _from_examples(name: str, available: AvailableDatapoints) -> dict[Identity, dict[str, Any]]:
    """BEMCom's connectors: keys and examples. Their topics are what the map that we send says."""
    examples: dict[tuple[DatapointType, str], JsonValue] = {("sensor", key): v for key, v in available.sensor.items()}
    examples |= {("actuator", key): value for key, value in available.actuator.items()}
    levels = topics.topic_ids(examples)
    return {
        Identity(name, kind, key): {
            "topic": topics.value(name, levels[kind, key]),
            "example_value": example,
            "data_format": _format_of(kind, example),
        }
        for (kind, key), example in examples.items()
    }


def _format_of(kind: DatapointType, example: JsonValue) -> DataFormat:
    """Of a sensor the example tells; what an actuator takes besides its example, nobody knows."""
    if kind == "actuator":
        return "unknown"
    if isinstance(example, bool):
        return "bool"
    return "generic_numeric" if isinstance(example, int | float) else "unknown"
