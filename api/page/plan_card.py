"""Setpoint and schedule of an actuator on a time axis, to look at, to drag and to edit."""

from __future__ import annotations

from collections import deque

from nicegui import background_tasks, ui
from nicegui.events import GenericEventArguments

from api.datapoints import KnownDatapoint
from api.page.badges import Note
from api.page.coming_list import ComingList
from api.page.drafts import HOUR_MS, SetpointDraft, StepDraft, next_step, setpoint_drafts, step_drafts
from api.page.fields import as_number, step_of
from api.page.pairing import sensor_of
from api.page.plan_content import ShownPlan, Window, handles, plan_content, schedule_series, setpoint_series
from api.page.plan_editor import PlanEditor
from api.page.plot import Plot, Point
from api.page.previews import Preview, preview_of
from api.page.recorded import MOST_POINTS, point_of, recorded
from api.page.setpoint_editor import SetpointItemEditor
from api.page.step_editor import StepItem
from api.page.visitor import Visitor
from api.validation import NUMERIC
from wattbus.storage import DatabaseAway

WINDOWS = {HOUR_MS: "1 h", 6 * HOUR_MS: "6 h", 24 * HOUR_MS: "24 h", 7 * 24 * HOUR_MS: "7 days"}
DRAGGING_S = 0.06  # the chart follows the finger
QUARTER_MS = 900_000
SETPOINT_WORDS = ("Setpoint", "setpoint", "There is no setpoint: only the schedule counts.")
SCHEDULE_WORDS = ("Schedule", "step", "There is no schedule: only the setpoint counts.")
PICK = "Tap into the chart to add steps"


class PlanCard:
    """The chart, what the controller will do, and both editors."""

    def __init__(self, visitor: Visitor, datapoint: KnownDatapoint) -> None:
        self._visitor, self._actuator = visitor, datapoint
        self._sensor: KnownDatapoint | None = None
        self._ahead_ms = 24 * HOUR_MS
        self._loads = 0
        self._points: dict[str, deque[Point]] = {name: deque(maxlen=2 * MOST_POINTS) for name in ("sensor", "sent")}
        self._preview: Preview | None = None
        self._grabbed: tuple[str, int | None, int | None] | None = None
        self._picking = False
        with ui.column().classes("wb-card").props("data-role=plan"):
            self._head()
            self._note = Note()
            self._plot = Plot("Setpoint, schedule and sensor over time")
            self._plot.on("drag", self._drag, throttle=DRAGGING_S)
            self._plot.on("drop", self._drop)
            self._plot.on("pick", self._pick)
            self._coming = ComingList(visitor, datapoint)
        with ui.element("div").classes("wb-two"):
            self._setpoint: PlanEditor[SetpointDraft] = PlanEditor(
                visitor, datapoint, "setpoint", SETPOINT_WORDS, setpoint_drafts, self._new_setpoint, SetpointItemEditor,
                self._edited,
            )  # fmt: skip
            self._schedule: PlanEditor[StepDraft] = PlanEditor(
                visitor, datapoint, "schedule", SCHEDULE_WORDS, step_drafts, self._new_step, StepItem, self._edited
            )
        self.load()

    def _head(self) -> None:
        with ui.row().classes("w-full items-center justify-between gap-2"):
            ui.label("Setpoint and schedule").classes("wb-title")
            with ui.row().classes("items-center gap-2"):
                if self._actuator.data_format in NUMERIC:
                    self._pick_button = ui.button("Draw steps", icon="edit", on_click=self._toggle_picking)
                    self._pick_button.props("flat dense no-caps").tooltip(PICK)
                self._windows = ui.toggle(WINDOWS, value=self._ahead_ms, on_change=self._look_ahead)
                self._windows.props('dense unelevated no-caps aria-label="Time shown"')

    # -- what there is ----------------------------------------------------------------------------------------------

    def load(self) -> None:
        """Read the past from the database, then draw."""
        background_tasks.create(self._load(), name="plan")

    async def _load(self) -> None:
        core, now_ms = self._visitor.core, self._visitor.core.clock.now_ms()
        from_ms = now_ms - self._ahead_ms // 4
        self._loads += 1
        this = self._loads
        self._sensor = sensor_of(core, self._actuator.identity)
        try:
            for name, datapoint in (("sensor", self._sensor), ("sent", self._actuator)):
                found = [] if datapoint is None else await recorded(core, datapoint, from_ms, now_ms)
                self._points[name] = deque(found, maxlen=2 * MOST_POINTS)
            self._note.say("")
        except DatabaseAway as away:
            self._note.say(f"The past is not shown, the database is away: {away}")
        if not self._visitor.is_gone and this == self._loads:  # else a person wants something else meanwhile
            self.look()
            self._draw()

    def _window(self) -> Window:
        """A quarter of the time lies behind, less where history begins later: but there is always some."""
        now_ms = self._visitor.core.clock.now_ms()
        firsts = [points[0][0] for points in self._points.values() if points]
        known_ms = now_ms - min(firsts, default=now_ms)
        behind_ms = min(self._ahead_ms // 4, max(self._ahead_ms // 24, known_ms))
        return Window(now_ms - behind_ms, now_ms, now_ms + self._ahead_ms)

    def _plan(self) -> ShownPlan:
        return ShownPlan(
            actuator=self._actuator,
            sensor=self._sensor,
            sensor_points=list(self._points["sensor"]),
            sent_points=list(self._points["sent"]),
            setpoint=self._setpoint.drafts,
            schedule=self._schedule.drafts,
            preview=self._preview,
        )

    def _draw(self) -> None:
        self._plot.show(plan_content(self._plan(), self._window(), self._picking))

    # -- once a second ----------------------------------------------------------------------------------------------

    def look(self) -> None:
        """Take over what is new on the bus."""
        self._setpoint.look()
        self._schedule.look()
        preview = preview_of(self._visitor.core, self._actuator.topic)
        self._coming.look(preview)
        if preview != self._preview:
            self._preview = preview
            self._draw()
        if sensor_of(self._visitor.core, self._actuator.identity) != self._sensor:
            self.load()

    def append(self, topics: set[str]) -> None:
        """Newer values of sensor and actuator."""
        added: dict[str, list[Point]] = {}
        for name, datapoint in (("sensor", self._sensor), ("sent", self._actuator)):
            value = self._visitor.core.live.state_of(datapoint).value
            if datapoint is None or datapoint.topic not in topics or value is None:
                continue
            points = self._points[name]
            if not points or value.timestamp_ms > points[-1][0]:
                points.append(point_of(value))
                added[name] = self._plan().points([points[-1]])
        window = self._window()
        self._plot.append(added, window.from_ms, window.to_ms, window.now_ms)

    # -- a person ---------------------------------------------------------------------------------------------------

    def _look_ahead(self) -> None:
        self._ahead_ms = self._windows.value
        self.load()

    def _edited(self) -> None:
        if hasattr(self, "_schedule"):  # the first editor speaks before the second is there
            window = self._window()
            plan = self._plan()
            series = [setpoint_series(plan, window), schedule_series(plan, window)]
            self._plot.change(series, handles(plan, window))

    def _new_setpoint(self, drafts: list[SetpointDraft]) -> SetpointDraft:
        return SetpointDraft(value=drafts[-1].value if drafts else self._likely())

    def _new_step(self, drafts: list[StepDraft]) -> StepDraft:
        value = drafts[-1].value if drafts else self._likely()
        return next_step(drafts, self._visitor.core.clock.now_ms(), value)

    def _likely(self) -> object:
        """A value to begin with: the last one, the sensor's, or the example."""
        state = self._visitor.core.live.state_of(self._actuator)
        return state.value.value if state.value else self._actuator.example_value

    def _toggle_picking(self) -> None:
        self._picking = not self._picking
        self._pick_button.props(remove="unelevated" if not self._picking else "flat")
        self._pick_button.props("unelevated" if self._picking else "flat")
        self._pick_button.set_text("Done" if self._picking else "Draw steps")
        self._note.say(f"{PICK}; drag their dots to move them." if self._picking else "")
        self._draw()

    def _snapped(self, value: float) -> float:
        step = step_of(self._actuator)
        value = round(round(value / step) * step, 6)
        low, high = self._actuator.min_value, self._actuator.max_value
        value = value if low is None else max(low, value)
        value = value if high is None else min(high, value)
        return as_number(value) or 0

    def _pick(self, event: GenericEventArguments) -> None:
        grid_ms = QUARTER_MS if self._ahead_ms > HOUR_MS else QUARTER_MS // 3
        begin = int(event.args["at"]) // grid_ms * grid_ms
        self._schedule.add(StepDraft(begin, begin + 4 * grid_ms, self._snapped(float(event.args["value"]))))

    def _drag(self, event: GenericEventArguments) -> None:
        kind, _, number = str(event.args["id"]).partition(":")
        index, value = int(number), self._snapped(float(event.args["value"]))
        if kind == "setpoint" and index < len(self._setpoint.drafts):
            move_setpoint(self._setpoint.drafts[index], value)
            self._setpoint.show(index)
        elif kind == "schedule" and index < len(self._schedule.drafts):
            self._move_step(index, value, int(event.args["moved_ms"]))
            self._schedule.show(index)

    def _move_step(self, index: int, value: float, moved_ms: int) -> None:
        step = self._schedule.drafts[index]
        name = f"schedule:{index}"
        if self._grabbed is None or self._grabbed[0] != name:
            self._grabbed = (name, step.from_ms, step.to_ms)
        moved_ms = round(moved_ms / 300_000) * 300_000
        _, begin, end = self._grabbed
        step.value = value
        if begin is not None and end is not None:
            step.from_ms, step.to_ms = begin + moved_ms, end + moved_ms

    def _drop(self, event: GenericEventArguments) -> None:
        self._drag(event)
        self._grabbed = None


def move_setpoint(draft: SetpointDraft, value: float) -> None:
    """The tolerance moves along."""
    if isinstance(draft.value, int | float):
        moved = value - draft.value
        draft.low = None if draft.low is None else round(draft.low + moved, 6)
        draft.high = None if draft.high is None else round(draft.high + moved, 6)
    draft.value = value
