"""Reading many ranges of one unit: neighbours in one request, what is too long in several.

Ranges are merged only where they touch or overlap, or where the registers between them may be read: a register between
two ranges may not exist, and a device then refuses the whole request.

Whatever a device does not like about a request, it is taken apart: a merged one between its ranges, a range at its own
cuts. What is found is remembered, and tried again now and then where it may have been chance.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from links.modbus import ModbusLink
from links.modbus_errors import ExceptionAnswer, ModbusError
from links.modbus_frames import BIT_METHODS, MOST_BITS, MOST_REGISTERS

# A unit that left this many requests of a poll in a row unanswered, and answered none, is not asked further.
_SILENT_REQUESTS = 2
# The same where a gateway speaks for it (10, 11), which may mean only that the request was too long.
_GATEWAY_REQUESTS = 4
# A device that was busy for so many requests, each asked several times, and gave nothing, is left alone until the next.
_BUSY_REQUESTS = 4
# Looking for what a unit does not answer costs a time-out each; so many at most in one poll.
_SILENT_SEARCHES = 8
# After so many polls it is tried again whether ranges can be read together (not where they were refused), and whether
# something in a range of which nothing could be read can be read now.
_FORGET_AFTER, _SEARCH_AFTER = 1000, 100

Words = list[int] | list[bool]


@dataclass(frozen=True, slots=True)
class Range:
    """Registers or bits that belong together.

    `cuts`: offsets at which two requests may share the work, None: anywhere. `gap`: how many registers before or behind
    it may be read with it though nobody asked for them. `every_s`: its own poll interval.
    """

    method: str
    address: int
    count: int
    cuts: frozenset[int] | None = None
    gap: int = 0
    every_s: float | None = None

    @property
    def end(self) -> int:
        return self.address + self.count

    def halves(self) -> tuple[Range, Range] | None:
        """The same in two, at the cut nearest to the middle; None when there is none."""
        cuts = range(1, self.count) if self.cuts is None else [cut for cut in self.cuts if 0 < cut < self.count]
        if not cuts:
            return None
        at = min(cuts, key=lambda cut: (abs(2 * cut - self.count), cut))
        left = right = None
        if self.cuts is not None:
            left = frozenset(cut for cut in self.cuts if cut < at)
            right = frozenset(cut - at for cut in self.cuts if cut > at)
        first = replace(self, count=at, cuts=left)
        return first, replace(self, address=self.address + at, count=self.count - at, cuts=right)


@dataclass(frozen=True, slots=True)
class Read:
    """What one step of a poll reads: one request for several ranges, or several requests for one range."""

    method: str
    address: int
    pieces: tuple[tuple[int, int], ...]
    ranges: tuple[Range, ...]

    def part(self, words: Words, wanted: Range) -> Words:
        """The words of one of the ranges."""
        start = wanted.address - self.address
        return words[start : start + wanted.count]


def plan(
    ranges: Iterable[Range],
    most_registers: int = MOST_REGISTERS,
    *,
    merge: bool = True,
    apart: Container[Range] = frozenset(),
) -> list[Read]:
    """The reads that cover `ranges`, in the order in which the ranges were given.

    A range in `apart` is not read together with what is before it.
    """
    ordered = list(ranges)
    groups: list[list[Range]] = []
    end = 0
    for following in sorted(ordered, key=lambda one: (one.method, one.address, one.count)):
        most = _most(following.method, most_registers)
        if merge and groups and following not in apart and _touches(groups[-1], end, following, most):
            groups[-1].append(following)
            end = max(end, following.end)
        else:
            groups.append([following])
            end = following.end
    position = {one: index for index, one in reversed(list(enumerate(ordered)))}
    groups.sort(key=lambda group: min(position[one] for one in group))
    return [_read(group, _most(group[0].method, most_registers)) for group in groups]


def _most(method: str, most_registers: int) -> int:
    return MOST_BITS if method in BIT_METHODS else most_registers


def _touches(group: Sequence[Range], end: int, following: Range, most: int) -> bool:
    first, last = group[0], group[-1]
    gap = min(last.gap, following.gap)
    is_near = first.method == following.method and following.address <= end + gap
    return is_near and max(end, following.end) - first.address <= most


def _read(group: Sequence[Range], most: int) -> Read:
    first, end = group[0], max(one.end for one in group)
    pieces: list[tuple[int, int]] = []
    start = first.address
    while end - start > most:
        length = most
        if first.cuts is not None:
            length = max((c for cut in first.cuts if 0 < (c := cut - (start - first.address)) <= most), default=most)
        pieces.append((start, length))
        start += length
    pieces.append((start, end - start))
    return Read(first.method, first.address, tuple(pieces), tuple(group))


@dataclass(slots=True)
class ReadResult:
    """What came back: words per range, the error per range that failed, and whether the unit gave a sign of life."""

    words: dict[Range, Words] = field(default_factory=dict)
    failures: dict[Range, ModbusError] = field(default_factory=dict)
    alive: bool = False


@dataclass(slots=True)
class _Attempt:
    """A read that is under way or failed; `parent` is the one of which it is a half."""

    read: Read
    parent: _Attempt | None = None
    refused: bool = False


class UnitReader:
    """Reads ranges of one unit, and learns which of them must not be read together, or not as a whole.

    Of a range that cannot be read as a whole, the parts that can be read are ranges of their own in the result.
    """

    def __init__(
        self,
        link: ModbusLink,
        unit: int,
        ranges: Sequence[Range],
        most_registers: int = MOST_REGISTERS,
        *,
        merge: bool = True,
    ) -> None:
        self.unit = unit
        self.ranges = tuple(ranges)
        self._link = link
        self._most_registers = most_registers
        self._merge = merge
        self._polls = 0
        # Each with the number of the poll in which it is forgotten.
        self._apart: dict[Range, float] = {}
        self._split: dict[Range, float] = {}
        self._hopeless: dict[Range, float] = {}
        self._silent: set[Range] = set()

    async def read(self, ranges: Sequence[Range] | None = None, *, is_there: bool = False) -> ReadResult:
        """Read `ranges` (default: all). Raises LinkDown alone; what failed is in the result.

        `is_there`: the unit has just answered, so silence is not that of a dead unit.
        """
        self._polls += 1
        attempts = deque(_Attempt(read) for read in self._plan(self.ranges if ranges is None else ranges))
        result = ReadResult()
        errors: dict[Range, ModbusError] = {}
        unanswered = busy = 0
        while attempts:
            attempt = attempts.popleft()
            read = attempt.read
            try:
                words = await self._words(read)
            except ModbusError as error:
                result.alive |= error.alive
                if not error.alive:
                    self._silent.update(read.ranges)
                    unanswered += 1
                attempt.refused = error.refused
                may_search = error.alive or unanswered < _SILENT_SEARCHES
                halves = self._halves(attempt) if may_search else []
                attempts.extendleft(reversed(halves))
                if len(read.ranges) == 1:
                    errors[read.ranges[0]] = error
                if not halves:
                    result.failures |= dict.fromkeys(read.ranges, error)
                    self._hopeless |= dict.fromkeys(read.ranges, self._polls + _SEARCH_AFTER)
                busy += isinstance(error, ExceptionAnswer) and (error.is_busy or error.is_acknowledged)
                limit = _GATEWAY_REQUESTS if isinstance(error, ExceptionAnswer) else _SILENT_REQUESTS
                is_dead = unanswered >= limit and not result.alive and not is_there
                if is_dead or (busy >= _BUSY_REQUESTS and not result.words):
                    result.failures |= {one: error for rest in attempts for one in rest.read.ranges}
                    break
            else:
                result.alive = True
                self._silent.difference_update(read.ranges)
                for one in read.ranges:
                    self._hopeless.pop(one, None)
                self._learn_from(attempt)
                result.words |= {one: read.part(words, one) for one in read.ranges}
        return self._summed_up(result, errors)

    def _plan(self, ranges: Sequence[Range]) -> list[Read]:
        for memory in (self._apart, self._split, self._hopeless):
            for one in [one for one, until in memory.items() if until <= self._polls]:
                del memory[one]
        parts = [part for one in ranges for part in self._parts(one)]
        reads = plan(parts, self._most_registers, merge=self._merge, apart=self._apart)
        # Registers that a device passes over in silence must not hide the living ones behind them.
        return sorted(reads, key=lambda read: not self._silent.isdisjoint(read.ranges))

    def _parts(self, one: Range) -> list[Range]:
        halves = one.halves() if one in self._split else None
        return [one] if halves is None else [part for half in halves for part in self._parts(half)]

    def _halves(self, attempt: _Attempt) -> list[_Attempt]:
        """What is tried instead of a read that failed; nothing where that is known to be in vain."""
        ranges = attempt.read.ranges
        if all(one in self._hopeless for one in ranges):
            return []
        if len(ranges) > 1:
            half = len(ranges) // 2
            parts: list[Sequence[Range]] = [ranges[:half], ranges[half:]]
        else:
            parts = [[part] for part in ranges[0].halves() or ()]
        most = _most(attempt.read.method, self._most_registers)
        return [_Attempt(_read(part, most), attempt) for part in parts]

    def _learn_from(self, success: _Attempt) -> None:
        """A part could be read, and what it is a part of could not: so it stays."""
        attempt = success.parent
        while attempt is not None:
            until = math.inf if attempt.refused else self._polls + _FORGET_AFTER
            ranges = attempt.read.ranges
            if len(ranges) > 1:
                self._apart.setdefault(ranges[len(ranges) // 2], until)
            elif (halves := ranges[0].halves()) is not None:
                self._split.setdefault(ranges[0], until)
                self._apart.setdefault(halves[1], until)
            attempt = attempt.parent

    def _summed_up(self, result: ReadResult, errors: Mapping[Range, ModbusError]) -> ReadResult:
        """A range of which no part could be read failed as a whole."""
        for one in self.ranges:
            if one in result.words or one in result.failures:
                continue
            parts = [part for part in result.failures if _is_part(part, one)]
            if parts and one not in self._split and not any(_is_part(part, one) for part in result.words):
                error = errors.get(one, result.failures[parts[0]])
                for part in parts:
                    if part not in self.ranges:
                        del result.failures[part]
                result.failures[one] = error
                self._hopeless[one] = self._polls + _SEARCH_AFTER
        return result

    async def _words(self, read: Read) -> Words:
        words: list[int | bool] = []
        for address, count in read.pieces:
            words += await self._link.read(read.method, self.unit, address, count)
        return words


def _is_part(part: Range, one: Range) -> bool:
    return part.method == one.method and one.address <= part.address and part.end <= one.end
