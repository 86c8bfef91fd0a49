"""The contract of a connector: what its author writes, and what the runtime gives it.

A connector is a class with four methods, and a fifth if it likes (`Accompanied`). Everything else (MQTT, discovery,
flattening, raw messages, heartbeat, logs, status, retries, buffering, command checks, outcomes, metrics, staleness) is
`wattbus.runtime.connector_runtime`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal, Protocol, runtime_checkable

from wattbus.jsontext import JsonValue

Scalar = str | int | float | bool | None
DatapointType = Literal["sensor", "actuator"]
DataFormat = Literal[
    "generic_numeric", "continuous_numeric", "discrete_numeric", "generic_text", "discrete_text", "bool", "unknown"
]
# Nested mappings and lists whose leaves are scalars or quantities.
Values = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Datapoint:
    """One thing that can be measured (sensor) or set (actuator).

    `key` is unique per connector and type. `unit` follows UCUM (`kW.h`, `Cel`). `expected_interval_s` is the time
    within which a sensor should be heard again; beyond it the value counts as stale. `device` is the name that
    `Link.unit` uses when one of several devices comes or goes. `counter` marks a register that only rises.
    `repeatable=False` marks a command that must not be executed twice (start a transaction): it is acknowledged
    before it is executed, not after.
    """

    key: str
    type: DatapointType = "sensor"
    data_format: DataFormat = "unknown"
    unit: str = ""
    description: str = ""
    min_value: float | None = None
    max_value: float | None = None
    allowed_values: tuple[Scalar, ...] | None = None
    example_value: Scalar = None
    expected_interval_s: float | None = None
    device: str = ""
    counter: bool = False
    repeatable: bool = True


@dataclass(frozen=True, slots=True)
class Quantity:
    """A value that brings its own unit (UCUM) and description, for sensors that are discovered while decoding."""

    value: Scalar
    unit: str = ""
    description: str = ""


@dataclass(frozen=True, slots=True)
class Reading:
    """What one raw message says.

    `values` is a nested mapping; the runtime flattens it with `__`, list elements by index. `timestamp_ms` is the
    device's own time where it gives one, else None: the time of reception. `device` as in `Datapoint`. `is_unverified`:
    nothing but its form speaks for it (a checksum that nobody can verify); the quality of its values says so.
    """

    values: Values
    timestamp_ms: int | None = None
    device: str = ""
    is_unverified: bool = False


class LinkState(StrEnum):
    """How the link to the device, or to the devices, stands. The status on the bus names it."""

    CONNECTING = "connecting"  # since the start nobody has answered, and no attempt has failed either
    CONNECTED = "connected"  # the other side has answered; no value has come since
    UP = "up"  # values come
    SILENT = "silent"  # it stands, and the values that are due do not come
    DOWN = "down"  # it cannot be had, it broke, or the connector failed; it is tried again and again


class Link(Protocol):
    """What the runtime gives a connector; no method blocks or waits."""

    def connected(self) -> None:
        """The other side has answered: to be called in `run()`, as often as you like, from the first answer on.

        An accepted TCP connection or an open serial port is no answer where the protocol can tell more: a request that
        was answered, a first telegram. Where it can not (a port that devices connect to, a server that need not say
        anything for hours), it is when the line stands. The backoff starts anew when the link then stands for 5 s.
        `emit()` of a message that gives values says it, too.
        """

    def emit(self, raw: JsonValue, timestamp_ms: int | None = None) -> None:
        """Hand over one raw message (JSON: string keys, no bytes); `timestamp_ms` is its time of reception."""

    def announce(self, datapoints: Iterable[Datapoint]) -> None:
        """Publish datapoints that were discovered, or describe known ones anew."""

    def unit(self, name: str, up: bool, reason: str = "") -> None:
        """One of several devices came or went: its datapoints turn `offline`, the others keep their pace."""


class Connector(Protocol):
    """The four methods. `run` and `write` may raise `LinkDown`; anything unexpected they raise is a bug."""

    def datapoints(self) -> Iterable[Datapoint]:
        """The datapoints known from settings; more may be announced later."""

    async def run(self, link: Link) -> None:
        """Open, speak, close. `LinkDown` ends it, and the runtime enters it again; returning is a bug."""

    def decode(self, raw: JsonValue) -> Iterable[Reading]:
        """The readings in a raw message. Pure: the same raw JSON gives the same readings years later.

        Raises `DecodeError` when the message makes no sense.
        """

    async def write(self, key: str, value: Scalar) -> None:
        """Execute a command; return when the device has confirmed it.

        The runtime has checked type and range against the datapoint. Raises `CommandRejected` when the device or
        the rules say no, `LinkDown` when the device cannot be reached.
        """


@runtime_checkable
class Accompanied(Protocol):
    """A fifth method, for connectors that have work beside `run`, also while the device is away (a second server)."""

    async def accompany(self) -> None:
        """Run for as long as the connector lives. The runtime starts it once, beside `run`, and supervises it.

        Whatever it talks to may be away at any time: that is its own to wait out. Returning is a bug, and so is
        anything it raises (traceback, count, started again with backoff), except ConfigError and StopAsked, which
        end the connector.
        """
