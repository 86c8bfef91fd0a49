"""Editing a setpoint or a schedule: its items, saving them, and what is wrong with them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Generic, Protocol

from nicegui import ui

from api.datapoints import KnownDatapoint
from api.errors import Conflict, Invalid, Unavailable
from api.page.badges import Note
from api.page.drafts import Draft
from api.page.faults import ItemFaults, PlanFaults, plan_faults
from api.page.visitor import Visitor
from wattbus.jsontext import JsonValue
from wattbus.storage.records import PlanKind

MEANWHILE = "Somebody else has changed this meanwhile. Saving replaces it; “Discard” shows it."
AWAY = "It was not saved. {}"


class Item(Protocol):
    """The fields of one draft."""

    def show(self) -> None: ...

    def fault(self, faults: ItemFaults) -> None: ...


class PlanEditor(Generic[Draft]):
    """While nobody edits, it shows what the bus says; `changed` is called when `drafts` are not what they were."""

    def __init__(
        self,
        visitor: Visitor,
        datapoint: KnownDatapoint,
        kind: PlanKind,
        words: tuple[str, str, str],
        drafts_from: Callable[[JsonValue], list[Draft]],
        new: Callable[[list[Draft]], Draft],
        item: Callable[[Visitor, KnownDatapoint, Draft, Callable[[], None]], Item],
        changed: Callable[[], None],
    ) -> None:
        self.drafts: list[Draft] = []
        self.is_edited = False
        self._visitor, self._datapoint, self._kind = visitor, datapoint, kind
        self._drafts_from: Callable[[JsonValue], list[Draft]] = drafts_from
        self._new: Callable[[list[Draft]], Draft] = new
        self._item: Callable[[Visitor, KnownDatapoint, Draft, Callable[[], None]], Item] = item
        self._changed = changed
        self._items: list[Item] = []
        self._known: JsonValue = None
        title, self._one, nothing = words
        with ui.column().classes("wb-card").props(f"data-role={kind}"):
            with ui.row().classes("w-full items-center justify-between no-wrap"):
                ui.label(title).classes("wb-title")
                ui.button(f"Add {self._one}", icon="add", on_click=lambda: self.add()).props("flat dense no-caps")
            self._empty = ui.label(nothing).classes("wb-small wb-faint")
            self._rows = ui.column().classes("w-full gap-3")
            self._note = Note("bad")
            self._meanwhile = Note()
            with ui.row().classes("w-full justify-end gap-2"):
                self._discard = ui.button("Discard", on_click=self.discard).props("flat no-caps")
                self._save = ui.button(f"Save {kind}", icon="save", on_click=self.save).props("unelevated no-caps")
        self._build()

    # -- what the bus says ------------------------------------------------------------------------------------------

    def look(self) -> None:
        """Take over what is new on the bus, unless somebody is editing."""
        state = self._visitor.core.live.state_of(self._datapoint)
        plan = state.setpoint if self._kind == "setpoint" else state.schedule
        items = plan.items if plan else []
        if items == self._known:
            return
        self._known = items
        if self.is_edited:
            self._meanwhile.say(MEANWHILE)
        else:
            self.discard()

    def discard(self) -> None:
        """Back to what the bus says."""
        self.drafts = self._drafts_from(self._known)
        self.is_edited = False
        self._build()
        self._changed()

    # -- editing ----------------------------------------------------------------------------------------------------

    def add(self, draft: Draft | None = None) -> None:
        self.drafts.append(draft or self._new(self.drafts))
        self._edited()
        self._build()

    def _remove(self, index: int) -> None:
        del self.drafts[index]
        self._edited()
        self._build()

    def _edited(self) -> None:
        self.is_edited = True
        self._buttons()
        self._changed()

    def show(self, index: int) -> None:
        """A draft was changed from outside, by dragging."""
        self._items[index].show()
        self._edited()

    def _build(self) -> None:
        self._rows.clear()
        self._items = []
        with self._rows:
            for index, draft in enumerate(self.drafts):
                with ui.column().classes("wb-item"):
                    with ui.row().classes("w-full items-center justify-between -mb-1"):
                        ui.label(f"{self._one.capitalize()} {index + 1}").classes("wb-small wb-faint")
                        ui.button(icon="delete", on_click=partial(self._remove, index)).props(
                            f'flat round dense size=sm color=secondary aria-label="Delete {self._one} {index + 1}"'
                        )
                    self._items.append(self._item(self._visitor, self._datapoint, draft, self._edited))
        self._empty.visible = not self.drafts
        self._note.say("")
        self._meanwhile.say("")
        self._buttons()

    def _buttons(self) -> None:
        self._save.set_enabled(self.is_edited)
        self._discard.visible = self.is_edited

    # -- saving -----------------------------------------------------------------------------------------------------

    async def save(self) -> None:
        """Publish the drafts."""
        items: JsonValue = [draft.as_json(self._datapoint) for draft in self.drafts]
        commands = self._visitor.core.commands
        publish = commands.set_setpoint if self._kind == "setpoint" else commands.set_schedule
        try:
            await publish(self._datapoint, items)
        except Invalid as invalid:
            self._show_faults(plan_faults(self._kind, invalid.faults))
            return
        except (Conflict, Unavailable) as error:
            self._note.say(AWAY.format(error))
            return
        self._known = items
        self.is_edited = False
        self._show_faults(PlanFaults("", []))
        self._meanwhile.say("")
        self._buttons()
        ui.notify(f"The {self._kind} is saved.", type="positive", position="top")

    def _show_faults(self, faults: PlanFaults) -> None:
        self._note.say(faults.general)
        for index, item in enumerate(self._items):
            item.fault(faults.of(index))
