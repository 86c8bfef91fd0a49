"""The decision table of docs/wire.md, "What the controller does with them". Pure: no clock, no bus, no memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

from controller.values import equal, number, text
from wattbus.jsontext import JsonValue
from wattbus.mqtt.messages import ScheduleItem, SetpointItem

NoSensor = Literal["schedule", "preferred"]
Item = TypeVar("Item", bound=SetpointItem | ScheduleItem)


@dataclass(frozen=True, slots=True)
class SensorState:
    """What a sensor last said; `quality` None is good. Where no value was received yet there is no SensorState."""

    value: JsonValue
    quality: str | None = None


@dataclass(frozen=True, slots=True)
class Policy:
    """Options of the decision; the defaults are BEMCom's behaviour.

    `no_sensor`: whose value counts while the sensor has said nothing. `hysteresis`: a sensor that left the range must
    come back this far inside its bounds before the schedule rules again, in the sensor's unit.
    """

    no_sensor: NoSensor = "schedule"
    hysteresis: float = 0.0


@dataclass(frozen=True, slots=True)
class Decision:
    """The value that the actuator should have, and why. Without `applies` nothing is sent: null is a value too.

    `outside`: a range or list was asked, and the sensor is not known to be inside.
    """

    applies: bool
    value: JsonValue
    reason: str
    outside: bool = False


NOTHING = Decision(False, None, "no setpoint and no schedule applies")
DEFAULT = Policy()


def decide(
    setpoint: Sequence[SetpointItem] | None,
    schedule: Sequence[ScheduleItem] | None,
    sensor: SensorState | None,
    now_ms: int,
    policy: Policy = DEFAULT,
) -> Decision:
    """What the actuator should have at `now_ms` (UTC)."""
    return rule(ruling(setpoint, now_ms), ruling(schedule, now_ms), sensor, policy)


def ruling(items: Sequence[Item] | None, now_ms: int) -> Item | None:
    """The item that applies: from `from_timestamp` (inclusive) to `to_timestamp` (exclusive).

    Of several the one that began last rules (null began first of all), of equal ones the later in the list.
    """
    best: Item | None = None
    for item in items or ():
        if applies(item, now_ms) and (best is None or begin(item) >= begin(best)):
            best = item
    return best


def applies(item: SetpointItem | ScheduleItem, now_ms: int) -> bool:
    return begin(item) <= now_ms and (item.to_timestamp is None or now_ms < item.to_timestamp)


def begin(item: SetpointItem | ScheduleItem) -> float:
    return float("-inf") if item.from_timestamp is None else item.from_timestamp


def rule(
    setpoint: SetpointItem | None,
    schedule: ScheduleItem | None,
    sensor: SensorState | None,
    policy: Policy = DEFAULT,
    was_outside: bool = False,
) -> Decision:
    """The table, for the items that rule now. `was_outside`: the sensor had left this setpoint's range before."""
    if setpoint is None:
        if schedule is None:
            return NOTHING
        return Decision(True, schedule.value, "schedule: no setpoint applies")
    preferred = setpoint.preferred_value
    if schedule is None:
        return Decision(True, preferred, "setpoint: no schedule applies")
    flexibility = _flexibility(setpoint)
    if flexibility == "none":
        return Decision(True, preferred, "setpoint: it has no flexibility")
    if flexibility == "all":
        return Decision(True, schedule.value, "schedule: the setpoint accepts every value")
    if setpoint.acceptable_values == []:
        return Decision(True, preferred, "setpoint: it accepts no other value", outside=True)
    if sensor is None:
        if policy.no_sensor == "preferred":
            return Decision(True, preferred, "setpoint: the sensor has not said anything yet", outside=True)
        return Decision(True, schedule.value, "schedule: the sensor has not said anything yet")
    fault = _outside(setpoint, sensor, policy.hysteresis if was_outside else 0.0)
    if fault:
        return Decision(True, preferred, f"setpoint: {fault}", outside=True)
    return Decision(True, schedule.value, f"schedule: sensor {text(sensor.value)} is within {_wanted(setpoint)}")


def _flexibility(setpoint: SetpointItem) -> Literal["none", "all", "some"]:
    """A list takes precedence over bounds, also where it is null, as in BEMCom's code; a missing bound is no bound."""
    given = setpoint.model_fields_set
    if "acceptable_values" in given:
        return "all" if setpoint.acceptable_values is None else "some"
    if not given & {"min_value", "max_value"}:
        return "none"
    return "all" if setpoint.min_value is None and setpoint.max_value is None else "some"


def _outside(setpoint: SetpointItem, sensor: SensorState, margin: float) -> str:
    """Why the sensor is not known to be inside; "" when it is."""
    if sensor.quality is not None:
        return f"sensor {text(sensor.value)} is {sensor.quality}"
    if setpoint.acceptable_values is not None:
        if any(equal(sensor.value, choice) for choice in setpoint.acceptable_values):
            return ""
        return f"sensor {text(sensor.value)} is not one of {_wanted(setpoint)}"
    measured = number(sensor.value)
    if measured is None:
        return f"sensor {text(sensor.value)} is not a number"
    low, high = setpoint.min_value, setpoint.max_value
    if not (low is None or low <= measured) or not (high is None or measured <= high):
        return f"sensor {text(sensor.value)} is outside {_wanted(setpoint)}"
    if low is not None and high is not None:
        margin = min(margin, (high - low) / 2)  # a narrow range keeps its middle
    if (low is not None and measured < low + margin) or (high is not None and measured > high - margin):
        return f"sensor {text(sensor.value)} is not yet {margin:g} inside {_wanted(setpoint)}"
    return ""


def _wanted(setpoint: SetpointItem) -> str:
    """The range or list as people read it."""
    if setpoint.acceptable_values is not None:
        return ", ".join(map(text, setpoint.acceptable_values[:10])) + (" …" * (len(setpoint.acceptable_values) > 10))
    low = "" if setpoint.min_value is None else f"{setpoint.min_value:g}"
    high = "" if setpoint.max_value is None else f"{setpoint.max_value:g}"
    return f"{low}…{high}"
