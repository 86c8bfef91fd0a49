"""`/view/{id}`: one datapoint. Of a sensor its value and history; of an actuator also what is wanted of it."""

from __future__ import annotations

import contextlib
from urllib.parse import quote

from nicegui import background_tasks, ui

from api.changes import Change
from api.core import Core
from api.datapoints import KnownDatapoint
from api.errors import NotFound, Unavailable
from api.page.badges import Note
from api.page.command_card import CommandCard
from api.page.edit_card import EditCard
from api.page.frame import framed
from api.page.history_card import HistoryCard
from api.page.pair_card import PairCard
from api.page.pairing import sensor_of
from api.page.plan_card import PlanCard
from api.page.value_card import ValueCard, set_text
from api.page.visitor import Visitor, arrived
from api.page.words import name_of
from wattbus.storage import DatabaseAway

UNKNOWN = "There is no datapoint with this number. It may have been removed, or the address is wrong."
INACTIVE = "A person switched this datapoint off: its connector neither publishes it nor takes commands for it."


@ui.page("/view/{number}")
async def datapoint_view(number: int) -> None:
    with framed("Datapoint", "/datapoints") as content:
        visitor = await arrived()
        if visitor.is_gone:
            return
        with content:
            try:
                datapoint = await visitor.core.directory.by_id(number)
            except NotFound:
                Note("none").say(UNKNOWN)
            except Unavailable as error:
                Note().say(f"{error} This page needs it; open it again in a moment.")
            else:
                ui.page_title(f"{name_of(datapoint)} · Wattbus")
                DatapointView(visitor, datapoint)


class DatapointView:
    """The cards of one datapoint."""

    def __init__(self, visitor: Visitor, datapoint: KnownDatapoint) -> None:
        self._visitor, self._datapoint = visitor, datapoint
        self._command: CommandCard | None = None
        self._pair: PairCard | None = None
        self._plan: PlanCard | None = None
        self._head()
        self._note = Note()
        is_actuator = datapoint.type == "actuator"
        with ui.element("div").classes("wb-three"):
            self._value = ValueCard(visitor)
            if is_actuator:
                self._command = CommandCard(visitor, datapoint)
                self._pair = PairCard(visitor, datapoint, lambda: None)
        if is_actuator:
            self._plan = PlanCard(visitor, datapoint)
        sensor = sensor_of(visitor.core, datapoint.identity) if is_actuator else None
        self._history = HistoryCard(visitor, datapoint, [sensor] if sensor else [])
        EditCard(visitor, datapoint)
        self._look([])
        visitor.follow(self._concerns, self._look)
        background_tasks.create(self._remember(), name="last value")

    async def _remember(self) -> None:
        with contextlib.suppress(DatabaseAway):
            found = await self._visitor.core.history.last_values([self._datapoint])
            for value in found.values():
                self._value.remember(value)

    def _head(self) -> None:
        datapoint = self._datapoint
        with ui.column().classes("gap-0 w-full"):
            self._name = ui.label(name_of(datapoint)).classes("text-xl font-bold break-words")
            self._name.props("role=heading aria-level=1")
            with ui.row().classes("items-center gap-x-3 gap-y-0 wb-small wb-faint"):
                ui.link(datapoint.connector, f"/datapoints?connector={quote(datapoint.connector)}").classes("wb-link")
                ui.label(datapoint.type)
                ui.label(datapoint.key).classes("wb-mono")

    def _concerns(self, change: Change) -> bool:
        """Values of other datapoints too: the plot may show any of them."""
        return change.kind != "logs"

    def _look(self, changes: list[Change]) -> None:
        found = self._visitor.core.directory.datapoints.by_identity.get(self._datapoint.identity, self._datapoint)
        self._datapoint = found
        set_text(self._name, name_of(found))
        self._value.look(found)
        self._note.say(self._trouble(self._visitor.core))
        if self._command is not None:
            self._command.look(found)
        if self._pair is not None:
            self._pair.look()
        topics = {change.subject for change in changes if change.kind == "value"}
        if self._plan is not None:
            self._plan.look()
            self._plan.append(topics)
        self._history.append(topics)

    def _trouble(self, core: Core) -> str:
        """Why what is shown may be old, in one sentence."""
        if not self._datapoint.is_active:
            return INACTIVE
        if not core.bus.connected:
            return "There is no connection to the broker: the values are the last ones known, and nothing can be set."
        connector = core.live.connectors.get(self._datapoint.connector)
        if connector is None:
            return f"The connector {self._datapoint.connector} has not been heard of since the API started."
        if core.live.condition(connector.name) == "offline":
            return f"The connector {self._datapoint.connector} is offline: values are old, and nothing can be set."
        return ""
