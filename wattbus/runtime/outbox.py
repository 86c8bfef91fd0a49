"""The outbox: readings wait here until history has them.

One ring. What is new lies in memory; what has waited longer than a moment (`write_s`), or is too much for memory, is
appended in batches to files (`outbox_files`), which survive the process. At the bound the oldest entries go first, and
are remembered by number. An entry is named by its session (one per start of the process) and its sequence, which counts
from 1 without holes.

Files are written without fsync but for `flush()`: they survive the death of the process, and that of the machine
once the operating system has written them (usually within half a minute).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from collections import OrderedDict
from collections.abc import Callable, Iterable
from concurrent.futures import Future, wait
from functools import partial
from pathlib import Path
from typing import IO

from wattbus.clock import SYSTEM_CLOCK, Clock
from wattbus.mqtt.messages import Range
from wattbus.mqtt.range_set import RangeSet
from wattbus.runtime import outbox_files
from wattbus.runtime.outbox_files import NAME, SEGMENT_BYTES, OutboxSegment

log = logging.getLogger(__name__)

WRITE_S = 1.0
LONGEST_JOB_S = 5.0  # that a stop waits for
DISK_RETRY_S = 10.0  # a disk that is full or broken is not tried again at every reading
SMALLEST_SEGMENTS = 16  # at the bound, a file is at most this part of it
MANY_BYTES = 4096
DROP_AT_ONCE = 64  # and that part of it goes at once, where that is many entries

OnDisk = Callable[[Callable[[], None]], "Future[None]"]
Done = Callable[[BaseException | None], None]


class Outbox:
    """What was not confirmed yet. Sizes are bytes of payload; `directory` None keeps everything in memory.

    `owner` is whose files they are. `on_disk` has jobs done beside the loop (None: at once). `taken_over` False: what
    earlier processes left is taken by `take_over()`, not now. `fault` says why readings wait in memory only, "" when
    they do not.
    """

    def __init__(
        self,
        session: str,
        directory: Path | None = None,
        *,
        owner: str = "-",
        max_bytes: int = 64 * 2**20,
        memory_bytes: int = 4 * 2**20,
        write_s: float = WRITE_S,
        on_disk: OnDisk | None = None,
        take_over: bool = True,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.session = session
        self.last_sequence = 0
        self.overflowed = 0  # entries that went because the outbox was full
        self.fault = ""
        self._directory = directory
        self._owner = owner
        self._max_bytes = max_bytes
        self._memory_limit = min(memory_bytes, max_bytes)
        self._segment_bytes_limit = min(SEGMENT_BYTES, max(1, max_bytes // SMALLEST_SEGMENTS))
        self._write_s = write_s
        self._on_disk = on_disk
        self._clock = clock
        self._memory: OrderedDict[int, tuple[float, bytes]] = OrderedDict()
        self._memory_bytes = 0
        self._pending: dict[str, RangeSet] = {session: RangeSet()}
        self._dropped: dict[str, RangeSet] = {}
        self._segments: list[OutboxSegment] = []
        self._segment_bytes = 0
        self._room_bytes: float = max_bytes  # at least so much may come before anything has to go
        self._segment_index = 0
        self._cached: tuple[Path, dict[int, bytes]] | None = None
        self._lock: IO[bytes] | None = None
        self._taken_over = directory is None
        self._underway: tuple[Future[None], Done] | None = None  # a job beside the loop
        self._listed: object = None  # the numbers that were written last
        self._disk_retry_at = float("-inf")
        if directory is not None:
            self._own_folder()
            if take_over:
                self.take_over()

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

    @property
    def fill(self) -> float:
        """The part of the bound that is used."""
        limit = self._memory_limit if self._directory is None or self.fault else self._max_bytes
        return (self._memory_bytes if limit == self._memory_limit else self.size) / limit

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
        self._room_bytes -= len(payload)
        self._pending[self.session].add(sequence)
        if self._memory_bytes > self._memory_limit and self._disk_is_worth_a_try:
            self._spill()
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
        """These losses were reported, and are forgotten."""
        for first, last in ranges:
            self._dropped.get(session, RangeSet()).remove(first, last)

    # -- the folder -------------------------------------------------------------------------------------------------

    def _own_folder(self) -> None:
        """Take the folder for this process; what lies in it is not touched yet."""
        assert self._directory is not None
        try:
            self._lock = outbox_files.lock(self._directory)
            names = [path.name for path in self._directory.iterdir()]
        except OSError as error:
            self._disk_fails(f"{self._directory} cannot be used: {error.strerror or error}")
            return
        if self._lock is None:
            self._disk_fails(f"{self._directory} is used by another process")
            return
        indices = (int(match[1]) for name in names if (match := NAME.fullmatch(name)))
        self._segment_index = max((self._segment_index, *indices))

    def take_over(self) -> None:
        """Take what earlier processes left, and note what of it is lost; once, when the name is our own."""
        if self._taken_over or self._lock is None or self._directory is None:
            return
        self._taken_over = True
        expected, unreported = outbox_files.read_waiting(self._directory)
        present = self._pending.pop(self.session)
        own, self._segments = self._segments, []
        try:
            paths = sorted(self._directory.glob("*.readings"))
        except OSError as error:
            log.error("the outbox cannot look into %s: %s", self._directory, error)
            paths = []
        for path in paths:
            if path not in {segment.path for segment in own}:
                self._load(path)
        self._segments += own
        for session, numbers in expected.items():
            here = self._pending.get(session) or RangeSet()
            lost = [gap for part in numbers.ranges() for gap in here.gaps(*part)]
            if lost and session != self.session:
                count = sum(last - first + 1 for first, last in lost)
                log.error("%d readings of session %s that waited here are lost: %s", count, session, lost[:5])
                unreported.setdefault(session, RangeSet())
                for part in lost:
                    unreported[session].add(*part)
        self._dropped = {**unreported, **self._dropped}
        self._pending[self.session] = present

    def _load(self, path: Path) -> None:
        match = NAME.fullmatch(path.name)
        if match is None:
            return
        session = match[2]
        try:
            entries, damaged = outbox_files.read(path, self._owner, session)
            size = path.stat().st_size
        except OSError as error:
            log.error("the outbox cannot read %s and leaves it there: %s", path, error)
            return
        except ValueError as error:
            log.error("the outbox leaves %s alone: %s", path, error)
            return
        if damaged:
            log.error("%s is damaged: %d of its lines make no sense", path, damaged)
        if not entries:
            outbox_files.unlink(path)
            return
        numbers = RangeSet((number, number) for number in entries)
        waiting = self._pending.setdefault(session, RangeSet())
        if not any(numbers.gaps(*part) != [part] for part in waiting.ranges()):
            for part in numbers.ranges():
                waiting.add(*part)
            payload_bytes = sum(map(len, entries.values()))
            segment = OutboxSegment(path, session, numbers, size, payload_bytes, len(entries), finished=True)
            self._segments.append(segment)
            self._segment_bytes += payload_bytes
            self._room_bytes -= payload_bytes
        else:
            log.error("the outbox leaves %s alone: its readings lie in another file, too", path)

    # -- memory and files -------------------------------------------------------------------------------------------

    def tick(self) -> None:
        """Write what has waited for long, and which numbers wait. Call it every `write_s` seconds."""
        if self._directory is None or not self._disk_is_worth_a_try:
            return
        if self._lock is None:
            self._own_folder()
            if self._lock is None:
                return
            self.fault = ""
        limit = self._clock.monotonic() - self._write_s
        if self._memory and next(iter(self._memory.values()))[0] <= limit:
            self._spill(limit)
        self._list_numbers()

    def flush(self) -> bool:
        """Write everything to disk, for good: the process is about to end. Whether it is there."""
        if self._underway is not None:
            future, done = self._underway
            wait([future], LONGEST_JOB_S)
            self._settle(future)
            if self._underway is not None:
                self._underway = None
                done(OSError("the disk does not answer"))
        on_disk, self._on_disk = self._on_disk, None
        before = -1
        while self._memory and self._lock is not None and before != len(self._memory):
            before = len(self._memory)
            self._spill(durable=True)
        if self._segments and not self._segments[-1].finished and self._segments[-1].session == self.session:
            self._finish(self._segments[-1])
        self._listed = None
        self._list_numbers()
        self._on_disk = on_disk
        return not self._memory

    def close(self) -> None:
        """Let go of the folder."""
        lock, self._lock = self._lock, None
        if lock is not None:
            lock.close()

    @property
    def in_memory(self) -> list[Range]:
        """The numbers of the present session that are in memory alone."""
        return RangeSet((number, number) for number in self._memory).ranges()

    def _forget_in_memory(self, first: int, last: int) -> None:
        if not self._memory:
            return
        for sequence in range(max(first, next(iter(self._memory))), min(last, self.last_sequence) + 1):
            entry = self._memory.pop(sequence, None)
            if entry is not None:
                self._memory_bytes -= len(entry[1])

    def _spill(self, limit: float = math.inf, durable: bool = False) -> None:
        """Append a batch of what came before `limit` (monotonic seconds); it stays in memory until that is done."""
        if self._lock is None or self._directory is None or self._underway:
            return
        if not (durable or self._disk_is_worth_a_try):
            return
        segment = self._open_segment(self._directory)
        lines: list[bytes] = [] if segment.size else [outbox_files.heading(self._owner, self.session)]
        size, payload_bytes, numbers = segment.size, 0, list[int]()
        for number, (since, payload) in self._memory.items():
            if since > limit or (numbers and size >= self._segment_bytes_limit):
                break
            numbers.append(number)
            payload_bytes += len(payload)
            lines.append(outbox_files.entry(number, payload))
            size += len(lines[-1])
        if not numbers:
            return
        content = b"".join(lines)
        job = partial(outbox_files.append, segment.path, content, segment.size, durable)
        self._do(job, partial(self._written, segment, numbers, len(content), payload_bytes))

    def _do(self, job: Callable[[], None], done: Done) -> None:
        if self._on_disk is None:
            try:
                job()
            except OSError as error:
                done(error)
            else:
                done(None)
            return
        future, loop = self._on_disk(job), asyncio.get_running_loop()
        self._underway = future, done

        def finished(_: Future[None]) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: the process ends
                loop.call_soon_threadsafe(self._settle, future)

        future.add_done_callback(finished)

    def _settle(self, future: Future[None]) -> None:
        """A job beside the loop has ended; perhaps somebody has waited for it already."""
        if self._underway is not None and self._underway[0] is future and future.done():
            done = self._underway[1]
            self._underway = None
            done(future.exception())

    def _written(
        self, segment: OutboxSegment, numbers: list[int], size: int, payload_bytes: int, error: BaseException | None
    ) -> None:
        if error is not None:
            if segment.size:
                segment.finished = True  # it may end in half a line
            elif segment in self._segments:
                self._segments.remove(segment)
            self._disk_fails(f"{segment.path} cannot be written: {getattr(error, 'strerror', None) or error}")
            self._make_room()
            return
        if self.fault:
            self.fault = ""
            log.warning("the outbox can write to its files again")
        segment.size += size
        segment.entries += len(numbers)
        segment.payload_bytes += payload_bytes
        self._segment_bytes += payload_bytes
        for number in numbers:
            segment.numbers.add(number)
            self._forget_in_memory(number, number)
        if self._cached and self._cached[0] == segment.path:
            self._cached = None
        self._delete_finished_segments()
        self._make_room()

    def _disk_fails(self, reason: str) -> None:
        if not self.fault:
            log.error("the outbox: %s; readings wait in memory only", reason)
        self.fault = reason
        self._disk_retry_at = self._clock.monotonic() + DISK_RETRY_S

    @property
    def _disk_is_worth_a_try(self) -> bool:
        return not self.fault or self._clock.monotonic() >= self._disk_retry_at

    def _list_numbers(self) -> None:
        """Which numbers wait, and which are lost and not reported: for whoever takes the folder over."""
        if self._lock is None or self._directory is None or not self._taken_over or self._underway:
            return
        waiting = {session: numbers.ranges() for session, numbers in self._pending.items() if numbers}
        if self._listed == (waiting, self.dropped):
            return
        job = partial(outbox_files.write_waiting, self._directory, waiting, self.dropped)
        self._do(job, partial(self._numbers_listed, (waiting, self.dropped)))

    def _numbers_listed(self, listed: object, error: BaseException | None) -> None:
        if error is None:
            self._listed = listed
        else:
            self._disk_fails(f"{self._directory} cannot be written: {getattr(error, 'strerror', None) or error}")

    def _open_segment(self, directory: Path) -> OutboxSegment:
        last = self._segments[-1] if self._segments else None
        if last is not None and last.session == self.session and not last.finished:
            if last.size < self._segment_bytes_limit:
                return last
            self._finish(last)
        self._segment_index += 1
        segment = OutboxSegment(directory / f"{self._segment_index:010d}-{self.session}.readings", self.session)
        self._segments.append(segment)
        return segment

    def _finish(self, segment: OutboxSegment) -> None:
        """Nothing is appended any more: its end mark says so."""
        segment.finished = True
        if segment.size:
            mark = outbox_files.end_mark(segment.entries)
            job = partial(outbox_files.append, segment.path, mark, segment.size, False)
            self._beside(job)

    def _beside(self, job: Callable[[], None]) -> None:
        """Do what nobody waits for."""
        if self._on_disk is not None:
            self._on_disk(job)
            return
        try:
            job()
        except OSError as error:
            log.debug("on the outbox's disk: %s", error)

    def _read(self, segment: OutboxSegment) -> dict[int, bytes]:
        if self._cached is None or self._cached[0] != segment.path:
            try:
                entries, _ = outbox_files.read(segment.path, self._owner, segment.session)
            except (OSError, ValueError) as error:
                log.error("the outbox cannot read %s, its readings are lost: %s", segment.path, error)
                entries = {}
            self._cached = (segment.path, entries)
        return self._cached[1]

    def _delete_finished_segments(self) -> None:
        kept = []
        for segment in self._segments:
            if not segment.size or self._waiting_in(segment):
                kept.append(segment)
            else:
                self._segment_bytes -= segment.payload_bytes
                self._beside(partial(outbox_files.unlink, segment.path))
        self._segments = kept
        self._pending = {s: numbers for s, numbers in self._pending.items() if numbers or s == self.session}

    def _waiting_in(self, segment: OutboxSegment) -> list[Range]:
        waiting = self._pending.get(segment.session)
        if not waiting:
            return []
        return [part for numbers in segment.numbers.ranges() for part in waiting.within(*numbers)]

    # -- the bound --------------------------------------------------------------------------------------------------

    def _make_room(self) -> None:
        """At the bound the oldest entries go first, some at once: looking at all files costs time."""
        if self._room_bytes < 0:
            live = self._live_bytes()
            if live > self._max_bytes:
                at_once = self._max_bytes // DROP_AT_ONCE
                self._let_oldest_go(live - self._max_bytes + (at_once if at_once > MANY_BYTES else 0))
                live = self._live_bytes()
            self._room_bytes = self._max_bytes - live
        limit = self._memory_limit if self._directory is None or self.fault else self._max_bytes
        while self._memory_bytes > limit:
            # What lies in files is older, but letting it go would not make room in memory.
            first = next(iter(self._memory))
            self._overflow(self.session, [(first, first)])

    def _live_bytes(self) -> float:
        """What waits, without what lies beside it in the same files."""
        in_files = sum(_count(self._waiting_in(segment)) * segment.mean_payload() for segment in self._segments)
        return in_files + self._memory_bytes

    def _let_oldest_go(self, excess: float) -> None:
        for segment in list(self._segments):
            parts = self._waiting_in(segment)
            if excess <= 0:
                return
            if parts:
                number = min(_count(parts), math.ceil(excess / segment.mean_payload()))
                excess -= number * segment.mean_payload()
                self._overflow(segment.session, _first(parts, number))
        while excess > 0 and self._memory:
            first, (_, payload) = next(iter(self._memory.items()))
            excess -= len(payload)
            self._overflow(self.session, [(first, first)])

    def _overflow(self, session: str, ranges: list[Range]) -> None:
        before = len(self)
        self.drop(session, ranges)
        self.overflowed += before - len(self)


def _count(ranges: list[Range]) -> int:
    return sum(last - first + 1 for first, last in ranges)


def _first(ranges: list[Range], number: int) -> list[Range]:
    """The first `number` numbers of ranges that rise."""
    taken: list[Range] = []
    for first, last in ranges:
        if number <= 0:
            break
        taken.append((first, min(last, first + number - 1)))
        number -= last - first + 1
    return taken
