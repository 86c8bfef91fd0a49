"""What goes into a store and what comes out. All times are integer milliseconds since 1970-01-01 UTC."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from wattbus.connector import DatapointType
from wattbus.jsontext import JsonValue

PlanKind = Literal["setpoint", "schedule"]
Ranges = tuple[tuple[int, int], ...]  # rising, disjoint, both ends included

# -- in ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ReadingValues:
    """A reading of `connector`: sensor key → value; `quality` names those that are not good."""

    connector: str
    timestamp_ms: int
    values: Mapping[str, JsonValue]
    quality: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TopicValue:
    """A value that came on a value topic, whose datapoint may be unknown yet."""

    connector: str
    topic: str
    timestamp_ms: int
    value: JsonValue
    quality: str | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """A setpoint or a schedule for the actuator behind `topic` (its value topic); `items` as it was given.

    `is_restamped`: the timestamp is that of its arrival. The same again comes with another one, as a retained message.
    """

    kind: PlanKind
    connector: str
    topic: str
    timestamp_ms: int
    items: JsonValue
    is_restamped: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a command to the actuator behind `topic` (its value topic)."""

    connector: str
    topic: str
    timestamp_ms: int
    outcome: str
    value: JsonValue
    detail: str = ""
    command_id: str | None = None
    command_timestamp_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Announcement:
    """Which datapoint a value topic stands for."""

    connector: str
    type: DatapointType
    key: str
    topic: str


@dataclass(frozen=True, slots=True)
class SessionState:
    """How far a sender's session is: everything up to `upto` is stored or was reported lost, but for `missing`."""

    connector: str
    session: str
    upto: int
    missing: Ranges
    dropped: Ranges  # what the sender reported lost
    first_seen_ms: int
    last_seen_ms: int


@dataclass(slots=True)
class Batch:
    """What is written in one transaction."""

    announcements: list[Announcement] = field(default_factory=list)
    values: list[ReadingValues | TopicValue] = field(default_factory=list)
    plans: list[Plan] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)
    sessions: list[SessionState] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.announcements or self.values or self.plans or self.outcomes or self.sessions)


@dataclass(frozen=True, slots=True)
class Written:
    """What a transaction did: values, setpoints, schedules and outcomes together.

    `rows` are new; `redelivered` were there already, equal; `conflicts` came for a time at which another one is stored
    (a value then gets one of the next milliseconds); `refused` cannot be stored (NaN) and were left out.
    """

    rows: int = 0
    redelivered: int = 0
    conflicts: int = 0
    refused: int = 0

    def __add__(self, other: Written) -> Written:
        return Written(
            self.rows + other.rows,
            self.redelivered + other.redelivered,
            self.conflicts + other.conflicts,
            self.refused + other.refused,
        )


# -- out --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Span:
    """From `from_ms` (included) to `to_ms` (excluded); None is no bound."""

    from_ms: int | None = None
    to_ms: int | None = None


ALWAYS = Span()


@dataclass(frozen=True, slots=True)
class StoredDatapoint:
    """A datapoint; `topic` is its value topic if known. Until it is `announced`, key and type are guessed from it."""

    id: int
    connector: str
    type: DatapointType
    key: str
    topic: str | None
    announced: bool


@dataclass(frozen=True, slots=True)
class StoredValue:
    timestamp_ms: int
    value: JsonValue
    quality: str | None = None


@dataclass(frozen=True, slots=True)
class StoredPlan:
    timestamp_ms: int
    items: JsonValue


@dataclass(frozen=True, slots=True)
class StoredOutcome:
    timestamp_ms: int
    outcome: str
    value: JsonValue
    detail: str
    command_id: str | None
    command_timestamp_ms: int | None


# -- keeping it small -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Retention:
    """How much is kept; None is no bound. The newest setpoint and schedule of a datapoint stay, however old."""

    oldest_days: float | None = 730.0
    most_bytes: int | None = 10 * 2**30
    sessions_days: float = 30.0


@dataclass(frozen=True, slots=True)
class Removed:
    """What a round of retention removed, and the bytes that are in use after it."""

    by_age: int
    by_size: int
    bytes_used: int
