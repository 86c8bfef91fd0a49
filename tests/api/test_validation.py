"""Section 3.5 of the reference as a table: what each data format takes. Its faults are mended, marked M."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api import plans, validation
from api.datapoints import KnownDatapoint
from api.errors import Invalid

NOW = 1_700_000_000_000


def datapoint(data_format: Any, **more: Any) -> KnownDatapoint:
    return KnownDatapoint(1, "meter", "actuator", "a", data_format=data_format, **more)


CONTINUOUS = datapoint("continuous_numeric", min_value=15.0, max_value=30.0)
GENERIC = datapoint("generic_numeric")
NUMBERS = datapoint("discrete_numeric", allowed_values=(17, 18, 19))
NUMBERS_OR_NULL = datapoint("discrete_numeric", allowed_values=(17, None))
TEXT = datapoint("generic_text")
WORDS = datapoint("discrete_text", allowed_values=("on", "off"))
BOOL = datapoint("bool")
UNKNOWN = datapoint("unknown")

ACCEPTED = [
    (CONTINUOUS, "17.0", 17.0),
    (CONTINUOUS, 17.0, 17.0),
    (CONTINUOUS, 17, 17),
    (CONTINUOUS, " 18 ", 18),
    (CONTINUOUS, 15, 15),
    (CONTINUOUS, 30.0, 30.0),
    (CONTINUOUS, "null", None),
    (CONTINUOUS, None, None),  # M: 500
    (GENERIC, -1e300, -1e300),
    (GENERIC, 2**80, 2**80),
    (GENERIC, None, None),
    (NUMBERS, 19.0, 19.0),
    (NUMBERS, "18", 18),
    (NUMBERS_OR_NULL, None, None),
    (TEXT, "abc", "abc"),  # M: text as it is
    (TEXT, "17.0", "17.0"),
    (TEXT, "", ""),
    (TEXT, None, None),
    (WORDS, "on", "on"),
    (BOOL, True, True),
    (BOOL, "false", False),
    (UNKNOWN, {"any": ["thing", None, 1]}, {"any": ["thing", None, 1]}),
    (UNKNOWN, "17.0", "17.0"),
]

REFUSED = [
    (CONTINUOUS, True, "not a number"),
    (CONTINUOUS, "true", "not a number"),
    (CONTINUOUS, '"abc"', "not a number"),
    (CONTINUOUS, "[1]", "not a number"),
    (CONTINUOUS, [1], "not a number"),
    (CONTINUOUS, {}, "not a number"),
    (CONTINUOUS, "abc", "cannot be parsed as JSON"),
    (CONTINUOUS, "", "may not be blank"),
    (CONTINUOUS, "  ", "may not be blank"),
    (CONTINUOUS, "31", "larger than the maximum"),
    (CONTINUOUS, 14.99, "smaller than the minimum"),
    (CONTINUOUS, "NaN", "cannot be parsed as JSON"),  # M: published as NaN, then 500
    (CONTINUOUS, math.nan, "NaN"),
    (GENERIC, math.inf, "Infinity"),
    (GENERIC, "1e400", "Infinity"),
    (GENERIC, False, "not a number"),
    (NUMBERS, 20, "allowed_values"),
    (NUMBERS, None, "allowed_values"),
    (NUMBERS, True, "not a number"),
    (datapoint("discrete_numeric"), 17, "allowed_values"),  # none are allowed
    (datapoint("discrete_numeric", allowed_values=()), 17, "allowed_values"),
    (datapoint("discrete_numeric", allowed_values=(1,)), "true", "not a number"),
    (TEXT, 17, "not a string"),
    (TEXT, True, "not a string"),
    (TEXT, "\ud800", "UTF-8"),
    (WORDS, "standby", "allowed_values"),
    (WORDS, None, "allowed_values"),
    (BOOL, None, "not true or false"),
    (BOOL, 1, "not true or false"),
    (BOOL, "null", "not true or false"),
    (BOOL, "yes", "cannot be parsed as JSON"),
    (UNKNOWN, [math.nan], "NaN"),
]


@pytest.mark.parametrize(("of", "sent", "published"), ACCEPTED)
def test_accepted(of: KnownDatapoint, sent: Any, published: Any) -> None:
    message = plans.value_message(of, {"value": sent, "timestamp": NOW, "extra": 1}, NOW)
    assert message == {"value": published, "timestamp": NOW}
    assert type(message["value"]) is type(published)


@pytest.mark.parametrize(("of", "sent", "reason"), REFUSED)
def test_refused(of: KnownDatapoint, sent: Any, reason: str) -> None:
    with pytest.raises(Invalid) as refused:
        plans.value_message(of, {"value": sent, "timestamp": NOW}, NOW)
    assert isinstance(refused.value.faults, dict)
    assert reason in refused.value.faults["value"][0]


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (None, "may not be null"),
        ("soon", "valid integer"),
        (1.5, "valid integer"),
        (True, "valid integer"),
        ([], "valid integer"),
        (NOW - 500_000_000_001, "unreasonably low"),
        (NOW + 100_000_000_001, "unreasonably high"),
        (NOW // 1000, "unreasonably low"),  # seconds
        (10**30, "unreasonably high"),
    ],
)
def test_timestamps_that_are_none(sent: Any, reason: str) -> None:
    with pytest.raises(Invalid) as refused:
        plans.value_message(GENERIC, {"value": 1, "timestamp": sent}, NOW)
    assert isinstance(refused.value.faults, dict)
    assert reason in refused.value.faults["timestamp"][0]


@pytest.mark.parametrize("sent", [NOW, str(NOW), float(NOW), NOW - 500_000_000_000, NOW + 100_000_000_000])
def test_timestamps_as_clients_write_them(sent: Any) -> None:
    assert plans.value_message(GENERIC, {"value": 1, "timestamp": sent}, NOW)["timestamp"] == int(sent)


def test_every_fault_is_told_at_once() -> None:
    with pytest.raises(Invalid) as refused:
        plans.value_message(GENERIC, {}, NOW)
    assert refused.value.faults == {"value": [validation.REQUIRED], "timestamp": [validation.REQUIRED]}
    assert str(refused.value) == f"value: {validation.REQUIRED}; timestamp: {validation.REQUIRED}"


# -- schedules and setpoints ------------------------------------------------------------------------------------------


def span(begin: int | None = None, end: int | None = None, **more: Any) -> dict[str, Any]:
    return {"from_timestamp": begin, "to_timestamp": end, **more}


def schedule(*items: Any, of: KnownDatapoint = CONTINUOUS) -> Any:
    return plans.plan_message("schedule", of, {"schedule": list(items), "timestamp": NOW}, NOW)["schedule"]


def setpoint(*items: Any, of: KnownDatapoint = CONTINUOUS) -> Any:
    return plans.plan_message("setpoint", of, {"setpoint": list(items), "timestamp": NOW}, NOW)["setpoint"]


def fault_of(item: Any, of: KnownDatapoint = CONTINUOUS, kind: Any = setpoint) -> Any:
    with pytest.raises(Invalid) as refused:
        kind(item, of=of)
    assert isinstance(refused.value.faults, dict)
    [faults] = refused.value.faults[kind.__name__]
    return faults


def test_schedules() -> None:
    assert schedule() == []
    assert schedule(span(None, NOW, value="19.0", extra=1)) == [span(None, NOW, value=19.0)]
    assert schedule(span(value=None)) == [span(value=None)]  # M: 500
    overlapping = [span(NOW, NOW + 10, value=19), span(NOW - 5, NOW + 5, value=20)]
    assert schedule(*overlapping) == overlapping
    assert set(fault_of({}, kind=schedule)) == {"from_timestamp", "to_timestamp", "value"}
    assert set(fault_of(span(NOW, NOW, value=19), kind=schedule)) == {"to_timestamp"}
    assert set(fault_of(span(5, None, value=19), kind=schedule)) == {"from_timestamp"}
    assert set(fault_of(span(value=31), kind=schedule)) == {"value"}
    assert set(fault_of("noon", kind=schedule)) == {"non_field_errors"}


@pytest.mark.parametrize("sent", [None, {}, "x", 1])
def test_a_schedule_is_a_list(sent: Any) -> None:
    with pytest.raises(Invalid):
        plans.plan_message("schedule", CONTINUOUS, {"schedule": sent, "timestamp": NOW}, NOW)


def test_faults_name_their_items() -> None:
    with pytest.raises(Invalid) as refused:
        schedule(span(value=19), span(value=99), span(value=20))
    assert isinstance(refused.value.faults, dict)
    assert [set(faults) for faults in refused.value.faults["schedule"]] == [set(), {"value"}, set()]


def test_a_setpoint_that_is_null_is_none() -> None:
    assert plans.plan_message("setpoint", CONTINUOUS, {"setpoint": None, "timestamp": NOW}, NOW)["setpoint"] == []


def test_setpoints_of_continuous_datapoints_have_bounds() -> None:
    whole = span(preferred_value="19.0", min_value=18.0, max_value="21")
    assert setpoint(whole) == [span(preferred_value=19.0, min_value=18.0, max_value=21.0)]
    free = span(preferred_value=19, min_value=None, max_value=None)
    assert setpoint(free) == [free]
    assert set(fault_of(span(preferred_value=19))) == {"min_value", "max_value"}
    assert set(fault_of({**free, "preferred_value": 31})) == {"preferred_value"}
    assert set(fault_of({**free, "min_value": "low"})) == {"min_value"}
    assert set(fault_of({**free, "min_value": math.nan})) == {"min_value"}
    assert set(fault_of({**free, "min_value": 21, "max_value": 18})) == {"min_value"}  # M: not checked
    assert set(fault_of({**free, "min_value": 20})) == {"preferred_value"}  # M
    assert set(fault_of({**free, "max_value": 18})) == {"preferred_value"}  # M
    assert setpoint({**free, "preferred_value": None})[0]["preferred_value"] is None  # M: 500


def test_setpoints_of_discrete_datapoints_have_choices() -> None:
    assert setpoint(span(preferred_value=18, acceptable_values=["17", 18]), of=NUMBERS) == [
        span(preferred_value=18, acceptable_values=[17, 18])  # M: were left as text
    ]
    nothing = span(preferred_value=18, acceptable_values=None)
    assert setpoint(nothing, of=NUMBERS) == [nothing]
    assert setpoint({**nothing, "acceptable_values": []}, of=NUMBERS)[0]["acceptable_values"] == []
    assert set(fault_of(span(preferred_value=18), of=NUMBERS)) == {"acceptable_values"}
    assert set(fault_of(span(preferred_value=18, acceptable_values="17"), of=NUMBERS)) == {"acceptable_values"}
    words = span(preferred_value="on", acceptable_values=["on", "off"])
    assert setpoint(words, of=WORDS) == [words]


def test_setpoints_of_generic_datapoints_may_have_either() -> None:
    assert setpoint(span(preferred_value=1, min_value=0, max_value=2, acceptable_values=None), of=GENERIC) == [
        span(preferred_value=1, min_value=0.0, max_value=2.0, acceptable_values=None)
    ]
    assert setpoint(span(preferred_value=1), of=GENERIC) == [span(preferred_value=1)]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)
FIELDS = st.sampled_from(
    ["value", "timestamp", "setpoint", "schedule", "from_timestamp", "to_timestamp", "preferred_value", "min_value",
     "max_value", "acceptable_values"]
)  # fmt: skip
BODIES = st.recursive(JSON, lambda inner: st.dictionaries(FIELDS, inner | st.just(NOW)) | st.lists(inner), max_leaves=8)


@given(BODIES, st.sampled_from([CONTINUOUS, GENERIC, NUMBERS, TEXT, WORDS, BOOL, UNKNOWN]))
def test_nothing_but_a_refusal_comes_of_nonsense(body: Any, of: KnownDatapoint) -> None:
    for kind in ("value", "setpoint", "schedule"):
        try:
            message = plans.value_message(of, body, NOW) if kind == "value" else plan(kind, of, body)
        except Invalid:
            continue
        assert validation.is_sound(message)


def plan(kind: Any, of: KnownDatapoint, body: Any) -> dict[str, Any]:
    return plans.plan_message(kind, of, body, NOW)
