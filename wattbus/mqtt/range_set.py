"""Sets of whole numbers kept as ranges: what was given, what arrived, what is missing."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator


class RangeSet:
    """A set of integers stored as sorted, disjoint, non-adjacent inclusive ranges.

    Sequence numbers arrive nearly in order, so the set is short however many numbers it holds.
    """

    __slots__ = ("_ends", "_starts")

    def __init__(self, ranges: Iterable[tuple[int, int]] = ()) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []
        for first, last in ranges:
            self.add(first, last)

    def add(self, first: int, last: int | None = None) -> None:
        """Add `first` … `last`, both included; an empty range (last < first) adds nothing."""
        last = first if last is None else last
        if last < first:
            return
        if self._ends and first == self._ends[-1] + 1:  # the usual case: the next number
            self._ends[-1] = last
            return
        low = bisect_left(self._ends, first - 1)
        high = bisect_right(self._starts, last + 1)
        if low < high:
            first = min(first, self._starts[low])
            last = max(last, self._ends[high - 1])
        self._starts[low:high] = [first]
        self._ends[low:high] = [last]

    def remove(self, first: int, last: int | None = None) -> None:
        """Take `first` … `last`, both included, out of the set."""
        last = first if last is None else last
        if last < first:
            return
        low = bisect_left(self._ends, first)
        high = bisect_right(self._starts, last)
        if low >= high:
            return
        left, right = (self._starts[low], first - 1), (last + 1, self._ends[high - 1])
        kept = [piece for piece in (left, right) if piece[0] <= piece[1]]
        self._starts[low:high] = [piece[0] for piece in kept]
        self._ends[low:high] = [piece[1] for piece in kept]

    def __contains__(self, number: int) -> bool:
        index = bisect_left(self._ends, number)
        return index < len(self._starts) and self._starts[index] <= number

    def ranges(self) -> list[tuple[int, int]]:
        """The ranges in rising order, both ends included."""
        return list(zip(self._starts, self._ends, strict=True))

    def gaps(self, first: int, last: int) -> list[tuple[int, int]]:
        """What of `first` … `last` is not in the set."""
        missing = RangeSet([(first, last)])
        for start, end in self.within(first, last):
            missing.remove(start, end)
        return missing.ranges()

    def within(self, first: int, last: int) -> list[tuple[int, int]]:
        """What of `first` … `last` is in the set."""
        if last < first:
            return []
        low, high = bisect_left(self._ends, first), bisect_right(self._starts, last)
        return [(max(self._starts[i], first), min(self._ends[i], last)) for i in range(low, high)]

    def copy(self) -> RangeSet:
        """Another set with the same numbers."""
        return RangeSet(self.ranges())

    @property
    def first(self) -> int | None:
        """The smallest number, None when there is none."""
        return self._starts[0] if self._starts else None

    @property
    def last(self) -> int | None:
        """The largest number, None when there is none."""
        return self._ends[-1] if self._ends else None

    def __iter__(self) -> Iterator[int]:
        for start, end in self.ranges():
            yield from range(start, end + 1)

    def __len__(self) -> int:
        return sum(self._ends) - sum(self._starts) + len(self._starts)

    def __bool__(self) -> bool:
        return bool(self._starts)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RangeSet) and self.ranges() == other.ranges()

    __hash__ = None  # type: ignore[assignment]  # mutable

    def __repr__(self) -> str:
        return f"RangeSet({self.ranges()})"
