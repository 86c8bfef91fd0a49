"""From deliveries to records: what each message on each topic means. No I/O."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from history.receipts import LARGEST_SEQUENCE, Arrived
from wattbus.connector import DatapointType
from wattbus.jsontext import dumps, loads
from wattbus.mqtt.messages import (
    BadMessage,
    Command,
    DatapointDescription,
    DatapointMap,
    Message,
    Quality,
    ResultMessage,
    ScheduleMessage,
    SetpointMessage,
    ValueMessage,
    ValuesMessage,
    is_scalar,
    is_text,
    parse,
)
from wattbus.storage import Announcement, Batch, Outcome, Plan, PlanKind, ReadingValues, TopicValue

LARGEST_TIMESTAMP = 2**53  # ms, of a message
LONGEST_INTEGER = 4000  # digits
IN_DOUBT: Quality = "implausible"
M = TypeVar("M", bound=Message)

_SESSION = re.compile(r"[0-9a-f]{16}")


@dataclass(slots=True)
class Records:
    """What a number of messages say."""

    batch: Batch = field(default_factory=Batch)
    arrived: list[Arrived] = field(default_factory=list)
    readings: list[tuple[Arrived, ReadingValues]] = field(default_factory=list)
    restamped: list[tuple[Arrived, ReadingValues]] = field(default_factory=list)

    def lost_with(self, lost: Iterable[ReadingValues]) -> list[Arrived]:
        """The messages of which no value is left, when these values could not be stored."""
        gone = {(part.connector, part.timestamp_ms, key) for part in lost for key in part.values}
        return [
            arrived
            for arrived, reading in self.readings
            if all((reading.connector, reading.timestamp_ms, key) in gone for key in reading.values)
        ]


class MessageReader:
    """Reads messages into records. `bad` hears the kind and the fault of those that make no sense.

    `foreign` hears of connectors that are not to be recorded: an old subscription brings them. `is_beyond` says of a
    connector's timestamp whether it lies too far in the future: then the time of arrival takes its place.
    """

    def __init__(
        self,
        connectors: Iterable[str],
        bad: Callable[[str, str], None],
        now_ms: Callable[[], int],
        foreign: Callable[[str], None] = lambda _: None,
        is_beyond: Callable[[str, int], bool] = lambda _, __: False,
    ) -> None:
        self._connectors = frozenset(connectors)
        self._bad = bad
        self._now_ms = now_ms
        self._foreign = foreign
        self._is_beyond = is_beyond
        self._describing: set[str] = set()  # connectors that say themselves what their topics mean
        self._kinds: dict[str, Callable[[Records, str, str, bytes, bool], None]] = {
            "values": self._reading,
            "datapoints": self._datapoints,
            "datapoint_map": self._datapoint_map,
            "value": self._value,
            "result": self._result,
            "setpoint": self._setpoint,
            "schedule": self._schedule,
        }

    def read(self, records: Records, topic: str, payload: bytes, retained: bool) -> None:
        """Add what this message says. An empty payload only clears a retained message."""
        connector, _, rest = topic.partition("/")
        kind = rest.rpartition("/")[2]
        read = self._kinds.get(kind)
        if self._connectors and connector not in self._connectors:
            self._foreign(connector)
            return
        if not payload or read is None:
            return
        try:
            read(records, connector, topic, payload, retained)
        except BadMessage as fault:
            self._bad(kind, f"{topic}: {fault}")

    # -- readings ---------------------------------------------------------------------------------------------------

    def _reading(self, records: Records, connector: str, topic: str, payload: bytes, retained: bool) -> None:
        try:
            message = _parse_timed(ValuesMessage, payload)
        except BadMessage:
            self._salvage(records, connector, payload)
            raise
        arrived = Arrived(connector, message.session, message.sequence, tuple(message.dropped))
        records.arrived.append(arrived)
        if message.values:
            reading = ReadingValues(connector, message.timestamp, message.values, message.quality)
            self._add(records, reading, arrived)

    def _add(self, records: Records, reading: ReadingValues, arrived: Arrived) -> None:
        """With the time of its arrival when its own cannot be right."""
        if self._is_beyond(reading.connector, reading.timestamp_ms):
            quality = {**dict.fromkeys(reading.values, IN_DOUBT), **reading.quality}
            reading = replace(reading, timestamp_ms=self._now_ms(), quality=quality)
            records.restamped.append((arrived, reading))
        records.readings.append((arrived, reading))
        records.batch.values.append(reading)

    def _salvage(self, records: Records, connector: str, payload: bytes) -> None:
        """Of a reading with a fault keep what is sound, and its number: its sender would repeat it for ever."""
        message = _tolerantly(payload)
        if (arrived := _number_of(connector, message)) is None:
            return
        values, timestamp = message.get("values"), message.get("timestamp")
        sound, at = {}, 0
        if isinstance(values, dict) and type(timestamp) is int and timestamp >= -LARGEST_TIMESTAMP:
            at = min(timestamp, LARGEST_TIMESTAMP)
            sound = {key: value for key, value in values.items() if is_scalar(value) and is_text(key)}
        arrived = replace(arrived, lost=not sound)
        records.arrived.append(arrived)
        if sound:
            self._add(records, ReadingValues(connector, at, sound), arrived)

    # -- value topics -----------------------------------------------------------------------------------------------

    def _value(self, records: Records, connector: str, topic: str, payload: bytes, retained: bool) -> None:
        if b'"sequence"' in payload and _came_as_a_reading(payload):
            return
        try:
            message = _parse_timed(ValueMessage, payload)
            timestamp, quality = message.timestamp, message.quality
            value = message.value
        except BadMessage:
            command = parse(Command, payload)
            if command.timestamp is not None or retained:
                raise
            timestamp, quality, value = self._now_ms(), None, command.value
        if self._is_beyond(connector, timestamp):
            if retained:
                return  # nobody knows when it was sent; each connect would make another row of it
            timestamp, quality = self._now_ms(), quality or IN_DOUBT
        records.batch.values.append(TopicValue(connector, topic, timestamp, value, quality))

    def _result(self, records: Records, connector: str, topic: str, payload: bytes, retained: bool) -> None:
        message = _parse_timed(ResultMessage, payload)
        records.batch.outcomes.append(
            Outcome(
                connector,
                _value_topic(topic),
                self._now_ms() if self._is_beyond(connector, message.timestamp) else message.timestamp,
                message.outcome,
                message.value,
                message.detail,
                message.id,
                message.command_timestamp,
            )
        )

    def _setpoint(self, records: Records, connector: str, topic: str, payload: bytes, retained: bool) -> None:
        message = _parse_timed(SetpointMessage, payload)
        items = loads(payload)["setpoint"]  # as given, with fields that we do not know
        self._plan(records, "setpoint", topic, message.timestamp, items)

    def _schedule(self, records: Records, connector: str, topic: str, payload: bytes, retained: bool) -> None:
        message = _parse_timed(ScheduleMessage, payload)
        items = loads(payload)["schedule"]
        self._plan(records, "schedule", topic, message.timestamp, items)

    def _plan(self, records: Records, kind: PlanKind, topic: str, timestamp_ms: int, items: Any) -> None:
        connector = topic.partition("/")[0]
        beyond = self._is_beyond(connector, timestamp_ms)
        at = self._now_ms() if beyond else timestamp_ms
        records.batch.plans.append(Plan(kind, connector, _value_topic(topic), at, items, is_restamped=beyond))

    # -- what topics stand for --------------------------------------------------------------------------------------

    def _datapoints(self, records: Records, connector: str, topic: str, payload: bytes, retained: bool) -> None:
        listed = _json(payload)
        if not isinstance(listed, list):
            raise BadMessage("expected a list")
        self._describing.add(connector)
        for item in listed:
            try:
                told = DatapointDescription.model_validate(item)
            except ValueError:
                self._bad("datapoints", f"{topic}: an entry is not a datapoint")
                continue
            _announce(records, connector, told.type, told.key, told.topic)

    def _datapoint_map(self, records: Records, connector: str, topic: str, payload: bytes, retained: bool) -> None:
        """Of a connector that describes its datapoints itself, that description rules."""
        told = parse(DatapointMap, payload)
        if connector in self._describing:
            return
        for key, value_topic in told.sensor.items():
            _announce(records, connector, "sensor", key, value_topic)
        for value_topic, key in told.actuator.items():
            _announce(records, connector, "actuator", key, value_topic)


def _announce(records: Records, connector: str, kind: DatapointType, key: str, topic: str) -> None:
    """A connector speaks for its own topics only."""
    if topic.startswith(f"{connector}/messages/") and topic.endswith("/value"):
        records.batch.announcements.append(Announcement(connector, kind, key, topic))


def _value_topic(topic: str) -> str:
    """`…/setpoint` → `…/value`."""
    return f"{topic.rpartition('/')[0]}/value"


def _came_as_a_reading(payload: bytes) -> bool:
    """The byte search may have found the word in a text value."""
    try:
        message = loads(payload)
    except ValueError:
        return False
    return isinstance(message, dict) and type(message.get("sequence")) is int


def _parse_timed(model: type[M], payload: bytes) -> M:
    """As `parse`; a time beyond all bounds (in nanoseconds, say) is taken for the latest that there is."""
    try:
        return parse(model, payload)
    except BadMessage:
        try:
            message = loads(payload)
        except ValueError:
            message = None
        timestamp = message.get("timestamp") if isinstance(message, dict) else None
        if type(timestamp) is not int or timestamp <= LARGEST_TIMESTAMP:
            raise
        return parse(model, dumps({**message, "timestamp": LARGEST_TIMESTAMP}))


def _json(payload: bytes) -> Any:
    try:
        return loads(payload)
    except ValueError as error:
        raise BadMessage(str(error)) from None


def lost_number(topic: str, payload: bytes) -> Arrived | None:
    """The number of a reading that nobody can read, as lost: its sender would repeat it for ever."""
    connector, _, kind = topic.partition("/")
    arrived = _number_of(connector, _tolerantly(payload)) if kind == "values" else None
    return arrived and replace(arrived, lost=True)


def _tolerantly(payload: bytes) -> dict[str, Any]:
    """The JSON object in a payload, {} when there is none; reads on where ours stops: NaN, half surrogate pairs."""
    try:
        message = json.loads(payload, parse_int=_int)
    except (ValueError, RecursionError):
        return {}
    return message if isinstance(message, dict) else {}


def _number_of(connector: str, message: Mapping[str, Any]) -> Arrived | None:
    session, sequence = message.get("session"), message.get("sequence")
    if not isinstance(session, str) or not _SESSION.fullmatch(session):
        return None
    if type(sequence) is not int or not 0 <= sequence <= LARGEST_SEQUENCE:
        return None
    return Arrived(connector, session, sequence)


def _int(digits: str) -> float:
    """Python refuses to read endless digits, and with them the whole message."""
    return int(digits) if len(digits) <= LONGEST_INTEGER else math.nan
