"""What the controller does now and will do within 24 hours, with its reasons."""

from __future__ import annotations

from nicegui import ui

from api.datapoints import KnownDatapoint
from api.page.previews import Preview
from api.page.visitor import Visitor
from api.page.words import time_text, value_text

MOST_ROWS = 12
NO_PREVIEW = "No controller has said what it will do with this actuator."


class ComingList:
    """Built again when the preview is another one."""

    def __init__(self, visitor: Visitor, datapoint: KnownDatapoint) -> None:
        self._visitor = visitor
        self._unit = datapoint.unit
        self._shown: Preview | str | None = ""
        with ui.column().classes("w-full gap-1").props("data-role=coming") as self._frame:
            pass

    def look(self, preview: Preview | None) -> None:
        if preview == self._shown:
            return
        self._shown = preview
        self._frame.clear()
        with self._frame:
            if preview is None:
                ui.label(NO_PREVIEW).classes("wb-small wb-faint")
            else:
                self._build(preview)

    def _build(self, preview: Preview) -> None:
        dry = " (dry run: nothing is sent)" if preview.dry_run else ""
        ui.label(f"What the controller will do{dry}").classes("wb-small font-semibold")
        now_ms = self._visitor.core.clock.now_ms()
        with ui.element("table").classes("wb-coming"), ui.element("tbody"):
            value = value_text(preview.value, self._unit) if preview.holds else "unchanged"
            _row("now", value, preview.reason)
            for coming in preview.coming[:MOST_ROWS]:
                if coming.from_ms > now_ms:
                    when = time_text(coming.from_ms, self._visitor.zone, now_ms, seconds=False)
                    _row(when, value_text(coming.value, self._unit), coming.reason)
        further = len(preview.coming) - MOST_ROWS
        if further > 0:
            ui.label(f"and {further} further changes within 24 hours").classes("wb-small wb-faint")


def _row(when: str, value: str, reason: str) -> None:
    with ui.element("tr"):
        for text, classes in (
            (when, "wb-number whitespace-nowrap"),
            (value, "font-semibold whitespace-nowrap"),
            (reason, ""),
        ):
            with ui.element("td").classes(classes):
                ui.label(text)
