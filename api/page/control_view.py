"""`/control`: who is controlled by what, and what for."""

from __future__ import annotations

from nicegui import ui

from api.changes import Change
from api.page.badges import Note
from api.page.frame import framed
from api.page.pair_card import NO_CONTROLLER
from api.page.pair_tiles import PairTiles
from api.page.pairing import controller_runs
from api.page.visitor import Visitor, arrived

NO_ACTUATOR = "No connector has announced a datapoint that can be set."
OTHERS = "Actuators without a sensor. Open one to choose its sensor: from then on a controller can act on it."


@ui.page("/control")
async def control_view() -> None:
    with framed("Control", "/control") as content:
        visitor = await arrived()
        if not visitor.is_gone:
            with content:
                ControlView(visitor)


class ControlView:
    """Pairs first, then the actuators that have none."""

    def __init__(self, visitor: Visitor) -> None:
        self._visitor = visitor
        ui.label("Control").classes("text-xl font-bold").props("role=heading aria-level=1")
        self._note = Note()
        self._empty = Note("none")
        pairs = ui.element("div").classes("wb-cards")
        self._others = ui.label(OTHERS).classes("wb-faint")
        self._tiles = PairTiles(visitor, pairs, ui.element("div").classes("wb-cards"))
        self._look([])
        visitor.follow(lambda change: change.kind != "logs", self._look)

    def _look(self, _: list[Change]) -> None:
        self._tiles.look()
        runs = controller_runs(self._visitor.core)
        self._note.say(NO_CONTROLLER if self._tiles.pairs and not runs else "")
        self._empty.say("" if self._tiles.pairs or self._tiles.others else NO_ACTUATOR)
        self._others.visible = self._tiles.others > 0
