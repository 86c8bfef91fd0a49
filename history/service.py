"""The bus around the recording: subscribe, batch, commit, acknowledge, tell."""

from __future__ import annotations

import logging

from history import parts
from history.neighbours import Neighbours
from history.parts import Part, harmless
from history.publisher import DAY_MS, ReceiptPublisher
from history.reading import MessageReader, Records, lost_number
from history.receipts import Arrived, SessionTracker
from history.settings import Settings
from history.subscriptions import HistorySubscriptions, subscriptions
from wattbus import metrics
from wattbus.clock import SYSTEM_CLOCK, Clock
from wattbus.errors import ConfigError
from wattbus.mqtt import topics
from wattbus.mqtt.client import MqttClient
from wattbus.mqtt.packets import IncomingMessage
from wattbus.recording.batch_writer import BatchWriter, WriterMetrics
from wattbus.recording.batches import BatchConsumer
from wattbus.recording.database_session import Database, DatabaseProof
from wattbus.recording.recorder import BadMessages, recording_client, run_recorder
from wattbus.recording.retention_job import Retaining, Subject
from wattbus.service.future_times import FutureTimes
from wattbus.service.status_publisher import StatusPublisher
from wattbus.storage import (
    Batch,
    BatchRefused,
    DatabaseAway,
    ReadingValues,
    Retention,
    Store,
    Written,
    check_url,
    open_store,
)

log = logging.getLogger(__name__)

ROWS = metrics.counter("history_rows", "Values, setpoints, schedules and outcomes written.")
REDELIVERED = metrics.counter("history_redelivered", "Of those that came, how many were there already, equal.")
CONFLICTS = metrics.counter("history_conflicts", "Of those that came, how many had the time of a different one.")
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
    bus = recording_client(settings, status_publisher, settings.history_batch_messages)
    await bus.subscribe(subscriptions(settings.history_connectors))
    leaving = HistorySubscriptions(bus, settings.history_connectors, clock)
    bus.watch(topics.ALL_STATUSES, Neighbours(status_publisher, settings.history_connectors).take, qos=0)
    database = Database(settings.url, status_publisher, open_store, clock=clock)
    receipts = ReceiptPublisher(bus, settings.history_receipt_seconds, clock)
    recorder = HistoryRecorder(settings, bus, database, status_publisher, receipts, leaving, clock)
    retention = Retention(settings.history_retention_days or None, settings.history_max_bytes or None)
    retaining = Retaining(settings.name, database, retention, KEPT, clock)
    tasks = {
        "recorder": recorder.run,
        "receipts": receipts.run,
        "old subscriptions": leaving.run,
        "retention": retaining.run,
    }
    await run_recorder(bus, status_publisher, database, tasks, clock)


class HistoryRecorder:
    """Takes batches from the bus, writes them, then acknowledges."""

    def __init__(
        self,
        settings: Settings,
        bus: MqttClient,
        database: Database[Store],
        status_publisher: StatusPublisher,
        receipts: ReceiptPublisher,
        leaving: HistorySubscriptions,
        clock: Clock,
    ) -> None:
        self._service = settings.name
        self._connectors = frozenset(settings.history_connectors)
        self._database = database
        self._receipts = receipts
        self._clock = clock
        self._leaving = leaving
        self._bad = BadMessages(self._service, BAD, "a message cannot be recorded")
        future = FutureTimes(status_publisher, settings.future_limit_seconds, clock)
        self._reader = MessageReader(
            settings.history_connectors, self._bad.note, clock.now_ms, leaving.came_from, future.is_beyond
        )
        self._tracker = SessionTracker()
        self._writer = BatchWriter[Store, Part](
            database,
            status_publisher,
            parts.write,
            lambda store: store.rehearse(harmless(settings.name)),
            WriterMetrics(BATCHES, COMMIT),
            parts.split,
            clock,
        )
        self._given_up: list[Arrived] = []  # readings that woke a bug before they were read
        self._consumer = BatchConsumer(
            bus,
            settings.history_batch_messages,
            settings.history_batch_wait_ms / 1000,
            self._record,
            self._give_up,
            clock,
        )
        HOLES.labels(self._service).set_function(lambda: float(self._tracker.holes))

    async def run(self) -> None:
        """Record for ever."""
        await self._learn_sessions()
        await self._consumer.run()

    async def _learn_sessions(self) -> None:
        since = self._clock.now_ms() - DAY_MS
        states = await self._database.until_done(lambda store: store.recent_sessions(since))
        ours = [state for state in states if not self._connectors or state.connector in self._connectors]
        self._tracker.learn(ours)
        self._receipts.committed(ours)  # another history that shares the database tells of the others, and knows more
        self._leaving.recorded({state.connector for state in states})

    async def _record(self, deliveries: list[IncomingMessage]) -> None:
        """Write what they say in one transaction; acknowledge after it, and only then."""
        records = self._read(deliveries)
        unknown = self._tracker.unknown(arrived.key for arrived in records.arrived)
        if unknown:
            self._tracker.learn(await self._database.until_done(lambda store: store.sessions(unknown)))
        self._leave_out_repeated(records)
        await self._note_and_write(records)
        self._given_up.clear()
        for delivery in deliveries:
            delivery.acknowledge()
        self._receipts.committed(records.batch.sessions)
        self._note_lag(records.batch)
        await self._tidy()

    def _read(self, deliveries: list[IncomingMessage]) -> Records:
        records = Records(arrived=list(self._given_up))
        for delivery in deliveries:
            self._reader.read(records, delivery.topic, delivery.payload, delivery.retain)
        return records

    def _leave_out_repeated(self, records: Records) -> None:
        """What got the time of its arrival has another one each time it comes: its number tells that it was there."""
        numbers: set[tuple[str, str, int]] = set()
        repeated: set[int] = set()
        for arrived, reading in records.restamped:
            number = (*arrived.key, arrived.sequence)
            if number in numbers or self._tracker.has(arrived):
                repeated.add(id(reading))
            numbers.add(number)
        if repeated:
            records.batch.values = [record for record in records.batch.values if id(record) not in repeated]

    # -- writing ----------------------------------------------------------------------------------------------------

    async def _note_and_write(self, records: Records) -> None:
        records.batch.sessions = self._tracker.note(records.arrived, self._clock.now_ms())
        if not records.batch:
            return
        written = False
        try:
            await self._write(records)
            written = True
        finally:
            if not written:  # the tracker must not speak of what was not committed
                self._tracker.forget({arrived.key for arrived in records.arrived})

    async def _write(self, records: Records) -> None:
        try:
            self._count(await self._writer.commit(lambda store: store.write(records.batch)))
            return
        except ConfigError:
            raise
        except BatchRefused as refused:
            log.error("the database refuses a batch, its parts are tried by themselves: %s", refused)
        except Exception as bug:  # noqa: BLE001 - a bug of ours must cost no more than what wakes it
            self._writer.note_bug(bug)
        await self._write_in_parts(records)

    async def _write_in_parts(self, records: Records) -> None:
        """The sessions come last: they may speak only of what is there."""
        result = await self._writer.write(parts.parts_of(records.batch))
        self._count(result.written)
        for part, reason, fault in result.lost:
            self._bad.note(reason, f"{parts.name_of(part)}: {fault}")
        lost = [part for part, _, _ in result.lost if isinstance(part, ReadingValues)]
        self._tracker.lose(records.lost_with(lost))
        records.batch.sessions = self._tracker.states(arrived.key for arrived in records.arrived)
        sessions = Batch(sessions=records.batch.sessions)
        if sessions:
            await self._writer.commit(lambda store: store.write(sessions))

    def _give_up(self, suspect: IncomingMessage) -> None:
        self._bad.note("bug", suspect.topic)
        if (arrived := lost_number(suspect.topic, suspect.payload)) is not None:
            self._given_up.append(arrived)

    async def _tidy(self) -> None:
        now_ms = self._clock.now_ms()
        try:
            await self._database.once(lambda store: store.tidy(now_ms), DatabaseProof.NONE)
        except DatabaseAway:
            return  # the next batch waits for it; tidying comes after that

    # -- numbers ----------------------------------------------------------------------------------------------------

    def _count(self, written: Written) -> None:
        ROWS.labels(self._service).inc(written.rows)
        REDELIVERED.labels(self._service).inc(written.redelivered)
        CONFLICTS.labels(self._service).inc(written.conflicts)
        REFUSED.labels(self._service).inc(written.refused)

    def _note_lag(self, batch: Batch) -> None:
        if batch.values:
            LAG.labels(self._service).set((self._clock.now_ms() - batch.values[-1].timestamp_ms) / 1000)
