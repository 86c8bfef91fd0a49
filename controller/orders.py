"""What an actuator is to get, and what it got."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from controller.decision import DEFAULT, Policy
from wattbus.jsontext import JsonValue

Cause = Literal["change", "return", "failure", "repetition"]


@dataclass(frozen=True, slots=True)
class ControlOptions:
    """How an actuator is treated; the defaults are BEMCom's behaviour."""

    policy: Policy = DEFAULT
    dwell_s: float = 0.0
    repeat_s: float = 0.0
    expiry_s: float = 60.0


@dataclass(slots=True)
class SentCommand:
    """The last command. `outcome` None: not known (yet); `changed_ms`: when its value was sent for the first time."""

    value: JsonValue
    timestamp_ms: int
    changed_ms: int
    id: str
    outcome: str | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Order:
    """A command that is due."""

    value: JsonValue
    reason: str
    cause: Cause
