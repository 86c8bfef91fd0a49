"""Who has which reading: sends the outbox's entries and lets go of them when history's receipt covers them.

The rules (docs/architecture.md, Delivery):

* Every reading is published once as soon as there is a connection, whether history is there or not.
* A receipt releases what it covers. What it calls missing was lost and is sent again at once: MQTT keeps the order of
  one publisher, so a number below one that arrived cannot still be on its way, unless it was sent again since.
* While history is online, the readings of a session that saw no progress for 30 s are sent again. While it is away
  they are held.
* An installation that has no history (nothing on `history/status`) releases at the broker's PUBACK.

Repetitions keep to a window that doubles while they arrive and halves when they are lost, so that a broker with small
limits is not flooded with the very messages it just dropped.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Literal

from wattbus import metrics
from wattbus.bus import TOO_LARGE, Bus, Outgoing, Published
from wattbus.clock import SYSTEM_CLOCK, Clock
from wattbus.errors import BrokerAway, PublishError
from wattbus.messages import Range, Receipt, State, ValuesMessage
from wattbus.outbox import Outbox
from wattbus.ranges import RangeSet
from wattbus.retry import Backoff

log = logging.getLogger(__name__)

NO_RECEIPT_S = 30.0
SMALLEST_WINDOW, FIRST_WINDOW, LARGEST_WINDOW = 100, 500, 50_000

History = Literal["unknown", "absent", "away", "online"]

SENT = metrics.counter("readings_sent", "Readings published, repetitions included.")
REPEATED = metrics.counter("readings_repeated", "Readings published again because no receipt covered them.")
DROPPED = metrics.counter("readings_dropped", "Readings lost because the outbox was full or the broker refused them.")


class Ledger:
    """Pure bookkeeping: what must be published next, what waits for a receipt. Time is injected."""

    def __init__(self, outbox: Outbox, clock: Clock = SYSTEM_CLOCK) -> None:
        self.history: History = "unknown"
        self.window = FIRST_WINDOW
        self._outbox = outbox
        self._clock = clock
        self._fresh = 1  # the next number of the present session that was never published
        self._again: dict[str, RangeSet] = {}  # to be published again
        self._waiting: dict[str, RangeSet] = {}  # published, no receipt yet
        # Repetitions under way: (session, number) -> (order of publishing, first fresh number after it).
        self._repeated: dict[tuple[str, int], tuple[int, int]] = {}
        self._order = 0
        self._in_flight: set[tuple[str, int]] = set()  # not acknowledged by the broker yet
        self._quiet_since: dict[str, float] = {}  # by session, while something waits
        for session in outbox.sessions:
            if session != outbox.session:
                self._again[session] = outbox.pending(session).copy()

    # -- what to send -----------------------------------------------------------------------------------------------

    def next(self) -> tuple[str, int] | None:
        """The entry to publish next: repetitions within the window first, then what is new."""
        if len(self._repeated) < self.window:
            for session, numbers in self._again.items():
                if numbers.first is not None:
                    return session, numbers.first
        if self._fresh <= self._outbox.last_sequence:
            return self._outbox.session, self._fresh
        return None

    def publishing(self, session: str, sequence: int) -> None:
        """The entry goes out now."""
        again = self._again.get(session)
        if again is not None and sequence in again:
            again.remove(sequence)
            self._order += 1
            self._repeated[session, sequence] = (self._order, self._fresh)
        elif session == self._outbox.session and sequence == self._fresh:
            self._fresh += 1
        waiting = self._waiting.setdefault(session, RangeSet())
        if not waiting:
            self._quiet_since[session] = self._clock.monotonic()
        waiting.add(sequence)
        self._in_flight.add((session, sequence))

    def not_published(self, session: str, sequence: int) -> None:
        """It did not reach the broker."""
        self._in_flight.discard((session, sequence))
        self._repeated.pop((session, sequence), None)
        if session in self._waiting:
            self._waiting[session].remove(sequence)
        if sequence in self._outbox.pending(session):
            self._again.setdefault(session, RangeSet()).add(sequence)

    def published(self, session: str, sequence: int) -> None:
        """The broker has acknowledged it."""
        self._in_flight.discard((session, sequence))
        if self.history == "absent":
            self._release(session, [(sequence, sequence)])

    # -- what history says ------------------------------------------------------------------------------------------

    def history_is(self, state: State) -> None:
        """A message on `history/status`."""
        before = self.history
        self.history = "online" if state == "online" else "away"
        if self.history == "online" and before != "online":
            self._wait_anew()

    def no_history(self) -> None:
        """Nobody is on `history/status`: what the broker has acknowledged needs no receipt."""
        if self.history == "unknown":
            self.history = "absent"
            for session, numbers in list(self._waiting.items()):
                acknowledged = numbers.copy()
                for owner, sequence in self._in_flight:
                    if owner == session:
                        acknowledged.remove(sequence)
                self._release(session, acknowledged.ranges())

    def connected(self) -> None:
        """A new connection: waiting for a receipt starts anew."""
        self._wait_anew()

    def _wait_anew(self) -> None:
        self._quiet_since = dict.fromkeys(self._quiet_since, self._clock.monotonic())

    def receipt(self, receipt: Receipt) -> list[Range]:
        """Take a receipt; the missing numbers that are not here any more and can only be reported as lost."""
        session, missing = receipt.session, RangeSet(receipt.missing)
        if session == self._outbox.session:  # nobody can miss what was never given
            missing.remove(self._outbox.last_sequence + 1, max(missing.last or 0, receipt.upto))
        newest = self._newest_confirmed(receipt.session, missing, receipt.upto)
        released = self._release(session, missing.gaps(1, receipt.upto))
        if released:
            self._quiet_since[session] = self._clock.monotonic()
        lost = self._lost_again(session, missing, receipt.upto, newest)
        if lost:
            self.window = max(SMALLEST_WINDOW, self.window // 2)
        elif newest:
            self.window = min(LARGEST_WINDOW, self.window * 2)
        pending = self._outbox.pending(session)
        gone: list[Range] = []
        for hole in missing.ranges():
            for part in pending.within(*hole):
                self._send_again(session, part)
            gone += pending.gaps(*hole)
        return gone

    def _newest_confirmed(self, session: str, missing: RangeSet, upto: int) -> int:
        """The order of publishing of the latest repetition that this receipt confirms."""
        confirmed = [
            order
            for (owner, sequence), (order, _) in self._repeated.items()
            if owner == session and sequence <= upto and sequence not in missing
        ]
        return max(confirmed, default=0)

    def _lost_again(self, session: str, missing: RangeSet, upto: int, newest: int) -> list[int]:
        """Repetitions that something published after them has overtaken: they were lost once more."""
        lost = [
            sequence
            for (owner, sequence), (order, fresh) in self._repeated.items()
            if owner == session
            and sequence in missing
            and (order < newest or (session == self._outbox.session and upto >= fresh))
        ]
        for sequence in lost:
            del self._repeated[session, sequence]
        return lost

    def _send_again(self, session: str, part: Range) -> None:
        again = self._again.setdefault(session, RangeSet())
        first, last = part
        if session == self._outbox.session:
            last = min(last, self._fresh - 1)
        if not self._repeated:
            again.add(first, last)
        else:
            for sequence in range(first, last + 1):
                if (session, sequence) not in self._repeated:
                    again.add(sequence)
        waiting = self._waiting.get(session)
        if waiting is not None:
            for start, end in again.within(first, last):
                waiting.remove(start, end)

    def _release(self, session: str, ranges: list[Range]) -> int:
        released = self._outbox.release(session, ranges)
        if self._repeated:
            covered = RangeSet(ranges)
            for entry in [entry for entry in self._repeated if entry[0] == session and entry[1] in covered]:
                del self._repeated[entry]
        for numbers in (self._waiting.get(session), self._again.get(session)):
            if numbers:
                for first, last in ranges:
                    numbers.remove(first, last)
        return released

    # -- time -------------------------------------------------------------------------------------------------------

    def repeat_overdue(self) -> bool:
        """Send again what has seen no progress for 30 s while history is online; whether there was any."""
        if self.history != "online":
            return False
        now = self._clock.monotonic()
        overdue = [
            (session, numbers)
            for session, numbers in self._waiting.items()
            if numbers and now - self._quiet_since.setdefault(session, now) >= NO_RECEIPT_S
        ]
        quiet = {session for session, _ in overdue}
        self._repeated = {entry: sent for entry, sent in self._repeated.items() if entry[0] not in quiet}
        for session, numbers in overdue:
            self._quiet_since[session] = now
            pending = self._outbox.pending(session)
            for waiting in numbers.ranges():
                for part in pending.within(*waiting):
                    self._again.setdefault(session, RangeSet()).add(*part)
            self._waiting[session] = RangeSet()
        return bool(overdue)

    def forget_lost(self) -> None:
        """Take what fell out of the full outbox off the lists."""
        for lists in (self._again, self._waiting):
            for session, numbers in lists.items():
                pending = self._outbox.pending(session)
                for first, last in numbers.ranges():
                    for start, end in pending.gaps(first, last):
                        numbers.remove(start, end)
        last = self._outbox.last_sequence
        unsent = self._outbox.pending(self._outbox.session).within(self._fresh, last)
        self._fresh = unsent[0][0] if unsent else last + 1
        self._repeated = {entry: sent for entry, sent in self._repeated.items() if self._outbox_has(*entry)}

    def _outbox_has(self, session: str, sequence: int) -> bool:
        return sequence in self._outbox.pending(session)


class ReadingSender:
    """Publishes an outbox on one topic for ever, as the ledger says.

    `receipts` False is for raw messages: released by PUBACK, and what is lost is counted, not reported.
    """

    def __init__(
        self,
        bus: Bus,
        topic: str,
        outbox: Outbox,
        *,
        service: str,
        receipts: bool = True,
        history_seen_file: Path | None = None,
        history_grace_s: float = 60.0,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.ledger = Ledger(outbox, clock)
        self._bus = bus
        self._topic = topic
        self._outbox = outbox
        self._service = service
        self._receipts = receipts
        self._history_seen_file = history_seen_file
        self._history_grace_s = history_grace_s
        self._clock = clock
        self._work = asyncio.Event()
        self._pause = Backoff(first_s=1.0, longest_s=60.0)
        self._not_before = 0.0
        self._refused_told = False
        self._overflowed = 0
        if not receipts:
            self.ledger.history = "absent"
        elif history_seen_file is not None and history_seen_file.exists():
            self.ledger.history = "away"
        bus.on_connect(self._connected)

    @property
    def session(self) -> str:
        return self._outbox.session

    def put(self, message: Callable[[int], bytes]) -> int:
        """Take one more message, made from the number it gets; that number. Never waits."""
        sequence = self._outbox.last_sequence + 1
        self._outbox.put(sequence, message(sequence))
        if self._outbox.overflowed != self._overflowed:
            self._note_overflow()
        self._work.set()
        return sequence

    def _note_overflow(self) -> None:
        if not self._overflowed:
            log.error("the outbox is full: the oldest readings are lost from now on (OUTBOX_MAX_BYTES)")
        DROPPED.labels(self._service).inc(self._outbox.overflowed - self._overflowed)
        self._overflowed = self._outbox.overflowed
        self.ledger.forget_lost()

    def history_is(self, state: State) -> None:
        """A message on `history/status`: from now on this installation has a history."""
        self.ledger.history_is(state)
        if self._history_seen_file is not None and not self._history_seen_file.exists():
            try:
                self._history_seen_file.touch()
            except OSError as error:
                log.error("cannot note that there is a history: %s", error)
        self._work.set()

    def receipt(self, receipt: Receipt, *, old: bool = False) -> None:
        """What history has; `old` ones were retained by the broker and may be all that is left of a history."""
        if self.ledger.history in ("unknown", "absent") and not old:
            self.history_is("degraded")  # its status is below another name: hold readings, repeat what it misses
        gone = self.ledger.receipt(receipt)
        if gone:
            self._outbox.drop(receipt.session, gone)
        self._work.set()

    async def _connected(self) -> None:
        self.ledger.connected()
        self._work.set()

    async def run(self) -> None:
        """Send for ever."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._send(), name="send readings")
            tasks.create_task(self._watch(), name="watch receipts")
            tasks.create_task(self._decide_whether_there_is_a_history(), name="look for history")

    async def _send(self) -> None:
        while True:
            await self._bus.wait_connected()
            if (pause_s := self._not_before - self._clock.monotonic()) > 0:
                await self._clock.sleep(pause_s)
            if await self._report_lost() and not await self._send_next():
                self._work.clear()
                await self._work.wait()

    async def _send_next(self) -> bool:
        """Publish one entry; false when there is nothing to do now."""
        following = self.ledger.next()
        if following is None:
            return False
        session, sequence = following
        payload = self._outbox.get(session, sequence)
        if payload is None:
            self._outbox.drop(session, [(sequence, sequence)])
            self.ledger.forget_lost()
            return True
        try:
            future = await self._bus.publish_soon(Outgoing(self._topic, payload))
        except PublishError as error:
            self.ledger.publishing(session, sequence)
            self._refused(session, sequence, error)
            return True
        except BrokerAway:
            await self._clock.sleep(0.05)
            return True
        repeated = sequence in self.ledger._again.get(session, RangeSet())
        self.ledger.publishing(session, sequence)
        SENT.labels(self._service).inc()
        if repeated:
            REPEATED.labels(self._service).inc()
        future.add_done_callback(partial(self._published, session, sequence))
        return True

    def _published(self, session: str, sequence: int, future: asyncio.Future[Published]) -> None:
        if future.cancelled():
            return
        error = future.exception()
        if error is None:
            self.ledger.published(session, sequence)
            self._pause.reset()
        elif isinstance(error, PublishError):
            self._refused(session, sequence, error)
        else:
            self.ledger.not_published(session, sequence)
        self._work.set()

    def _refused(self, session: str, sequence: int, error: PublishError) -> None:
        """The broker does not want it: too large is for ever, access rules may be mended."""
        if error.code == TOO_LARGE:
            self._give_up(session, sequence, error)
            return
        self.ledger.not_published(session, sequence)
        self._tell_refused(error)

    def _tell_refused(self, error: PublishError) -> None:
        if self._clock.monotonic() >= self._not_before:
            self._not_before = self._clock.monotonic() + self._pause.next_s()
        if not self._refused_told:
            self._refused_told = True
            log.error("readings cannot be published and wait: %s", error)

    def _give_up(self, session: str, sequence: int, error: PublishError) -> None:
        log.error("reading %d is lost: %s", sequence, error)
        DROPPED.labels(self._service).inc()
        self.ledger.not_published(session, sequence)
        self._outbox.drop(session, [(sequence, sequence)])
        self.ledger.forget_lost()

    async def _report_lost(self) -> bool:
        """Tell by number what nobody need ask for any more; false when the broker did not take it."""
        for session, ranges in self._outbox.dropped.items():
            if not self._receipts:
                self._outbox.reported(session, ranges)
                continue
            report = ValuesMessage(
                session=session, sequence=0, timestamp=self._clock.now_ms(), values={}, dropped=ranges
            )
            try:
                await self._bus.publish(Outgoing(self._topic, report.payload()))
            except BrokerAway:
                return True
            except PublishError as error:
                self._tell_refused(error)
                return False
            self._outbox.reported(session, ranges)
        return True

    async def _watch(self) -> None:
        while True:
            await self._clock.sleep(1.0)
            self._outbox.spill_old()
            if self.ledger.repeat_overdue():
                self._work.set()

    async def _decide_whether_there_is_a_history(self) -> None:
        while self.ledger.history == "unknown":
            await self._bus.wait_connected()
            connection = self._bus.counters.connects
            await self._clock.sleep(self._history_grace_s)
            if self._bus.connected and self._bus.counters.connects == connection:
                self.ledger.no_history()
                self._work.set()
        await asyncio.Event().wait()
