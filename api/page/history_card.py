"""What was recorded of a datapoint, and of others beside it; each unit has its own axis."""

from __future__ import annotations

from nicegui import background_tasks, ui

from api.datapoints import KnownDatapoint
from api.page.badges import Note
from api.page.drafts import HOUR_MS
from api.page.plot import Axis, Content, Plot, Point, Series
from api.page.recorded import interval_ms, point_of, recorded
from api.page.units import symbol
from api.page.visitor import Visitor
from api.page.words import name_of
from wattbus.storage import DatabaseAway

RANGES = {
    HOUR_MS // 4: "15 min",
    HOUR_MS: "1 h",
    6 * HOUR_MS: "6 h",
    24 * HOUR_MS: "24 h",
    168 * HOUR_MS: "7 d",
    720 * HOUR_MS: "30 d",
}
MOST_LINES = 8
SHORTEST_MS = 60_000  # of the axis, where there is little history yet
NOTHING = "Nothing is recorded in this time yet."


class HistoryCard:
    """Loaded when it is opened or changed; newer values are appended once a second."""

    def __init__(self, visitor: Visitor, datapoint: KnownDatapoint, beside: list[KnownDatapoint]) -> None:
        self._visitor, self._datapoint = visitor, datapoint
        self._range_ms = HOUR_MS
        self._loads = 0
        self._first_ms: int | None = None
        self._last_ms: dict[str, int] = {}  # topic → its newest point
        with ui.column().classes("wb-card").props("data-role=history"):
            with ui.row().classes("w-full items-center justify-between gap-2"):
                ui.label("History").classes("wb-title")
                self._ranges = ui.toggle(RANGES, value=self._range_ms, on_change=self._choose_range)
                self._ranges.props('dense unelevated no-caps aria-label="Time shown"')
            others = [found.id for found in beside if found.id not in (None, datapoint.id)]
            self._beside = ui.select(
                self._choices(), label="Plot beside it", value=others, multiple=True, with_input=True
            )
            self._beside.on_value_change(self.load)
            self._beside.classes("w-full").props(f"outlined dense use-chips max-values={MOST_LINES - 1}")
            self._note = Note("none")
            self._plot = Plot(f"History of {name_of(datapoint)}", "340px")
        self.load()

    def _choices(self) -> dict[int, str]:
        known = [found for found in self._visitor.core.directory.datapoints if found.id != self._datapoint.id]
        known.sort(key=lambda found: (found.connector, found.type == "actuator", name_of(found)))
        return {found.id: _label(found) for found in known if found.id is not None}

    def _choose_range(self) -> None:
        self._range_ms = self._ranges.value
        self.load()

    def _shown(self) -> list[KnownDatapoint]:
        by_id = self._visitor.core.directory.datapoints.by_id
        return [self._datapoint, *(by_id[number] for number in self._beside.value if number in by_id)][:MOST_LINES]

    # -- all of it --------------------------------------------------------------------------------------------------

    def load(self) -> None:
        """Read from the database, then draw."""
        background_tasks.create(self._load(), name="history")

    async def _load(self) -> None:
        self._loads += 1
        core, shown, this = self._visitor.core, self._shown(), self._loads
        now_ms = core.clock.now_ms()
        try:
            lines = [await recorded(core, datapoint, now_ms - self._range_ms, now_ms) for datapoint in shown]
        except DatabaseAway as away:
            self._note.say(f"History cannot be shown, the database is away: {away}")
            return
        if self._visitor.is_gone or this != self._loads:  # a person wants something else meanwhile
            return
        self._note.say("" if any(lines) else NOTHING)
        self._plot.show(self._content(shown, lines, now_ms))

    def _content(self, shown: list[KnownDatapoint], lines: list[list[Point]], now_ms: int) -> Content:
        axes: dict[tuple[str, bool, bool], Axis] = {}
        series = []
        for datapoint, points in zip(shown, lines, strict=True):
            words = any(isinstance(value, str) for _, value in points)
            switch = datapoint.data_format == "bool"
            place = (symbol(datapoint.unit), words, switch)
            axes.setdefault(place, Axis(place[0], words=[] if words else None, switch=switch))
            if datapoint.topic and points:
                self._last_ms[datapoint.topic] = points[-1][0]
            series.append(
                Series(
                    id=datapoint.topic or datapoint.key,
                    name=_label(datapoint),
                    points=points,
                    unit=place[0],
                    axis=list(axes).index(place),
                    step=datapoint.type == "actuator" or switch or words,
                )
            )
        self._first_ms = min((points[0][0] for points in lines if points), default=None)
        return Content(self._from_ms(now_ms), now_ms, list(axes.values()), series)

    def _from_ms(self, now_ms: int) -> int:
        """The whole range, or less where history begins later."""
        first_ms = now_ms - self._range_ms if self._first_ms is None else self._first_ms
        return max(now_ms - self._range_ms, min(first_ms, now_ms - SHORTEST_MS))

    # -- what is newer ----------------------------------------------------------------------------------------------

    def append(self, topics: set[str]) -> None:
        """Values that came since, as dense as the others."""
        core, added = self._visitor.core, {}
        for datapoint in self._shown():
            value = core.live.state_of(datapoint).value
            if datapoint.topic not in topics or datapoint.topic is None or value is None:
                continue
            if value.timestamp_ms >= self._last_ms.get(datapoint.topic, 0) + interval_ms(self._range_ms):
                self._last_ms[datapoint.topic] = value.timestamp_ms
                added[datapoint.topic] = [point_of(value)]
                self._first_ms = self._first_ms or value.timestamp_ms
        if added:
            self._note.say("")
        now_ms = core.clock.now_ms()
        self._plot.append(added, self._from_ms(now_ms), now_ms, now_ms)


def _label(datapoint: KnownDatapoint) -> str:
    kind = ", set" if datapoint.type == "actuator" else ""
    return f"{name_of(datapoint)} ({datapoint.connector}{kind})"
