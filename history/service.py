"""The bus around the recording: subscribe, batch, commit, acknowledge, tell."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter

from history.neighbours import Neighbours
from history.publisher import DAY_MS, ReceiptPublisher
from history.reading import MessageReader, Records
from history.receipts import SessionTracker
from history.settings import Settings
from history.subscriptions import HistorySubscriptions, subscriptions
from wattbus import metrics
from wattbus.clock import SYSTEM_CLOCK, Clock
from wattbus.errors import ConfigError, causes
from wattbus.mqtt import topics
from wattbus.mqtt.client import MqttClient
from wattbus.mqtt.packets import IncomingMessage
from wattbus.recording.batches import BatchConsumer
from wattbus.recording.database_session import Database
from wattbus.recording.retention_job import Retaining, Subject
from wattbus.service.future_times import FutureTimes
from wattbus.service.lifecycle import on_the_bus, supervise
from wattbus.service.status_publisher import StatusPublisher
from wattbus.storage import Batch, BatchRefused, DatabaseAway, Retention, Store, Written, check_url, open_store

log = logging.getLogger(__name__)

SESSION_EXPIRY_S = 14 * 86_400  # how long the broker keeps messages for a history that is away

ROWS = metrics.counter("history_rows", "Values, setpoints, schedules and outcomes written.")
REDELIVERED = metrics.counter("history_redelivered", "Of those that came, how many were there already, equal.")
CONFLICTS = metrics.counter("history_conflicts", "Of those that came, how many replaced a different one.")
REFUSED = metrics.counter("history_unstorable", "Values that no database takes (NaN), left out.")
BAD = metrics.counter("history_bad_messages", "Messages that make no sense, by kind of topic.", "kind")
BATCHES = metrics.counter("history_batches", "Transactions with messages in them.")
COMMIT = metrics.histogram("history_commit_seconds", "Time from the start of a transaction to its end (s).")
HOLES = metrics.gauge("history_missing_readings", "Readings known to be missing in the sessions of late.")
LAG = metrics.gauge("history_lag_seconds", "Age of the newest reading of the last transaction when it was written (s).")
REMOVED = metrics.counter("history_removed_rows", "Rows removed by retention.", "reason")
SIZE = metrics.gauge("history_database_bytes", "What the stored data occupies (bytes).")

KEPT = Subject("rows", "HISTORY_MAX_BYTES", REMOVED, SIZE)


async def run(settings: Settings, clock: Clock = SYSTEM_CLOCK) -> None:
    """Record for ever. Raises ConfigError when the database cannot be meant."""
    check_url(settings.url)
    status_publisher = StatusPublisher(settings.name, records=settings.history_connectors, clock=clock)
    bus = MqttClient(
        settings,
        settings.name,
        will=status_publisher.will,
        session_expiry_s=SESSION_EXPIRY_S,
        high_water=2 * settings.history_batch_messages,
    )
    await bus.subscribe(subscriptions(settings.history_connectors))
    leaving = HistorySubscriptions(bus, settings.history_connectors, clock)
    bus.watch(topics.ALL_STATUSES, Neighbours(status_publisher, settings.history_connectors).take, qos=0)
    database = Database(settings.url, status_publisher, open_store, clock=clock)
    publisher = ReceiptPublisher(bus, settings.history_receipt_seconds, clock)
    future = FutureTimes(status_publisher, settings.future_limit_seconds, clock)
    recorder = HistoryRecorder(settings, bus, database, publisher, leaving, future, clock)
    retention = Retention(settings.history_retention_days or None, settings.history_max_bytes or None)
    retaining = Retaining(settings.name, database, retention, KEPT, clock)
    try:
        async with on_the_bus(bus, status_publisher), asyncio.TaskGroup() as tasks:
            tasks.create_task(supervise("recorder", recorder.run, clock=clock), name="recorder")
            tasks.create_task(supervise("receipts", publisher.run, clock=clock), name="receipts")
            tasks.create_task(supervise("old subscriptions", leaving.run, clock=clock), name="old subscriptions")
            tasks.create_task(supervise("retention", retaining.run, clock=clock), name="retention")
    except BaseExceptionGroup as group:
        wrong = [cause for cause in causes(group) if isinstance(cause, ConfigError)]
        raise wrong[0] if wrong else group from None
    finally:
        await database.close()


class HistoryRecorder:
    """Takes batches from the bus, writes them, then acknowledges."""

    def __init__(
        self,
        settings: Settings,
        bus: MqttClient,
        database: Database[Store],
        publisher: ReceiptPublisher,
        leaving: HistorySubscriptions,
        future: FutureTimes,
        clock: Clock,
    ) -> None:
        self._service = settings.name
        self._connectors = frozenset(settings.history_connectors)
        self._database = database
        self._publisher = publisher
        self._clock = clock
        self._leaving = leaving
        self._reader = MessageReader(
            settings.history_connectors, self._note_bad, clock.now_ms, leaving.came_from, future.is_beyond
        )
        self._ledger = SessionTracker()
        self._bad: Counter[str] = Counter()
        self._consumer = BatchConsumer(
            bus,
            settings.history_batch_messages,
            settings.history_batch_wait_ms / 1000,
            self._record,
            lambda suspect: self._note_bad("bug", suspect.topic),
            clock,
        )
        HOLES.labels(self._service).set_function(lambda: float(self._ledger.holes))

    async def run(self) -> None:
        """Record for ever."""
        await self._learn_sessions()
        await self._consumer.run()

    async def _learn_sessions(self) -> None:
        since = self._clock.now_ms() - DAY_MS
        states = await self._database.until_done(lambda store: store.recent_sessions(since))
        ours = [state for state in states if not self._connectors or state.connector in self._connectors]
        self._ledger.learn(ours)
        self._publisher.committed(ours)  # another history that shares the database tells of the others, and knows more
        self._leaving.recorded({state.connector for state in states})

    async def _record(self, deliveries: list[IncomingMessage]) -> None:
        """Write what they say in one transaction; acknowledge after it, and only then."""
        records = self._read(deliveries)
        unknown = self._ledger.unknown(arrived.key for arrived in records.arrived)
        if unknown:
            self._ledger.learn(await self._database.until_done(lambda store: store.sessions(unknown)))
        self._leave_out_repeated(records)
        await self._note_and_write(records, deliveries)
        for delivery in deliveries:
            delivery.acknowledge()
        self._publisher.committed(records.batch.sessions)
        self._note_lag(records.batch)
        await self._tidy()

    def _leave_out_repeated(self, records: Records) -> None:
        """What got the time of its arrival has another one each time it comes: its number tells that it was there."""
        numbers: set[tuple[str, str, int]] = set()
        repeated: set[int] = set()
        for arrived, reading in records.restamped:
            number = (*arrived.key, arrived.sequence)
            if number in numbers or self._ledger.has(arrived):
                repeated.add(id(reading))
            numbers.add(number)
        if repeated:
            records.batch.values = [record for record in records.batch.values if id(record) not in repeated]

    async def _note_and_write(self, records: Records, deliveries: list[IncomingMessage]) -> None:
        records.batch.sessions = self._ledger.note(records.arrived, self._clock.now_ms())
        if not records.batch:
            return
        written = False
        try:
            await self._write(records.batch, deliveries)
            written = True
        finally:
            if not written:  # the ledger must not speak of what was not committed
                self._ledger.forget({arrived.key for arrived in records.arrived})

    def _read(self, deliveries: list[IncomingMessage]) -> Records:
        records = Records()
        for delivery in deliveries:
            self._reader.read(records, delivery.topic, delivery.payload, delivery.retain)
        return records

    async def _write(self, batch: Batch, deliveries: list[IncomingMessage]) -> None:
        try:
            self._count(await self._commit(batch))
        except BatchRefused as refused:
            log.error("the database refuses a batch, its messages are tried one by one: %s", refused)
            await self._write_one_by_one(batch, deliveries)

    async def _write_one_by_one(self, batch: Batch, deliveries: list[IncomingMessage]) -> None:
        """The sessions come last: they may speak only of what is there."""
        for delivery in deliveries:
            try:
                self._count(await self._commit(self._read([delivery]).batch))
            except BatchRefused as refused:
                self._note_bad("refused", f"{delivery.topic}: {refused}")
        await self._commit(Batch(sessions=batch.sessions))

    async def _commit(self, batch: Batch) -> Written:
        started = self._clock.monotonic()
        written = await self._database.until_done(lambda store: store.write(batch))
        COMMIT.labels(self._service).observe(self._clock.monotonic() - started)
        BATCHES.labels(self._service).inc()
        return written

    async def _tidy(self) -> None:
        now_ms = self._clock.now_ms()
        try:
            await self._database.once(lambda store: store.tidy(now_ms))
        except DatabaseAway:
            return  # the next batch waits for it; tidying comes after that

    def _count(self, written: Written) -> None:
        ROWS.labels(self._service).inc(written.rows)
        REDELIVERED.labels(self._service).inc(written.redelivered)
        CONFLICTS.labels(self._service).inc(written.conflicts)
        REFUSED.labels(self._service).inc(written.refused)

    def _note_lag(self, batch: Batch) -> None:
        if batch.values:
            LAG.labels(self._service).set((self._clock.now_ms() - batch.values[-1].timestamp_ms) / 1000)

    def _note_bad(self, kind: str, fault: str) -> None:
        """Count it; log the first and then every hundredth."""
        BAD.labels(self._service, kind).inc()
        if self._bad[kind] % 100 == 0:
            log.warning("a message makes no sense (%d so far on %s topics): %s", self._bad[kind] + 1, kind, fault)
        self._bad[kind] += 1
