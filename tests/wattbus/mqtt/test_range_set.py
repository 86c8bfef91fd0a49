"""Sets of ranges against Python's own sets."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from wattbus.mqtt.range_set import RangeSet

NUMBERS = st.integers(0, 40)
PIECES = st.tuples(NUMBERS, NUMBERS)  # a quarter of them is empty: last < first
STEPS = st.lists(st.tuples(st.booleans(), PIECES), max_size=30)


def naive(piece: tuple[int, int]) -> set[int]:
    return set(range(piece[0], piece[1] + 1))


def built(steps: list[tuple[bool, tuple[int, int]]]) -> tuple[RangeSet, set[int]]:
    ranges, numbers = RangeSet(), set[int]()
    for adds, piece in steps:
        if adds:
            ranges.add(*piece)
            numbers |= naive(piece)
        else:
            ranges.remove(*piece)
            numbers -= naive(piece)
    return ranges, numbers


@given(STEPS)
def test_holds_the_same_numbers_as_a_set(steps: list[tuple[bool, tuple[int, int]]]) -> None:
    ranges, numbers = built(steps)
    assert list(ranges) == sorted(numbers)
    assert len(ranges) == len(numbers)
    assert bool(ranges) == bool(numbers)
    assert (ranges.first, ranges.last) == (min(numbers, default=None), max(numbers, default=None))
    assert [number in ranges for number in range(-1, 43)] == [number in numbers for number in range(-1, 43)]


@given(STEPS)
def test_stays_as_short_as_possible(steps: list[tuple[bool, tuple[int, int]]]) -> None:
    pieces = built(steps)[0].ranges()
    assert all(first <= last for first, last in pieces)
    assert all(before[1] + 1 < after[0] for before, after in pairwise(pieces))


@given(STEPS, PIECES)
def test_within_and_gaps_divide_a_span(steps: list[tuple[bool, tuple[int, int]]], span: tuple[int, int]) -> None:
    ranges, numbers = built(steps)
    within, gaps = ranges.within(*span), ranges.gaps(*span)
    assert all(first <= last for first, last in [*within, *gaps])
    assert [number for piece in within for number in sorted(naive(piece))] == sorted(naive(span) & numbers)
    assert [number for piece in gaps for number in sorted(naive(piece))] == sorted(naive(span) - numbers)


@given(STEPS, PIECES)
def test_a_copy_is_equal_and_its_own(steps: list[tuple[bool, tuple[int, int]]], piece: tuple[int, int]) -> None:
    ranges, numbers = built(steps)
    copy = ranges.copy()
    assert copy == ranges
    copy.add(*piece)
    assert list(ranges) == sorted(numbers)
    assert (copy == ranges) == (naive(piece) <= numbers)


def test_one_number_is_a_range_too() -> None:
    assert repr(RangeSet([(3, 3), (1, 2), (7, 7)])) == "RangeSet([(1, 3), (7, 7)])"
