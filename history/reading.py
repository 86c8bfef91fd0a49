"""From deliveries to records: what each message on each topic means. No I/O."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from history.receipts import LARGEST_SEQUENCE, Arrived
from wattbus.connector import DatapointType
from wattbus.jsontext import loads
from wattbus.mqtt.messages import (
    BadMessage,
    Command,
    DatapointDescription,
    DatapointMap,
    ResultMessage,
    ScheduleMessage,
    SetpointMessage,
    ValueMessage,
    ValuesMessage,
    is_scalar,
    is_text,
    parse,
)
from wattbus.storage import Announcement, Batch, Outcome, Plan, ReadingValues, TopicValue

LONGEST_INTEGER = 4000  # digits
_SESSION = re.compile(r"[0-9a-f]{16}")


@dataclass(slots=True)
class Records:
    """What a number of messages say."""

    batch: Batch = field(default_factory=Batch)
    arrived: list[Arrived] = field(default_factory=list)


class MessageReader:
    """Reads messages into records. `bad` is told the kind and the fault of those that make no sense.

    `foreign` is told of connectors that are not to be recorded: an old subscription brings them.
    """

    def __init__(
        self,
        connectors: Iterable[str],
        bad: Callable[[str, str], None],
        now_ms: Callable[[], int],
        foreign: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._connectors = frozenset(connectors)
        self._bad = bad
        self._now_ms = now_ms
        self._foreign = foreign
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
            message = parse(ValuesMessage, payload)
        except BadMessage:
            _salvage(records, connector, payload)
            raise
        records.arrived.append(Arrived(connector, message.session, message.sequence, tuple(message.dropped)))
        if message.values:
            records.batch.values.append(ReadingValues(connector, message.timestamp, message.values, message.quality))

    # -- value topics -----------------------------------------------------------------------------------------------

    def _value(self, records: Records, connector: str, topic: str, payload: bytes, retained: bool) -> None:
        if b'"sequence"' in payload and _came_as_a_reading(payload):
            return
        try:
            message = parse(ValueMessage, payload)
            timestamp, quality = message.timestamp, message.quality
            value = message.value
        except BadMessage:
            command = parse(Command, payload)
            if command.timestamp is not None or retained:
                raise
            timestamp, quality, value = self._now_ms(), None, command.value
        records.batch.values.append(TopicValue(connector, topic, timestamp, value, quality))

    def _result(self, records: Records, connector: str, topic: str, payload: bytes, retained: bool) -> None:
        message = parse(ResultMessage, payload)
        records.batch.outcomes.append(
            Outcome(
                connector,
                _value_topic(topic),
                message.timestamp,
                message.outcome,
                message.value,
                message.detail,
                message.id,
                message.command_timestamp,
            )
        )

    def _setpoint(self, records: Records, connector: str, topic: str, payload: bytes, retained: bool) -> None:
        message = parse(SetpointMessage, payload)
        items = loads(payload)["setpoint"]  # as given, with fields that we do not know
        records.batch.plans.append(Plan("setpoint", connector, _value_topic(topic), message.timestamp, items))

    def _schedule(self, records: Records, connector: str, topic: str, payload: bytes, retained: bool) -> None:
        message = parse(ScheduleMessage, payload)
        items = loads(payload)["schedule"]
        records.batch.plans.append(Plan("schedule", connector, _value_topic(topic), message.timestamp, items))

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
                self._bad("datapoints", f"{topic}: an entry is no datapoint")
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


def _json(payload: bytes) -> Any:
    try:
        return loads(payload)
    except ValueError as error:
        raise BadMessage(str(error)) from None


def _salvage(records: Records, connector: str, payload: bytes) -> None:
    """Of a reading with a fault keep what is sound, and its number: its sender would repeat it for ever."""
    try:
        message = json.loads(payload, parse_int=_int)  # reads on where ours stops: NaN, half surrogate pairs
    except (ValueError, RecursionError):
        return
    if not isinstance(message, dict):
        return
    session, sequence = message.get("session"), message.get("sequence")
    if not isinstance(session, str) or not _SESSION.fullmatch(session):
        return
    if type(sequence) is not int or not 0 <= sequence <= LARGEST_SEQUENCE:
        return
    values, timestamp = message.get("values"), message.get("timestamp")
    sound = {}
    if isinstance(values, dict) and type(timestamp) is int and abs(timestamp) <= LARGEST_SEQUENCE:
        sound = {key: value for key, value in values.items() if is_scalar(value) and is_text(key)}
        records.batch.values.append(ReadingValues(connector, timestamp, sound))
    records.arrived.append(Arrived(connector, session, sequence, lost=not sound))


def _int(digits: str) -> float:
    """Python refuses to read endless digits, and with them the whole message."""
    return int(digits) if len(digits) <= LONGEST_INTEGER else math.nan
