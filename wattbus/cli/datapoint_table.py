"""What the bus says about datapoints, as rows of a table. Pure: messages in, rows out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from pydantic import TypeAdapter, ValidationError

from wattbus.connector import DatapointType
from wattbus.jsontext import JsonValue
from wattbus.mqtt.messages import (
    AvailableDatapoints,
    BadMessage,
    DatapointDescription,
    DatapointMap,
    StatusMessage,
    ValueMessage,
    parse,
)

FILTERS = ("+/datapoints", "+/available_datapoints", "+/datapoint_map", "+/status", "+/messages/+/value")
COLUMNS = ("CONNECTOR", "STATE", "TYPE", "KEY", "VALUE", "UNIT", "QUALITY", "AGE", "TOPIC")
LONGEST_VALUE, LONGEST_KEY = 40, 60

_DESCRIPTIONS = TypeAdapter(list[DatapointDescription])


@dataclass(frozen=True, slots=True)
class TableRow:
    """One datapoint. `age_s` is None until a value has come; `topic` is "" while nobody has said it."""

    connector: str
    state: str
    type: DatapointType
    key: str
    topic: str
    unit: str = ""
    value: JsonValue = None
    quality: str = ""
    age_s: float | None = None

    def as_json(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}

    def matches(self, pattern: str) -> bool:
        """Whether connector, key or topic have the pattern in them (`*` and `?` as in a shell)."""
        wanted = f"*{pattern.lower()}*"
        return any(fnmatchcase(text.lower(), wanted) for text in (f"{self.connector}/{self.key}", self.topic))


@dataclass(slots=True)
class _Connector:
    state: str = "?"
    described: dict[tuple[DatapointType, str], DatapointDescription] = field(default_factory=dict)
    available: AvailableDatapoints | None = None
    map: DatapointMap | None = None


class DatapointTable:
    """Takes messages, gives rows. Messages that make no sense are left out."""

    def __init__(self) -> None:
        self._connectors: dict[str, _Connector] = {}
        self._values: dict[str, ValueMessage] = {}

    def take(self, topic: str, payload: bytes) -> None:
        """Note a message that one of FILTERS let in."""
        name, *_, kind = topic.split("/")
        try:
            if kind == "value":
                self._take_value(topic, payload)
            else:
                self._take_about(self._connectors.setdefault(name, _Connector()), kind, payload)
        except (BadMessage, ValidationError):
            return

    def _take_value(self, topic: str, payload: bytes) -> None:
        if payload:
            self._values[topic] = parse(ValueMessage, payload)
        else:
            self._values.pop(topic, None)

    def _take_about(self, connector: _Connector, kind: str, payload: bytes) -> None:
        match kind:
            case "status":
                connector.state = parse(StatusMessage, payload).state if payload else "?"
            case "datapoints":
                told = _DESCRIPTIONS.validate_json(payload) if payload else []
                connector.described = {(one.type, one.key): one for one in told}
            case "available_datapoints":
                connector.available = parse(AvailableDatapoints, payload) if payload else None
            case "datapoint_map":
                connector.map = parse(DatapointMap, payload) if payload else None

    def rows(self, now_ms: int, pattern: str = "") -> list[TableRow]:
        """All datapoints, sensors first within each connector, then topics that nobody has announced."""
        rows = [row for name, known in self._connectors.items() for row in self._announced(name, known, now_ms)]
        announced = {row.topic for row in rows}
        for topic in self._values.keys() - announced:
            connector, _, key, _ = topic.split("/")
            state = self._connectors[connector].state if connector in self._connectors else "?"
            rows.append(self._row(connector, state, "sensor", key, topic, now_ms))
        chosen = [row for row in rows if row.matches(pattern)]
        return sorted(chosen, key=lambda row: (row.connector, row.type != "sensor", row.key))

    def _announced(self, name: str, known: _Connector, now_ms: int) -> Iterable[TableRow]:
        for (kind, key), told in known.described.items():
            yield self._row(name, known.state, kind, key, told.topic, now_ms, told.unit)
        if known.available is None:
            return
        sensor_topics = known.map.sensor if known.map else {}
        actuator_topics = {key: topic for topic, key in known.map.actuator.items()} if known.map else {}
        kinds: list[tuple[DatapointType, Mapping[str, JsonValue], Mapping[str, str]]] = [
            ("sensor", known.available.sensor, sensor_topics),
            ("actuator", known.available.actuator, actuator_topics),
        ]
        for kind, examples, chosen in kinds:
            for key in examples:
                if (kind, key) not in known.described:
                    yield self._row(name, known.state, kind, key, chosen.get(key, ""), now_ms)

    def _row(
        self, connector: str, state: str, kind: DatapointType, key: str, topic: str, now_ms: int, unit: str = ""
    ) -> TableRow:
        message = self._values.get(topic)
        if message is None:
            return TableRow(connector, state, kind, key, topic, unit)
        age_s = max(0, now_ms - message.timestamp) / 1000
        return TableRow(connector, state, kind, key, topic, unit, message.value, message.quality or "", age_s)


def as_text(rows: list[TableRow], width: int | None = None) -> list[str]:
    """The lines of a table, cut to `width` characters."""
    cells = [COLUMNS, *(_cells(row) for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(COLUMNS))]
    lines = ["  ".join(cell.ljust(size) for cell, size in zip(line, widths, strict=True)).rstrip() for line in cells]
    return [line[:width] for line in lines]


def _cells(row: TableRow) -> tuple[str, ...]:
    value = "" if row.age_s is None else _value_text(row.value)
    texts = (row.connector, row.state, row.type, _cut(row.key, LONGEST_KEY), _cut(value, LONGEST_VALUE))
    return tuple(_printable(text) for text in (*texts, row.unit, row.quality, _age(row.age_s), row.topic))


def _value_text(value: JsonValue) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _age(age_s: float | None) -> str:
    if age_s is None:
        return ""
    for unit, length_s in (("d", 86_400), ("h", 3600), ("min", 60)):
        if age_s >= 2 * length_s:
            return f"{age_s // length_s:.0f} {unit}"
    return f"{age_s:.0f} s"


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _printable(text: str) -> str:
    """Payloads are other people's: no control characters on a terminal."""
    return "".join(char if char.isprintable() else "�" for char in text)
