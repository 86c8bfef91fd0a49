"""All pairs of a sensor and an actuator, as cards."""

from __future__ import annotations

from nicegui import ui

from api.datapoints import KnownDatapoint
from api.page.pair_tile import PairTile
from api.page.pairing import sensor_of
from api.page.visitor import Visitor
from api.page.words import name_of

Known = list[tuple[KnownDatapoint, KnownDatapoint | None]]


class PairTiles:
    """Built again when there are others; `lonely` is where actuators without a sensor go, if anywhere."""

    def __init__(self, visitor: Visitor, pairs: ui.element, lonely: ui.element | None = None) -> None:
        self._visitor = visitor
        self._pairs, self._lonely = pairs, lonely
        self._known: Known | None = None
        self._tiles: list[PairTile] = []

    @property
    def pairs(self) -> int:
        return sum(tile.sensor is not None for tile in self._tiles)

    @property
    def others(self) -> int:
        return len(self._tiles) - self.pairs

    def look(self) -> None:
        """Show what is known now."""
        core = self._visitor.core
        actuators = [found for found in core.directory.datapoints if found.type == "actuator"]
        actuators.sort(key=lambda found: (found.connector, name_of(found)))
        known: Known = [(found, sensor_of(core, found.identity)) for found in actuators]
        if known != self._known:
            self._known = known
            self._build(known)
        for tile in self._tiles:
            tile.look()

    def _build(self, known: Known) -> None:
        self._tiles = []
        self._pairs.clear()
        if self._lonely is not None:
            self._lonely.clear()
        for actuator, sensor in known:
            place = self._pairs if sensor else self._lonely
            if place is not None:
                with place:
                    self._tiles.append(PairTile(self._visitor, actuator, sensor))
