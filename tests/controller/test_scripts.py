"""Random scripts of setpoints, schedules, sensor values, clock jumps and restarts, against a naive evaluation.

The naive one knows no timeline, no agenda and no memory: at every moment at which anything begins or ends it reads the
table of docs/wire.md again, from top to bottom, over the raw JSON.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from controller.decision import Policy, SensorState, decide
from controller.orders import ControlOptions
from controller.preview import Standing, preview
from controller.timeline import Timeline
from tests.controller.desk import Desk, shifted
from wattbus.mqtt.messages import ScheduleItem, SetpointItem
from wattbus.testing.clock import START_MS

Item = dict[str, Any]
Step = tuple[str, Any]

NOTHING = object()

moments = st.none() | st.integers(-500, 3000)
values = st.sampled_from([17, 18.0, 18.5, 19, "18", "18.5", "on", "off", True, False, None])
bounds = st.none() | st.sampled_from([17, 18, 18.5, 19])
flexibility = st.one_of(
    st.just({}),
    st.fixed_dictionaries({"acceptable_values": st.none() | st.lists(values, max_size=3)}),
    st.fixed_dictionaries({}, optional={"min_value": bounds, "max_value": bounds}),
    st.fixed_dictionaries(
        {"min_value": bounds, "max_value": bounds, "acceptable_values": st.lists(values, max_size=2)}
    ),
)
wishes = st.builds(
    lambda start, end, preferred, flexible: {
        "from_timestamp": start, "to_timestamp": end, "preferred_value": preferred, **flexible
    },
    moments, moments, values, flexibility,
)  # fmt: skip
plans = st.fixed_dictionaries({"from_timestamp": moments, "to_timestamp": moments, "value": values})
qualities = st.sampled_from([None, None, None, "stale", "offline", "implausible"])
steps = st.one_of(
    st.tuples(st.just("setpoint"), st.lists(wishes, max_size=4)),
    st.tuples(st.just("schedule"), st.lists(plans, max_size=4)),
    st.tuples(st.just("sensor"), st.tuples(values, qualities)),
    st.tuples(st.just("wait"), st.integers(1, 1500)),
    st.tuples(st.just("jump"), st.integers(101, 2000) | st.integers(-2000, -101)),
    st.tuples(st.just("restart"), st.none()),
)
scripts = st.lists(steps, max_size=14)


# -- the naive evaluation -----------------------------------------------------------------------------------------


def current(items: list[Item], now: int) -> Item | None:
    found = None
    for item in items:
        start, end = item["from_timestamp"], item["to_timestamp"]
        if (start is None or start <= now) and (end is None or now < end):
            begun = None if found is None else found["from_timestamp"]
            if begun is None or (start is not None and start >= begun):
                found = item
    return found


def as_number(value: Any) -> float | None:
    if value is True or value is False:
        return float(value)
    try:
        return None if value is None else float(value)
    except ValueError:
        return None


def is_one_of(value: Any, choices: list[Any]) -> bool:
    for choice in choices:
        if as_number(value) is not None and as_number(choice) is not None:
            if as_number(value) == as_number(choice):
                return True
        elif value == choice:
            return True
    return False


def table(setpoint: Item | None, schedule: Item | None, sensor: Any, no_sensor: str = "schedule") -> Any:
    if setpoint is None:
        return NOTHING if schedule is None else schedule["value"]
    preferred = setpoint["preferred_value"]
    if schedule is None:
        return preferred
    has_list = "acceptable_values" in setpoint
    if not has_list and "min_value" not in setpoint and "max_value" not in setpoint:
        return preferred
    low, high = setpoint.get("min_value"), setpoint.get("max_value")
    if (has_list and setpoint["acceptable_values"] is None) or (not has_list and low is None and high is None):
        return schedule["value"]
    if has_list and not setpoint["acceptable_values"]:
        return preferred
    if sensor is None:
        return schedule["value"] if no_sensor == "schedule" else preferred
    value, quality = sensor
    if quality is not None:
        return preferred
    if has_list:
        return schedule["value"] if is_one_of(value, setpoint["acceptable_values"]) else preferred
    number = as_number(value)
    if number is None or (low is not None and number < low) or (high is not None and number > high):
        return preferred
    return schedule["value"]


def is_same(value: Any, other: Any) -> bool:
    if value is NOTHING or other is NOTHING:
        return value is other
    return value == other and isinstance(value, bool) == isinstance(other, bool)


class Naive:
    def __init__(self) -> None:
        self.now = 0
        self.setpoint: list[Item] = []
        self.schedule: list[Item] = []
        self.sensor: Any = None
        self.last: Any = NOTHING
        self.sent: list[tuple[int, Any]] = []

    def look(self) -> None:
        wanted = table(current(self.setpoint, self.now), current(self.schedule, self.now), self.sensor)
        if wanted is not NOTHING and not is_same(wanted, self.last):
            self.last = wanted
            self.sent.append((self.now, wanted))

    def step(self, kind: str, content: Any) -> None:
        if kind == "setpoint":
            self.setpoint = content
        elif kind == "schedule":
            self.schedule = content
        elif kind == "sensor":
            self.sensor = content
        elif kind == "jump":
            self.now += content
        elif kind == "wait":
            end = self.now + content
            for moment in sorted({time for item in self.setpoint + self.schedule for time in times(item)}):
                if self.now < moment <= end:
                    self.now = moment
                    self.look()
            self.now = end
        self.look()


def times(item: Item) -> list[int]:
    return [time for time in (item["from_timestamp"], item["to_timestamp"]) if time is not None]


def play(desk: Desk, kind: str, content: Any, folder: Path) -> None:
    if kind == "setpoint":
        desk.setpoint(*content)
    elif kind == "schedule":
        desk.schedule(*content)
    elif kind == "sensor":
        desk.sensor(*content)
    elif kind == "wait":
        desk.wait(content)
    elif kind == "jump":
        desk.jump(content)
    else:
        desk.restart(folder)


# -- the properties -----------------------------------------------------------------------------------------------


@settings(max_examples=500, deadline=None)
@given(scripts)
def test_scripts_give_what_the_naive_evaluation_gives(script: list[Step]) -> None:
    desk, naive = Desk(), Naive()
    with tempfile.TemporaryDirectory() as folder:
        for kind, content in script:
            play(desk, kind, content, Path(folder))
            naive.step(kind, content)
    sent, expected = desk.timed, naive.sent
    assert len(sent) == len(expected), f"{sent}\n{expected}"
    for (at, value), (expected_at, expected_value) in zip(sent, expected, strict=True):
        assert at == expected_at
        assert is_same(value, expected_value)
    assert {publication.cause for publication in desk.published} <= {"change"}


@settings(max_examples=100, deadline=None)
@given(scripts, st.lists(st.integers(0, 14), max_size=4))
def test_restarts_at_any_moment_change_nothing(script: list[Step], restarts: list[int]) -> None:
    steady, restless = Desk(), Desk()
    with tempfile.TemporaryDirectory() as folder:
        for number, (kind, content) in enumerate(script):
            if kind != "restart":
                play(steady, kind, content, Path(folder))
                play(restless, kind, content, Path(folder))
            if number in restarts:
                restless.restart(Path(folder))
    assert restless.timed == steady.timed


@settings(max_examples=300, deadline=None)
@given(
    st.lists(wishes, max_size=5), st.lists(plans, max_size=5), st.none() | st.tuples(values, qualities),
    st.integers(-600, 3100), st.sampled_from(["schedule", "preferred"]),
)  # fmt: skip
def test_one_decision_is_what_the_table_says(
    setpoint: list[Item], schedule: list[Item], sensor: Any, now: int, no_sensor: Any
) -> None:
    decision = decide(
        [SetpointItem.model_validate(item) for item in setpoint],
        [ScheduleItem.model_validate(item) for item in schedule],
        None if sensor is None else SensorState(*sensor),
        now,
        Policy(no_sensor),
    )
    expected = table(current(setpoint, now), current(schedule, now), sensor, no_sensor)
    assert is_same(decision.value if decision.applies else NOTHING, expected), decision.reason
    assert decision.reason


@settings(max_examples=150, deadline=None)
@given(
    st.lists(wishes, max_size=4), st.lists(plans, max_size=4), st.none() | st.tuples(values, qualities),
    st.sampled_from([0.0, 0.25]), st.sampled_from([0.0, 0.0, 0.4]),
)  # fmt: skip
def test_the_preview_says_what_will_be_sent(
    setpoint: list[Item], schedule: list[Item], sensor: Any, hysteresis: float, dwell_s: float
) -> None:
    options = ControlOptions(policy=Policy(hysteresis=hysteresis), dwell_s=dwell_s)
    desk = Desk(options=options)
    if sensor is not None:
        desk.sensor(*sensor)
    desk.setpoint(*setpoint)
    desk.schedule(*schedule)
    before = len(desk.published)
    announced = [
        (coming.from_ms - START_MS, coming.value, coming.reason)
        for coming in desk.actuator().coming(desk.control.surroundings.sensor_of(desk.told[0]), desk.clock.now_ms())
    ]
    desk.wait(4000)
    seen = [(item.at_ms, item.value, item.reason) for item in desk.published[before:]]
    assert seen == announced


@settings(max_examples=200, deadline=None)
@given(st.lists(plans, max_size=8))
def test_a_timeline_knows_who_rules_when(items: list[Item]) -> None:
    made = [ScheduleItem.model_validate(shifted(item)) for item in items]
    timeline = Timeline(made)
    moments_of_interest = sorted({time + step for item in items for time in times(item) for step in (-1, 0, 1)} | {0})
    for moment in moments_of_interest:
        naive = current(items, moment)
        ruling = timeline.at(START_MS + moment)
        assert (naive is None) == (ruling is None)
        assert naive is None or ruling is made[[item is naive for item in items].index(True)]
        change = timeline.next_change(START_MS + moment)
        later = [other for other in moments_of_interest if other > moment and current(items, other) is not naive]
        assert (change is None) == (not later)
        assert change is None or change == START_MS + min(later)


def test_a_preview_ends_after_a_day_and_begins_with_what_is_due_now() -> None:
    hour = 3_600_000
    schedule = [ScheduleItem(from_timestamp=n * hour, to_timestamp=None, value=n) for n in range(48)]
    coming = preview(Timeline([]), Timeline(schedule), None, 0)
    assert [(entry.from_ms, entry.value) for entry in coming] == [(n * hour, n) for n in range(24)]
    coming = preview(Timeline([]), Timeline(schedule), None, 0, Standing(0, 0))
    assert coming[0].from_ms == hour
