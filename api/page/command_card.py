"""Setting an actuator, and what became of it."""

from __future__ import annotations

from nicegui import ui

from api.datapoints import KnownDatapoint
from api.errors import Conflict, Invalid, Unavailable
from api.page.badges import Badge, Kind, Note
from api.page.fields import ValueField, limits_text
from api.page.pairing import controller_runs, sensor_of
from api.page.value_card import set_text
from api.page.visitor import Visitor
from api.page.words import OUTCOMES, age_text, value_text

KINDS: dict[str, Kind] = {"applied": "good", "rejected": "bad", "failed": "bad", "expired": "warn", "unknown": "none"}
NO_OUTCOME = "The connector has not told yet what became of it; it appears here when it does."
TYPE_FIRST = "Type a value first."
CONTROLLED = "A controller sets this by setpoint and schedule: at its next change it sends its own value again."


class CommandCard:
    """One field, one button, and the outcome of the last command, whoever sent it."""

    def __init__(self, visitor: Visitor, datapoint: KnownDatapoint) -> None:
        self._visitor = visitor
        self._datapoint = datapoint
        self._waits_since_ms = 0  # for the outcome of a command that was sent then
        state = visitor.core.live.state_of(datapoint)
        start = state.value.value if state.value else datapoint.example_value
        with ui.column().classes("wb-card").props("data-role=command"):
            ui.label("Set a value").classes("wb-title")
            with ui.row().classes("w-full items-start gap-3 no-wrap"):
                with ui.element("div").classes("grow min-w-0"):
                    self._field = ValueField(datapoint, "New value", start, lambda: None)
                self._button = ui.button("Set", on_click=self._set).props("unelevated no-caps").classes("h-10")
            limits = limits_text(datapoint)
            if limits:
                ui.label(f"Range {limits}").classes("wb-small wb-faint -mt-2")
            self._note = Note("bad")
            self._outcome = ui.column().classes("gap-1 w-full").props("aria-live=polite data-role=outcome")
            with self._outcome:
                with ui.row().classes("items-center gap-2"):
                    self._badge = Badge()
                    self._what = ui.label().classes("wb-small wb-number")
                self._detail = ui.label().classes("wb-small min-w-0 break-words")
            self._controlled = ui.label(CONTROLLED).classes("wb-small wb-faint")

    async def _set(self) -> None:
        core, value = self._visitor.core, self._field.value
        self._note.say("")
        self._field.fault("")
        if value is None:  # a device that takes null is told so by other ways than an empty field
            self._field.fault(TYPE_FIRST)
            return
        self._button.props("loading")
        try:
            sent = await core.commands.set_value(self._datapoint, value)
        except Invalid as invalid:
            self._field.fault(fault_text(invalid.faults, "value"))
            return
        except (Conflict, Unavailable) as error:
            self._note.say(str(error))
            return
        finally:
            self._button.props(remove="loading")
        if sent.outcome == "unknown":
            self._waits_since_ms = sent.timestamp
            self._show("unknown", value_text(value, self._datapoint.unit), NO_OUTCOME)
        else:
            self.look(self._datapoint)

    def look(self, datapoint: KnownDatapoint) -> None:
        """The last outcome on the bus."""
        core = self._visitor.core
        self._datapoint = datapoint
        self._controlled.visible = sensor_of(core, datapoint.identity) is not None and controller_runs(core)
        outcome = core.live.state_of(datapoint).outcome
        self._outcome.visible = outcome is not None or bool(self._what.text)
        if outcome is not None and outcome.timestamp >= self._waits_since_ms:
            when = age_text(outcome.timestamp, core.clock.now_ms())
            self._show(outcome.outcome, f"{value_text(outcome.value, datapoint.unit)}, {when}", outcome.detail)

    def _show(self, outcome: str, what: str, detail: str) -> None:
        self._outcome.visible = True
        self._badge.show(KINDS.get(outcome, "none"), OUTCOMES.get(outcome, outcome))
        set_text(self._what, what)
        set_text(self._detail, detail)
        self._detail.visible = bool(detail)


def fault_text(faults: object, field: str) -> str:
    """The reasons at one field, or all there are."""
    if isinstance(faults, dict):
        found = faults.get(field) or [text for texts in faults.values() for text in texts]
        return " ".join(map(str, found))
    return str(faults)
