"""What people may change about a datapoint."""

from __future__ import annotations

import json
from typing import Any, get_args

from nicegui import ui

from api.datapoints import KnownDatapoint
from api.errors import Invalid
from api.page.badges import Note
from api.page.command_card import fault_text
from api.page.fields import OUTLINED, show_fault
from api.page.visitor import Visitor
from wattbus.connector import DataFormat
from wattbus.storage import DatabaseAway

FORMATS = {name: name.replace("_", " ") for name in get_args(DataFormat)}
SAVED = "Saved. Fields and limits on this page follow when it is opened again."
FIELDS = {
    "short_name": "Name",
    "description": "Description",
    "unit": "Unit (UCUM: Cel, kW.h, m3)",
    "data_format": "Format",
    "min_value": "Lowest value",
    "max_value": "Highest value",
    "allowed_values": "Allowed values, as JSON list",
}


class EditCard:
    """Folded; saving writes it to the database, for everybody."""

    def __init__(self, visitor: Visitor, datapoint: KnownDatapoint) -> None:
        self._visitor, self._datapoint = visitor, datapoint
        self._fields: dict[str, Any] = {}
        with ui.column().classes("wb-card").props("data-role=edit"), ui.expansion("Name, unit and limits") as expansion:
            expansion.classes("w-full").props('dense header-class="wb-title q-pa-none"')
            with ui.element("div").classes("wb-two mt-3 gap-y-2"):
                for name, label in FIELDS.items():
                    self._fields[name] = self._field(name, label)
            self._note = Note("bad")
            with ui.row().classes("w-full justify-end mt-2"):
                ui.button("Save", icon="save", on_click=self._save).props("unelevated no-caps")

    def _field(self, name: str, label: str) -> Any:
        value = getattr(self._datapoint, name)
        if name == "data_format":
            return ui.select(FORMATS, label=label, value=value).props(OUTLINED)
        if name in ("min_value", "max_value"):
            return ui.number(label, value=value).props(f"{OUTLINED} clearable")
        if name == "allowed_values":
            value = None if value is None else json.dumps(list(value), ensure_ascii=False)
        return ui.input(label, value=value or "").props(OUTLINED)

    async def _save(self) -> None:
        self._note.say("")
        for field in self._fields.values():
            show_fault(field, "")
        body = {name: field.value for name, field in self._fields.items()}
        try:
            body["allowed_values"] = json.loads(body["allowed_values"]) if body["allowed_values"].strip() else None
        except ValueError:
            show_fault(self._fields["allowed_values"], 'This is not JSON: write it as [1, 2, 3] or ["low", "high"].')
            return
        changed = {name: value for name, value in body.items() if value != self._before(name)}
        try:
            self._datapoint = await self._visitor.core.editing.edit(self._datapoint, changed)
        except Invalid as invalid:
            self._show_faults(invalid)
        except DatabaseAway as away:
            self._note.say(f"It was not saved, the database is away: {away}")
        else:
            ui.notify(SAVED, type="positive", position="top")

    def _before(self, name: str) -> object:
        """Only what a person changed is written: the rest keeps following what the connector announces."""
        value = getattr(self._datapoint, name)
        if name == "allowed_values":
            return None if value is None else list(value)
        return value or "" if name == "short_name" else value

    def _show_faults(self, invalid: Invalid) -> None:
        faults = invalid.faults if isinstance(invalid.faults, dict) else {}
        for name in faults:
            if name in self._fields:
                show_fault(self._fields[name], fault_text(faults, name))
            else:
                self._note.say(fault_text(faults, name))
