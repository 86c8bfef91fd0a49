"""From deliveries to the live model: what each message on each topic means. No I/O."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable

from pydantic import ValidationError

from api.live import Live, LiveConnector
from api.validation import is_topic
from wattbus import metrics
from wattbus.clock import Clock
from wattbus.jsontext import JsonValue, loads
from wattbus.mqtt.messages import (
    AvailableDatapoints,
    BadMessage,
    Command,
    DatapointDescription,
    DatapointMap,
    Heartbeat,
    LogMessage,
    ResultMessage,
    ScheduleMessage,
    SetpointMessage,
    StatusMessage,
    ValueMessage,
    parse,
)
from wattbus.mqtt.packets import IncomingMessage
from wattbus.storage import StoredPlan, StoredValue

log = logging.getLogger(__name__)

LONGEST_VALUE = 64 * 2**10  # bytes of a message on a datapoint's topic; all of them are kept in memory
LONGEST_PLAN = 2**20
LONGEST_LOG = 2000  # characters

BAD = metrics.counter("api_bad_messages", "Messages that make no sense, by kind of topic.", "kind")

STATE_FILTERS = ("+/messages/+/value",)  # QoS 0: what is missed is followed by something newer
FILTERS = (
    "+/status",
    "+/heartbeat",
    "+/datapoints",
    "+/available_datapoints",
    "+/datapoint_map",
    "+/messages/+/setpoint",
    "+/messages/+/schedule",
    "+/messages/+/result",
    "+/logs",
    "+/preview/#",
)

_DATAPOINT_KINDS = ("value", "setpoint", "schedule", "result")


class BusReader:
    """Reads messages into the live model; those that make no sense are counted and dropped."""

    def __init__(self, live: Live, service: str, clock: Clock) -> None:
        self._live = live
        self._service = service
        self._clock = clock
        self._bad: Counter[str] = Counter()
        self._of_datapoint: dict[str, Callable[[str, IncomingMessage], None]] = {
            "value": self._value,
            "setpoint": self._setpoint,
            "schedule": self._schedule,
            "result": self._result,
        }
        self._of_connector: dict[str, Callable[[LiveConnector, bytes, bool], None]] = {
            "status": self._status,
            "heartbeat": self._heartbeat,
            "datapoints": self._datapoints,
            "available_datapoints": self._available,
            "datapoint_map": self._map,
            "logs": self._log,
        }

    def read(self, delivery: IncomingMessage) -> None:
        """Take one message in."""
        name, _, rest = delivery.topic.partition("/")
        kind = rest.rpartition("/")[2]
        try:
            if rest.partition("/")[0] == "preview":
                kind = "preview"
                self._preview(name, rest.partition("/")[2], delivery.payload)
            elif kind in _DATAPOINT_KINDS:
                self._read_state(kind, name, delivery)
            elif (connector := self._live.connector(name)) is not None and kind in self._of_connector:
                self._of_connector[kind](connector, delivery.payload, delivery.retain)
                self._heard(connector, delivery.retain)
        except BadMessage as fault:
            self._note_bad(kind, f"{delivery.topic}: {fault}")

    def _heard(self, connector: LiveConnector, retained: bool) -> None:
        if not retained:
            connector.last_heard_ms = self._clock.now_ms()

    def _note_bad(self, kind: str, fault: str) -> None:
        """Count it; log the first and then every hundredth."""
        BAD.labels(self._service, kind).inc()
        if self._bad[kind] % 100 == 0:
            log.warning("a message makes no sense (%d so far on %s topics): %s", self._bad[kind] + 1, kind, fault)
        self._bad[kind] += 1

    # -- datapoints -------------------------------------------------------------------------------------------------

    def _read_state(self, kind: str, name: str, delivery: IncomingMessage) -> None:
        if len(delivery.payload) > (LONGEST_PLAN if kind in ("setpoint", "schedule") else LONGEST_VALUE):
            raise BadMessage(f"{len(delivery.payload)} bytes are too many to be shown")
        topic = f"{delivery.topic.rpartition('/')[0]}/value"
        self._of_datapoint[kind](topic, delivery)
        connector = self._live.connectors.get(name)
        if connector is not None and kind in ("value", "result"):
            self._heard(connector, delivery.retain)

    def _value(self, topic: str, delivery: IncomingMessage) -> None:
        value = self._value_of(delivery) if delivery.payload else None
        if (state := self._live.state(topic)) is not None:
            state.value = value
            self._live.changes.tell("value", topic)

    def _value_of(self, delivery: IncomingMessage) -> StoredValue:
        try:
            message = parse(ValueMessage, delivery.payload)
        except BadMessage:
            command = parse(Command, delivery.payload)  # people leave the timestamp out
            if command.timestamp is not None or delivery.retain:
                raise
            return StoredValue(self._clock.now_ms(), command.value)
        return StoredValue(message.timestamp, message.value, message.quality)

    def _setpoint(self, topic: str, delivery: IncomingMessage) -> None:
        plan = None
        if delivery.payload:
            timestamp = parse(SetpointMessage, delivery.payload).timestamp
            plan = StoredPlan(timestamp, loads(delivery.payload)["setpoint"])  # with fields that we do not know
        if (state := self._live.state(topic)) is not None:
            state.setpoint = plan
            self._live.changes.tell("setpoint", topic)

    def _schedule(self, topic: str, delivery: IncomingMessage) -> None:
        plan = None
        if delivery.payload:
            timestamp = parse(ScheduleMessage, delivery.payload).timestamp
            plan = StoredPlan(timestamp, loads(delivery.payload)["schedule"])
        if (state := self._live.state(topic)) is not None:
            state.schedule = plan
            self._live.changes.tell("schedule", topic)

    def _result(self, topic: str, delivery: IncomingMessage) -> None:
        outcome = parse(ResultMessage, delivery.payload)
        if self._live.on_result is not None:
            self._live.on_result(outcome, delivery.correlation)
        if (state := self._live.state(topic)) is not None:
            state.outcome = outcome
            self._live.changes.tell("outcome", topic)

    # -- connectors -------------------------------------------------------------------------------------------------

    def _status(self, connector: LiveConnector, payload: bytes, retained: bool) -> None:
        status = parse(StatusMessage, payload) if payload else None
        connector.life.take_status(status, self._clock.monotonic(), retained=retained)
        self._live.changes.tell("connector", connector.name)
        self._live.look_at_lives()

    def _heartbeat(self, connector: LiveConnector, payload: bytes, _: bool) -> None:
        connector.life.take_heartbeat(parse(Heartbeat, payload), self._clock.monotonic())
        self._live.changes.tell("connector", connector.name)
        self._live.look_at_lives()

    def _datapoints(self, connector: LiveConnector, payload: bytes, _: bool) -> None:
        connector.described = self._descriptions(connector.name, payload) if payload else None
        self._live.changes.tell("datapoints", connector.name)

    def _descriptions(self, name: str, payload: bytes) -> tuple[DatapointDescription, ...]:
        """Those that make sense; a connector speaks for its own topics only."""
        listed = _json(payload)
        if not isinstance(listed, list):
            raise BadMessage("expected a list")
        described = []
        for entry in listed:
            try:
                told = DatapointDescription.model_validate(entry)
            except ValidationError:
                self._note_bad("datapoints", f"{name}/datapoints: an entry is not a datapoint")
                continue
            is_own = told.topic.startswith(f"{name}/messages/") and told.topic.endswith("/value")
            if is_own and is_topic(told.topic):
                described.append(told)
            else:
                self._note_bad("datapoints", f"{name}/datapoints: {told.topic:.200} is not a value topic of its own")
        return tuple(described)

    def _available(self, connector: LiveConnector, payload: bytes, _: bool) -> None:
        if connector.available is None:
            connector.available_since_ms = self._clock.now_ms()
        connector.available = parse(AvailableDatapoints, payload) if payload else None
        self._live.changes.tell("datapoints", connector.name)

    def _map(self, connector: LiveConnector, payload: bytes, _: bool) -> None:
        connector.datapoint_map = parse(DatapointMap, payload) if payload else None

    def _log(self, connector: LiveConnector, payload: bytes, _: bool) -> None:
        message = parse(LogMessage, payload)
        connector.logs.append(message.model_copy(update={"msg": message.msg[:LONGEST_LOG]}))
        self._live.changes.tell("logs", connector.name)

    def _preview(self, service: str, actuator: str, payload: bytes) -> None:
        """What a controller will do: `${service}/preview/${value topic of the actuator}`, taken back when empty."""
        if len(payload) > LONGEST_PLAN:
            raise BadMessage(f"{len(payload)} bytes are too many to be shown")
        self._live.file_preview(service, actuator, _json(payload) if payload else None)


def _json(payload: bytes) -> JsonValue:
    try:
        return loads(payload)
    except ValueError as error:
        raise BadMessage(str(error)) from None
