"""Flattening, timestamps and plausibility."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wattbus.connector import Datapoint, Quantity, Reading
from wattbus.flattening import DEEPEST, flatten, raw_fault
from wattbus.jsontext import dumps, loads
from wattbus.runtime.readings import Plausibility, TimestampAllocator


def test_paths_are_joined_and_lists_counted() -> None:
    flat = flatten(
        Reading({"p30": {"report 2": {"Curr user": 6000}}, "list": [1.5, {"x": True}, (None, "t")]}, device="garage")
    )
    assert flat.values == {
        "p30__report 2__Curr user": 6000,
        "list__0": 1.5,
        "list__1__x": True,
        "list__2__0": None,
        "list__2__1": "t",
    }
    assert flat.faults == []
    assert [sensor.data_format for sensor in flat.sensors] == [
        "generic_numeric",
        "generic_numeric",
        "bool",
        "unknown",
        "generic_text",
    ]
    assert {sensor.device for sensor in flat.sensors} == {"garage"}


@pytest.mark.parametrize(
    ("raw", "fault"),
    [
        (None, ""),
        ({"a": [1, 2.5, True, None, "ü", {"b": []}, (1, 2)], "": 10**30}, ""),
        (b"x", "b'x' is not JSON"),
        ({"frames": [{"data": "00"}, {"data": b"x"}]}, "b'x' at frames[1].data is not JSON"),
        ([float("inf")], "inf at [0] is not JSON"),
        ({"a": {3: 1}}, "3 at a is not a key"),
        ({"a": {"b": "\ud800"}}, "'\\ud800' at a.b is not JSON"),
    ],
)
def test_what_is_no_json_is_named(raw: Any, fault: str) -> None:
    assert raw_fault(raw) == fault


def test_a_raw_message_without_end_is_no_json() -> None:
    endless: list[Any] = []
    endless.append(endless)
    assert raw_fault(endless) == f"it is nested more than {DEEPEST} levels deep"


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists))
def test_what_has_no_fault_can_be_said_in_json_and_comes_back(raw: Any) -> None:
    if not raw_fault(raw):
        assert loads(dumps(raw)) == raw


def test_a_quantity_brings_unit_and_description() -> None:
    [sensor] = flatten(Reading({"e": Quantity(5, "kW.h", "energy")})).sensors
    assert sensor == Datapoint("e", "sensor", "generic_numeric", "kW.h", "energy", example_value=5)


@pytest.mark.parametrize(
    "bad", [float("nan"), float("inf"), b"bytes", object(), 1j, {1, 2}, "\ud800", Quantity(float("nan"))]
)
def test_what_is_no_value_is_left_out_and_counted(bad: Any) -> None:
    flat = flatten(Reading({"bad": bad, "good": 1}))
    assert flat.values == {"good": 1}
    assert len(flat.faults) == 1
    assert flat.faults[0].startswith("bad: ")


def test_of_two_equal_keys_the_first_stays() -> None:
    flat = flatten(Reading({"a": {"b": 1}, "a__b": 2, "\udfff": 3}))
    assert flat.values == {"a__b": 1}
    assert len(flat.faults) == 2


def test_empty_containers_are_no_values() -> None:
    assert flatten(Reading({"a": {}, "b": []})).values == {}


def test_a_tie_moves_by_a_millisecond() -> None:
    stamps = TimestampAllocator()
    assert [stamps.received({"a": 1}, 1000) for _ in range(3)] == [1000, 1001, 1002]
    assert stamps.received({"b": 1}, 1000) == 1000
    assert stamps.received({"a": 1, "b": 1}, 1001) == 1003
    assert stamps.received({"a": 1}, 2000) == 2000


def test_a_clock_that_was_set_back_a_little_does_not_run_backwards_and_far_back_is_believed() -> None:
    stamps = TimestampAllocator()
    stamps.received({"a": 1}, 1_000_000)
    assert stamps.received({"a": 1}, 1_000_000 - 59_000) == 1_000_001
    assert stamps.received({"a": 1}, 1_000_000 - 3_600_000) == 1_000_000 - 3_600_000
    assert stamps.received({"a": 1}, 1_000_000 - 3_600_000) == 1_000_000 - 3_600_000 + 1


def test_the_devices_own_time_is_kept_and_a_repetition_is_no_news() -> None:
    stamps = TimestampAllocator()
    assert stamps.own({"gas": 1.0}, 5000) == (5000, {"gas": 1.0})
    assert stamps.own({"gas": 1.0}, 5000) == (5000, {})
    assert stamps.own({"gas": 1.0, "other": 2}, 5000) == (5000, {"other": 2})
    assert stamps.own({"gas": True}, 6000) == (6000, {"gas": True})
    assert stamps.own({"gas": 1}, 6000) == (6001, {"gas": 1}), "another type is another value"
    assert stamps.own({"gas": 0.5}, 1000) == (1000, {"gas": 0.5}), "late data is welcome"


def test_several_values_at_one_time_of_the_device_never_take_each_others_place() -> None:
    stamps = TimestampAllocator()
    given_stamps = [stamps.own({"p": value}, 1000)[0] for value in (1, 2, 1, 2, 3)]
    assert given_stamps == [1000, 1001, 1002, 1003, 1004]
    assert stamps.own({"p": 3}, 1000)[1] == {}
    assert stamps.own({"p": 9}, 1004) == (1005, {"p": 9})


def test_a_time_that_cannot_be_right_gives_way_to_that_of_the_arrival() -> None:
    stamps = TimestampAllocator()
    assert stamps.arrived({"gas": 1.0}, 9_000_000, 5000) == (5000, {"gas": 1.0})
    assert stamps.arrived({"gas": 1.0}, 9_000_000, 6000)[1] == {}, "a repetition is no news"
    assert stamps.arrived({"gas": 2.0}, 9_000_000, 5000) == (5001, {"gas": 2.0})
    assert stamps.own({"gas": 3.0}, 7000) == (7000, {"gas": 3.0}), "right again"


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 5)), max_size=30))
def test_received_stamps_rise_strictly_per_datapoint(steps: list[tuple[str, int]]) -> None:
    stamps, now = TimestampAllocator(), 1_000_000
    seen: dict[str, list[int]] = {"a": [], "b": []}
    for key, passed in steps:
        now += passed
        seen[key].append(stamps.received({key: 1}, now))
    assert all(times == sorted(set(times)) for times in seen.values())


def test_plausible_is_what_is_in_range_and_a_counter_that_rises() -> None:
    judge = Plausibility()
    power = Datapoint("p", min_value=-10, max_value=10)
    assert [judge.quality(power, value, 0) for value in (-10, 10.0, 11, -11.5, True, "text", None)] == [
        None,
        None,
        "implausible",
        "implausible",
        None,
        None,
        None,
    ]
    assert judge.quality(None, 5, 0) is None
    energy = Datapoint("e", counter=True)
    values = [(100, 1), (100, 2), (90, 3), (91, 4), (95, 5)]
    assert [judge.quality(energy, value, at) for value, at in values] == [None, None, "implausible", None, None]
    assert judge.quality(energy, 40, 1) is None, "late data was less then"
    assert judge.quality(energy, 94, 6) == "implausible", "and is no measure for what comes"
