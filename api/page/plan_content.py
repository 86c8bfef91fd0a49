"""Setpoint, schedule, sensor and what the controller will do, as lines over time. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from api.datapoints import KnownDatapoint
from api.page.drafts import SetpointDraft, StepDraft, segments
from api.page.plot import Axis, Band, Content, Handle, Point, Series
from api.page.previews import Preview
from api.page.units import symbol
from api.page.words import name_of
from api.validation import NUMERIC, TEXT
from wattbus.jsontext import JsonValue


@dataclass(frozen=True, slots=True)
class Window:
    """What is visible, around now."""

    from_ms: int
    now_ms: int
    to_ms: int


@dataclass(frozen=True, slots=True)
class ShownPlan:
    """What there is to draw of an actuator."""

    actuator: KnownDatapoint
    sensor: KnownDatapoint | None
    sensor_points: Sequence[Point]
    sent_points: Sequence[Point]
    setpoint: Sequence[SetpointDraft]
    schedule: Sequence[StepDraft]
    preview: Preview | None

    @property
    def in_words(self) -> bool:
        """Whether the axis has texts; numbers have no place on it then, and texts none beside numbers."""
        return self.actuator.data_format in TEXT

    def plotted(self, value: JsonValue) -> float | str | None:
        """As far as it has a place. On and off are 1 and 0."""
        if self.in_words:
            return value if isinstance(value, str) else None
        return as_float(value)

    def points(self, points: Sequence[Point]) -> list[Point]:
        """Those that have a place."""
        return [(at_ms, self.plotted(value)) for at_ms, value in points]


def as_float(value: JsonValue) -> float | None:
    return float(value) if isinstance(value, bool | int | float) else None


def plan_content(plan: ShownPlan, window: Window, picking: bool) -> Content:
    """All lines."""
    unit = symbol(plan.actuator.unit)
    return Content(
        from_=window.from_ms,
        to=window.to_ms,
        axes=[Axis(unit, _include(plan), words=_words(plan), switch=plan.actuator.data_format == "bool")],
        series=[
            *_past(plan, window),
            setpoint_series(plan, window),
            schedule_series(plan, window),
            _coming(plan, window),
        ],
        handles=handles(plan, window),
        picking=picking,
        now=window.now_ms,
    )


def _past(plan: ShownPlan, window: Window) -> list[Series]:
    sensor_name = name_of(plan.sensor) if plan.sensor else ""
    sensor_unit = symbol(plan.sensor.unit) if plan.sensor else ""
    return [
        Series("sensor", sensor_name, plan.points(plan.sensor_points), sensor_unit, role="sensor", now=window.now_ms),
        Series("sent", "Sent", plan.points(plan.sent_points), symbol(plan.actuator.unit), role="sent", step=True),
    ]


def setpoint_series(plan: ShownPlan, window: Window) -> Series:
    points: list[Point] = []
    bands: list[Band] = []
    for segment in segments(plan.setpoint, window.from_ms, window.to_ms):
        value = plan.plotted(segment.draft.value)
        points += [(segment.from_ms, value), (segment.to_ms, value), (segment.to_ms, None)]
        if segment.draft.is_tolerant and plan.actuator.data_format in NUMERIC:
            bands.append(Band(segment.from_ms, segment.to_ms, segment.draft.low, segment.draft.high))
    unit = symbol(plan.actuator.unit)
    return Series("setpoint", "Setpoint and tolerance", points, unit, role="setpoint", bands=bands)


def schedule_series(plan: ShownPlan, window: Window) -> Series:
    points: list[Point] = []
    for segment in segments(plan.schedule, window.from_ms, window.to_ms):
        value = plan.plotted(segment.draft.value)
        points += [(segment.from_ms, value), (segment.to_ms, value), (segment.to_ms, None)]
    return Series("schedule", "Schedule", points, symbol(plan.actuator.unit), role="schedule")


def _coming(plan: ShownPlan, window: Window) -> Series:
    """The actuator's value from now on: it holds until the controller sends another one."""
    points: list[Point] = []
    last = plan.plotted(plan.sent_points[-1][1]) if plan.sent_points else None
    if plan.preview is not None:
        value = plan.plotted(plan.preview.value) if plan.preview.holds else last
        points.append((window.now_ms, value))
        for coming in plan.preview.coming:
            points.append((max(coming.from_ms, window.now_ms), plan.plotted(coming.value)))
        points.append((window.to_ms, points[-1][1]))
    name = "Controller will send"
    return Series("coming", name, points, symbol(plan.actuator.unit), role="coming", step=True, dashed=True)


def handles(plan: ShownPlan, window: Window) -> list[Handle]:
    """One for each item that is visible and a number."""
    if plan.actuator.data_format not in NUMERIC:
        return []
    found = []
    for index, draft in enumerate(plan.setpoint):
        value = as_float(draft.value)
        if value is not None:
            begin = max(draft.from_ms or window.now_ms, window.now_ms)
            found.append(Handle(f"setpoint:{index}", value, "setpoint", begin, draft.to_ms, place=0.85))
    for index, step in enumerate(plan.schedule):
        value = as_float(step.value)
        if value is not None:
            found.append(Handle(f"schedule:{index}", value, "schedule", step.from_ms, step.to_ms, free=True))
    return found


def _words(plan: ShownPlan) -> list[str] | None:
    """What the datapoint takes; of one that takes any text, all that there is."""
    if not plan.in_words:
        return None
    texts = [*(plan.actuator.allowed_values or ()), *(value for _, value in (*plan.sensor_points, *plan.sent_points))]
    texts += [draft.value for draft in plan.setpoint] + [step.value for step in plan.schedule]
    return list(dict.fromkeys(text for text in texts if isinstance(text, str)))


def _include(plan: ShownPlan) -> tuple[float, float] | None:
    """Everything that is wanted stays in sight, with room to drag it."""
    wanted = [as_float(value) for draft in plan.setpoint for value in (draft.value, draft.low, draft.high)]
    wanted += [as_float(step.value) for step in plan.schedule]
    numbers = [number for number in wanted if number is not None]
    if not numbers:
        return None
    room = max((max(numbers) - min(numbers)) * 0.25, 1.0)
    return min(numbers) - room, max(numbers) + room
