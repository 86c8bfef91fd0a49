"""What receipts say is true, in whatever order messages come: against a naive model of sets."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from history import receipts
from history.receipts import Arrived, Session, SessionTracker

NOW = 1_700_000_000_000
LAST = 40

numbers = st.integers(1, LAST)
ranges = st.lists(st.tuples(numbers, numbers), max_size=3).map(tuple)
messages = st.lists(
    st.builds(
        Arrived,
        connector=st.just("meter"),
        session=st.just("a" * 16),
        sequence=st.integers(0, LAST),
        dropped=ranges,
        lost=st.booleans(),
    ),
    max_size=40,
)


@dataclass
class Naive:
    """Sets of numbers, and nothing clever."""

    stored: set[int] = field(default_factory=set)
    reported: set[int] = field(default_factory=set)

    def note(self, arrived: Arrived) -> None:
        for first, last in arrived.dropped:
            self.reported |= set(range(first, last + 1))
        if arrived.sequence:
            (self.reported if arrived.lost else self.stored).add(arrived.sequence)

    @property
    def known(self) -> set[int]:
        return self.stored | self.reported


def message(sequence: int, *dropped: tuple[int, int], session: str = "a" * 16, lost: bool = False) -> Arrived:
    return Arrived("meter", session, sequence, dropped, lost)


def played(arrived: list[Arrived]) -> tuple[Session, Naive]:
    session, naive = Session("meter", "a" * 16, NOW), Naive()
    for one in arrived:
        session.note(one, NOW)
        naive.note(one)
    return session, naive


@given(messages)
def test_upto_and_missing_say_exactly_what_is_known(arrived: list[Arrived]) -> None:
    session, naive = played(arrived)
    assert session.upto == max(naive.known, default=0)
    assert set(session.missing) == set(range(1, session.upto + 1)) - naive.known
    assert set(session.dropped) <= naive.reported - naive.stored
    assert naive.known - naive.stored <= set(session.dropped)


@given(messages)
def test_a_message_again_changes_nothing(arrived: list[Arrived]) -> None:
    session, _ = played(arrived)
    before = session.state()
    for one in arrived:
        if one.sequence and not one.lost and not one.dropped:
            session.note(one, NOW)
    assert session.state().upto == before.upto and session.state().missing == before.missing


@given(messages)
def test_a_state_that_was_stored_goes_on_where_it_was(arrived: list[Arrived]) -> None:
    whole, _ = played(arrived)
    half, _ = played(arrived[: len(arrived) // 2])
    again = Session.of(half.state())
    for one in arrived[len(arrived) // 2 :]:
        again.note(one, NOW)
    assert again.state() == whole.state()


@given(messages)
def test_with_too_many_holes_it_says_less_and_still_the_truth(arrived: list[Arrived]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(receipts, "MOST_HOLES", 2)
        session, naive = played(arrived)
        assert len(session.missing.ranges()) <= 2
        assert set(range(1, session.upto + 1)) - set(session.missing) <= naive.known
        # Whoever sends again what is missing, and what is above, comes to an end.
        rounds = 0
        while session.upto < LAST or session.missing:
            for sequence in [*session.missing, session.upto + 1]:
                session.note(message(min(sequence, LAST)), NOW)
            rounds += 1
            assert rounds <= LAST
        assert session.upto == LAST


def test_an_unknown_session_that_begins_in_the_middle_misses_its_beginning() -> None:
    session, _ = played([message(5)])
    assert session.receipt().payload() == b'{"session":"aaaaaaaaaaaaaaaa","upto":5,"missing":[[1,4]]}'


def test_a_pure_report_of_losses_fills_holes_and_is_no_reading() -> None:
    session, _ = played([message(1), message(5), message(0, (2, 3))])
    assert (session.upto, session.missing.ranges(), session.dropped.ranges()) == (5, [(4, 4)], [(2, 3)])


def test_a_report_cannot_hide_what_is_stored() -> None:
    session, _ = played([message(1), message(2), message(0, (1, 4))])
    assert (session.upto, session.dropped.ranges()) == (4, [(3, 4)])


@pytest.mark.parametrize("nonsense", [(0, 5), (5, 2), (-3, -1), (1, 2**60)])
def test_ranges_that_make_no_sense_are_ignored(nonsense: tuple[int, int]) -> None:
    session = Session("meter", "a" * 16, NOW)
    session.note(message(3, nonsense), NOW)
    assert (session.upto, session.missing.ranges()) == (3, [(1, 2)])


def test_what_arrived_and_made_no_sense_is_not_asked_for_again() -> None:
    session, _ = played([message(1), message(2, lost=True)])
    assert (session.upto, session.missing.ranges(), session.dropped.ranges()) == (2, [], [(2, 2)])


def test_the_ledger_looks_up_sessions_that_it_does_not_know_and_forgets_what_was_not_written() -> None:
    ledger = SessionTracker()
    first = message(1)
    assert ledger.unknown([first.key, first.key]) == {first.key}
    [state] = ledger.note([first, message(3)], NOW)
    assert (state.upto, state.missing, state.first_seen_ms) == (3, ((2, 2),), NOW)
    assert ledger.unknown([first.key]) == set()
    assert ledger.holes == 1
    ledger.forget([first.key])
    assert ledger.unknown([first.key]) == {first.key}
    ledger.learn([state])
    [again] = ledger.note([message(2)], NOW + 5)
    assert (again.upto, again.missing, again.first_seen_ms, again.last_seen_ms) == (3, (), NOW, NOW + 5)


def test_the_ledger_holds_a_bounded_number_of_sessions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receipts, "MOST_SESSIONS", 3)
    ledger = SessionTracker()
    for number in range(20):
        ledger.note([message(1, session=f"{number:016x}")], NOW)
    assert len(ledger._sessions) <= 4
    assert ledger.unknown([message(1, session=f"{19:016x}").key]) == set()
