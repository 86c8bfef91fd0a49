"""Messages of real senders, of PyYAML and json, and of people who mean no good."""

from __future__ import annotations

import contextlib
import json
import math
import re
from itertools import pairwise
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from connectors.socket.codec import Rules, decode, raw_message, raw_messages, replaced
from connectors.socket.framing import LineFraming
from connectors.socket.nodes import Node, Nodes
from wattbus.connector import Reading
from wattbus.errors import DecodeError
from wattbus.flattening import flatten
from wattbus.jsontext import JsonValue, dumps, loads

JSON, YAML = Rules(parse_as="JSON"), Rules(parse_as="YAML")
VALUES, NUMBERS, PAIRS = Rules(parse_as="VALUES"), Rules(parse_as="NUMBERS"), Rules(parse_as="PAIRS")


WINDOWS = Rules(parse_as="JSON", encoding="cp1252")


def readings(text: str | bytes, rules: Rules) -> list[Reading]:
    data = text.encode() if isinstance(text, str) else text
    raw = raw_message("192.168.0.7", data, encoding=rules.encoding)
    return decode(loads(dumps(raw)), rules)  # as it comes back from a database


def values(text: str | bytes, rules: Rules) -> dict[str, Any]:
    """Key → value, as the runtime flattens it."""
    flat = [flatten(reading) for reading in readings(text, rules)]
    assert [one.faults for one in flat if one.faults] == []
    return {key: value for one in flat for key, value in one.values.items()}


def refused(text: str | bytes, rules: Rules) -> str:
    with pytest.raises(DecodeError) as caught:
        readings(text, rules)
    return str(caught.value)


# -- lines of values ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("14 15 26", {"14__1": 15, "14__2": 26}),  # OemGateway
        ("15 69 1664", {"15__1": 69, "15__2": 1664}),  # OemGateway's example script for its socket listener
        ("98 3.8 1.6 5.2 80.3", {"98__1": 3.8, "98__2": 1.6, "98__3": 5.2, "98__4": 80.3}),  # emonHub
        ("  7\t-1   +2.5e1 .5 3. ", {"7__1": -1, "7__2": 25.0, "7__3": 0.5, "7__4": 3.0}),
        ("7 nan -inf null 1e999 5", {"7__1": None, "7__2": None, "7__3": None, "7__4": None, "7__5": 5}),
        ("7 123456789012345678901234567890", {"7__1": 123456789012345678901234567890}),
    ],
)
def test_lines_of_values(line: str, expected: dict[str, Any]) -> None:
    assert values(line, VALUES) == expected
    assert [reading.device for reading in readings(line, VALUES)] == [line.split()[0]]


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("14", "a line with 1 fields: expected node and at least one value"),
        ("hello world", "'hello' is no node"),
        ("-1 5", "'-1' is no node"),
        ("1.5 5", "'1.5' is no node"),
        ("14 1x 26", "'1x' is not a number"),
        ("14 1_0", "'1_0' is not a number"),
        ("14 0x10", "'0x10' is not a number"),
        ("14 ١٢", "is not a number"),
        ("14 3,8", "'3,8' is not a number"),
        ("14 " + "1" * 401, "is not a number"),
        ("14" + " 1" * 10_000, "more than 10000 values"),
        ("14 15\n14 16", "several lines in one message"),
        (b"14 1\xff5", "'1\ufffd5' is not a number"),
        (b"14 1\x005", "is not a number"),
        ("power=100 temp=21.5", "for names and values: PARSE_AS=PAIRS"),
    ],
)
def test_a_line_with_one_field_that_is_wrong_gives_nothing(line: str | bytes, fault: str) -> None:
    assert fault in refused(line, VALUES)


@given(st.binary(max_size=40))
def test_noise_gives_an_error_or_numbers_that_stand_in_it(noise: bytes) -> None:
    for rules in (VALUES, NUMBERS):
        try:
            found = [value for reading in readings(noise, rules) for value in flatten(reading).values.values()]
        except DecodeError:
            continue
        text = noise.decode()
        assert len(found) <= len(text.split())
        assert all(value is None or isinstance(value, int | float) for value in found)


GARBAGE = st.text(st.sampled_from(list("abc-+.eE \0\r\n\t{}ä\x7f")), max_size=8).map(str.encode) | st.just(b"\xff\xfe")


@given(st.lists(st.integers(0, 999) | GARBAGE, max_size=30), st.lists(st.integers(0, 400), max_size=5))
def test_garbage_without_digits_adds_no_value_and_costs_at_most_the_line_it_touches(
    items: list[int | bytes], cuts: list[int]
) -> None:
    data = b"".join(b"14 %d\r\n" % item if isinstance(item, int) else item for item in items)
    framing = LineFraming(4096)
    places = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    pieces = [piece for start, end in pairwise(places) for piece in framing.feed(data[start:end])]
    found = []
    for piece in pieces:
        with contextlib.suppress(DecodeError):
            found += [flatten(reading).values["14__1"] for reading in readings(piece.data, VALUES)]
    sent = [item for item in items if isinstance(item, int)]
    untouched = [item for before, item in pairwise([0, *items]) if isinstance(item, int) and isinstance(before, int)]
    assert is_part(found, sent)
    assert is_part(untouched, found)


def is_part(some: list[int], others: list[int]) -> bool:
    """Whether `some` are among `others`, in their order."""
    rest = iter(others)
    return all(one in rest for one in some)


def test_emonhubs_options() -> None:
    """`timestamped`, `targeted` and `nodeoffset` of EmonHubSocketInterfacer."""
    rules = Rules(parse_as="VALUES", timestamped=True, targeted=True, node_offset=100)
    [reading] = readings("1399980731.5 14 7 3.8", rules)
    assert reading.timestamp_ms == 1399980731500
    assert flatten(reading).values == {"114__1": 3.8}
    assert "expected unix time, node, target and at least one value" in refused("1399980731 14 7", rules)
    assert refused("14 14 7 3.8", rules) == "'14' is no unix time in seconds"
    assert refused("1399980731000 14 7 3.8", rules) == "'1399980731000' is no unix time in seconds"
    assert refused("nan 14 7 3.8", rules) == "'nan' is no unix time in seconds"
    assert refused("1399980731 14 x 3.8", rules) == "'x' is no target (a whole number)"
    assert "node -86" in refused("14 5", Rules(parse_as="VALUES", node_offset=-100))


def test_what_is_known_about_a_node() -> None:
    node = Node(name="emontx3", names=("power1", "temp"), scales=(1, 0.1), units=("W", "Cel"), silence_seconds=60)
    rules = Rules(parse_as="VALUES", nodes=Nodes({10: node}))
    [reading] = readings("10 -120 2315 7", rules)
    flat = flatten(reading)
    assert flat.values == {"emontx3__power1": -120, "emontx3__temp": 231.5, "emontx3__3": 7}
    assert [sensor.unit for sensor in flat.sensors] == ["W", "Cel", ""]
    assert {sensor.device for sensor in flat.sensors} == {"emontx3"}
    assert values("11 5", rules) == {"11__1": 5}
    only = Rules(parse_as="VALUES", nodes=Nodes({10: node}), nodes_only=True)
    assert refused("11 5", only) == "node 11 is not in SOCKET_NODES"


def test_numbers_alone_and_other_separators() -> None:
    assert values("21.5", NUMBERS) == {"1": 21.5}
    assert values("3.8 1", NUMBERS) == {"1": 3.8, "2": 1}
    assert values("14,3.8, 1", Rules(parse_as="VALUES", separator=",")) == {"14__1": 3.8, "14__2": 1}
    assert refused("14,3.8,,1", Rules(parse_as="VALUES", separator=",")) == "'' is not a number"
    assert refused(" ", NUMBERS) == "an empty line"


# -- JSON --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"dummy_dp": {"sensor_1": 2.0}}', {"dummy_dp__sensor_1": 2.0}),  # BEMCom's own test
        ('{"device_1": {"sensor_1": "test", "sensor_2": 3.12, "sensor_3": true}}',
         {"device_1__sensor_1": "test", "device_1__sensor_2": 3.12, "device_1__sensor_3": True}),
        ('{"a": [1, {"b": null}]}', {"a__0": 1, "a__1__b": None}),
        ("[14, 15]", {"0": 14, "1": 15}),
        ("21.5", {"value": 21.5}),
        ('"ready"', {"value": "ready"}),
        ('{"a": NaN, "b": -Infinity, "c": 1e999, "d": 5}', {"a": None, "b": None, "c": None, "d": 5}),
        ('{"a": "21.5"}', {"a": "21.5"}),
        ('{"stromz\\u00e4hler": 1}', {"stromzähler": 1}),
        ("{}", {}),
        ('{"a": 1}\0', {"a": 1}),
    ],
)  # fmt: skip
def test_json(text: str, expected: dict[str, Any]) -> None:
    assert values(text, JSON) == expected


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ('{"a": 1', "no JSON: Expecting ',' delimiter"),
        ('{"a": 1}{"a": 2}', "no JSON: Extra data"),
        ('{"a": 1, "b": {"c": 1, "c": 2}}', "the key 'c' is there twice"),
        ('{"a": {"b": [1, {"' + "c" * 500 + '": 1}]}}', "a key longer than 500 characters"),
        ("[" * 33 + "]" * 33, "nested deeper than 32 levels"),
        ("[" * 100_000, "nested deeper than 32 levels"),
        ("[" + "1," * 10_000 + "1]", "more than 10000 values"),
        ("1" * 5000, "no JSON: Exceeds the limit"),
        ("", "no JSON"),
    ],
)
def test_json_that_is_refused(text: str | bytes, fault: str) -> None:
    assert fault in refused(text, JSON)


def test_numbers_in_text_when_asked_for() -> None:
    rules = Rules(parse_as="JSON", numbers_in_text=True)
    text = '{"a": "21.5", "b": ["-3", "x1"], "c": "1e5", "d": "", "e": "0x10"}'
    assert values(text, rules) == {"a": 21.5, "b__0": -3, "b__1": "x1", "c": 1e5, "d": "", "e": "0x10"}
    assert values('"21.5"', rules) == {"value": 21.5}


def test_the_senders_address_in_front_of_each_key() -> None:
    rules = Rules(parse_as="JSON", prefix_peer=True, device="sender")
    assert values('{"t": 1}', rules) == {"192.168.0.7__t": 1}
    assert [reading.device for reading in readings('{"t": 1}', rules)] == ["192.168.0.7"]
    assert [reading.device for reading in readings('{"t": 1}', Rules(device="sender"))] == ["sender"]


# -- YAML --------------------------------------------------------------------------------------------------------------

NUMBER_TO_US = re.compile(r"[-+]?\.?(?:nan|inf)|[-+0-9.:_xa-f]*[0-9][-+0-9.:_xa-f]*", re.IGNORECASE)
# PyYAML and libyaml do not agree on what else is a line end.
CHARACTERS = st.characters(codec="utf-8", exclude_characters="\x85\u2028\u2029\ufeff")
TEXTS = st.text(CHARACTERS, max_size=9).filter(lambda text: not NUMBER_TO_US.fullmatch(text))
LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS
TREES = st.dictionaries(
    st.text("abcXY_ä", min_size=1, max_size=5).filter(lambda key: key not in ("y", "Y")),
    st.recursive(
        LEAVES,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("pq", min_size=1), inner, max_size=3),
    ),
    min_size=1,
    max_size=4,
)


@given(TREES, st.sampled_from([None, True, False]))
def test_what_pyyaml_writes_is_read_as_pyyaml_reads_it(tree: Any, flow: bool | None) -> None:
    """But for text that PyYAML leaves unquoted, and that is a number to us: `1e3`, `12:30`, `nan` (see below)."""
    text = yaml.safe_dump(tree, default_flow_style=flow, allow_unicode=True)
    expected = flatten(Reading(yaml.safe_load(text)))
    [reading] = readings(text, YAML)
    assert flatten(reading).values == expected.values


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("dummy_dp:\n  sensor_1: 2.0\n", {"dummy_dp__sensor_1": 2.0}),  # BEMCom's own test
        ("a: on\nb: No\nc: ~\nd:\n", {"a": True, "b": False, "c": None, "d": None}),
        ("at: 12:30:00\nday: 2021-04-12\nno: 0010\n", {"at": "12:30:00", "day": "2021-04-12", "no": 10}),
        ("on: 1\n1: 2\n", {"on": 1, "1": 2}),
        ("a: .nan\nb: -.inf\nc: nan\nd: 1e999\ne: 1\n", {"a": None, "b": None, "c": None, "d": None, "e": 1}),
        ("a: '5'\nb: !!str 5\nc: !!float 5\nd: ! 5\n", {"a": "5", "b": "5", "c": 5, "d": "5"}),
        ("e: |\n  some\n  text\n", {"e": "some\ntext\n"}),
        ("a: 1e3\nb: +.5\nc: 0x1F\nd: 1_000\n", {"a": 1000.0, "b": 0.5, "c": 31, "d": "1_000"}),
        ("a: &x {t: 1}\nb: *x\n", {"a__t": 1, "b__t": 1}),
        ("--- {a: 1}\n...\n", {"a": 1}),
        ("a: 1\n---\nb: 2\n", {"a": 1, "b": 2}),
        ("# nothing\n", {}),
        ("---\n", {}),
        ('{"a": [1, 2.5]}', {"a__0": 1, "a__1": 2.5}),
    ],
)  # fmt: skip
def test_yaml(text: str, expected: dict[str, Any]) -> None:
    assert values(text, YAML) == expected


LAUGHS = "a: &a [lol, lol, lol, lol, lol, lol, lol, lol, lol]\n" + "".join(
    f"{this}: &{this} [{', '.join([f'*{before}'] * 9)}]\n" for before, this in zip("abcdefgh", "bcdefghi", strict=True)
)
DEEP_ALIASES = "a: &a [1]\n" + "".join(f"k{n}: &k{n} [*{'a' if n == 0 else f'k{n - 1}'}]\n" for n in range(60))


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (LAUGHS, "more than 10000 values"),
        (DEEP_ALIASES, "nested deeper than 32 levels"),
        ("a: &a [*a]\n", "*a stands for nothing before it"),
        ("a: *b\n", "no YAML"),
        ("a: &x {t: 1}\nb: {<<: *x}\n", "merged mappings (<<) are not taken"),
        ("[" * 33 + "]" * 33, "nested deeper than 32 levels"),
        ("[" * 3000, "nested deeper than 32 levels"),
        ("- " * 3000 + "1", "nested deeper than 32 levels"),
        ("[" + "1," * 10_001 + "1]", "more than 10000 values"),
        ("a: 1\na: 2\n", "the key 'a' is there twice"),
        ("? [a, b]\n: 1\n", "a key that is a list"),
        ("a: !!python/object/apply:os.system [ls]\n", "the tag 'tag:yaml.org,2002:python/object/apply:os.system'"),
        ("a: !secret x\n", "the tag '!secret' is not taken"),
        ("a: !!binary aGVsbG8=\n", "the tag 'tag:yaml.org,2002:binary' is not taken"),
        ("a: {b: 1\n", "no YAML: did not find expected ',' or '}' (line 2, column 1)"),
        ("a: 1\nb: 2c: 3\n", "no YAML: mapping values are not allowed"),
        ("a: @5\n", "no YAML: found character that cannot start any token"),
        ("a: " + "1" * 5000, "no YAML: Exceeds the limit"),
        (b"a: \x01\n", "no YAML"),
    ],
)  # fmt: skip
def test_yaml_that_is_refused(text: str | bytes, fault: str) -> None:
    assert fault in refused(text, YAML)


@given(st.text(st.sampled_from(list("ab:{}[],&*!|>-#%@`'\"\n 1?<~\t.")), max_size=60))
def test_no_yaml_text_does_more_than_be_refused(text: str) -> None:
    try:
        for reading in readings(text, YAML):
            flatten(reading)
    except DecodeError:
        pass


# -- raw messages ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "raw"),
    [
        (b"14 15 26", {"peer": "p", "text": "14 15 26"}),
        ("ä".encode(), {"peer": "p", "text": "ä"}),
        (b"\xff\x00", {"peer": "p", "hex": "ff00"}),
        (b"a\x00b", {"peer": "p", "hex": "610062"}),
    ],
)
def test_a_raw_message_says_who_and_what(data: bytes, raw: JsonValue) -> None:
    assert raw_message("p", data) == raw


def test_what_is_no_message_is_kept_and_never_decoded() -> None:
    raw = raw_message("p", b"14 15 2", "cut: the connection ended inside a message")
    assert raw["text"] == "14 15 2"
    with pytest.raises(DecodeError, match="cut: the connection"):
        decode(raw, VALUES)


def test_raw_messages_of_bemcom_are_decoded_too() -> None:
    """Its raw message is the text of Python's bytes (`str(raw_data)`)."""
    text = '{"dummy_dp": {"sensor_1": 2.0, "text": "it\'s \u20ac"}}'
    [reading] = decode(str(text.encode()), JSON)
    assert flatten(reading).values == {"dummy_dp__sensor_1": 2.0, "dummy_dp__text": "it's €"}
    [reading] = decode(text, JSON)
    assert flatten(reading).values["dummy_dp__sensor_1"] == 2.0
    [reading] = decode(json.loads(text), JSON)
    assert flatten(reading).values["dummy_dp__sensor_1"] == 2.0
    [reading] = decode("b'{\"a\": \\'x\\'}'".replace("\\'", '"'), JSON)
    assert flatten(reading).values == {"a": "x"}
    for wrong in ("b'\\xff'", "b'\\xZZ'", "b'ä'"):
        with pytest.raises(DecodeError, match="not the bytes of a message as BEMCom writes them"):
            decode(wrong, JSON)
    with pytest.raises(DecodeError, match="no JSON"):
        decode("b'', [[1]], b''", JSON)


@pytest.mark.parametrize(
    "raw", [{"peer": "p"}, {"peer": "p", "hex": "zz"}, {"peer": "p", "hex": 5}, {"peer": "p", "text": None}]
)
def test_damaged_raw_messages(raw: JsonValue) -> None:
    with pytest.raises(DecodeError):
        decode(raw, JSON)


def test_recorded_text() -> None:
    assert list(raw_messages(["14 15 26\r\n", "\n", "98 3.8\n"])) == [
        {"peer": "", "text": "14 15 26"},
        {"peer": "", "text": "98 3.8"},
    ]
    lines = ["---\n", "a: 1\n", "b:\n", "  c: 2\n", "\n", "a: 2\n", "...\n", "a: 3"]
    assert [raw["text"] for raw in raw_messages(lines)] == ["a: 1\nb:\n  c: 2\n", "a: 2\n", "a: 3\n"]


def test_no_value_is_ever_a_number_that_is_none() -> None:
    for text in ('{"a": NaN}', '{"a": 1e999}'):
        assert all(value is None or math.isfinite(value) for value in values(text, JSON).values())


# -- lines of names and values -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("power=100 temp=21.5", {"power": 100, "temp": 21.5}),
        ("ct1:100,ct2:5", {"ct1": 100, "ct2": 5}),
        ("ct1: 100, ct2 : -5e-1\r\n", {"ct1": 100, "ct2": -0.5}),
        ("power=100;temp=21.5;", {"power": 100, "temp": 21.5}),
        ("power1=100&temp=21.5", {"power1": 100, "temp": 21.5}),
        ("{power1:100,power2:200}", {"power1": 100, "power2": 200}),  # emoncms' own short form
        ('state=on open=true n="a, b" "p 1"=5', {"state": "on", "open": True, "n": "a, b", "p 1": 5}),
        ("t=nan u=null v= w=1", {"t": None, "u": None, "v": None, "w": 1}),
        ("at=12:30 url=http://a/b?c", {"at": "12:30", "url": "http://a/b?c"}),
        ("temp=21.5C", {"temp": "21.5C"}),
    ],
)  # fmt: skip
def test_names_and_values(line: str, expected: dict[str, Any]) -> None:
    assert values(line, PAIRS) == expected


def test_names_and_values_with_a_separator_of_their_own() -> None:
    rules = Rules(parse_as="PAIRS", separator="|")
    assert values("outside temp = 21.5 | note: a b | t=1", rules) == {"outside temp": 21.5, "note": "a b", "t": 1}
    assert "is no name with a value" in refused("a=1|b", rules)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("", "an empty line"),
        ("power=100 temp", "'temp' is no name with a value"),
        ("power=100 =5", "'=5' is no name with a value"),
        ("t=21,5", "'5' is no name with a value"),
        ("a=1 a=2", "the key 'a' is there twice"),
        ("a=1\nb=2", "several lines in one message"),
        ('a="1', "is no name with a value"),
        ("x" * 501 + "=1", "is no name"),
        (" ".join(f"a{number}=1" for number in range(10_001)), "more than 10000 values"),
    ],
)
def test_names_and_values_that_are_refused(line: str, reason: str) -> None:
    assert reason in refused(line, PAIRS)


@given(st.text("ab=:,;& \"'1.{}", max_size=60))
def test_no_pair_is_invented(line: str) -> None:
    with contextlib.suppress(DecodeError):
        assert all(name in line for name in values(line, PAIRS))


@pytest.mark.parametrize("text", ['{"t":1},', '{"t":1} ,\r\n', ',{"t":1}', '{"t":1},\0'])
def test_json_with_the_comma_to_the_next_one(text: str) -> None:
    """Lines and datagrams of an array that never ends."""
    assert values(text, JSON) == {"t": 1}


@pytest.mark.parametrize("text", ['{"t":1},,', "21,", '{"t":1},{"t":2}', ","])
def test_json_with_other_commas_is_refused(text: str) -> None:
    assert "no JSON" in refused(text, JSON)


# -- encodings ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "rules", "expected"),
    [
        (b'{"room": "K\xfcche", "t": 21.5}', JSON, {"room": "K\ufffdche", "t": 21.5}),
        (b'{"a": "\xb0C"}', JSON, {"a": "\ufffdC"}),
        (b"a: \xff\nb: 1\n", YAML, {"a": "\ufffd", "b": 1}),
        (b"room=K\xfcche t=21.5", PAIRS, {"room": "K\ufffdche", "t": 21.5}),
        (b'{"room": "K\xfcche", "t": 21.5}', WINDOWS, {"room": "K\xfcche", "t": 21.5}),
        (b'{"p": "5 \x80"}', WINDOWS, {"p": "5 \u20ac"}),
        (b'{"p": "\x81"}', WINDOWS, {"p": "\ufffd"}),
        (b"room=K\xfcche", Rules(parse_as="PAIRS", encoding="iso8859-1"), {"room": "K\xfcche"}),
    ],
)  # fmt: skip
def test_text_in_another_encoding_costs_itself_alone(data: bytes, rules: Rules, expected: dict[str, Any]) -> None:
    assert values(data, rules) == expected
    kept = raw_message("192.168.0.7", data, encoding=rules.encoding)
    assert kept.get("hex", data.hex()) == data.hex(), "the raw message keeps every byte"


def test_what_is_replaced_is_counted() -> None:
    assert [replaced(data, "utf-8") for data in (b"abc", "ü".encode(), b"\xfc\xe4", b"K\xfcche")] == [0, 0, 2, 1]
    assert replaced(b"\xfc\x81", "cp1252") == 1
