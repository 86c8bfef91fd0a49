"""What will be sent in the next 24 hours, and why, if the sensor stays as it is. Pure."""

from __future__ import annotations

import heapq
from dataclasses import dataclass

from controller.decision import DEFAULT, Policy, SensorState, rule
from controller.timeline import Timeline
from controller.values import same
from wattbus.jsontext import JsonValue
from wattbus.mqtt.messages import ScheduleItem, SetpointItem

HORIZON_MS = 24 * 3_600_000
MOST_COMING = 1500  # a change a minute for a day


@dataclass(frozen=True, slots=True)
class Standing:
    """What the actuator was told last, and when (ms)."""

    value: JsonValue
    since_ms: int


@dataclass(frozen=True, slots=True)
class ComingCommand:
    """A value that will be sent."""

    from_ms: int
    value: JsonValue
    reason: str


def preview(
    setpoint: Timeline[SetpointItem],
    schedule: Timeline[ScheduleItem],
    sensor: SensorState | None,
    now_ms: int,
    standing: Standing | None = None,
    *,
    policy: Policy = DEFAULT,
    outside_of: SetpointItem | None = None,
    dwell_ms: int = 0,
    horizon_ms: int = HORIZON_MS,
) -> list[ComingCommand]:
    """The changes from `now_ms` on; the first is at `now_ms` when another value than the standing one is due.

    `outside_of`: the setpoint's item whose range the sensor has left (for the dead band). `dwell_ms`: shortest time
    between two changes.
    """
    end_ms = now_ms + horizon_ms
    moments = [now_ms, *setpoint.changes(now_ms, end_ms), *schedule.changes(now_ms, end_ms)]
    heapq.heapify(moments)
    coming: list[ComingCommand] = []
    while moments and len(coming) < MOST_COMING:
        moment = heapq.heappop(moments)
        wanted = setpoint.at(moment)
        decision = rule(wanted, schedule.at(moment), sensor, policy, wanted is not None and wanted == outside_of)
        outside_of = wanted if decision.outside else None
        if not decision.applies or (standing is not None and same(standing.value, decision.value)):
            continue
        allowed_ms = moment if standing is None else standing.since_ms + dwell_ms
        if moment < allowed_ms < end_ms:
            heapq.heappush(moments, allowed_ms)
        elif moment >= allowed_ms:
            standing = Standing(decision.value, moment)
            coming.append(ComingCommand(moment, decision.value, decision.reason))
    return coming
