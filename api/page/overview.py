"""`/`: the connectors and how they are."""

from __future__ import annotations

from nicegui import ui

from api.changes import Change
from api.page.badges import Note
from api.page.connector_card import ConnectorCard
from api.page.frame import framed
from api.page.pair_tiles import PairTiles
from api.page.visitor import Visitor, arrived
from api.page.words import count_text

NO_CONNECTOR = (
    "No connector has been heard of yet. Start one with this broker as MQTT_BROKER_HOST: it appears here by itself."
)
KINDS = ("connector", "datapoints", "logs")  # of values, those of the pairs are read once a second anyway
BROKER_AWAY = "There is no connection to the broker: what you see is what was known last. It is tried again by itself."


@ui.page("/")
async def overview() -> None:
    with framed("Overview", "/") as content:
        visitor = await arrived()
        if not visitor.is_gone:
            with content:
                Overview(visitor)


class Overview:
    """All connectors, then the other services; cards come and go with them."""

    def __init__(self, visitor: Visitor) -> None:
        self._visitor = visitor
        self._cards: dict[str, ConnectorCard] = {}
        with ui.row().classes("w-full items-baseline gap-3"):
            ui.label("Connectors").classes("text-xl font-bold").props("role=heading aria-level=1")
            self._count = ui.label().classes("wb-faint")
        self._note = Note()
        self._empty = Note("none")
        self._connectors = ui.element("div").classes("wb-cards")
        self._control = ui.label("Control").classes("text-lg font-bold mt-2").props("role=heading aria-level=2")
        self._tiles = PairTiles(visitor, ui.element("div").classes("wb-cards"))
        self._title = ui.label("Services").classes("text-lg font-bold mt-2").props("role=heading aria-level=2")
        self._services = ui.element("div").classes("wb-cards")
        self._look([])
        visitor.follow(lambda change: change.kind in KINDS, self._look)

    def _look(self, changes: list[Change]) -> None:
        core = self._visitor.core
        known = {name for name, state in core.live.connectors.items() if state.is_connector or state.status}
        known |= core.directory.datapoints.by_connector.keys()
        for name in sorted(known - self._cards.keys()) + sorted(self._moved(known)):
            self._add(name)
        for name in self._cards.keys() - known:
            self._cards.pop(name).delete()
        for card in self._cards.values():
            card.look()
        for change in changes:
            if change.kind == "logs" and change.subject in self._cards:
                self._cards[change.subject].logs_changed()
        self._tiles.look()
        self._summarise()

    def _moved(self, known: set[str]) -> set[str]:
        """What turned out to be a connector after its status alone was known."""
        moved = {name for name in known & self._cards.keys() if self._cards[name].is_connector != self._is(name)}
        for name in moved:
            self._cards.pop(name).delete()
        return moved

    def _is(self, name: str) -> bool:
        state = self._visitor.core.live.connectors.get(name)
        return state is None or state.is_connector or name in self._visitor.core.directory.datapoints.by_connector

    def _add(self, name: str) -> None:
        is_connector = self._is(name)
        with self._connectors if is_connector else self._services:
            self._cards[name] = ConnectorCard(self._visitor, name, is_connector)

    def _summarise(self) -> None:
        core = self._visitor.core
        connectors = [card for card in self._cards.values() if card.is_connector]
        online = sum(card.condition == "online" for card in connectors)
        datapoints = count_text(len(core.directory.datapoints), "datapoint")
        self._count.text = f"{online} of {len(connectors)} online · {datapoints}" if connectors else ""
        self._control.visible = self._tiles.pairs > 0
        self._title.visible = len(connectors) < len(self._cards)
        self._empty.say("" if connectors else NO_CONNECTOR)
        self._note.say("" if core.bus.connected else BROKER_AWAY)
