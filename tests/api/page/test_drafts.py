"""Setpoints and schedules while they are edited, and how values are written."""

from __future__ import annotations

from typing import Any

import pytest

from api.datapoints import KnownDatapoint
from api.page.drafts import SetpointDraft, StepDraft, next_step, segments, setpoint_drafts
from api.page.units import symbol
from api.page.words import age_text, span_text, value_text

HOUR_MS = 3_600_000


def actuator(data_format: str, **more: object) -> KnownDatapoint:
    return KnownDatapoint(1, "room", "actuator", "key", data_format=data_format, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("data_format", "item"),
    [
        ("generic_numeric", {"preferred_value": 22, "min_value": 20, "max_value": None}),
        ("generic_numeric", {"preferred_value": 22}),
        ("continuous_numeric", {"preferred_value": 22, "min_value": None, "max_value": None}),
        ("continuous_numeric", {"preferred_value": 22, "min_value": 22, "max_value": 22}),
        ("discrete_text", {"preferred_value": "eco", "acceptable_values": ["eco", "off"]}),
        ("discrete_numeric", {"preferred_value": 1, "acceptable_values": []}),
        ("bool", {"preferred_value": True}),
    ],
)
def test_what_is_not_touched_is_saved_as_it_was(data_format: str, item: dict[str, object]) -> None:
    whole = {"from_timestamp": None, "to_timestamp": 5, **item}
    [draft] = setpoint_drafts([whole])
    assert draft.as_json(actuator(data_format)) == whole


def test_of_several_the_one_that_began_last_rules() -> None:
    always, later, latest = StepDraft(None, None, 1), StepDraft(10, 40, 2), StepDraft(20, 30, 3)
    found = [(one.from_ms, one.to_ms, one.draft.value) for one in segments([latest, always, later], 0, 50)]
    assert found == [(0, 10, 1), (10, 20, 2), (20, 30, 3), (30, 40, 2), (40, 50, 1)]


def test_of_equal_ones_the_later_in_the_list_rules_and_gaps_are_gaps() -> None:
    found = segments([SetpointDraft(10, 20, 1), SetpointDraft(10, 20, 2), SetpointDraft(30, None, 3)], 0, 40)
    assert [(one.from_ms, one.to_ms, one.draft.value) for one in found] == [(10, 20, 2), (30, 40, 3)]


def test_a_further_step_follows_the_last_one() -> None:
    now_ms = 10 * HOUR_MS + 1
    assert next_step([], now_ms, 5) == StepDraft(11 * HOUR_MS, 12 * HOUR_MS, 5)
    assert next_step([StepDraft(0, 13 * HOUR_MS, 5)], now_ms, 6) == StepDraft(13 * HOUR_MS, 14 * HOUR_MS, 6)


@pytest.mark.parametrize(
    ("unit", "usual"),
    [
        ("Cel", "°C"), ("kW.h", "kWh"), ("V.A", "VA"), ("m3", "m³"), ("m3/h", "m³/h"), ("W/m2", "W/m²"), ("%", "%"),
        ("kW", "kW"), ("Ohm", "Ω"), ("1", ""), ("", ""), ("l/h", "l/h"), ("N.m", "N·m"), ("m.s-2", "m·s⁻²"),
    ],
)  # fmt: skip
def test_units_are_written_as_usual(unit: str, usual: str) -> None:
    assert symbol(unit) == usual


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (21.456, "21.46\u202f°C"), (21.5, "21.5\u202f°C"), (0.0456, "0.046\u202f°C"), (12345.6, "12\u202f346\u202f°C"),
        (553.27, "553.3\u202f°C"), (-3, "-3\u202f°C"), (True, "on"), (None, "–"), ("eco", "eco"), ([1], "[1]"),
    ],
)  # fmt: skip
def test_values_have_as_many_decimals_as_mean_something(value: Any, text: str) -> None:
    assert value_text(value, "Cel") == text


def test_ages() -> None:
    assert [span_text(seconds) for seconds in (0, 59, 119, 120, 7200, 200_000)] == [
        "0 s", "59 s", "119 s", "2 min", "2 h", "2 d",
    ]  # fmt: skip
    assert age_text(None, 5) == "never"
    assert age_text(1000, 4000) == "3 s ago"
