"""Editing one step of a schedule."""

from __future__ import annotations

from collections.abc import Callable

from nicegui import ui

from api.datapoints import KnownDatapoint
from api.page.drafts import StepDraft
from api.page.faults import ItemFaults
from api.page.fields import MomentField, ValueField
from api.page.visitor import Visitor


class StepItem:
    """From, to and value; the draft follows every key."""

    def __init__(
        self, visitor: Visitor, datapoint: KnownDatapoint, draft: StepDraft, changed: Callable[[], None]
    ) -> None:
        self.draft = draft
        self._changed = changed
        with ui.element("div").classes("wb-step"):
            self._value = ValueField(datapoint, "Value", draft.value, self._take)
            self._from = MomentField("From", "empty: now", draft.from_ms, visitor.zone, self._take)
            self._to = MomentField("To", "empty: for ever", draft.to_ms, visitor.zone, self._take)

    def _take(self) -> None:
        self.draft.value, self.draft.from_ms, self.draft.to_ms = self._value.value, self._from.at_ms, self._to.at_ms
        self._changed()

    def show(self) -> None:
        """From the draft into the fields, after somebody dragged it."""
        self._value.set(self.draft.value)
        self._from.set(self.draft.from_ms)
        self._to.set(self.draft.to_ms)

    def fault(self, faults: ItemFaults) -> None:
        self._value.fault(faults.at("value"))
        self._from.fault(faults.at("from_timestamp"))
        self._to.fault(faults.at("to_timestamp"))
