"""The outbox: readings wait here until history has them.

One ring. What is new lies in memory; what has waited longer than a few seconds, or is too much for memory, is
appended in batches to files of at most a megabyte (kind to SD cards), which survive the process. At the bound the
oldest go first, and are remembered by number. An entry is named by its session (one per start of the process) and its
sequence, which counts from 1 without holes.

Files are written without fsync but for `flush()`: they survive the death of the process, and that of the machine
once the operating system has written them (usually within half a minute).
"""

from __future__ import annotations

import logging
import os
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from wattbus.clock import SYSTEM_CLOCK, Clock
from wattbus.mqtt.messages import Range
from wattbus.mqtt.range_set import RangeSet

log = logging.getLogger(__name__)

SEGMENT_BYTES = 2**20
SPILL_AFTER_S = 10.0
DISK_RETRY_S = 10.0  # a disk that is full or broken is not tried again at every reading


@dataclass(slots=True)
class _Segment:
    """One file of entries of one session."""

    path: Path
    session: str
    numbers: RangeSet = field(default_factory=RangeSet)
    size: int = 0
    torn: bool = False  # ends in half a line: nothing may be appended


class Outbox:
    """What was not confirmed yet. Sizes are bytes of payload; `directory` None keeps everything in memory."""

    def __init__(
        self,
        session: str,
        directory: Path | None = None,
        *,
        max_bytes: int = 64 * 2**20,
        memory_bytes: int = 4 * 2**20,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.session = session
        self.last_sequence = 0
        self.overflowed = 0  # entries that went because the outbox was full
        self._directory = directory
        self._max_bytes = max_bytes
        self._memory_limit = min(memory_bytes, max_bytes)
        self._clock = clock
        self._memory: OrderedDict[int, tuple[float, bytes]] = OrderedDict()
        self._memory_bytes = 0
        self._pending: dict[str, RangeSet] = {session: RangeSet()}
        self._dropped: dict[str, RangeSet] = {}
        self._segments: list[_Segment] = []
        self._segment_bytes = 0
        self._segment_index = 0
        self._cached: tuple[Path, dict[int, bytes]] | None = None
        self._disk_failed = False
        self._disk_retry_at = 0.0
        if directory is not None:
            self._load(directory)

    # -- what is in it ----------------------------------------------------------------------------------------------

    def pending(self, session: str) -> RangeSet:
        """The numbers of a session that wait here."""
        return self._pending.get(session) or RangeSet()

    @property
    def sessions(self) -> list[str]:
        """Sessions with something waiting, oldest first, the present one last."""
        return [session for session, numbers in self._pending.items() if numbers or session == self.session]

    def __len__(self) -> int:
        return sum(len(numbers) for numbers in self._pending.values())

    @property
    def size(self) -> int:
        """Bytes held, in memory and in files."""
        return self._memory_bytes + self._segment_bytes

    def get(self, session: str, sequence: int) -> bytes | None:
        """The payload of a waiting entry; None when it is not here any more."""
        if session == self.session and sequence in self._memory:
            return self._memory[sequence][1]
        if sequence not in self.pending(session):
            return None
        for segment in self._segments:
            if segment.session == session and sequence in segment.numbers:
                return self._read(segment).get(sequence)
        return None

    # -- in and out -------------------------------------------------------------------------------------------------

    def put(self, sequence: int, payload: bytes) -> None:
        """Take the entry with the next number (`last_sequence` + 1)."""
        if sequence != self.last_sequence + 1:
            raise ValueError(f"the next number is {self.last_sequence + 1}, not {sequence}")
        self.last_sequence = sequence
        self._memory[sequence] = (self._clock.monotonic(), payload)
        self._memory_bytes += len(payload)
        self._pending[self.session].add(sequence)
        if self._memory_bytes > self._memory_limit and self._disk_is_worth_a_try:
            self._spill(list(self._memory))
        self._make_room()

    def release(self, session: str, ranges: Iterable[Range]) -> int:
        """Forget entries that were confirmed; how many of them were here."""
        pending = self._pending.get(session)
        if pending is None:
            return 0
        released = 0
        for first, last in [part for given in ranges for part in pending.within(*given)]:
            released += last - first + 1
            pending.remove(first, last)
            if session == self.session:
                self._forget_in_memory(first, last)
        if released:
            self._delete_finished_segments()
        return released

    def drop(self, session: str, ranges: Iterable[Range]) -> None:
        """Give entries up: they are lost, and remembered by number until `reported()`."""
        ranges = list(ranges)
        for first, last in ranges:
            self._dropped.setdefault(session, RangeSet()).add(first, last)
        self.release(session, ranges)

    @property
    def dropped(self) -> dict[str, list[Range]]:
        """What was lost and has not been reported yet, by session."""
        return {session: numbers.ranges() for session, numbers in self._dropped.items() if numbers}

    def reported(self, session: str, ranges: Iterable[Range]) -> None:
        for first, last in ranges:
            self._dropped.get(session, RangeSet()).remove(first, last)

    # -- memory and files -------------------------------------------------------------------------------------------

    def spill_old(self) -> None:
        """Write what has waited for long into a file. Call it every few seconds."""
        limit = self._clock.monotonic() - SPILL_AFTER_S
        old = []
        for sequence, (since, _) in self._memory.items():
            if since > limit:
                break
            old.append(sequence)
        if old:
            self._spill(old)

    def flush(self) -> None:
        """Write everything to disk, for good: the process is about to end."""
        if self._memory:
            self._spill(list(self._memory), durable=True)

    def _forget_in_memory(self, first: int, last: int) -> None:
        if not self._memory:
            return
        for sequence in range(max(first, next(iter(self._memory))), min(last, self.last_sequence) + 1):
            entry = self._memory.pop(sequence, None)
            if entry is not None:
                self._memory_bytes -= len(entry[1])

    def _spill(self, sequences: list[int], durable: bool = False) -> None:
        if self._directory is None or not (durable or self._disk_is_worth_a_try):
            return
        done = 0
        while done < len(sequences):
            segment = self._open_segment(self._directory)
            lines: list[bytes] = []
            size = segment.size
            while done + len(lines) < len(sequences) and size < SEGMENT_BYTES:
                sequence = sequences[done + len(lines)]
                line = b"%d %b\n" % (sequence, self._memory[sequence][1])
                lines.append(line)
                size += len(line)
            if not self._append(segment, b"".join(lines), durable):
                return
            for sequence in sequences[done : done + len(lines)]:
                segment.numbers.add(sequence)
                self._forget_in_memory(sequence, sequence)
            done += len(lines)

    @property
    def _disk_is_worth_a_try(self) -> bool:
        return not self._disk_failed or self._clock.monotonic() >= self._disk_retry_at

    def _append(self, segment: _Segment, content: bytes, durable: bool) -> bool:
        try:
            with segment.path.open("ab") as file:
                file.write(content)
                if durable:
                    file.flush()
                    os.fsync(file.fileno())
        except OSError as error:
            if not self._disk_failed:
                log.error("the outbox cannot write to %s, readings wait in memory only: %s", segment.path, error)
            self._disk_failed = True
            self._disk_retry_at = self._clock.monotonic() + DISK_RETRY_S
            self._truncate(segment)
            return False
        if self._disk_failed:
            log.warning("the outbox can write to its files again")
        self._disk_failed = False
        segment.size += len(content)
        self._segment_bytes += len(content)
        if self._cached and self._cached[0] == segment.path:
            self._cached = None
        return True

    def _truncate(self, segment: _Segment) -> None:
        """Take half-written lines off again, so that the next ones do not stick to them."""
        if not segment.size:
            self._segments.remove(segment)
            self._unlink(segment.path)
            return
        try:
            os.truncate(segment.path, segment.size)
        except OSError:
            log.debug("could not shorten %s", segment.path)
            segment.torn = True

    def _open_segment(self, directory: Path) -> _Segment:
        last = self._segments[-1] if self._segments else None
        if last is not None and last.session == self.session and last.size < SEGMENT_BYTES and not last.torn:
            return last
        self._segment_index += 1
        segment = _Segment(directory / f"{self._segment_index:010d}-{self.session}.readings", self.session)
        self._segments.append(segment)
        return segment

    def _read(self, segment: _Segment) -> dict[int, bytes]:
        if self._cached is None or self._cached[0] != segment.path:
            try:
                entries = _entries(segment.path)
            except OSError as error:
                log.error("the outbox cannot read %s, its readings are lost: %s", segment.path, error)
                entries = {}
            self._cached = (segment.path, entries)
        return self._cached[1]

    def _load(self, directory: Path) -> None:
        """Take over what an earlier process left behind."""
        try:
            directory.mkdir(parents=True, exist_ok=True)
            paths = sorted(directory.glob("*.readings"))
        except OSError as error:
            log.error("the outbox has no folder %s, readings wait in memory only: %s", directory, error)
            self._directory = None
            return
        present = self._pending.pop(self.session)
        for path in paths:
            index, _, session = path.stem.partition("-")
            if not index.isdigit():
                continue
            self._segment_index = max(self._segment_index, int(index))
            try:
                entries, size = _entries(path), path.stat().st_size
            except OSError as error:
                log.error("the outbox cannot read %s and leaves it there: %s", path, error)
                continue
            if not entries:
                self._unlink(path)
                continue
            segment = _Segment(path, session, RangeSet((number, number) for number in entries), size)
            self._segments.append(segment)
            self._segment_bytes += segment.size
            waiting = self._pending.setdefault(session, RangeSet())
            for number in entries:
                waiting.add(number)
        self._pending[self.session] = present

    def _delete_finished_segments(self) -> None:
        kept = []
        for segment in self._segments:
            waiting = self._pending.get(segment.session)
            if waiting and any(waiting.within(*numbers) for numbers in segment.numbers.ranges()):
                kept.append(segment)
            else:
                self._delete(segment)
        self._segments = kept
        self._pending = {s: numbers for s, numbers in self._pending.items() if numbers or s == self.session}

    def _delete(self, segment: _Segment) -> None:
        self._segment_bytes -= segment.size
        self._unlink(segment.path)

    @staticmethod
    def _unlink(path: Path) -> None:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:  # a disk that turned read-only: what is in there will be sent once more, no worse
            log.debug("could not delete %s: %s", path, error)

    def _make_room(self) -> None:
        """At the bound the oldest go first."""
        memory_limit = self._memory_limit if self._directory is None or self._disk_failed else self._max_bytes
        while self.size > self._max_bytes or self._memory_bytes > memory_limit:
            # What lies in files is older, but letting it go would not make room in memory.
            if self._segments and self._memory_bytes <= memory_limit:
                oldest = self._segments[0]
                waiting = self._pending.get(oldest.session) or RangeSet()
                ranges = [part for numbers in oldest.numbers.ranges() for part in waiting.within(*numbers)]
                session = oldest.session
            elif self._memory:
                first = next(iter(self._memory))
                ranges, session = [(first, first)], self.session
            else:
                return
            before = len(self)
            self.drop(session, ranges)
            self.overflowed += before - len(self)
            if not ranges:
                self._delete_finished_segments()


def _entries(path: Path) -> dict[int, bytes]:
    """The entries of a file; a line that was cut by the end of its process is left out. Raises OSError."""
    entries = {}
    for line in path.read_bytes().split(b"\n")[:-1]:
        number, _, payload = line.partition(b" ")
        if number.isdigit() and payload.endswith(b"}"):
            entries[int(number)] = payload
    return entries
