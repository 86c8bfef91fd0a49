"""`/datapoints`: all of them with their live values, to search and to filter."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from nicegui import background_tasks, ui

from api.changes import Change
from api.datapoints import KnownDatapoint
from api.page.badges import QUALITIES, Note
from api.page.frame import framed
from api.page.visitor import Visitor, arrived
from api.page.words import count_text, name_of, value_text
from wattbus.storage import DatabaseAway, StoredValue

CELLS = (Path(__file__).parent / "cells.js").read_text(encoding="utf-8")
NOT_SEARCHED = "() => ''"
NO_DATAPOINT = "There are no datapoints yet: they appear here as soon as a connector announces them."
NO_MATCH = "Nothing matches."
TYPES = {"": "All types", "sensor": "Sensors", "actuator": "Actuators"}

COLUMNS: list[dict[str, Any]] = [
    {"headerName": "Name", "field": "name", "flex": 3, "minWidth": 170, ":cellRenderer": "wattbus.nameCell",
     ":getQuickFilterText": "({ data }) => `${data.name} ${data.key} ${data.description}`"},
    {"headerName": "Value", "field": "value", "flex": 1.2, "minWidth": 120, "type": "rightAligned",
     ":cellRenderer": "wattbus.valueCell", ":comparator": "(a, b, x, y) => (x.data.number ?? 0) - (y.data.number ?? 0)",
     ":getQuickFilterText": NOT_SEARCHED},
    {"headerName": "Quality", "colId": "quality", "width": 140, ":cellRenderer": "wattbus.qualityCell",
     ":valueGetter": "({ data }) => data.quality?.word", ":getQuickFilterText": NOT_SEARCHED},
    {"headerName": "Age", "field": "timestamp", "width": 120, ":valueFormatter": "({ value }) => wattbus.age(value)",
     ":getQuickFilterText": NOT_SEARCHED},
    {"headerName": "Connector", "field": "connector", "flex": 1, "minWidth": 120, "filter": "agTextColumnFilter",
     ":getQuickFilterText": NOT_SEARCHED},
    {"headerName": "Type", "field": "type", "width": 110, "filter": "agTextColumnFilter",
     ":getQuickFilterText": NOT_SEARCHED},
]  # fmt: skip

OPTIONS: dict[str, Any] = {
    "columnDefs": COLUMNS,
    "defaultColDef": {"sortable": True, "suppressHeaderMenuButton": True, "suppressHeaderFilterButton": True},
    "rowHeight": 54,
    "animateRows": False,
    "suppressColumnMoveAnimation": True,
    "suppressCellFocus": False,
    "enableCellTextSelection": True,
    "loading": False,
    "suppressNoRowsOverlay": True,
    ":getRowId": "({ data }) => data.row",
    ":onGridSizeChanged": "wattbus.fit",
}


@ui.page("/datapoints")
async def datapoint_list(connector: str = "", search: str = "") -> None:
    ui.add_head_html(f"<script>{CELLS}</script>")
    with framed("Datapoints", "/datapoints") as content:
        content.classes("wb-tall no-wrap")
        visitor = await arrived()
        if not visitor.is_gone:
            with content:
                DatapointList(visitor, connector, search)


class DatapointList:
    """A grid whose rows the browser filters; values go there once a second, those that changed, in one message."""

    def __init__(self, visitor: Visitor, connector: str, search: str) -> None:
        self._visitor = visitor
        self._shown: dict[str, dict[str, Any]] = {}
        self._remembered: dict[int, StoredValue] = {}
        core = visitor.core
        with ui.row().classes("w-full items-baseline gap-3"):
            ui.label("Datapoints").classes("text-xl font-bold").props("role=heading aria-level=1")
            self._count = ui.label().classes("wb-faint")
        with ui.row().classes("w-full gap-2 items-center"):
            self._search = ui.input(placeholder="Name, key or description", value=search, on_change=self._filter)
            self._search.classes("grow min-w-[200px]")
            self._search.props('outlined dense clearable debounce=150 aria-label="Search"')
            with self._search.add_slot("prepend"):
                ui.icon("search")
            names = sorted({connector, *core.directory.datapoints.by_connector} - {""})
            choices = {"": "All connectors", **{name: name for name in names}}
            self._connector = ui.select(choices, value=connector, on_change=self._filter)
            self._connector.classes("grow sm:grow-0 sm:min-w-[170px]").props('outlined dense aria-label="Connector"')
            self._type = ui.select(TYPES, value="", on_change=self._filter)
            self._type.classes("grow sm:grow-0 sm:min-w-[130px]").props('outlined dense aria-label="Type"')
        self._empty = Note("none")
        self._grid = ui.aggrid(OPTIONS.copy()).classes("wb-grid")
        self._grid.on("gridReady", self._ready, args=[])
        self._grid.on("filterChanged", self._tell_number, args=[])
        visitor.follow(lambda change: change.kind in ("value", "datapoints"), self._apply)

    # -- rows -------------------------------------------------------------------------------------------------------

    def _row(self, datapoint: KnownDatapoint) -> dict[str, Any]:
        value = self._visitor.core.live.state_of(datapoint).value or self._remembered.get(datapoint.id or 0)
        kind, word = QUALITIES.get((value.quality if value else None) or "good", ("warn", value and value.quality))
        number = value.value if value and isinstance(value.value, int | float) else None
        return {
            "row": f"{datapoint.connector}/{datapoint.type}/{datapoint.key}",
            "id": datapoint.id,
            "name": name_of(datapoint),
            "key": datapoint.key,
            "description": datapoint.description,
            "connector": datapoint.connector,
            "type": datapoint.type,
            "value": value_text(value.value if value else None, datapoint.unit),
            "number": number,
            "timestamp": value.timestamp_ms if value else None,
            "quality": {"kind": kind, "word": word} if value and datapoint.type == "sensor" else None,
        }

    async def _ready(self) -> None:
        """The grid is there, perhaps again: fill it; what the bus says nothing about, from the database."""
        datapoints = self._visitor.core.directory.datapoints
        with contextlib.suppress(DatabaseAway):
            self._remembered = await self._visitor.core.history.last_values(list(datapoints))
        self._shown = {row["row"]: row for row in map(self._row, self._visitor.core.directory.datapoints)}
        ui.run_javascript(f"wattbus.setClock({self._visitor.core.clock.now_ms()})")
        self._grid.run_grid_method("setGridOption", "rowData", list(self._shown.values()))
        self._filter()
        await self._tell_number()

    def _apply(self, changes: list[Change]) -> None:
        if any(change.kind == "datapoints" for change in changes):
            self._replace()
        else:
            known = self._visitor.core.directory.datapoints.by_topic
            touched = [known[change.subject] for change in changes if change.subject in known]
            self._update([self._row(datapoint) for datapoint in touched])
        self._grid.run_grid_method("refreshCells", {"columns": ["timestamp", "value"], "force": True})

    def _update(self, rows: list[dict[str, Any]]) -> None:
        changed = [row for row in rows if row["row"] in self._shown and self._shown[row["row"]] != row]
        if changed:
            self._shown |= {row["row"]: row for row in changed}
            self._grid.run_grid_method("applyTransactionAsync", {"update": changed})

    def _replace(self) -> None:
        rows = {row["row"]: row for row in map(self._row, self._visitor.core.directory.datapoints)}
        transaction = {
            "add": [row for name, row in rows.items() if name not in self._shown],
            "update": [row for name, row in rows.items() if name in self._shown],
            "remove": [row for name, row in self._shown.items() if name not in rows],
        }
        self._shown = rows
        self._grid.run_grid_method("applyTransactionAsync", transaction)
        names = sorted({row["connector"] for row in rows.values()} | ({self._connector.value} - {""}))
        self._connector.set_options({"": "All connectors", **{name: name for name in names}})
        background_tasks.create(self._tell_number(), name="number of datapoints")

    async def _tell_number(self) -> None:
        """All, and how many of them match."""
        number, matching = len(self._shown), len(self._shown)
        if self._search.value or self._connector.value or self._type.value:
            with contextlib.suppress(TimeoutError):  # a browser that does not answer looks at something else
                answer = await self._grid.run_grid_method("getDisplayedRowCount")
                matching = number if answer is None else int(answer)
        every = count_text(number, "datapoint")
        self._count.text = "" if not number else every if matching == number else f"{matching} of {every}"
        self._empty.say(NO_DATAPOINT if not number else "" if matching else NO_MATCH)

    # -- filters ----------------------------------------------------------------------------------------------------

    def _filter(self) -> None:
        chosen = {"connector": self._connector.value, "type": self._type.value}
        model = {
            name: {"filterType": "text", "type": "equals", "filter": value} for name, value in chosen.items() if value
        }
        self._grid.run_grid_method("setGridOption", "quickFilterText", self._search.value or "")
        self._grid.run_grid_method("setFilterModel", model)
