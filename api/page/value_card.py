"""The last value of a datapoint, large."""

from __future__ import annotations

from nicegui import ui

from api.datapoints import KnownDatapoint
from api.page.badges import Badge
from api.page.visitor import Visitor
from api.page.words import age_text, time_text, value_text
from wattbus.storage import StoredValue

NO_VALUE = {"sensor": "no value yet", "actuator": "nothing was sent yet"}


class ValueCard:
    """Changes in place once a second."""

    def __init__(self, visitor: Visitor) -> None:
        self._visitor = visitor
        self._remembered: StoredValue | None = None
        with ui.column().classes("wb-card"):
            with ui.row().classes("w-full items-center justify-between"):
                self._title = ui.label().classes("wb-title")
                self._quality = Badge()
            self._value = ui.label().classes("wb-big").props("aria-live=off data-role=value")
            self._age = ui.label().classes("wb-small wb-faint wb-number")
            self._topic = ui.label().classes("wb-mono wb-faint")

    def remember(self, value: StoredValue) -> None:
        """What the database has, for as long as the bus says nothing: commands are not retained there."""
        self._remembered = value

    def look(self, datapoint: KnownDatapoint) -> None:
        core = self._visitor.core
        value = core.live.state_of(datapoint).value or self._remembered
        now_ms = core.clock.now_ms()
        set_text(self._title, "Value" if datapoint.type == "sensor" else "Last command")
        set_text(self._value, value_text(value.value, datapoint.unit) if value else "–")
        self._quality.hide(value is None or datapoint.type == "actuator")  # a command has no quality
        if value is not None:
            self._quality.quality(value.quality)
            when = time_text(value.timestamp_ms, self._visitor.zone, now_ms)
            set_text(self._age, f"{age_text(value.timestamp_ms, now_ms)} · {when}")
        else:
            set_text(self._age, NO_VALUE[datapoint.type])
        set_text(self._topic, datapoint.topic or "topic not known")


def set_text(label: ui.label, text: str) -> None:
    """Only what is different is sent to the browser."""
    if label.text != text:
        label.text = text
