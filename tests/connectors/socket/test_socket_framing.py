"""However a stream is split and whatever is done to it: whole messages come out whole, everything else is counted."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from connectors.socket.framing import (
    Framing,
    JsonFraming,
    LengthFraming,
    LineFraming,
    PauseFraming,
    Piece,
    YamlFraming,
)

LIMIT = 200
FRAMINGS: dict[str, Callable[[], Framing]] = {
    "line": lambda: LineFraming(LIMIT),
    "length": lambda: LengthFraming(LIMIT, size=2),
    "json": lambda: JsonFraming(LIMIT),
    "yaml": lambda: YamlFraming(LIMIT),
    "pause": lambda: PauseFraming(LIMIT),
}


def messages(pieces: list[Piece]) -> list[bytes]:
    return [piece.data for piece in pieces if not piece.fault]


def faults(pieces: list[Piece]) -> list[str]:
    return [piece.fault for piece in pieces if piece.fault]


def shreds(data: bytes, cuts: list[int]) -> list[bytes]:
    """The data, cut at these places."""
    places = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[start:end] for start, end in pairwise(places)]


def run(framing: Framing, *chunks: bytes) -> list[Piece]:
    return [piece for chunk in chunks for piece in framing.feed(chunk)] + framing.end()


def told(pieces: list[Piece]) -> tuple[list[bytes], list[tuple[bytes, str]]]:
    """What came out, without the order of messages and evidence among each other: evidence may come earlier."""
    return messages(pieces), [(piece.data, piece.fault) for piece in pieces if piece.fault]


# -- any stream, split anywhere ----------------------------------------------------------------------------------------

CUTS = st.lists(st.integers(0, 5000), max_size=12)
BITS = st.sampled_from([
    b"14 15 26\r\n", b"\r", b"\n", b"{", b"}", b"[", b"]", b'"', b'"a"', b":", b",", b"1", b"-2.5e3", b"true", b"NaN",
    b"\\", b"\\u00e4", b"\\n", b" ", b"\xc3\xa4", b"\xff", b"\x00", b"\x1e", b"\x00\x03abc", b'{"a":1}', b"[1,2]",
    b"---\n", b"--- ", b"...\n", b"- ", b"a: 1\n", b"  b: 2\n", b"# c\n", b"%YAML 1.2\n", b"\xef\xbb\xbf",
    b"x" * 90, b"x" * 250, b"nul",
])  # fmt: skip
NOISE = st.lists(BITS | st.binary(max_size=6), max_size=30).map(b"".join)


@pytest.mark.parametrize("name", FRAMINGS)
@given(data=NOISE, cuts=CUTS)
@example(data=b"[" + b"x" * 250 + b"14 15 26\r\n", cuts=[201])
@example(data=b"{}\n,[1],\n", cuts=[3, 4, 8])
def test_no_split_changes_anything(name: str, data: bytes, cuts: list[int]) -> None:
    whole, shredded, bytewise = FRAMINGS[name](), FRAMINGS[name](), FRAMINGS[name]()
    expected = told(run(whole, data))
    assert told(run(shredded, *shreds(data, cuts))) == expected
    assert told(run(bytewise, *(data[index : index + 1] for index in range(len(data))))) == expected
    assert whole.dropped == shredded.dropped == bytewise.dropped


@pytest.mark.parametrize("name", FRAMINGS)
@given(data=NOISE)
def test_nothing_is_kept_that_is_too_long(name: str, data: bytes) -> None:
    framing = FRAMINGS[name]()
    assert all(len(piece.data) <= LIMIT for piece in run(framing, data))
    assert framing.dropped <= len(data)


@pytest.mark.parametrize("name", FRAMINGS)
@given(parts=st.lists(st.none() | BITS | st.binary(max_size=6), max_size=40))
def test_each_byte_is_in_one_message_or_in_none_also_with_pauses(name: str, parts: list[bytes | None]) -> None:
    framing = FRAMINGS[name]()
    pieces: list[Piece] = []
    for part in parts:
        pieces += framing.pause() if part is None else framing.feed(part)
    pieces += framing.end()
    data = b"".join(part for part in parts if part)
    assert all(message and message in data and len(message) <= LIMIT for message in messages(pieces))
    assert sum(map(len, messages(pieces))) + framing.dropped <= len(data)


@pytest.mark.parametrize("name", FRAMINGS)
def test_endless_nonsense_is_told_once_and_held_no_longer(name: str) -> None:
    framing = FRAMINGS[name]()
    told_while_it_went_on = [piece for _ in range(2000) for piece in framing.feed(b"\xfe" * 50)]
    assert len(faults(told_while_it_went_on)) == 1
    assert framing.end() == []
    assert framing.dropped >= 100_000 - LIMIT


# -- lines -------------------------------------------------------------------------------------------------------------


def test_lines_end_in_cr_lf_or_both() -> None:
    assert run(LineFraming(50), b"a\r\nb\nc\rd\r\n\r\n \n\0e\0\n") == [
        Piece(line) for line in (b"a", b"b", b"c", b"d", b"e")
    ]


def test_a_line_that_the_end_cuts_is_no_message_but_a_datagram_needs_no_line_end() -> None:
    framing = LineFraming(50)
    assert framing.feed(b"14 15 26\r\n14 15 2") == [Piece(b"14 15 26")]
    assert framing.end() == [Piece(b"14 15 2", "cut: the connection ended inside a message")]
    assert framing.dropped == 7
    datagram = LineFraming(50)
    assert datagram.feed(b"14 15 26") + datagram.end(whole=True) == [Piece(b"14 15 26")]


def test_a_line_of_exactly_the_limit_is_taken_and_a_longer_one_costs_itself_alone() -> None:
    framing = LineFraming(10)
    pieces = framing.feed(b"a" * 10 + b"\n" + b"b" * 11 + b"\nok\n")
    assert pieces == [Piece(b"a" * 10), Piece(b"b" * 10, "longer than 10 bytes (RECV_BUFSIZE)"), Piece(b"ok")]
    assert framing.dropped == 11


def test_who_joins_midway_begins_with_the_second_line() -> None:
    framing = LineFraming(50, midway=True)
    assert run(framing, b"5 26\r\n14 15 26\r\n") == [Piece(b"14 15 26")]
    assert framing.dropped == 0


# -- lengths -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 2, 4])
@pytest.mark.parametrize("order", ["big", "little"])
@given(texts=st.lists(st.text("abc{}12 \r\n", max_size=100)), cuts=CUTS)
def test_lengths_in_front(size: Any, order: Any, texts: list[str], cuts: list[int]) -> None:
    data = b"".join(len(text).to_bytes(size, order) + text.encode() for text in texts)
    framing = LengthFraming(LIMIT, size=size, order=order)
    assert run(framing, *shreds(data, cuts)) == [Piece(text.encode()) for text in texts if text]


def test_a_message_that_is_too_long_is_skipped_by_its_length() -> None:
    framing = LengthFraming(10, size=1)
    assert run(framing, b"\x0b" + b"x" * 11 + b"\x02ok") == [
        Piece(b"\x0b" + b"x" * 9, "longer than 10 bytes (RECV_BUFSIZE)"),
        Piece(b"ok"),
    ]


@pytest.mark.parametrize("noise", [b"\xff\xff\xff\xff", b"\x00\x00\x00\x04a\x00\x00b", b"\x00\x00\x00\x02\xff\xff"])
def test_a_lost_place_in_the_stream_is_found_again_when_the_sender_pauses(noise: bytes) -> None:
    message = b"\x00\x00\x00\x02ok"
    framing = LengthFraming(100, pause_s=0.3)
    assert framing.feed(message) == [Piece(b"ok")]
    assert framing.pause_s is None
    assert messages(framing.feed(noise + message)) == []
    assert framing.pause_s == 0.3
    assert faults(framing.pause()) != []
    assert framing.feed(message) == [Piece(b"ok")]
    assert framing.dropped == len(noise + message)


def test_a_long_pause_inside_a_message_ends_it() -> None:
    framing = LengthFraming(10_000, size=2, pause_s=0.3)
    assert framing.feed(b"\x00\x05ab") == []
    assert framing.pause_s == 3
    assert faults(framing.pause()) == ["cut: the sender paused inside a message"]
    assert framing.pause_s is None
    assert framing.feed(b"\xff\xff\x00\x02ok") == []  # a length that is believed, and wrong
    assert faults(framing.pause()) == ["longer than 10000 bytes (RECV_BUFSIZE)"]
    assert framing.feed(b"\x00\x02ok") == [Piece(b"ok")]


# -- JSON --------------------------------------------------------------------------------------------------------------

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="{}[]"), max_size=8)
LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT
NESTED = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=2), max_leaves=6
)
TREES = st.dictionaries(TEXT, NESTED, max_size=3)
WRITTEN = st.builds(
    lambda tree, ascii_only, indent: json.dumps(tree, ensure_ascii=ascii_only, indent=indent).encode(),
    TREES | st.lists(LEAVES, max_size=4),
    st.booleans(),
    st.sampled_from([None, 1, 4]),
)
BETWEEN = st.sampled_from([b"", b" ", b"\n", b"\r\n", b"\0", b"\x1e", b"\t\n ", b",\n", b" ,\r\n", b"\n,"])


@given(texts=st.lists(WRITTEN, min_size=1, max_size=6), between=BETWEEN, cuts=CUTS)
def test_objects_and_arrays_one_after_another(texts: list[bytes], between: bytes, cuts: list[int]) -> None:
    framing = JsonFraming(100_000)
    assert run(framing, *shreds(between.join(texts) + between, cuts)) == [Piece(text) for text in texts]
    assert framing.dropped == 0


@given(
    texts=st.lists(WRITTEN, min_size=4, max_size=8),
    between=st.sampled_from([b"\n", b"\r\n"]),
    start=st.integers(0, 10_000),
    length=st.integers(0, 300),
    noise=st.binary(max_size=5),
)
def test_a_hole_costs_the_messages_it_touches_and_gives_no_part_of_one(
    texts: list[bytes], between: bytes, start: int, length: int, noise: bytes
) -> None:
    """Bytes are missing, or others stand in their place. What lies a whole message behind is heard again."""
    data = b"".join(text + between for text in texts)
    start %= len(data)
    end = min(len(data), start + length)
    found = messages(run(JsonFraming(100_000), data[:start] + noise + data[end:]))
    ends = [sum(len(text) + len(between) for text in texts[: index + 1]) for index in range(len(texts))]
    before = [text for text, its_end in zip(texts, ends, strict=True) if its_end - len(between) <= start]
    behind = [text for text, its_end in zip(texts, ends, strict=True) if its_end - len(text) - len(between) >= end]
    assert found[: len(before)] == before
    strange = [message for message in found[len(before) :] if message not in behind]
    assert len(strange) <= 1 + len(noise)  # what the splice itself, or the noise, made: at most one message each
    # The first one behind the hole may be glued to what is left of the damaged one.
    assert found[len(found) - len(behind[1:]) :] == behind[1:]


@given(
    texts=st.lists(WRITTEN, min_size=5, max_size=9),
    start=st.integers(0, 10_000),
    length=st.integers(0, 300),
)
def test_a_hole_between_messages_with_commas(texts: list[bytes], start: int, length: int) -> None:
    """Once a comma was between two of them; the next message begins at the beginning of a line."""
    data = b"".join(text + b",\n" for text in texts)
    first = len(texts[0]) + len(texts[1]) + 4
    start = first + start % (len(data) - first)
    end = min(len(data), start + length)
    found = messages(run(JsonFraming(100_000), data[:start] + data[end:]))
    ends = [sum(len(text) + 2 for text in texts[: index + 1]) for index in range(len(texts))]
    behind = [text for text, its_end in zip(texts, ends, strict=True) if its_end - len(text) - 2 >= end]
    assert found[:2] == texts[:2]
    assert found[len(found) - len(behind[1:]) :] == behind[1:]
    assert len([message for message in found if message not in texts]) <= 1


ELEMENTS = [b'{"t":1}', b'{"t":2}', b'{"t":{"u":[3,\n{"v":4}]}}']


@pytest.mark.parametrize(
    ("opening", "between"), [(b"[\n", b",\n"), (b"[", b",\r\n"), (b"[\n  ", b",\n  "), (b"[", b"\n,")]
)
def test_an_array_that_never_ends_gives_its_elements(opening: bytes, between: bytes) -> None:
    framing = JsonFraming(1000, pause_s=0.3)
    behind = between if between.endswith(b"\n") else b"\n"
    assert framing.feed(opening + ELEMENTS[0][:3]) == []
    assert framing.pause_s is None
    assert framing.feed(ELEMENTS[0][3:] + behind) == []
    assert framing.pause_s == 0.3, "nothing else tells that it will not end"
    assert framing.pause() == [Piece(ELEMENTS[0])]
    rest = between.join(ELEMENTS[1:]) if behind == between else between[1:] + between.join(ELEMENTS[1:])
    assert framing.feed(rest + behind) == [Piece(element) for element in ELEMENTS[1:]]
    assert framing.feed(b'{"t":5, oh' + b',\n{"t":6}')[-1] == Piece(b'{"t":6}'), "damage costs one"
    assert framing.feed(b']\n[{"t":7},\n{"t":8}]')[-1] == Piece(b'[{"t":7},\n{"t":8}]'), "it ended after all"


def test_an_array_that_never_ends_nor_pauses_gives_its_elements_when_it_is_too_long() -> None:
    text = b"[\n" + b",\n".join(b'{"t":%d}' % number for number in range(100))
    assert messages(JsonFraming(100).feed(text + b",")) == [b'{"t":%d}' % number for number in range(100)]


def test_an_array_in_pieces_is_one_message() -> None:
    framing = JsonFraming(1000, pause_s=0.3)
    assert framing.feed(b'[{"t": 1}, ') + framing.pause() + framing.feed(b'{"t": 2},') + framing.pause() == []
    assert framing.pause_s is None, "not at the end of a line"
    assert framing.feed(b'{"t": 3}]') == [Piece(b'[{"t": 1}, {"t": 2},{"t": 3}]')]
    assert framing.feed(b'[{"t": 1},\n') + framing.pause() == [], "this sender's arrays end"
    assert framing.pause_s is None


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b'{"t":1},\n{"t":2},\n', [b'{"t":1}', b'{"t":2}']),
        (b'{"t":1}\n,{"t":2}\n,', [b'{"t":1}', b'{"t":2}']),
        (b"[1],\n[2]", [b"[1]", b"[2]"]),
    ],
)
def test_commas_between_messages(data: bytes, expected: list[bytes]) -> None:
    framing = JsonFraming(1000)
    assert run(framing, data) == [Piece(text) for text in expected]
    assert framing.dropped == 0


def test_a_comma_in_a_line_may_be_what_a_hole_left_of_an_array() -> None:
    pieces = run(JsonFraming(1000), b'[{"t":1}], [], []]\n[{"t":2}]')
    assert messages(pieces) == [b'[{"t":1}]', b'[{"t":2}]']
    assert faults(pieces) == ["noise between messages"]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b'{"a": {"b": 1, {"a": {"b": 2}}\n{"a": {"b": 3}}', [b'{"a": {"b": 3}}']),
        (b'{"a": [1, 2{"a": [3]}{"a": [4]}', [b'{"a": [4]}']),
        (b'"b": {"c": 1}, "d": 2}{"b": {"c": 3}}', [b'{"b": {"c": 3}}']),
        (b'": {"c": 1}, "d": 2}\n{"b": {"c": 3}}', [b'{"b": {"c": 3}}']),
        (b'{"a": 1, "b\n{"a": 2}\n', [b'{"a": 2}']),
        (b'{"a": "x\\q"}\n{"a": 2}', [b'{"a": 2}']),
        (b'{"a": 01}\n{"a": 2}', [b'{"a": 2}']),
        (b'{"a" 1}\n{"a": 2}', [b'{"a": 2}']),
        (b'{"a": 1,}\n{"a": 2}', [b'{"a": 2}']),
        (b'{"a": tru}\n{"a": 2}', [b'{"a": 2}']),
        (b'{"a": 1]\n{"a": 2}', [b'{"a": 2}']),
        (b'[1 2]\n{"a": 2}', [b'{"a": 2}']),
        (b'hello\n{"a": 2}', [b'{"a": 2}']),
        (b'21.5\n"text"\n{"a": 2}', [b'{"a": 2}']),
        (b"[" * 65 + b'\n\n}\n{"a": 2}', [b'{"a": 2}']),
        (b'{"n": 1' + b"0" * 500 + b'}\n{"a": 2}', [b'{"a": 2}']),
    ],
)  # fmt: skip
def test_damage_is_noticed_where_it_is(data: bytes, expected: list[bytes]) -> None:
    pieces = run(JsonFraming(1000), data)
    assert messages(pieces) == expected
    assert len(faults(pieces)) == 1


def test_strings_may_hold_anything() -> None:
    text = b'{"s": "}{ \\" ] \\\\", "u": "\xf0\x9f\x94\x8b\\u20ac"}'
    assert run(JsonFraming(100), text + text) == [Piece(text), Piece(text)]


def test_python_writes_nan_and_infinity() -> None:
    text = json.dumps({"a": float("nan"), "b": [float("inf"), float("-inf")]}).encode()
    assert run(JsonFraming(100), text) == [Piece(text)]


def test_white_space_without_end_is_not_kept() -> None:
    framing = JsonFraming(100)
    assert framing.feed(b"noise") == []
    for _ in range(1000):
        framing.feed(b" \n" * 50)
    assert messages(framing.feed(b'{"a": 1}')) == [b'{"a": 1}']
    assert len(framing._buffer) < 2000


# -- YAML --------------------------------------------------------------------------------------------------------------

YAML_TREES = st.dictionaries(st.text("abcd", min_size=1, max_size=4), LEAVES | st.lists(LEAVES), min_size=1, max_size=4)


@given(trees=st.lists(YAML_TREES, max_size=5), cuts=CUTS, ended=st.booleans())
def test_yaml_documents_with_markers(trees: list[Any], cuts: list[int], ended: bool) -> None:
    """Written by PyYAML, read by PyYAML."""
    data = yaml.safe_dump_all(trees, explicit_start=True, explicit_end=ended, allow_unicode=True).encode()
    framing = YamlFraming(100_000)
    found = messages(run(framing, *shreds(data, cuts)))
    expected = [yaml.safe_load(document) for document in found]
    assert repr(expected) == repr(list(yaml.safe_load_all(data)))
    assert len(found) == len(trees)
    assert framing.dropped == 0


def test_a_pause_behind_a_complete_line_ends_a_document() -> None:
    framing = YamlFraming(100, pause_s=0.3)
    assert framing.pause_s is None
    assert framing.feed(b"dummy_dp:\n  sensor_1: 2.0\n") == []
    assert framing.pause_s == 0.3
    assert framing.pause() == [Piece(b"dummy_dp:\n  sensor_1: 2.0\n")]
    assert framing.pause_s is None
    assert framing.feed(b"{a: 1}") == []
    assert framing.pause() == [Piece(b"{a: 1}")]


def test_a_pause_inside_a_line_ends_nothing() -> None:
    framing = YamlFraming(100, pause_s=0.3)
    assert framing.feed(b"a: 1\nb: 2") == []
    assert [framing.pause() for _ in range(9)] == [[]] * 9
    assert framing.feed(b"3\n") == []
    assert framing.pause() == [Piece(b"a: 1\nb: 23\n")]


def test_a_line_that_never_ends_is_dropped_with_a_hint() -> None:
    framing = YamlFraming(100, pause_s=0.3)
    framing.feed(b"a: 1")
    pieces = [piece for _ in range(10) for piece in framing.pause()]
    assert pieces == [Piece(b"a: 1", "no line end within 3 s: cut? SOCKET_FRAMING=pause takes messages without one")]


def test_the_rest_of_a_torn_document_is_no_document() -> None:
    framing = YamlFraming(100)
    framing.feed(b"  temp: 3\nother: 4\n")
    assert faults(framing.pause()) == ["begins with an indented line: the rest of another document"]
    assert run(YamlFraming(100), b"---\n  temp: 3\n") == [Piece(b"---\n  temp: 3\n")]


def test_comments_and_directives_are_no_document() -> None:
    data = b"# hello\n\n---\n# nothing\n---\na: 1\n...\n%YAML 1.2\n---\na: 2\n"
    assert run(YamlFraming(100), data) == [Piece(b"---\na: 1\n"), Piece(b"---\na: 2\n")]


def test_without_pauses_only_markers_end_a_document() -> None:
    framing = YamlFraming(100, pause_s=0)
    assert framing.feed(b"a: 1\n") == []
    assert framing.pause_s is None
    assert framing.feed(b"---\na: 2\n") == [Piece(b"a: 1\n")]


@pytest.mark.parametrize("long", [b"a: " + b"x" * 60 + b"\n", b"a: 1\n" * 13])
def test_a_document_that_is_too_long_costs_itself_alone(long: bytes) -> None:
    pieces = run(YamlFraming(50), long + b"b: 1\n---\na: 2\n")
    assert [piece.fault for piece in pieces] == ["longer than 50 bytes (RECV_BUFSIZE)", ""]
    assert pieces[1].data == b"---\na: 2\n"


def test_a_document_that_is_too_long_leaves_nothing_behind_its_marker() -> None:
    framing = YamlFraming(50)
    assert faults(framing.feed(b"--- " + b"x" * 60 + b"\n") + framing.pause()) == [
        "longer than 50 bytes (RECV_BUFSIZE)"
    ]
    assert framing.pause() == []
    assert framing.pause_s is None
    assert run(framing, b"a: 1\n") == [Piece(b"a: 1\n")]


# -- pauses ------------------------------------------------------------------------------------------------------------


def test_whatever_came_until_the_pause_is_a_message() -> None:
    framing = PauseFraming(20, pause_s=0.3)
    assert framing.pause_s is None
    assert framing.feed(b"a: ") + framing.feed(b"1") == []
    assert framing.pause_s == 0.3
    assert framing.pause() == [Piece(b"a: 1")]
    assert faults(framing.feed(b"x" * 21) + framing.feed(b"x") + framing.pause()) == [
        "longer than 20 bytes (RECV_BUFSIZE)"
    ]
    framing.feed(b"a: 2")
    assert framing.end(closed=True) == [Piece(b"a: 2")]


def test_what_is_torn_before_the_pause_is_no_message() -> None:
    framing = PauseFraming(LIMIT)
    framing.feed(b"14 15 2")
    assert framing.end() == [Piece(b"14 15 2", "cut: the connection ended inside a message")]
    assert framing.dropped == 7


@pytest.mark.parametrize("name", ["json", "length", "yaml", "pause"])
def test_who_joins_midway_waits_for_a_boundary(name: str) -> None:
    joined: dict[str, Framing] = {
        "json": JsonFraming(100, midway=True),
        "length": LengthFraming(100, size=1, midway=True),
        "yaml": YamlFraming(100, midway=True),
        "pause": PauseFraming(100, midway=True),
    }
    message = {"json": b'{"a": 1}\n', "length": b"\x02ok", "yaml": b"a: 1\n", "pause": b"a"}[name]
    framing = joined[name]
    pieces = framing.feed(b'": 2}' + message)
    if name != "json":
        pieces += framing.pause()
    assert pieces == ([Piece(b'{"a": 1}')] if name == "json" else [])
    assert len(messages(framing.feed(message) + framing.end(closed=True))) == 1
    assert framing.dropped == 0
