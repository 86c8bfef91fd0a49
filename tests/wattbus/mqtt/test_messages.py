"""Payloads from anywhere: parsed as the contract says, or refused with a reason."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wattbus.jsontext import dumps, loads
from wattbus.mqtt.messages import (
    BadMessage,
    Command,
    DatapointMap,
    Message,
    RawMessage,
    Receipt,
    ScheduleMessage,
    SetpointMessage,
    StatusMessage,
    ValueMessage,
    ValuesMessage,
    parse,
)

MODELS: list[type[Message]] = [
    Command, DatapointMap, RawMessage, Receipt, ScheduleMessage, SetpointMessage, StatusMessage, ValueMessage,
    ValuesMessage,
]  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)


@given(st.sampled_from(MODELS), st.binary(max_size=50) | JSON.map(dumps))
def test_whatever_comes_is_a_message_or_bad(model: type[Message], payload: bytes) -> None:
    try:
        assert isinstance(parse(model, payload), model)
    except BadMessage as error:
        assert str(error)


@given(JSON)
def test_json_survives_the_way(value: Any) -> None:
    assert loads(dumps(value)) == value


@pytest.mark.parametrize("payload", [b"NaN", b"[Infinity]", b"\xff", b"", b"[" * 100_000, b"{'a': 1}"])
def test_what_is_no_json_is_refused(payload: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        loads(payload)


def test_integers_of_any_size_arrive_as_they_are() -> None:
    assert loads(dumps({"serial": 10**30})) == {"serial": 10**30}
    with pytest.raises(ValueError, match="Out of range"):
        dumps([10**30, math.nan])


def test_a_readings_message_comes_back_as_it_went() -> None:
    message = ValuesMessage(session="0123456789abcdef", sequence=0, timestamp=1, values={}, dropped=[(1, 5)])
    assert (
        message.payload() == b'{"session":"0123456789abcdef","sequence":0,"timestamp":1,"values":{},"dropped":[[1,5]]}'
    )
    assert parse(ValuesMessage, message.payload()) == message


def test_the_references_two_forms_of_raw_messages_are_one() -> None:
    nested = parse(RawMessage, b'{"payload": {"raw_message": {"a": 1}, "timestamp": 5}, "connector_version": "0.2"}')
    assert nested == RawMessage(raw_message={"a": 1}, timestamp=5, connector_version="0.2")


def test_bemcoms_commands_and_unknown_fields_are_taken() -> None:
    assert parse(Command, b'{"value": "17.0", "timestamp": 1234, "new": []}').value == "17.0"
    with pytest.raises(BadMessage, match="timestamp"):
        parse(Command, b'{"value": 1, "timestamp": "yesterday"}')
