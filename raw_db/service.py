"""The bus around the recording: subscribe, batch, commit, acknowledge."""

from __future__ import annotations

from collections.abc import Sequence

from raw_db.envelope import open_envelope
from raw_db.settings import Settings
from wattbus import metrics
from wattbus.clock import SYSTEM_CLOCK, Clock
from wattbus.mqtt.client import MqttClient
from wattbus.mqtt.messages import BadMessage
from wattbus.mqtt.packets import IncomingMessage
from wattbus.mqtt.topics import match
from wattbus.recording.batch_writer import BatchWriter, WriterMetrics
from wattbus.recording.batches import BatchConsumer
from wattbus.recording.database_session import Database
from wattbus.recording.recorder import BadMessages, recording_client, run_recorder
from wattbus.recording.retention_job import Retaining, Subject
from wattbus.service.status_publisher import StatusPublisher
from wattbus.storage import RawRecord, RawStore, Retention, Written, check_url, open_raw_store

STORED = metrics.counter("raw_stored", "Raw messages written.")
REDELIVERED = metrics.counter("raw_redelivered", "Raw messages that were there already.")
BAD = metrics.counter("raw_bad_messages", "Payloads that are no raw message, by reason.", "reason")
BATCHES = metrics.counter("raw_batches", "Transactions with raw messages in them.")
COMMIT = metrics.histogram("raw_commit_seconds", "Time from the start of a transaction to its end (s).")
LAG = metrics.gauge("raw_lag_seconds", "Age of the newest raw message of the last transaction when it was written (s).")
REMOVED = metrics.counter("raw_removed", "Raw messages removed by retention.", "reason")
SIZE = metrics.gauge("raw_database_bytes", "What the raw messages occupy, estimated (bytes).")

KEPT = Subject("raw messages", "RAW_DB_MAX_BYTES", REMOVED, SIZE)


async def run(settings: Settings, clock: Clock = SYSTEM_CLOCK) -> None:
    """Record for ever. Raises ConfigError when the database cannot be meant."""
    check_url(settings.url)
    status_publisher = StatusPublisher(settings.name, clock=clock)
    bus = recording_client(settings, status_publisher, settings.raw_db_batch_messages)
    await bus.subscribe([settings.mqtt_topic_all_raw_messages])
    database = Database(settings.url, status_publisher, open_raw_store, clock=clock)
    recorder = RawRecorder(settings, bus, database, status_publisher, clock)
    retention = Retention(settings.raw_db_retention_days or None, settings.raw_db_max_bytes or None)
    retaining = Retaining(settings.name, database, retention, KEPT, clock)
    tasks = {"recorder": recorder.run, "retention": retaining.run}
    await run_recorder(bus, status_publisher, database, tasks, clock)


class RawRecorder:
    """Takes batches from the bus, writes them, then acknowledges."""

    def __init__(
        self,
        settings: Settings,
        bus: MqttClient,
        database: Database[RawStore],
        status_publisher: StatusPublisher,
        clock: Clock,
    ) -> None:
        self._service = settings.name
        self._filter = settings.mqtt_topic_all_raw_messages
        self._database = database
        self._clock = clock
        self._bad = BadMessages(self._service, BAD, "a raw message is lost")
        harmless = RawRecord(settings.name, 0, '"rehearsal"')
        self._writer = BatchWriter[RawStore, RawRecord](
            database,
            status_publisher,
            _write,
            lambda store: store.rehearse([harmless]),
            WriterMetrics(BATCHES, COMMIT),
            clock=clock,
        )
        self._consumer = BatchConsumer(
            bus,
            settings.raw_db_batch_messages,
            settings.raw_db_batch_wait_ms / 1000,
            self._record,
            lambda suspect: self._bad.note("bug", suspect.topic),
            clock,
        )

    async def run(self) -> None:
        """Record for ever."""
        await self._database.until_done(_open)
        await self._consumer.run()

    async def _record(self, deliveries: list[IncomingMessage]) -> None:
        """Write what they say in one transaction; acknowledge after it, and only then."""
        records = [record for delivery in deliveries if (record := self._read(delivery))]
        if records:
            await self._write(records)
            LAG.labels(self._service).set((self._clock.now_ms() - records[-1].timestamp_ms) / 1000)
        for delivery in deliveries:
            delivery.acknowledge()

    def _read(self, delivery: IncomingMessage) -> RawRecord | None:
        """The raw message of a delivery; an empty payload only clears a retained message."""
        wanted = match(self._filter, delivery.topic)  # an old subscription may bring more
        if not delivery.payload or not wanted:
            return None
        try:
            envelope = open_envelope(delivery.payload)
        except BadMessage as fault:
            self._bad.note("unreadable", f"{delivery.topic}: {fault}")
            return None
        connector = delivery.topic.partition("/")[0]
        return RawRecord(connector, envelope.timestamp_ms, envelope.raw_message, envelope.connector_version)

    async def _write(self, records: list[RawRecord]) -> None:
        result = await self._writer.write(records)
        STORED.labels(self._service).inc(result.written.rows)
        REDELIVERED.labels(self._service).inc(result.written.redelivered)
        for record, reason, fault in result.lost:
            self._bad.note(reason, f"{record.connector} at {record.timestamp_ms}: {fault}")


async def _write(store: RawStore, records: Sequence[RawRecord]) -> Written:
    return await store.write(records)


async def _open(store: RawStore) -> None:
    """Nothing more: it is open now, and the status says so."""
