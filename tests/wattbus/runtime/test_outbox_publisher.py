"""Nothing lost, nothing twice: the ledger against a broker that drops and a history that goes, in virtual time."""

from __future__ import annotations

import random
from collections import Counter, defaultdict, deque
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from wattbus.mqtt.client import MqttClient
from wattbus.mqtt.messages import Range, Receipt
from wattbus.mqtt.range_set import RangeSet
from wattbus.runtime.known_histories import KnownHistories
from wattbus.runtime.outbox import Outbox
from wattbus.runtime.outbox_publisher import OutboxPublisher
from wattbus.runtime.retransmission import (
    FIRST_WINDOW,
    LARGEST_WINDOW,
    NO_RECEIPT_S,
    SMALLEST_WINDOW,
    RetransmissionState,
)
from wattbus.settings import BrokerSettings
from wattbus.testing.clock import VirtualClock

Entry = tuple[str, int]
STEP_S = 0.25
PAYLOAD = b"{}"


@dataclass
class History:
    """The simplest history there can be: it has what came; `upto` is the highest it saw, the holes are missing."""

    have: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))
    online: bool = True
    redelivered: int = 0

    def note(self, session: str, numbers: list[int]) -> None:
        self.redelivered += len(self.have[session].intersection(numbers))
        self.have[session].update(numbers)

    def receipt(self, session: str) -> Receipt:
        have = self.have[session]
        upto = max(have, default=0)
        return Receipt(session=session, upto=upto, missing=_ranges(set(range(1, upto + 1)) - have))


def _ranges(numbers: set[int]) -> list[Range]:
    return RangeSet((n, n) for n in sorted(numbers)).ranges()


class House:
    """One connector, one broker, one history, and what can happen to them."""

    def __init__(self, folder: Path, *, seed: int = 0, loss: float = 0.0, queue_limit: int = 10**9) -> None:
        self.clock = VirtualClock()
        self.random = random.Random(seed)
        self.loss, self.queue_limit = loss, queue_limit
        self.history = History()
        self.queue: deque[tuple[str, list[int]]] = deque()  # the broker's, for history
        self.broker_up = True
        self.unacknowledged: list[Entry] = []
        self.receipts: deque[tuple[float, Receipt]] = deque()  # on their way, when they arrive
        self.due: set[str] = set()  # sessions whose receipt is to be published
        self.receipt_at = 0.0
        self.published: Counter[Entry] = Counter()
        self.given: set[Entry] = set()
        self.not_recorded: set[Entry] = set()
        self.died: set[Entry] = set()  # in the memory of a process that was killed
        self.folder = folder
        self.starts = 0
        self.start_connector()
        self.ledger.history_is("online")

    # -- connector --------------------------------------------------------------------------------------------------

    def start_connector(self) -> None:
        self.starts += 1
        self.outbox = Outbox(f"s{self.starts}", self.folder, clock=self.clock)
        self.ledger = RetransmissionState(self.outbox, self.clock)
        self.unacknowledged = []

    def kill_connector(self, gently: bool = False) -> None:
        if gently:
            self.outbox.flush()
        self.outbox.close()
        before = self.waiting()
        self.start_connector()
        self.ledger.history_is("online" if self.history.online else "offline")
        self.died |= before - self.waiting()

    def waiting(self) -> set[Entry]:
        return {(session, n) for session in self.outbox.sessions for n in self.outbox.pending(session)}

    def read(self, number: int) -> None:
        for _ in range(number):
            self.outbox.put(self.outbox.last_sequence + 1, PAYLOAD)
            self.given.add((self.outbox.session, self.outbox.last_sequence))
            self.not_recorded.add((self.outbox.session, self.outbox.last_sequence))

    def send(self, at_most: int = 2000) -> None:
        if not self.broker_up:
            return
        for session, ranges in self.outbox.dropped.items():
            self.deliver(session, [n for first, last in ranges for n in range(first, last + 1)])
            self.ledger.reported(session, ranges)
        while at_most and (entry := self.ledger.next()) is not None:
            at_most -= 1
            assert self.outbox.get(*entry) == PAYLOAD, f"{entry} is to be published, and is not there"
            self.ledger.publishing(*entry)
            self.published[entry] += 1
            self.unacknowledged.append(entry)
            self.deliver(entry[0], [entry[1]])

    def deliver(self, session: str, numbers: list[int]) -> None:
        if len(self.queue) < self.queue_limit and self.random.random() >= self.loss:
            self.queue.append((session, numbers))

    def take_acknowledgements(self) -> None:
        for entry in self.unacknowledged:
            self.ledger.published(*entry)
        self.unacknowledged.clear()

    def restart_broker(self, up: bool = True) -> None:
        """It forgets everything; a part of what is in flight never reached it."""
        self.queue.clear()
        self.receipts.clear()
        for entry in self.unacknowledged:
            if self.random.random() < 0.5:
                self.ledger.published(*entry)
            else:
                self.ledger.not_published(*entry)
        self.unacknowledged.clear()
        self.broker_up = up
        self.ledger.connected()
        self.due |= set(self.history.have)

    # -- history ----------------------------------------------------------------------------------------------------

    def set_history(self, online: bool) -> None:
        self.history.online = online
        self.ledger.history_is("online" if online else "offline")
        if online:
            self.due |= set(self.history.have)

    def record(self, at_most: int = 3000) -> None:
        if not (self.history.online and self.broker_up):
            return
        for _ in range(min(at_most, len(self.queue))):
            session, numbers = self.queue.popleft()
            self.history.note(session, numbers)
            self.due.add(session)
        if self.due and self.clock.monotonic() >= self.receipt_at:
            self.receipt_at = self.clock.monotonic() + 1.0
            arrival = self.clock.monotonic() + self.random.choice([0, 0, 0.5, 2])
            arrival = max([arrival, *(at for at, _ in self.receipts)])  # MQTT keeps their order
            self.receipts.extend((arrival, self.history.receipt(session)) for session in sorted(self.due))
            self.due.clear()

    def take_receipts(self) -> None:
        while self.broker_up and self.receipts and self.receipts[0][0] <= self.clock.monotonic():
            receipt = self.receipts.popleft()[1]
            if gone := self.ledger.receipt(receipt):
                self.outbox.drop(receipt.session, gone)

    # -- time -------------------------------------------------------------------------------------------------------

    def step(self, readings: int = 0) -> None:
        self.read(readings)
        self.send()
        if self.random.random() < 0.8:
            self.take_acknowledgements()
        self.record()
        self.take_receipts()
        self.outbox.tick()
        self.ledger.repeat_overdue()
        self.clock.forward(STEP_S)
        self.check_nothing_is_lost()

    def check_nothing_is_lost(self) -> None:
        self.not_recorded = {entry for entry in self.not_recorded if not self.has(entry)}
        pending = {session: self.outbox.pending(session) for session in self.outbox.sessions}
        lost = {(s, n) for s, n in self.not_recorded - self.died if n not in pending.get(s, ())}
        assert not lost, f"released before history had it: {sorted(lost)[:5]}"

    def has(self, entry: Entry) -> bool:
        return entry[1] in self.history.have[entry[0]]

    def run(self, seconds: float, readings: int = 0) -> None:
        for _ in range(round(seconds / STEP_S)):
            self.step(readings)

    def run_until_empty(self, at_most_s: float) -> None:
        end = self.clock.monotonic() + at_most_s
        while len(self.outbox) and self.clock.monotonic() < end:
            self.step()
        assert len(self.outbox) == 0, f"{self.outbox.pending(self.outbox.sessions[0])} never reached history"

    def check_history_is_complete(self) -> None:
        assert all(self.has(entry) for entry in self.given - self.died)
        self.run(60)  # a lost report of what is lost is told again after half a minute
        assert all(not self.history.receipt(session).missing for session in list(self.history.have))

    @property
    def repetitions(self) -> int:
        return self.published.total() - len(self.published)


def house(tmp_path_factory: pytest.TempPathFactory, **options: float) -> House:
    return House(tmp_path_factory.mktemp("outbox"), **options)  # type: ignore[arg-type]


CALM = ["nothing", "nothing", "history away", "history back", "burst"]
STORMS = [*CALM, "broker away", "broker restarts", "connector killed", "connector stopped"]
SIMULATION = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def happen(house: House, event: str) -> None:
    match event:
        case "history away":
            house.set_history(False)
        case "history back":
            house.set_history(True)
        case "burst":
            house.read(300)
        case "broker away":
            house.restart_broker(up=False)
        case "broker restarts":
            house.restart_broker()
        case "connector killed":
            house.kill_connector()
        case "connector stopped":
            house.kill_connector(gently=True)


@SIMULATION
@given(events=st.lists(st.tuples(st.sampled_from(CALM), st.integers(1, 60)), max_size=8), seed=st.integers(0, 2**32))
def test_without_losses_everything_is_published_exactly_once(
    events: list[tuple[str, int]], seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    sim = house(tmp_path_factory, seed=seed)
    for event, seconds in events:
        happen(sim, event)
        sim.run(seconds, readings=1)
    sim.set_history(True)
    sim.run_until_empty(60)
    sim.check_history_is_complete()
    assert sim.published.total() == len(sim.given)
    assert sim.history.redelivered == 0


@SIMULATION
@given(
    events=st.lists(st.tuples(st.sampled_from(STORMS), st.integers(1, 40)), max_size=10),
    seed=st.integers(0, 2**32),
    loss=st.sampled_from([0.0, 0.05, 0.2]),
    queue_limit=st.sampled_from([50, 200, 10**9]),
)
@example(events=[("nothing", 29), ("nothing", 40), ("connector killed", 2)], seed=1, loss=0.2, queue_limit=50)
def test_in_any_storm_everything_ends_up_in_history(
    events: list[tuple[str, int]], seed: int, loss: float, queue_limit: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    sim = house(tmp_path_factory, seed=seed, loss=loss, queue_limit=queue_limit)
    for event, seconds in events:
        happen(sim, event)
        sim.run(seconds, readings=2)
    sim.restart_broker()
    sim.set_history(True)
    sim.run_until_empty(1800)
    sim.loss = 0.0
    sim.check_history_is_complete()


@pytest.mark.parametrize("seed", range(5))
def test_a_fifth_of_all_deliveries_thrown_away_costs_few_repetitions(tmp_path: Path, seed: int) -> None:
    sim = House(tmp_path, seed=seed, loss=0.2)
    sim.run(120, readings=5)
    sim.run_until_empty(600)
    sim.check_history_is_complete()
    needed = len(sim.given) * 0.25  # each repetition is lost with the same chance
    assert sim.repetitions < 1.5 * needed


def test_a_burst_into_a_small_broker_arrives_without_a_flood_of_repetitions(tmp_path: Path) -> None:
    """Stock Mosquitto queues 1000 messages for a client and drops the newest, all of them acknowledged."""
    sim = House(tmp_path, queue_limit=1000)
    sim.run(60, readings=1)
    assert sim.ledger.window == FIRST_WINDOW, "only repetitions show what the broker takes of them"
    sim.read(20_000)
    sim.send(20_000)
    assert len(sim.queue) == 1000
    sim.run_until_empty(600)
    sim.check_history_is_complete()
    assert sim.repetitions < 2 * 20_000


def test_an_earlier_process_readings_arrive_although_the_present_one_makes_progress(tmp_path: Path) -> None:
    """What the broker lost of an old session is asked for by nobody: history never heard of it."""
    sim = House(tmp_path)
    sim.broker_up = False
    sim.run(20, readings=2)
    sim.kill_connector(gently=True)
    sim.broker_up = True
    sim.send()
    sim.take_acknowledgements()
    sim.restart_broker()  # with all that was published in its queue
    sim.run(4 * NO_RECEIPT_S, readings=2)
    assert all(sim.has(("s1", number)) for number in range(1, 161))


def test_while_history_is_away_nothing_is_repeated_and_nothing_released(tmp_path: Path) -> None:
    sim = House(tmp_path)
    sim.run(5, readings=4)
    sim.set_history(False)
    sim.run(600, readings=4)
    assert sim.repetitions == 0
    assert len(sim.outbox) >= 600 * 4 * 4
    sim.set_history(True)
    sim.run_until_empty(30)
    assert sim.repetitions == 0


def test_the_tail_that_nobody_misses_is_sent_again_after_half_a_minute(tmp_path: Path) -> None:
    sim = House(tmp_path)
    sim.read(10)
    sim.send()
    sim.take_acknowledgements()
    sim.queue.clear()  # the broker has lost them, and history cannot know
    sim.run(NO_RECEIPT_S - 1)
    assert sim.repetitions == 0
    sim.run_until_empty(5)
    assert sim.repetitions == 10


def test_without_history_the_brokers_acknowledgement_is_enough() -> None:
    clock = VirtualClock()
    outbox = Outbox("a", clock=clock)
    ledger = RetransmissionState(outbox, clock)
    for sequence in range(1, 6):
        outbox.put(sequence, PAYLOAD)
    for sequence in (1, 2, 3):
        ledger.publishing("a", sequence)
    ledger.published("a", 1)
    ledger.published("a", 2)
    assert len(outbox) == 5, "within the grace period a history may still come"
    ledger.no_history()
    assert outbox.pending("a").ranges() == [(3, 5)]
    ledger.published("a", 3)
    assert outbox.pending("a").ranges() == [(4, 5)]
    clock.forward(1000)
    assert not ledger.repeat_overdue()
    ledger.history_is("online")  # it was installed later
    ledger.publishing("a", 4)
    ledger.published("a", 4)
    assert outbox.pending("a").ranges() == [(4, 5)]
    ledger.no_history()
    assert ledger.history == "online", "once seen, it is there"


async def test_a_history_under_another_name_shows_itself_by_its_receipts(tmp_path: Path) -> None:
    clock, seen = VirtualClock(), tmp_path / "history-seen"
    outbox = Outbox("a", clock=clock)
    sender = OutboxPublisher(
        MqttClient(BrokerSettings(), "meter"),
        "meter/values",
        outbox,
        service="meter",
        histories=KnownHistories("meter", seen),
        clock=clock,
    )
    for _ in range(3):
        sender.put(lambda _: PAYLOAD)
    sender.receipt(Receipt(session="0", upto=7), old=True)
    assert sender.ledger.history == "unknown", "a retained receipt may be all that is left of a history"
    sender.receipt(Receipt(session="a", upto=1))
    sender.ledger.no_history()
    assert sender.ledger.history == "away" and seen.exists()
    assert outbox.pending("a").ranges() == [(2, 3)]


def test_what_history_misses_and_nobody_has_is_named_as_lost() -> None:
    outbox = Outbox("a")
    ledger = RetransmissionState(outbox)
    for sequence in range(1, 11):
        outbox.put(sequence, PAYLOAD)
        ledger.publishing("a", sequence)
        ledger.published("a", sequence)
    outbox.drop("a", [(3, 4)])
    assert ledger.receipt(Receipt(session="a", upto=8, missing=[(2, 4)])) == [(3, 4)]
    assert ledger.next() == ("a", 2)
    assert outbox.pending("a").ranges() == [(2, 2), (9, 10)]
    assert ledger.receipt(Receipt(session="of a process that is dead", upto=8, missing=[(2, 4)])) == [(2, 4)]


NUMBERS = st.integers(-5, 10**15)
HOLES: st.SearchStrategy[list[Range]] = st.lists(st.tuples(NUMBERS, NUMBERS), max_size=5)


@given(upto=st.integers(0, 10**15), missing=HOLES)
def test_a_receipt_that_makes_no_sense_never_makes_us_give_up_what_will_come(upto: int, missing: list[Range]) -> None:
    outbox = Outbox("a")
    ledger = RetransmissionState(outbox)
    for sequence in range(1, 6):
        outbox.put(sequence, PAYLOAD)
    while (entry := ledger.next()) is not None:
        ledger.publishing(*entry)
    gone = ledger.receipt(Receipt(session="a", upto=upto, missing=missing))
    assert all(last <= 5 for _, last in gone)
    outbox.drop("a", gone)
    outbox.put(6, PAYLOAD)
    assert 6 in outbox.pending("a")
    seen: set[Entry] = set()
    while (entry := ledger.next()) is not None:
        assert entry not in seen
        seen.add(entry)
        ledger.publishing(*entry)
    assert ("a", 6) in seen


def test_what_fell_out_of_a_full_outbox_is_not_asked_of_it() -> None:
    outbox = Outbox("a", memory_bytes=200, max_bytes=200)
    ledger = RetransmissionState(outbox)
    for sequence in range(1, 51):
        outbox.put(sequence, PAYLOAD)
        if sequence == 30:
            for number in range(1, 21):
                ledger.publishing("a", number)
            ledger.not_published("a", 7)
    for sequence in range(51, 151):
        outbox.put(sequence, PAYLOAD)
    ledger.forget_lost()
    assert outbox.dropped == {"a": [(1, 50)]}
    assert ledger.next() == ("a", 51)


def test_the_window_of_repetitions_follows_what_the_broker_can_take() -> None:
    outbox = Outbox("a")
    ledger = RetransmissionState(outbox)
    for sequence in range(1, 2002):
        outbox.put(sequence, PAYLOAD)
        ledger.publishing("a", sequence)
    ledger.receipt(Receipt(session="a", upto=2001, missing=[(1, 2000)]))
    again = []
    while (entry := ledger.next()) is not None:
        ledger.publishing(*entry)
        again.append(entry[1])
    assert again == list(range(1, FIRST_WINDOW + 1))
    ledger.receipt(Receipt(session="a", upto=2001, missing=[(1, 1999)]))
    assert ledger.window == FIRST_WINDOW, "nothing is known of them yet"
    ledger.receipt(Receipt(session="a", upto=2001, missing=[(101, 2000)]))
    assert ledger.window == 2 * FIRST_WINDOW
    ledger.receipt(Receipt(session="a", upto=2001, missing=[(101, 499), (501, 2000)]))
    assert ledger.window == FIRST_WINDOW
    assert SMALLEST_WINDOW < ledger.window < LARGEST_WINDOW
