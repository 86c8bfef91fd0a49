"""The raw message in a payload: exactly its text, in both forms, or a reason why not."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raw_db.envelope import Envelope, open_envelope
from tests.raw_db.json_texts import JSON_TEXTS
from wattbus.jsontext import loads
from wattbus.mqtt.messages import BadMessage, RawMessage, parse

FORMS = (
    '{"raw_message":%s,"timestamp":1573680749000,"connector_version":"0.1.0"}',
    '{"payload": {"raw_message": %s, "timestamp": 1573680749000}, "connector_version": "0.1.0"}',
    ' {"connector_version"\t:"0.1.0" ,\r\n"timestamp" : 1573680749000 , "raw_message":\n%s } ',
)


@settings(max_examples=300, deadline=None)
@given(text=JSON_TEXTS, form=st.sampled_from(FORMS))
def test_whatever_is_json_comes_out_as_the_text_that_it_was(text: str, form: str) -> None:
    assert open_envelope((form % text).encode()) == Envelope(text, 1573680749000, "0.1.0")


@settings(max_examples=300, deadline=None)
@given(
    text=JSON_TEXTS, cut=st.integers(0, 40), put=st.sampled_from(["", ",", "}", "]", '"', "01", "NaN", "\x00", "\\"])
)
def test_what_other_readers_take_is_taken_and_what_they_refuse_is_refused(text: str, cut: int, put: str) -> None:
    payload = (FORMS[0] % (text[:cut] + put + text[cut:])).encode()
    try:
        loads(payload)
        sound = isinstance(json.loads(payload, parse_int=float), dict)
    except ValueError:
        sound = False
    try:
        told = open_envelope(payload)
    except BadMessage:
        assert not sound
    else:
        assert told.raw_message in payload.decode()
        json.loads(told.raw_message, parse_int=float)


@pytest.mark.parametrize(
    "payload",
    [
        '{"raw_message": {"a": [1, 2.5]}, "timestamp": 5}',
        '{"timestamp": 5, "raw_message": null, "connector_version": null}',
        '{"payload": {"timestamp": -5, "raw_message": "x"}, "connector_version": "0.7.0", "more": [1]}',
        '{"payload": 1, "raw_message": "x", "timestamp": 5, "connector_version": "0.7.0"}',
        '{"raw_message": 1, "raw_message": 2, "timestamp": 4, "timestamp": 5}',
    ],
)
def test_it_says_what_the_wire_contracts_model_says(payload: str) -> None:
    told, message = open_envelope(payload.encode()), parse(RawMessage, payload.encode())
    assert (json.loads(told.raw_message), told.timestamp_ms) == (message.raw_message, message.timestamp)
    assert told.connector_version == message.connector_version


def test_a_version_that_is_no_text_costs_the_version_only() -> None:
    for version in ("7", '"\\ud800"', "[]"):
        payload = f'{{"raw_message": 1, "timestamp": 5, "connector_version": {version}}}'
        assert open_envelope(payload.encode()) == Envelope("1", 5, None)


NO_RAW_MESSAGES = [
    b"",
    b"{",
    b"[]",
    b"{}",
    b"1",
    b"\xff\xfe",
    b'{"raw_message": "\xff", "timestamp": 1}',
    b'\xef\xbb\xbf{"raw_message": 1, "timestamp": 1}',
    b'{"raw_message": NaN, "timestamp": 1}',
    b'{"raw_message": [Infinity], "timestamp": 1}',
    b'{"raw_message": {"a": -Infinity}, "timestamp": 1}',
    b'{"raw_message": 01, "timestamp": 1}',
    b'{"raw_message": [1,], "timestamp": 1}',
    b'{"raw_message": "a\nb", "timestamp": 1}',
    b"{'raw_message': 1, 'timestamp': 1}",
    b'{"raw_message": 1, "timestamp": 1} {}',
    b'{"raw_message": 1, "timestamp": 1',
    b'{"raw_message": 1, "timestamp": 1,}',
    b'{"raw_message": 1}',
    b'{"timestamp": 1}',
    b'{"raw_message": 1, "timestamp": "1"}',
    b'{"raw_message": 1, "timestamp": 1.5}',
    b'{"raw_message": 1, "timestamp": null}',
    b'{"raw_message": 1, "timestamp": true}',
    b'{"raw_message": 1, "timestamp": 99999999999999999}',
    b'{"raw_message": 1, "timestamp": ' + b"9" * 5000 + b"}",
    b'{"payload": null, "connector_version": "1"}',
    b'{"payload": {"timestamp": 1}}',
    b'{"raw_message": ' + b"[" * 100_000 + b', "timestamp": 1}',
]


@pytest.mark.parametrize("payload", NO_RAW_MESSAGES, ids=lambda payload: payload[:40].decode(errors="replace"))
def test_anything_else_is_refused(payload: bytes) -> None:
    with pytest.raises(BadMessage):
        open_envelope(payload)
