"""A plot over time, in the browser's own time zone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Literal

import nicegui.elements.echart  # noqa: F401 - registers the library that plot.js imports
from nicegui.element import Element

Role = Literal["", "sensor", "setpoint", "schedule", "coming", "sent"]
Point = tuple[int, float | str | None]  # milliseconds, value; None interrupts the line


@dataclass(frozen=True, slots=True)
class Band:
    """A range of values during a time; None is no bound."""

    from_: int
    to: int
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Series:
    """A line. `now` draws a mark there, `bands` areas in the line's colour."""

    id: str
    name: str
    points: Sequence[Point]
    unit: str = ""
    axis: int = 0
    role: Role = ""
    step: bool = False
    dashed: bool = False
    filled: bool = False
    bands: Sequence[Band] = ()
    now: int | None = None


@dataclass(frozen=True, slots=True)
class Axis:
    """`include`: values that are always visible. `switch`: on is 1, off 0. `words`: texts, these, or as they come."""

    name: str
    include: tuple[float, float] | None = None
    words: Sequence[str] | None = None
    switch: bool = False


@dataclass(frozen=True, slots=True)
class Handle:
    """A point that a person drags, up and down, or `free`; `place` is where within the visible part of its time."""

    id: str
    value: float
    role: Role
    from_: int | None = None
    to: int | None = None
    free: bool = False
    place: float = 0.5


@dataclass(frozen=True, slots=True)
class Content:
    """All that a plot shows; without `now` it ends now. `picking`: a click into it names a moment and a value."""

    from_: int
    to: int
    axes: Sequence[Axis]
    series: Sequence[Series]
    handles: Sequence[Handle] = field(default_factory=list)
    now: int | None = None
    picking: bool = False
    slider: bool = True


class Plot(Element, component="plot.js", default_classes="wb-plot"):
    """Emits `drag` and `drop` (`id`, `moved_ms`, `value`) and `pick` (`at`, `value`)."""

    def __init__(self, label: str, height: str = "380px") -> None:
        super().__init__()
        self.style(f"height: {height}")
        self.props["role"] = "img"
        self.props["aria-label"] = label

    def show(self, content: Content) -> None:
        """Replace everything; how far a person zoomed in stays."""
        self.props["content"] = _json(asdict(content))
        self.update()

    def change(self, series: Sequence[Series], handles: Sequence[Handle]) -> None:
        """Replace these lines and all handles, leave the others: what a person drags must follow at once."""
        self.run_method("change", _json([asdict(one) for one in series]), _json([asdict(one) for one in handles]))

    def append(self, points: Mapping[str, Sequence[Point]], from_ms: int, to_ms: int, now_ms: int) -> None:
        """Newer points by series; the window moves on, and what lies before it is dropped."""
        self.run_method("append", points, from_ms, to_ms, now_ms)


def _json(content: object) -> object:
    """`from` is no name that Python allows."""
    if isinstance(content, dict):
        return {name.rstrip("_"): _json(value) for name, value in content.items()}
    if isinstance(content, list | tuple):
        return [_json(value) for value in content]
    return content
