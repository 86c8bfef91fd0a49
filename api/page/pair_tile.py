"""An actuator as a card that leads to its page, with the sensor by which it is controlled."""

from __future__ import annotations

from nicegui import ui

from api.datapoints import KnownDatapoint
from api.page.previews import preview_of
from api.page.value_card import set_text
from api.page.visitor import Visitor
from api.page.words import name_of, value_text


class PairTile:
    """Changes in place."""

    def __init__(self, visitor: Visitor, actuator: KnownDatapoint, sensor: KnownDatapoint | None) -> None:
        self.sensor = sensor
        self._visitor, self._actuator = visitor, actuator
        with ui.link(target=f"/view/{actuator.id}" if actuator.id is not None else "/control").classes("wb-card"):
            ui.label(name_of(actuator)).classes("wb-title break-words")
            ui.label(f"{actuator.connector} · {actuator.key}").classes("wb-mono wb-faint")
            if sensor is not None:
                with ui.row().classes("w-full items-baseline justify-between gap-2 mt-1"):
                    ui.label(name_of(sensor)).classes("wb-small wb-faint min-w-0 break-words")
                    self._value = ui.label().classes("text-2xl font-semibold wb-number")
                self._reason = ui.label().classes("wb-small")

    def look(self) -> None:
        if self.sensor is None:
            return
        core = self._visitor.core
        value = core.live.state_of(self.sensor).value
        set_text(self._value, value_text(value.value if value else None, self.sensor.unit))
        preview = preview_of(core, self._actuator.topic)
        if preview is None:
            set_text(self._reason, "No controller has said what it will do.")
        else:
            wanted = value_text(preview.value, self._actuator.unit) if preview.holds else "unchanged"
            set_text(self._reason, f"Set to {wanted} – {preview.reason}")
