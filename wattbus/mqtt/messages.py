"""The wire contract: one typed model per MQTT message (topics: `wattbus.mqtt.topics`).

BEMCom's message protocol plus Wattbus's additions; readers ignore fields that they do not know. Timestamps are
integer milliseconds since 1970-01-01 UTC. `parse()` turns untrusted payloads into models, `BadMessage` says why not.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from wattbus.connector import DataFormat, DatapointType, Scalar
from wattbus.errors import WattbusError
from wattbus.jsontext import JsonValue, dumps, is_scalar, is_text

Quality = Literal["stale", "implausible", "unverified", "offline"]  # left out when a value is good
State = Literal["online", "degraded", "offline"]
Outcome = Literal["applied", "rejected", "failed", "expired"]
TimestampMs = Annotated[int, Field(ge=-(2**53), le=2**53)]
Range = tuple[int, int]


class BadMessage(WattbusError):  # noqa: N818
    """A payload is not a message of its topic."""


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("NaN and Infinity are no values")
    if isinstance(value, list | dict):
        for inner in value.values() if isinstance(value, dict) else value:
            _finite(inner)
    return value


AnyValue = Annotated[JsonValue, AfterValidator(_finite)]


class Message(BaseModel):
    """Base of all messages: immutable, tolerant of unknown fields, strict about types."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True, ser_json_inf_nan="null")

    def payload(self) -> bytes:
        """The message as compact JSON; optional fields that are None and were not given are left out."""
        return dumps(self.model_dump(exclude_unset=True))


class AvailableDatapoints(Message):
    """`${C}/available_datapoints`: always the complete set, key → example value."""

    sensor: dict[str, AnyValue]
    actuator: dict[str, AnyValue]


class DatapointDescription(Message):
    """One entry of `${C}/datapoints`."""

    key: str
    type: DatapointType
    topic: str
    data_format: DataFormat = "unknown"
    unit: str = ""
    description: str = ""
    min_value: float | None = None
    max_value: float | None = None
    allowed_values: list[AnyValue] | None = None
    example_value: AnyValue = None
    expected_interval_s: float | None = None
    repeatable: bool = True


class DatapointMap(Message):
    """`${C}/datapoint_map`: sensor key → topic; actuator topic → key."""

    sensor: dict[str, str]
    actuator: dict[str, str]


class ValuesMessage(Message):
    """`${C}/values`: one reading as a whole. `quality` names the values that are not good, `dropped` what is lost."""

    session: Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
    sequence: Annotated[int, Field(ge=0, le=2**53)]
    timestamp: TimestampMs
    values: dict[str, AnyValue]
    quality: dict[str, str] = {}
    dropped: list[Range] = []

    @model_validator(mode="before")
    @classmethod
    def _ranges_from_json(cls, value: Any) -> Any:
        return _with_tuples(value, "dropped")


class Receipt(Message):
    """`history/receipts/${C}`: history has 1 … `upto` of `session` but for `missing`."""

    session: str
    upto: Annotated[int, Field(ge=0)]
    missing: list[Range] = []

    @model_validator(mode="before")
    @classmethod
    def _ranges_from_json(cls, value: Any) -> Any:
        return _with_tuples(value, "missing")


def _with_tuples(value: Any, field: str) -> Any:
    """Strict models take no list for a tuple, but JSON has lists only."""
    if isinstance(value, dict) and isinstance(value.get(field), list):
        ranges = [tuple(item) if isinstance(item, list) else item for item in value[field]]
        return {**value, field: ranges}
    return value


class ValueMessage(Message):
    """`${C}/messages/${id}/value`: state of a sensor, or a command to an actuator (which may carry an `id`)."""

    value: AnyValue
    timestamp: TimestampMs
    quality: str | None = None
    sequence: int | None = None
    id: str | None = None


class Command(Message):
    """A command as senders really write it: BEMCom's carry `value` and `timestamp`, people may leave the latter out."""

    value: AnyValue
    timestamp: TimestampMs | None = None
    id: str | None = None


class ResultMessage(Message):
    """`${C}/messages/${id}/result`: what really happened to a command."""

    id: str | None = None
    value: AnyValue
    command_timestamp: TimestampMs | None
    timestamp: TimestampMs
    outcome: Outcome
    detail: str = ""


class SetpointItem(Message):
    """What people want in a span of time, with their tolerance; null bounds mean now and for ever."""

    from_timestamp: TimestampMs | None
    to_timestamp: TimestampMs | None
    preferred_value: AnyValue
    acceptable_values: list[AnyValue] | None = None
    min_value: float | None = None
    max_value: float | None = None


class SetpointMessage(Message):
    """`${C}/messages/${id}/setpoint`; null means none."""

    setpoint: list[SetpointItem] | None
    timestamp: TimestampMs


class ScheduleItem(Message):
    from_timestamp: TimestampMs | None
    to_timestamp: TimestampMs | None
    value: AnyValue


class ScheduleMessage(Message):
    """`${C}/messages/${id}/schedule`; null means none."""

    schedule: list[ScheduleItem] | None
    timestamp: TimestampMs


class ControlsMessage(Message):
    """`${controller}/controls`: the value topics of all actuators that this controller sends commands to."""

    actuators: list[str]
    timestamp: TimestampMs


class RawMessage(Message):
    """`${C}/raw_message_to_db`."""

    raw_message: JsonValue
    timestamp: TimestampMs
    connector_version: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _nested_form(cls, value: Any) -> Any:
        """The reference's Python template nests the message in `payload`."""
        if isinstance(value, dict) and isinstance(value.get("payload"), dict) and "raw_message" not in value:
            return {**value["payload"], "connector_version": value.get("connector_version")}
        return value


class Heartbeat(Message):
    """`${C}/heartbeat`: when the next one is due; `sequence` is the last number given to a reading of `session`."""

    this_heartbeats_timestamp: TimestampMs
    next_heartbeats_timestamp: TimestampMs
    session: str | None = None
    sequence: int | None = None


class LogMessage(Message):
    """`${C}/logs`; `level` as in Python's logging."""

    timestamp: TimestampMs
    msg: str
    emitter: str | None
    level: int


class ConditionMessage(Message):
    """One thing that is not well with a service: since when (ms), why now, and what to do about it."""

    name: str
    since: TimestampMs
    cause: str
    cure: str = ""


class StatusMessage(Message):
    """`${C}/status`, also the Last Will. `instance` tells two processes with one name apart, `host` and `process` where
    each of them is.

    `conditions` are what is not well now. Of a connector: `heartbeat_seconds` is the time between its heartbeats,
    `link` how the link to its device stands (`wattbus.connector.LinkState`).
    Of a history alone: `records` names the connectors whose readings it keeps, [] all of them; `recording` says whether
    its database takes them now.
    """

    state: State
    timestamp: TimestampMs
    version: str = ""
    instance: str = ""
    host: str = ""
    process: int | None = None
    session: str | None = None
    sequence: int | None = None
    detail: str = ""
    link: str | None = None
    conditions: list[ConditionMessage] = []
    heartbeat_seconds: float | None = None
    records: list[str] | None = None
    recording: bool | None = None


class WhoMessage(Message):
    """`${C}/who`: a process that wants to run under this name asks whether another one does; it tells its status."""

    instance: str
    host: str = ""
    process: int | None = None


M = TypeVar("M", bound=Message)


def parse(model: type[M], payload: bytes) -> M:
    """The message in an untrusted payload. Raises BadMessage with the first reason."""
    try:
        return model.model_validate_json(payload)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(step) for step in fault["loc"])
        raise BadMessage(f"{where}: {fault['msg']}" if where else fault["msg"]) from None


__all__ = [
    "AvailableDatapoints", "BadMessage", "Command", "ControlsMessage", "DatapointDescription", "DatapointMap",
    "Heartbeat", "LogMessage",
    "Message", "Outcome", "Quality", "Range", "RawMessage", "Receipt", "ResultMessage", "Scalar", "ScheduleItem",
    "ScheduleMessage", "SetpointItem", "SetpointMessage", "State", "StatusMessage", "ValueMessage", "ValuesMessage",
    "WhoMessage", "is_scalar", "is_text", "parse",
]  # fmt: skip
