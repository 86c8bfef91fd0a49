"""The bus around the recording: subscribe, batch, commit, acknowledge."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter

from raw_db.envelope import open_envelope
from raw_db.settings import Settings
from wattbus import metrics
from wattbus.clock import SYSTEM_CLOCK, Clock
from wattbus.errors import ConfigError, causes
from wattbus.mqtt.client import MqttClient
from wattbus.mqtt.messages import BadMessage
from wattbus.mqtt.packets import IncomingMessage
from wattbus.mqtt.topics import match
from wattbus.recording.batches import BatchConsumer
from wattbus.recording.database_session import Database
from wattbus.recording.retention_job import Retaining, Subject
from wattbus.service.lifecycle import on_the_bus, supervise
from wattbus.service.status_publisher import StatusPublisher
from wattbus.storage import BatchRefused, RawRecord, RawStore, Retention, check_url, open_raw_store

log = logging.getLogger(__name__)

SESSION_EXPIRY_S = 14 * 86_400  # how long the broker keeps messages for a raw_db that is away

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
    bus = MqttClient(
        settings,
        settings.name,
        will=status_publisher.will,
        session_expiry_s=SESSION_EXPIRY_S,
        high_water=2 * settings.raw_db_batch_messages,
    )
    await bus.subscribe([settings.mqtt_topic_all_raw_messages])
    database = Database(settings.url, status_publisher, open_raw_store, clock=clock)
    recorder = RawRecorder(settings, bus, database, clock)
    retention = Retention(settings.raw_db_retention_days or None, settings.raw_db_max_bytes or None)
    retaining = Retaining(settings.name, database, retention, KEPT, clock)
    try:
        async with on_the_bus(bus, status_publisher), asyncio.TaskGroup() as tasks:
            tasks.create_task(supervise("recorder", recorder.run, clock=clock), name="recorder")
            tasks.create_task(supervise("retention", retaining.run, clock=clock), name="retention")
    except BaseExceptionGroup as group:
        wrong = [cause for cause in causes(group) if isinstance(cause, ConfigError)]
        raise wrong[0] if wrong else group from None
    finally:
        await database.close()


class RawRecorder:
    """Takes batches from the bus, writes them, then acknowledges."""

    def __init__(self, settings: Settings, bus: MqttClient, database: Database[RawStore], clock: Clock) -> None:
        self._service = settings.name
        self._filter = settings.mqtt_topic_all_raw_messages
        self._database = database
        self._clock = clock
        self._bad: Counter[str] = Counter()
        self._consumer = BatchConsumer(
            bus,
            settings.raw_db_batch_messages,
            settings.raw_db_batch_wait_ms / 1000,
            self._record,
            lambda suspect: self._note_bad("bug", suspect.topic),
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
            self._note_bad("unreadable", f"{delivery.topic}: {fault}")
            return None
        connector = delivery.topic.partition("/")[0]
        return RawRecord(connector, envelope.timestamp_ms, envelope.raw_message, envelope.connector_version)

    async def _write(self, records: list[RawRecord]) -> None:
        try:
            await self._commit(records)
        except BatchRefused as refused:
            log.error("the database refuses a batch, its messages are tried one by one: %s", refused)
            await self._write_one_by_one(records)

    async def _write_one_by_one(self, records: list[RawRecord]) -> None:
        for record in records:
            try:
                await self._commit([record])
            except BatchRefused as refused:
                self._note_bad("refused", f"{record.connector}: {refused}")

    async def _commit(self, records: list[RawRecord]) -> None:
        started = self._clock.monotonic()
        written = await self._database.until_done(lambda store: store.write(records))
        COMMIT.labels(self._service).observe(self._clock.monotonic() - started)
        BATCHES.labels(self._service).inc()
        STORED.labels(self._service).inc(written.rows)
        REDELIVERED.labels(self._service).inc(written.redelivered)

    def _note_bad(self, reason: str, fault: str) -> None:
        """Count it; log the first and then every hundredth."""
        BAD.labels(self._service, reason).inc()
        if self._bad[reason] % 100 == 0:
            log.warning("a raw message is lost (%s, %d so far): %s", reason, self._bad[reason] + 1, fault)
        self._bad[reason] += 1


async def _open(store: RawStore) -> None:
    """Nothing more: it is open now, and the status says so."""
