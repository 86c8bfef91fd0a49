"""The runtime around a connector: everything that is the same for every protocol."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Iterable
from pathlib import Path

from wattbus import metrics
from wattbus.clock import SYSTEM_CLOCK, Clock
from wattbus.connector import Accompanied, Connector, Datapoint
from wattbus.errors import BrokerAway, PublishError, reason_to_end
from wattbus.jsontext import loads
from wattbus.mqtt import topics
from wattbus.mqtt.client import MqttClient
from wattbus.mqtt.messages import BadMessage, DatapointMap, Heartbeat, Receipt, parse
from wattbus.mqtt.packets import IncomingMessage, Outgoing
from wattbus.runtime.command_executor import CommandExecutor
from wattbus.runtime.datapoint_registry import DatapointRegistry, Topics
from wattbus.runtime.known_histories import KnownHistories
from wattbus.runtime.link_supervisor import LinkSupervisor
from wattbus.runtime.outbox import Outbox
from wattbus.runtime.outbox_publisher import OutboxPublisher
from wattbus.runtime.reading_pipeline import ReadingPipeline
from wattbus.runtime.state_topics import StateTopics
from wattbus.service import health
from wattbus.service.lifecycle import on_the_bus, supervise
from wattbus.service.status_publisher import StatusPublisher
from wattbus.settings import ConnectorSettings

log = logging.getLogger(__name__)

ANNOUNCE_AT_MOST_EVERY_S = 1.0
FORGET_AFTER_S = 600.0  # what an earlier process announced, and this one never saw, is cleared then
MOST_EARLY = 1000
SILENT_AFTER_INTERVALS, SILENT_AT_LEAST_S = 10, 60.0

OUTBOX_ENTRIES = metrics.gauge("outbox_readings", "Readings that wait for history's receipt.")
OUTBOX_BYTES = metrics.gauge("outbox_bytes", "Bytes of readings that wait for history's receipt.")


async def run_connector(connector: Connector, settings: ConnectorSettings, clock: Clock = SYSTEM_CLOCK) -> None:
    """Run a connector until cancelled. Raises ConfigError when it finds its settings wrong."""
    await Runtime(connector, settings, clock).run()


class Runtime:
    """Puts the parts around one connector together."""

    def __init__(self, connector: Connector, settings: ConnectorSettings, clock: Clock = SYSTEM_CLOCK) -> None:
        self.name = settings.connector_name
        self._connector = connector
        self._settings = settings
        self._clock = clock
        session = secrets.token_hex(8)
        folder = settings.data_directory / "outbox" / self.name
        self._outbox = self._new_outbox(session, folder / "values")
        self._raw_outbox = self._new_outbox(session, folder / "raw") if settings.send_raw_message_to_db else None
        self._status_publisher = StatusPublisher(
            self.name,
            session=session,
            sequence=lambda: self._outbox.last_sequence,
            heartbeat_seconds=settings.heartbeat_seconds,
            clock=clock,
        )
        self._bus = MqttClient(
            settings,
            self.name,
            will=self._status_publisher.will,
            session_expiry_s=round(settings.command_max_age_seconds),
        )
        self._status_publisher.attach(self._bus)  # before ourselves: the status is told first
        self._bus.on_connect(self._on_connect)
        for statuses in (topics.ALL_STATUSES, topics.status(topics.HISTORY)):  # a strict broker allows the latter only
            self._bus.watch(statuses, self._on_any_status)
        self._sender, raw_sender = self._senders(folder)
        self._raw_sender = raw_sender
        self._state = StateTopics(
            self._bus, clock, only_changes=settings.state == "change", refresh_s=settings.state_refresh_seconds
        )
        self._catalogue = DatapointRegistry(self.name)
        self._topics = Topics()
        self._intake = ReadingPipeline(
            self.name,
            connector,
            self._catalogue,
            self._sender,
            raw_sender,
            self._state,
            clock,
            self._datapoints_changed,
        )
        self._link = LinkSupervisor(
            self.name,
            connector,
            clock,
            emit=self._intake.emit,
            announce=self._announced,
            changed=self._link_changed,
            silence_limit_s=self._silence_limit_s,
        )
        self._commands = CommandExecutor(
            self.name,
            self._bus,
            clock,
            connector.write,
            lambda: self._link.entered,
            read_only=settings.read_only,
            timeout_s=settings.command_timeout_seconds,
            max_age_s=settings.command_max_age_seconds,
        )
        self._announcing = asyncio.Event()
        self._early: list[IncomingMessage] = []  # commands that arrived before the datapoint map
        self._bus.on_disconnect(self._commands.gap_begins)
        self._old_topics: set[str] = set()
        self._handlers: dict[str, Callable[[IncomingMessage], None]] = {
            topics.datapoint_map(self.name): self._on_map,
            topics.datapoints(self.name): self._on_old_announcement,
            topics.receipts(self.name): self._on_receipt,
        }

    def _new_outbox(self, session: str, directory: Path) -> Outbox:
        return Outbox(session, directory, max_bytes=self._settings.outbox_max_bytes, clock=self._clock)

    def _senders(self, folder: Path) -> tuple[OutboxPublisher, OutboxPublisher | None]:
        sender = OutboxPublisher(
            self._bus,
            topics.values(self.name),
            self._outbox,
            service=self.name,
            histories=KnownHistories(self.name, folder / "history-seen"),
            history_grace_s=self._settings.history_grace_seconds,
            clock=self._clock,
        )
        if self._raw_outbox is None:
            return sender, None
        raw_topic = topics.raw_message(self.name)
        raw = OutboxPublisher(
            self._bus, raw_topic, self._raw_outbox, service=self.name, receipts=False, clock=self._clock
        )
        return sender, raw

    # -- life -------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Until cancelled. Raises ConfigError (the connector finds its settings wrong) or StopAsked (told to end)."""
        self._announced(self._connector.datapoints())
        self._status_publisher.set("degraded", "connecting to the device")
        OUTBOX_ENTRIES.labels(self.name).set_function(lambda: float(len(self._outbox)))
        OUTBOX_BYTES.labels(self.name).set_function(lambda: float(self._outbox.size))
        health.of(self.name).ready("link", lambda: "" if self._link.is_up else self._link.detail)
        health.of(self.name).stuck("run", lambda: self._link.stuck)
        await self._bus.subscribe(self._handlers)
        async with on_the_bus(self._bus, self._status_publisher):
            try:
                async with asyncio.TaskGroup() as tasks:
                    self._start(tasks)
            except BaseExceptionGroup as group:
                raise reason_to_end(group) or group from None
            finally:
                self._outbox.flush()
                if self._raw_outbox is not None:
                    self._raw_outbox.flush()

    def _start(self, tasks: asyncio.TaskGroup) -> None:
        work = {
            "link": self._link.run,
            "readings": self._sender.run,
            "commands": self._commands.run,
            "bus messages": self._consume,
            "announcements": self._announce_for_ever,
            "heartbeat": self._beat,
            "staleness": self._watch_staleness,
            "old datapoints": self._forget_old_datapoints,
        }
        if self._raw_sender is not None:
            work["raw messages"] = self._raw_sender.run
        if isinstance(self._connector, Accompanied):
            work["company"] = self._connector.accompany
        for name, coroutine in work.items():
            tasks.create_task(supervise(name, coroutine, clock=self._clock), name=f"{self.name} {name}")

    async def _on_connect(self) -> None:
        """Everything that a broker which lost its state must hear again."""
        # The broker answers in order: the status was acknowledged, so retained and waiting messages have arrived.
        await self._bus.drained()
        early, self._early = self._early, []
        for delivery in early:
            self._on_command(delivery)
        self._commands.gap_ends()
        self._announcing.set()
        self._state.tell_all()

    # -- datapoints -------------------------------------------------------------------------------------------------

    def _announced(self, datapoints: Iterable[Datapoint]) -> None:
        if self._catalogue.describe(datapoints):
            self._datapoints_changed()

    def _datapoints_changed(self) -> None:
        self._announcing.set()

    async def _announce_for_ever(self) -> None:
        """Publish what there is, and follow changes of topics, at most once a second."""
        while True:
            await self._announcing.wait()
            await self._bus.wait_connected()
            self._announcing.clear()
            try:
                await self._follow_topics()
                for topic, payload in (
                    (topics.available_datapoints(self.name), self._catalogue.available()),
                    (topics.datapoints(self.name), self._catalogue.descriptions()),
                ):
                    await self._bus.publish(Outgoing(topic, payload, retain=True))
            except BrokerAway:
                self._announcing.set()
            except PublishError as error:
                log.error("the datapoints cannot be announced: %s", error)
            await self._clock.sleep(ANNOUNCE_AT_MOST_EVERY_S)

    async def _follow_topics(self) -> None:
        """Subscribe to new actuator topics, leave old ones, clear the state of sensors that went or moved."""
        before, after = self._topics, self._catalogue.topics
        await self._bus.subscribe(after.actuators - before.actuators)
        await self._bus.unsubscribe(before.actuators - after.actuators - self._handlers.keys())
        for topic in (before.sensors | self._state.told_on) - after.sensors:
            await self._clear(topic)
            self._state.told_on.discard(topic)
        self._topics = after
        self._state.move(self._catalogue.sensor_topics)

    async def _clear(self, topic: str) -> None:
        """Take a sensor's state off the broker."""
        try:
            await self._bus.publish(Outgoing(topic, b"", retain=True))
        except PublishError as error:
            log.error("the state of a former datapoint cannot be cleared: %s", error)

    async def _forget_old_datapoints(self) -> None:
        """Clear the state of sensors that an earlier process announced and that do not exist any more."""
        seen_s = 0.0
        while seen_s < FORGET_AFTER_S:  # only what stays away while all devices are there has gone
            await self._clock.sleep(10.0)
            seen_s += 10.0 if self._link.state == "online" else 0.0
        for topic in self._old_topics - self._catalogue.topics.sensors:
            while True:
                await self._bus.wait_connected()
                try:
                    await self._clear(topic)
                except BrokerAway:
                    await self._clock.sleep(0.05)  # the bus may not have noticed yet: let it
                    continue
                break
        await asyncio.Event().wait()

    # -- the bus speaks ---------------------------------------------------------------------------------------------

    async def _consume(self) -> None:
        async for delivery in self._bus.deliveries():
            handler = self._handlers.get(delivery.topic)
            if handler is None:
                if self._commands.in_gap and len(self._early) < MOST_EARLY:
                    self._early.append(delivery)
                else:
                    self._on_command(delivery)
                continue
            try:
                handler(delivery)
            except BadMessage as error:
                kind = delivery.topic.rsplit("/", 1)[-1] if delivery.topic.startswith(self.name) else "history"
                self._note_bad(kind, delivery, error)
            finally:
                delivery.acknowledge()

    def _note_bad(self, kind: str, delivery: IncomingMessage, error: BadMessage) -> None:
        metrics.BAD_MESSAGES.labels(self.name, kind).inc()
        log.warning("a message on %s makes no sense and is left out: %s", delivery.topic, error)

    def _on_command(self, delivery: IncomingMessage) -> None:
        datapoint = self._catalogue.actuator_on(delivery.topic)
        if datapoint is None:
            metrics.BAD_MESSAGES.labels(self.name, "value").inc()
            self._commands.refuse(delivery, "there is no such actuator, or the datapoint map leaves it out")
        else:
            self._commands.take(delivery, datapoint)

    def _on_map(self, delivery: IncomingMessage) -> None:
        chosen = parse(DatapointMap, delivery.payload) if delivery.payload else None
        for fault in self._catalogue.choose(chosen):
            metrics.BAD_MESSAGES.labels(self.name, "datapoint_map").inc()
            log.warning("datapoint map: %s", fault)
        self._datapoints_changed()

    def _on_any_status(self, delivery: IncomingMessage) -> None:
        """Some of all services are histories."""
        try:
            self._sender.status_of(delivery.topic.split("/")[0], delivery.payload)
        except BadMessage as error:
            self._note_bad("history", delivery, error)

    def _on_receipt(self, delivery: IncomingMessage) -> None:
        if delivery.payload:
            self._sender.receipt(parse(Receipt, delivery.payload), old=delivery.retain)

    def _on_old_announcement(self, delivery: IncomingMessage) -> None:
        """What a process before this one announced; our own words come back too and change nothing."""
        if not delivery.retain or not delivery.payload:
            return
        try:
            announced = loads(delivery.payload)
        except ValueError as error:
            raise BadMessage(str(error)) from None
        if not isinstance(announced, list):
            raise BadMessage("not a list")
        for entry in announced:
            if isinstance(entry, dict) and entry.get("type") == "sensor" and isinstance(entry.get("topic"), str):
                self._old_topics.add(entry["topic"])

    # -- time passes ------------------------------------------------------------------------------------------------

    async def _beat(self) -> None:
        """Heartbeats, only while the service really works."""
        period_s = self._settings.heartbeat_seconds
        while True:
            await self._bus.wait_connected()
            if not self._link.failing and not self._link.is_silent:
                now = self._clock.now_ms()
                beat = Heartbeat(
                    this_heartbeats_timestamp=now,
                    next_heartbeats_timestamp=now + round(period_s * 1000),
                    session=self._outbox.session,
                    sequence=self._outbox.last_sequence,
                )
                self._bus.publish_now(Outgoing(topics.heartbeat(self.name), beat.payload(), qos=0))
            await self._clock.sleep(period_s)

    async def _watch_staleness(self) -> None:
        while True:
            await self._clock.sleep(1.0)
            for sensor in self._catalogue.sensors:
                silence_s = self._state.silence_s(sensor.key)
                expected_s = sensor.expected_interval_s
                if silence_s is None or expected_s is None:
                    continue
                if silence_s > expected_s * self._settings.stale_after_intervals:
                    self._state.mark(sensor.key, "stale")
            self._state.flush()

    def _silence_limit_s(self) -> float | None:
        """How long nothing at all may come before the link counts as dead although it stands."""
        expected = [sensor.expected_interval_s for sensor in self._catalogue.sensors if sensor.expected_interval_s]
        return max(SILENT_AT_LEAST_S, SILENT_AFTER_INTERVALS * min(expected)) if expected else None

    def _link_changed(self) -> None:
        link = self._link
        self._status_publisher.set(link.state, link.detail)
        for sensor in self._catalogue.sensors:
            if not link.is_up or sensor.device in link.devices_away:
                self._state.mark(sensor.key, "offline")
