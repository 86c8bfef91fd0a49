"""Editing a setpoint: what is preferred, what is acceptable, and when."""

from __future__ import annotations

from collections.abc import Callable

from nicegui import ui

from api.datapoints import KnownDatapoint
from api.page.drafts import SetpointDraft
from api.page.faults import ItemFaults
from api.page.fields import MomentField, ValueField, number_field, show_fault, step_of
from api.page.visitor import Visitor
from api.page.words import value_text
from api.validation import DISCRETE, NUMERIC
from wattbus.jsontext import JsonValue

Changed = Callable[[], None]


class SetpointItemEditor:
    """One span of time; the draft follows every key."""

    def __init__(self, visitor: Visitor, datapoint: KnownDatapoint, draft: SetpointDraft, changed: Changed) -> None:
        self.draft = draft
        self._datapoint = datapoint
        self._changed = changed
        self._quiet = False
        self._slider: ui.slider | None = None
        self._low: ui.number | None = None
        self._high: ui.number | None = None
        self._acceptable: ui.select | None = None
        with ui.row().classes("w-full items-center gap-4 no-wrap"):
            with ui.element("div").classes("w-32 shrink-0"):
                self._preferred = ValueField(datapoint, "Preferred", draft.value, self._take)
            self._add_slider()
        self._add_tolerance()
        with ui.element("div").classes("wb-fields wb-times"):
            self._from = MomentField("From", "empty: now", draft.from_ms, visitor.zone, self._take)
            self._to = MomentField("To", "empty: for ever", draft.to_ms, visitor.zone, self._take)

    def _add_slider(self) -> None:
        low, high = self._datapoint.min_value, self._datapoint.max_value
        if self._datapoint.data_format not in NUMERIC[:2] or low is None or high is None or high <= low:
            return
        start = self.draft.value if isinstance(self.draft.value, int | float) else low
        self._slider = ui.slider(min=low, max=high, step=step_of(self._datapoint), value=start, on_change=self._slide)
        self._slider.props('aria-label="Preferred value" color=primary').classes("grow pr-2")

    def _slide(self) -> None:
        if not self._quiet and self._slider is not None:
            self._preferred.set(round(self._slider.value, 6))
            self._take()

    def _add_tolerance(self) -> None:
        data_format = self._datapoint.data_format
        if data_format not in (*NUMERIC, *DISCRETE):
            self._tolerant = None
            return
        self._tolerant = ui.switch("With tolerance", value=self.draft.is_tolerant, on_change=self._tolerate)
        self._tolerant.tooltip("Within it the schedule decides; outside, and without tolerance, the preferred value.")
        self._bounds = ui.element("div").classes("wb-fields")
        self._bounds.visible = self.draft.is_tolerant
        with self._bounds:
            if data_format in DISCRETE:
                choices = {i: value_text(choice) for i, choice in enumerate(self._datapoint.allowed_values or ())}
                accepted = [i for i in choices if self._choice(i) in (self.draft.acceptable or [])]
                self._acceptable = ui.select(choices, label="Acceptable", value=accepted, multiple=True)
                self._acceptable.on_value_change(self._take).props("outlined dense use-chips")
            else:
                self._low = number_field(self._datapoint, "Lowest acceptable", self.draft.low, self._take)
                self._high = number_field(self._datapoint, "Highest acceptable", self.draft.high, self._take)

    def _choice(self, index: int) -> JsonValue:
        return list(self._datapoint.allowed_values or ())[index]

    def _tolerate(self) -> None:
        """Switched on, a range is proposed: a tenth of what the datapoint can, or one to each side."""
        draft, value = self.draft, self.draft.value
        draft.is_tolerant = self._bounds.visible = bool(self._tolerant and self._tolerant.value)
        if draft.is_tolerant and draft.low is None and draft.high is None and isinstance(value, int | float):
            margin = max(1.0, step_of(self._datapoint) * 10)
            draft.low, draft.high = value - margin, value + margin
            self.show()
        self._take()

    def _take(self) -> None:
        """From the fields into the draft."""
        if self._quiet:
            return
        draft = self.draft
        draft.value, draft.from_ms, draft.to_ms = self._preferred.value, self._from.at_ms, self._to.at_ms
        if self._low is not None and self._high is not None:
            draft.low, draft.high = self._low.value, self._high.value
        if self._acceptable is not None:
            draft.acceptable = [self._choice(index) for index in self._acceptable.value]
        self._follow()
        self._changed()

    def _follow(self) -> None:
        if self._slider is not None and isinstance(self.draft.value, int | float):
            self._quiet = True
            self._slider.value = self.draft.value
            self._quiet = False

    def show(self) -> None:
        """From the draft into the fields, after somebody dragged it."""
        self._quiet = True
        self._preferred.set(self.draft.value)
        if self._low is not None and self._high is not None:
            self._low.value, self._high.value = self.draft.low, self.draft.high
        self._quiet = False
        self._follow()

    def fault(self, faults: ItemFaults) -> None:
        """Say at each field why it does not fit."""
        self._preferred.fault(faults.at("preferred_value"))
        self._from.fault(faults.at("from_timestamp"))
        self._to.fault(faults.at("to_timestamp"))
        bounds = {"min_value": self._low, "max_value": self._high, "acceptable_values": self._acceptable}
        for name, field in bounds.items():
            if field is not None:
                show_fault(field, faults.at(name))
