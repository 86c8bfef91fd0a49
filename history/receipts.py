"""Which readings of which session are there: pure bookkeeping, no clock, no bus, no database."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from wattbus.mqtt.messages import Range, Receipt
from wattbus.mqtt.range_set import RangeSet
from wattbus.storage import SessionState

MOST_HOLES = 500  # of one session; a receipt stays below 20 kB
MOST_DROPPED = 500  # ranges of reported losses that are remembered, the latest
MOST_SESSIONS = 10_000  # kept in memory; the others are in the database
LARGEST_SEQUENCE = 2**53

Key = tuple[str, str]  # connector, session


@dataclass(frozen=True, slots=True)
class Arrived:
    """What one readings message says about its session. `sequence` 0 carries no reading, only `dropped` ranges.

    `lost`: the reading itself was there but makes no sense, so that asking for it again would not help.
    """

    connector: str
    session: str
    sequence: int
    dropped: tuple[Range, ...] = ()
    lost: bool = False

    @property
    def key(self) -> Key:
        """Connector and session."""
        return self.connector, self.session


class Session:
    """One session of one connector: up to `upto` everything is stored or was reported lost, but for `missing`."""

    def __init__(self, connector: str, session: str, now_ms: int) -> None:
        self.connector = connector
        self.session = session
        self.upto = 0
        self.missing = RangeSet()
        self.dropped = RangeSet()
        self.first_seen_ms = now_ms
        self.last_seen_ms = now_ms

    @classmethod
    def of(cls, state: SessionState) -> Session:
        """A session as the database remembers it."""
        session = cls(state.connector, state.session, state.first_seen_ms)
        session.upto = state.upto
        session.missing = RangeSet(state.missing)
        session.dropped = RangeSet(state.dropped)
        session.last_seen_ms = state.last_seen_ms
        return session

    def state(self) -> SessionState:
        """What the database is to remember."""
        return SessionState(
            self.connector,
            self.session,
            self.upto,
            tuple(self.missing.ranges()),
            tuple(self.dropped.ranges()),
            self.first_seen_ms,
            self.last_seen_ms,
        )

    def receipt(self) -> Receipt:
        """What the connector is to hear."""
        return Receipt(session=self.session, upto=self.upto, missing=self.missing.ranges())

    def note(self, arrived: Arrived, now_ms: int) -> None:
        """Take a message of this session into account; the same one again changes nothing."""
        self.last_seen_ms = max(self.last_seen_ms, now_ms)
        for first, last in arrived.dropped:
            if 1 <= first <= last <= LARGEST_SEQUENCE:
                self._drop(first, last)
        if arrived.sequence and arrived.lost:
            self._drop(arrived.sequence, arrived.sequence)
        elif arrived.sequence:
            self._cover(arrived.sequence, arrived.sequence)
            self.dropped.remove(arrived.sequence)
        self._keep_short()

    def lose(self, sequence: int) -> None:
        """This reading came, and could not be stored."""
        self.dropped.add(sequence, sequence)
        self._keep_short()

    def has(self, sequence: int) -> bool:
        """Whether this reading is stored."""
        return 1 <= sequence <= self.upto and sequence not in self.missing and sequence not in self.dropped

    def _drop(self, first: int, last: int) -> None:
        """Only what is not there can be lost: a report of more must not hide that the rest is stored."""
        for start, end in [*self.missing.within(first, last), (max(first, self.upto + 1), last)]:
            self.dropped.add(start, end)
        self._cover(first, last)

    def _cover(self, first: int, last: int) -> None:
        self.missing.remove(first, last)
        if last > self.upto:
            self.missing.add(self.upto + 1, first - 1)
            self.upto = last

    def _keep_short(self) -> None:
        """With too many holes, know about less: what lies above comes again, which costs time and no data."""
        holes = self.missing.ranges()
        if len(holes) > MOST_HOLES:
            self.upto = holes[MOST_HOLES][0] - 1
            self.missing = RangeSet(holes[:MOST_HOLES])
            self.dropped.remove(self.upto + 1, LARGEST_SEQUENCE)
        dropped = self.dropped.ranges()
        if len(dropped) > MOST_DROPPED:
            self.dropped = RangeSet(dropped[-MOST_DROPPED:])


class SessionTracker:
    """All sessions that were heard lately, the longest silent first."""

    def __init__(self) -> None:
        self._sessions: OrderedDict[Key, Session] = OrderedDict()

    def unknown(self, keys: Iterable[Key]) -> set[Key]:
        """Those that must be looked up in the database before they are noted."""
        return {key for key in keys if key not in self._sessions}

    def learn(self, states: Iterable[SessionState]) -> None:
        """Take over what the database knows."""
        for state in states:
            self._sessions.setdefault((state.connector, state.session), Session.of(state))

    def note(self, arrived: Iterable[Arrived], now_ms: int) -> list[SessionState]:
        """Take messages into account; the states of their sessions after it."""
        touched: dict[Key, Session] = {}
        for message in arrived:
            session = self._sessions.get(message.key)
            if session is None:
                session = self._sessions[message.key] = Session(*message.key, now_ms)
            session.note(message, now_ms)
            touched[message.key] = session
            self._sessions.move_to_end(message.key)
        while len(self._sessions) > MOST_SESSIONS + len(touched):
            self._sessions.popitem(last=False)
        return [session.state() for session in touched.values()]

    def lose(self, arrived: Iterable[Arrived]) -> None:
        """The readings of these messages, which were noted, could not be stored."""
        for message in arrived:
            if message.sequence and (session := self._sessions.get(message.key)):
                session.lose(message.sequence)

    def states(self, keys: Iterable[Key]) -> list[SessionState]:
        """The states of these sessions, as far as they are known here."""
        return [session.state() for key in dict.fromkeys(keys) if (session := self._sessions.get(key))]

    def has(self, arrived: Arrived) -> bool:
        """Whether the reading of this message is stored, as far as its session is known here."""
        session = self._sessions.get(arrived.key)
        return session is not None and session.has(arrived.sequence)

    def forget(self, keys: Collection[Key]) -> None:
        """What was noted of these was not written: look it up again."""
        for key in keys:
            self._sessions.pop(key, None)

    @property
    def holes(self) -> int:
        """Readings known to be missing, over all sessions in memory."""
        return sum(len(session.missing) for session in self._sessions.values())
