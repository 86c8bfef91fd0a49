"""Bytes into lines."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from links.serial_splitter import Lines


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r", b"\n\r", b"\r\n\r\n"])
def test_every_usual_end_ends_a_line(end: bytes) -> None:
    assert Lines().feed(b"OK 10 1" + end + b"OK 11 2" + end) == [b"OK 10 1", b"OK 11 2"]


def test_a_line_that_comes_in_pieces() -> None:
    lines = Lines()
    assert lines.feed(b"OK 1") == []
    assert lines.feed(b"0 1\r") == [b"OK 10 1"]
    assert lines.feed(b"\nOK") == []
    assert lines.feed(b" 11 2\r\n") == [b"OK 11 2"]


def test_too_long_a_line_is_dropped_and_counted_and_the_next_is_good() -> None:
    lines = Lines(longest=10)
    assert lines.feed(b"x" * 8) == []
    assert lines.feed(b"x" * 8) == []
    assert lines.feed(b"x" * 8) == []
    assert lines.feed(b"xx\nOK\n") == [b"OK"]
    assert (lines.dropped_lines, lines.dropped_bytes) == (1, 26)


def test_too_long_a_line_in_one_piece() -> None:
    lines = Lines(longest=10)
    assert lines.feed(b"x" * 11 + b"\nabcdefghij\n") == [b"abcdefghij"]
    assert (lines.dropped_lines, lines.dropped_bytes) == (1, 11)


def test_joining_midway_drops_the_rest_of_a_line_only() -> None:
    lines = Lines(midway=True)
    assert lines.feed(b" 12 34") == []
    assert lines.feed(b" 5\r\nOK 1 2\r\n") == [b"OK 1 2"]
    assert (lines.dropped_lines, lines.dropped_bytes) == (0, 0)


@given(st.lists(st.binary(max_size=30), max_size=20), st.booleans())
def test_the_lines_do_not_depend_on_how_the_bytes_were_cut(pieces: list[bytes], midway: bool) -> None:
    at_once, in_pieces, byte_by_byte = (Lines(12, midway=midway) for _ in range(3))
    everything = b"".join(pieces)
    expected = at_once.feed(everything)
    assert [line for piece in pieces for line in in_pieces.feed(piece)] == expected
    assert [line for byte in everything for line in byte_by_byte.feed(bytes([byte]))] == expected
    assert all(0 < len(line) <= 12 and not {10, 13} & set(line) for line in expected)
    assert at_once.dropped_bytes == in_pieces.dropped_bytes == byte_by_byte.dropped_bytes
    assert at_once.dropped_lines == in_pieces.dropped_lines == byte_by_byte.dropped_lines
