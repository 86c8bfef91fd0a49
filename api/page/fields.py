"""Fields that fit a datapoint's format, and fields for moments."""

from __future__ import annotations

import datetime
import math
from collections.abc import Callable

from nicegui import ui
from nicegui.elements.mixins.validation_element import ValidationElement

from api.datapoints import KnownDatapoint
from api.page.units import symbol
from api.page.words import number_text, value_text
from api.validation import DISCRETE, NUMERIC
from wattbus.jsontext import JsonValue, loads

Changed = Callable[[], None]


class ValueField:
    """Takes a value: a switch, a choice, a number or text. What the datapoint does not take is said below it."""

    def __init__(self, datapoint: KnownDatapoint, label: str, value: JsonValue, on_change: Changed) -> None:
        self._datapoint = datapoint
        self._quiet = False
        self._on_change = on_change
        self._element = self._made(label, value)

    def _made(self, label: str, value: JsonValue) -> ui.switch | ui.select | ui.number | ui.input:
        data_format = self._datapoint.data_format
        if data_format == "bool":
            return ui.switch(label, value=value is True, on_change=self._changed)
        if data_format in DISCRETE:
            choices = {index: value_text(choice) for index, choice in enumerate(self._datapoint.allowed_values or ())}
            return ui.select(choices, label=label, value=self._index(value), on_change=self._changed).props(OUTLINED)
        if data_format in NUMERIC:
            number = value if isinstance(value, int | float) and not isinstance(value, bool) else None
            return number_field(self._datapoint, label, number, self._changed)
        return ui.input(label, value="" if value is None else str(value), on_change=self._changed).props(OUTLINED)

    def _index(self, value: JsonValue) -> int | None:
        choices = list(self._datapoint.allowed_values or ())
        return choices.index(value) if value in choices else None

    def _changed(self) -> None:
        if not self._quiet:
            self.fault("")
            self._on_change()

    @property
    def value(self) -> JsonValue:
        given = self._element.value
        if self._datapoint.data_format in DISCRETE:
            return None if given is None else list(self._datapoint.allowed_values or ())[given]
        if self._datapoint.data_format in NUMERIC:
            return as_number(given)
        if self._datapoint.data_format == "unknown":
            return _read(given)
        return given

    def set(self, value: JsonValue) -> None:
        """Show this value; nobody is told."""
        self._quiet = True
        self._element.value = self._index(value) if self._datapoint.data_format in DISCRETE else value
        self._quiet = False

    def fault(self, text: str) -> None:
        """Say why it does not fit."""
        show_fault(self._element, text)


OUTLINED = "outlined dense"


def number_field(datapoint: KnownDatapoint, label: str, value: float | None, on_change: Changed) -> ui.number:
    """A number with the datapoint's unit and limits. It may be typed beyond them: it is not changed silently."""
    field = _Number(
        label,
        value=value,
        on_change=on_change,
        suffix=symbol(datapoint.unit) or None,
        step=step_of(datapoint),
        min=datapoint.min_value,
        max=datapoint.max_value,
    )
    return field.props(OUTLINED)


class _Number(ui.number):
    """NiceGUI moves what was typed into the limits; here people are told instead."""

    def sanitize(self) -> None:
        return


def show_fault(element: ui.element, text: str) -> None:
    """At a field that can; a switch cannot be wrong."""
    if isinstance(element, ValidationElement) and (element.error or "") != text:
        element.error = text or None


def as_number(given: object) -> float | None:
    """Whole numbers stay whole: some devices take no others."""
    if not isinstance(given, int | float) or isinstance(given, bool) or not math.isfinite(given):
        return None
    return int(given) if given == int(given) else given


def step_of(datapoint: KnownDatapoint) -> float:
    """A step of 1, 2 or 5 of some power of ten that makes about a hundred between the limits."""
    if datapoint.min_value is None or datapoint.max_value is None or datapoint.max_value <= datapoint.min_value:
        return 0.5
    rough = (datapoint.max_value - datapoint.min_value) / 150
    power = 10.0 ** math.floor(math.log10(rough))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)


def limits_text(datapoint: KnownDatapoint) -> str:
    """`15 … 30 °C`, or nothing."""
    low, high = datapoint.min_value, datapoint.max_value
    if low is None and high is None:
        return ""
    ends = ["" if end is None else number_text(end) for end in (low, high)]
    return f"{ends[0]} … {ends[1]} {symbol(datapoint.unit)}".strip()


def _read(given: object) -> JsonValue:
    """Numbers, true and false as such, anything else as text: nobody knows what this datapoint takes."""
    try:
        return loads(str(given))
    except ValueError:
        return str(given)


class MomentField:
    """Date and time in the browser's zone; empty means `now` or `for ever`."""

    def __init__(self, label: str, empty: str, at_ms: int | None, zone: datetime.tzinfo, on_change: Changed) -> None:
        self._zone = zone
        self._on_change = on_change
        self._quiet = False
        self.at_ms = at_ms
        self._input = ui.input(label, value=self._text(at_ms), on_change=self._changed)
        self._input.props(f"{OUTLINED} type=datetime-local stack-label hide-bottom-space")
        self._empty = empty
        self._hint()

    def _text(self, at_ms: int | None) -> str:
        if at_ms is None:
            return ""
        return datetime.datetime.fromtimestamp(at_ms / 1000, self._zone).strftime("%Y-%m-%dT%H:%M")

    def _changed(self) -> None:
        if self._quiet:
            return
        text = str(self._input.value or "")
        if text != self._text(self.at_ms):  # what was not touched keeps its seconds
            try:
                self.at_ms = self._moment(text)
            except (ValueError, OverflowError):
                self.fault("This is no date and time.")
                return
        self._hint()
        self.fault("")
        self._on_change()

    def _moment(self, text: str) -> int | None:
        if not text:
            return None
        return int(datetime.datetime.fromisoformat(text).replace(tzinfo=self._zone).timestamp() * 1000)

    def _hint(self) -> None:
        """Nothing in the field means something."""
        if self.at_ms is None:
            self._input.props["hint"] = self._empty
        else:
            self._input.props.pop("hint", None)

    def set(self, at_ms: int | None) -> None:
        self._quiet = True
        self.at_ms = at_ms
        self._input.value = self._text(at_ms)
        self._hint()
        self._quiet = False

    def fault(self, text: str) -> None:
        show_fault(self._input, text)
