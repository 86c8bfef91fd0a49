"""The ledger of the outbox: what must be published next, what waits for a receipt, what was lost.

The rules (docs/architecture.md, IncomingMessage):

* Every reading is published once as soon as there is a connection, whether history is there or not.
* A receipt releases what it covers. What it calls missing was lost and is sent again at once: MQTT keeps the order of
  one publisher, so a number below one that arrived cannot still be on its way, unless it was sent again since.
* While history is online, the readings of a session that saw no progress for 30 s are sent again. While it is away
  they are held. A report of what is lost is told again in the same way.
* An installation that has no history (`wattbus.runtime.known_histories`) releases at the broker's PUBACK.

Repetitions keep to a window that doubles while they arrive and halves when they are lost, so that a broker with small
limits is not flooded with the very messages it just dropped.
"""

from __future__ import annotations

from typing import Literal

from wattbus.clock import SYSTEM_CLOCK, Clock
from wattbus.mqtt.messages import Range, Receipt, State
from wattbus.mqtt.range_set import RangeSet
from wattbus.runtime.outbox import Outbox

NO_RECEIPT_S = 30.0
SMALLEST_WINDOW, FIRST_WINDOW, LARGEST_WINDOW = 100, 500, 50_000

History = Literal["unknown", "absent", "away", "online"]


class RetransmissionState:
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
        self._told_lost: dict[str, tuple[float, RangeSet]] = {}  # reported as lost (when, what), no receipt since
        self.adopt()

    def adopt(self) -> None:
        """What the outbox has taken over from earlier processes is to be sent."""
        for session in self._outbox.sessions:
            if session != self._outbox.session and session not in self._again:
                self._again[session] = self._outbox.pending(session).copy()

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

    def publishing(self, session: str, sequence: int) -> bool:
        """The entry goes out now; whether this repeats it."""
        again = self._again.get(session)
        repeats = again is not None and sequence in again
        if again is not None and repeats:
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
        return repeats

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

    def reported(self, session: str, ranges: list[Range]) -> None:
        """The broker has acknowledged a report of what is lost; it may still lose it on the way to history."""
        self._outbox.reported(session, ranges)
        if self.history != "absent":
            _, told = self._told_lost.get(session, (0.0, RangeSet()))
            for first, last in ranges:
                told.add(first, last)
            self._told_lost[session] = (self._clock.monotonic(), told)

    # -- what history says ------------------------------------------------------------------------------------------

    def history_is(self, state: State) -> None:
        """What the connector's histories say of themselves."""
        before = self.history
        self.history = "online" if state == "online" else "away"
        if self.history == "online" and before != "online":
            self._wait_anew()

    def history_is_gone(self) -> None:
        """It was taken off the bus for good; perhaps there will be another one."""
        if self.history != "absent":
            self.history = "unknown"

    def no_history(self) -> None:
        """No history has shown itself: what the broker has acknowledged needs no receipt."""
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
        now = self._clock.monotonic()
        self._quiet_since = dict.fromkeys(self._quiet_since, now)
        self._told_lost = {session: (now, told) for session, (_, told) in self._told_lost.items()}

    def receipt(self, receipt: Receipt) -> list[Range]:
        """Take a receipt; the missing numbers that are not here any more and can only be reported as lost."""
        session, missing = receipt.session, RangeSet(receipt.missing)
        self._told_lost.pop(session, None)  # what it still calls missing is reported again, from the return value
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
        unheard = [session for session, (since, _) in self._told_lost.items() if now - since >= NO_RECEIPT_S]
        for session in unheard:
            _, told = self._told_lost.pop(session)
            self._outbox.drop(session, told.ranges())
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
        return bool(overdue or unheard)

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
