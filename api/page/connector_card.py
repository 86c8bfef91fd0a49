"""A connector, or another service: its state, when it was heard last, its last log lines."""

from __future__ import annotations

import logging
from urllib.parse import quote

from nicegui import ui

from api.live import LiveConnector
from api.page.badges import Badge
from api.page.value_card import set_text
from api.page.visitor import Visitor
from api.page.words import age_text, count_text, time_text
from wattbus.service.effective_quality import ConnectorLife

MOST_LINES = 30


class ConnectorCard:
    """Changes in place; log lines are only made when a person opens them."""

    def __init__(self, visitor: Visitor, name: str, is_connector: bool) -> None:
        self.name = name
        self.is_connector = is_connector
        self.condition = ""
        self._visitor = visitor
        self._open = False
        with ui.column().classes("wb-card") as self._frame:
            self._frame.props["data-connector"] = name
            with ui.row().classes("w-full items-center justify-between no-wrap gap-2"):
                ui.label(name).classes("wb-title min-w-0 break-words").props("role=heading aria-level=3")
                self._badge = Badge()
            self._detail = ui.label().classes("wb-small")
            with ui.row().classes("w-full items-center justify-between gap-2 wb-small wb-faint"):
                self._heard = ui.label().classes("wb-number")
                self._version = ui.label()
            if is_connector:
                self._datapoints = ui.link(target=f"/datapoints?connector={quote(name)}").classes("wb-link wb-small")
            self._expansion = ui.expansion("Last log lines", on_value_change=lambda event: self._toggle(event.value))
            self._expansion.classes("w-full wb-small").props('dense header-class="q-pa-none"')
            with self._expansion:
                self._lines = ui.column().classes("wb-log")

    def delete(self) -> None:
        self._frame.delete()

    def look(self) -> None:
        """Show what is known now."""
        core = self._visitor.core
        state = core.live.connectors.get(self.name) or LiveConnector(self.name, ConnectorLife(core.clock.monotonic()))
        now_ms = core.clock.now_ms()
        life = state.life.judged(core.clock.monotonic())
        self.condition = life.state
        self._badge.condition(self.condition)
        set_text(self._detail, life.reason)
        self._detail.visible = bool(life.reason)
        set_text(self._version, f"version {state.status.version}" if state.status and state.status.version else "")
        set_text(self._heard, self._heard_text(state, now_ms))
        if self.is_connector:
            number = len(core.directory.datapoints.by_connector.get(self.name, ()))
            text = count_text(number, "datapoint")
            if self._datapoints.text != text:
                self._datapoints.text = text
        self._expansion.visible = bool(state.logs)

    def _heard_text(self, state: LiveConnector, now_ms: int) -> str:
        if state.heartbeat is not None:
            return f"heartbeat {age_text(state.heartbeat.this_heartbeats_timestamp, now_ms)}"
        if state.status is not None:
            return f"{self.condition} since {time_text(state.status.timestamp, self._visitor.zone, now_ms)}"
        return "not heard of since the API started"

    # -- log lines --------------------------------------------------------------------------------------------------

    def _toggle(self, is_open: bool) -> None:
        self._open = is_open
        self.logs_changed()

    def logs_changed(self) -> None:
        if not self._open:
            return
        state = self._visitor.core.live.connectors.get(self.name)
        now_ms = self._visitor.core.clock.now_ms()
        self._lines.clear()
        with self._lines:
            for line in reversed(list(state.logs)[-MOST_LINES:] if state else []):
                level = logging.getLevelName(line.level)
                moment = time_text(line.timestamp, self._visitor.zone, now_ms)
                ui.label(f"{moment}  {level}  {line.msg}").classes("wb-mono")
