"""Reading many ranges of one unit: neighbours in one request, what is too long in several.

Ranges are merged only where they touch or overlap: a register between two ranges may not exist, and a device then
refuses the whole request.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from links.modbus import ModbusLink
from links.modbus_errors import ModbusError
from links.modbus_frames import BIT_METHODS, MOST_BITS, MOST_REGISTERS

# A unit that left this many requests of a poll in a row unanswered, and answered none, is not asked further.
_SILENT_REQUESTS = 2

Words = list[int] | list[bool]


@dataclass(frozen=True, slots=True)
class Range:
    """Registers or bits that belong together. `cuts`: offsets at which two requests may share the work."""

    method: str
    address: int
    count: int
    cuts: frozenset[int] | None = None

    @property
    def end(self) -> int:
        return self.address + self.count


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


def plan(ranges: Iterable[Range], most_registers: int = MOST_REGISTERS, *, merge: bool = True) -> list[Read]:
    """The reads that cover `ranges`, in the order in which the ranges were given."""
    ordered = list(ranges)
    groups: list[list[Range]] = []
    for following in sorted(ordered, key=lambda one: (one.method, one.address, one.count)):
        if merge and groups and _touches(groups[-1], following, _most(following.method, most_registers)):
            groups[-1].append(following)
        else:
            groups.append([following])
    position = {one: index for index, one in reversed(list(enumerate(ordered)))}
    groups.sort(key=lambda group: min(position[one] for one in group))
    return [_read(group, _most(group[0].method, most_registers)) for group in groups]


def _most(method: str, most_registers: int) -> int:
    return MOST_BITS if method in BIT_METHODS else most_registers


def _touches(group: Sequence[Range], following: Range, most: int) -> bool:
    start, end = group[0].address, max(one.end for one in group)
    return group[0].method == following.method and following.address <= end and max(end, following.end) - start <= most


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


class UnitReader:
    """Reads ranges of one unit, and learns which of them must not be read together."""

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
        self._apart: set[Range] = set()
        self._silent: set[Range] = set()

    async def read(self, ranges: Sequence[Range] | None = None) -> ReadResult:
        """Read `ranges` (default: all). Raises LinkDown alone; what failed is in the result."""
        reads = deque(self._plan(self.ranges if ranges is None else ranges))
        result = ReadResult()
        unanswered = 0
        while reads:
            read = reads.popleft()
            try:
                words = await self._words(read)
            except ModbusError as error:
                result.alive |= error.alive
                if not error.alive:
                    self._silent.update(read.ranges)
                if len(read.ranges) > 1 and self._is_no_unit(error, result):
                    self._apart.update(read.ranges)
                    if error.refused:
                        reads.extendleft(reversed(plan(read.ranges, self._most_registers, merge=False)))
                        continue
                result.failures |= dict.fromkeys(read.ranges, error)
                unanswered += not error.alive
                if unanswered >= _SILENT_REQUESTS and not result.alive:
                    result.failures |= {one: error for rest in reads for one in rest.ranges}
                    break
            else:
                result.alive = True
                self._silent.difference_update(read.ranges)
                result.words |= {one: read.part(words, one) for one in read.ranges}
        return result

    def _plan(self, ranges: Sequence[Range]) -> list[Read]:
        together = [one for one in ranges if one not in self._apart]
        apart = [one for one in ranges if one in self._apart]
        reads = [
            *plan(together, self._most_registers, merge=self._merge),
            *plan(apart, self._most_registers, merge=False),
        ]
        # Registers that a device passes over in silence must not hide the living ones behind them.
        return sorted(reads, key=lambda read: not self._silent.isdisjoint(read.ranges))

    @staticmethod
    def _is_no_unit(error: ModbusError, result: ReadResult) -> bool:
        """Whether the length of the request may be at fault: refused, or silence of a unit that answers others."""
        return error.refused or (result.alive and not error.alive)

    async def _words(self, read: Read) -> Words:
        words: list[int | bool] = []
        for address, count in read.pieces:
            words += await self._link.read(read.method, self.unit, address, count)
        return words
