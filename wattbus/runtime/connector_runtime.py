"""The runtime around a connector: everything that is the same for every protocol."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Callable, Iterable
from pathlib import Path

from wattbus import metrics
from wattbus.clock import SYSTEM_CLOCK, Clock
from wattbus.connector import Accompanied, Connector, Datapoint
from wattbus.errors import ReadingsLost, reason_to_end
from wattbus.jsontext import JsonValue
from wattbus.mqtt import topics
from wattbus.mqtt.client import MqttClient
from wattbus.mqtt.messages import BadMessage, DatapointMap, Heartbeat, Receipt, parse
from wattbus.mqtt.packets import IncomingMessage, Outgoing
from wattbus.runtime.announcer import Announcer
from wattbus.runtime.command_executor import CommandExecutor
from wattbus.runtime.datapoint_registry import DatapointRegistry
from wattbus.runtime.known_histories import KnownHistories
from wattbus.runtime.link_supervisor import LinkSupervisor
from wattbus.runtime.old_states import OldStates
from wattbus.runtime.outbox import Outbox
from wattbus.runtime.outbox_publisher import OutboxPublisher
from wattbus.runtime.reading_pipeline import ReadingPipeline
from wattbus.runtime.staleness import Staleness
from wattbus.runtime.state_topics import StateTopics
from wattbus.service import health
from wattbus.service.disk import submit
from wattbus.service.future_times import FutureTimes
from wattbus.service.lifecycle import on_the_bus, supervise
from wattbus.service.status_publisher import StatusPublisher
from wattbus.settings import ConnectorSettings

log = logging.getLogger(__name__)

MOST_EARLY = 1000

OUTBOX_ENTRIES = metrics.gauge("outbox_readings", "Readings that wait for history's receipt.")
OUTBOX_BYTES = metrics.gauge("outbox_bytes", "Bytes of readings that wait for history's receipt.")
LINK_UP = metrics.gauge("link_up", "Whether the link to the device does what it should.")
DEVICES_AWAY = metrics.gauge("devices_away", "How many of the devices behind the link are away.")


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
        self._bus.before_connect(self._take_over)  # after the name lock: what lies in our folder may be another one's
        self._bus.on_connect(self._on_connect)
        for statuses in (topics.ALL_STATUSES, topics.status(topics.HISTORY)):  # a strict broker allows the latter only
            self._bus.watch(statuses, self._on_any_status)
        self._sender, raw_sender = self._senders(folder)
        self._raw_sender = raw_sender
        self._registry = DatapointRegistry(self.name)
        self._staleness = Staleness(self._stale_after_s, clock)
        self._state = StateTopics(
            self._bus,
            self._staleness,
            clock,
            only_changes=settings.state == "change",
            refresh_s=settings.state_refresh_seconds,
        )
        self._handlers: dict[str, Callable[[IncomingMessage], None]] = {
            topics.datapoint_map(self.name): self._on_map,
            topics.datapoints(self.name): lambda message: self._announcer.old_announcement(message),
            topics.receipts(self.name): self._on_receipt,
        }
        self._announcer = Announcer(self._bus, self._registry, self._state, clock, self._handlers.keys())
        self._old_states = OldStates(
            self._bus,
            self._status_publisher.instance,
            self._registry,
            self._state,
            self._announcer.announced_before,
            clock,
        )
        self._pipeline = ReadingPipeline(
            self.name,
            connector,
            self._registry,
            self._sender,
            raw_sender,
            self._state,
            FutureTimes(self._status_publisher, settings.future_limit_seconds, clock),
            clock,
            self._announcer.changed,
        )
        self._link = LinkSupervisor(
            self.name,
            connector,
            clock,
            emit=self._pipeline.emit,
            announce=self._describe,
            events=self,
            conditions=self._status_publisher.conditions,
            shortest_interval_s=lambda: self._registry.shortest_interval_s,
            permit=self._status_publisher.name_lock,
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
        self._early: list[IncomingMessage] = []  # commands that arrived before the datapoint map
        self._bus.on_disconnect(self._commands.gap_begins)

    def _new_outbox(self, session: str, directory: Path) -> Outbox:
        return Outbox(
            session,
            directory,
            owner=self.name,
            max_bytes=self._settings.outbox_max_bytes,
            write_s=self._settings.outbox_write_seconds,
            on_disk=submit,
            take_over=False,
            clock=self._clock,
        )

    def _senders(self, folder: Path) -> tuple[OutboxPublisher, OutboxPublisher | None]:
        sender = OutboxPublisher(
            self._bus,
            topics.values(self.name),
            self._outbox,
            service=self.name,
            histories=KnownHistories(self.name, folder / "history-seen"),
            history_grace_s=self._settings.history_grace_seconds,
            write_s=self._settings.outbox_write_seconds,
            conditions=self._status_publisher.conditions,
            clock=self._clock,
        )
        if self._raw_outbox is None:
            return sender, None
        raw_topic = topics.raw_message(self.name)
        raw = OutboxPublisher(
            self._bus,
            raw_topic,
            self._raw_outbox,
            service=self.name,
            receipts=False,
            write_s=self._settings.outbox_write_seconds,
            conditions=self._status_publisher.conditions,
            clock=self._clock,
        )
        return sender, raw

    # -- life -------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Until cancelled. Raises ConfigError (the connector finds its settings wrong) or StopAsked (told to end)."""
        self._describe(self._connector.datapoints())
        self.link_changed()
        OUTBOX_ENTRIES.labels(self.name).set_function(lambda: float(len(self._outbox)))
        OUTBOX_BYTES.labels(self.name).set_function(lambda: float(self._outbox.size))
        LINK_UP.labels(self.name).set_function(lambda: float(not self._link.fault))
        DEVICES_AWAY.labels(self.name).set_function(lambda: float(len(self._link.devices_away)))
        health.of(self.name).ready("link", lambda: self._link.fault)
        health.of(self.name).details(self._link_in_detail)
        health.of(self.name).stuck("run", lambda: self._link.stuck)
        await self._bus.subscribe(self._handlers)
        async with on_the_bus(self._bus, self._status_publisher):
            delivery = self._delivery()
            try:
                async with asyncio.TaskGroup() as tasks:
                    self._start(tasks)
            except BaseExceptionGroup as group:
                raise reason_to_end(group) or group from None
            finally:
                try:
                    await self._save()
                finally:
                    for task in delivery:
                        task.cancel()
                    await asyncio.wait(delivery)

    async def _take_over(self) -> None:
        for sender in (self._sender, self._raw_sender):
            if sender is not None:
                sender.take_over()

    def _delivery(self) -> list[asyncio.Task[None]]:
        """What goes on while everything else ends: readings go out and receipts come in."""
        work = {"readings": self._sender.run, "bus messages": self._consume}
        if self._raw_sender is not None:
            work["raw messages"] = self._raw_sender.run
        return [
            asyncio.create_task(supervise(name, coroutine, clock=self._clock), name=f"{self.name} {name}")
            for name, coroutine in work.items()
        ]

    async def _save(self) -> None:
        """Put on disk what waits; if that cannot be, wait a moment for history, then say what is lost.

        Raises ReadingsLost.
        """
        if self._raw_outbox is not None:
            if not self._raw_outbox.flush():
                log.error("%d raw messages are lost: %s", len(self._raw_outbox), self._raw_outbox.fault)
            self._raw_outbox.close()
        if not self._outbox.flush():
            log.error("the outbox cannot be saved (%s): waiting for history's receipts", self._outbox.fault)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._settings.outbox_stop_seconds):
                    while not self._outbox.flush():  # a receipt makes it true, or room on the disk
                        await self._clock.sleep(0.05)
        lost = self._outbox.in_memory
        self._outbox.close()
        if lost:
            number = sum(last - first + 1 for first, last in lost)
            raise ReadingsLost(
                f"{self.name} ends and loses {number} readings that neither its disk nor history has: numbers "
                f"{', '.join(f'{first}–{last}' for first, last in lost[:20])} of session {self._outbox.session}"
            )

    def _start(self, tasks: asyncio.TaskGroup) -> None:
        work = {
            "link": self._link.run,
            "commands": self._commands.run,
            "announcements": self._announcer.announce,
            "topics": self._announcer.follow,
            "state topics": self._state.run,
            "old states": self._old_states.run,
            "heartbeat": self._beat,
            "staleness": self._watch_staleness,
            "old datapoints": lambda: self._announcer.forget_old_datapoints(lambda: self._link.state == "online"),
        }
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
        self._announcer.changed()
        self._state.publish_all()
        self._old_states.connected()

    # -- datapoints -------------------------------------------------------------------------------------------------

    def _describe(self, datapoints: Iterable[Datapoint]) -> None:
        if changed := self._registry.describe(datapoints):
            for kind, key in changed:
                if kind == "sensor":
                    self._staleness.described(key)
            self._announcer.changed()

    def _stale_after_s(self, key: str) -> float | None:
        sensor = self._registry.sensor(key)
        if sensor is None or sensor.expected_interval_s is None:
            return None
        return sensor.expected_interval_s * self._settings.stale_after_intervals

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
        datapoint = self._registry.actuator_on(delivery.topic)
        if datapoint is None:
            metrics.BAD_MESSAGES.labels(self.name, "value").inc()
            self._commands.refuse(delivery, "there is no such actuator, or the datapoint map leaves it out")
        else:
            self._commands.take(delivery, datapoint)

    def _on_map(self, delivery: IncomingMessage) -> None:
        chosen = parse(DatapointMap, delivery.payload) if delivery.payload else None
        for fault in self._registry.choose(chosen):
            metrics.BAD_MESSAGES.labels(self.name, "datapoint_map").inc()
            log.warning("datapoint map: %s", fault)
        self._announcer.changed()

    def _on_any_status(self, delivery: IncomingMessage) -> None:
        """Some of all services are histories."""
        try:
            self._sender.status_of(delivery.topic.split("/")[0], delivery.payload, retained=delivery.retain)
        except BadMessage as error:
            self._note_bad("history", delivery, error)

    def _on_receipt(self, delivery: IncomingMessage) -> None:
        if delivery.payload:
            self._sender.receipt(parse(Receipt, delivery.payload), old=delivery.retain)

    # -- time passes ------------------------------------------------------------------------------------------------

    async def _beat(self) -> None:
        """Heartbeats, only while the service really works."""
        period_s = self._settings.heartbeat_seconds
        while True:
            await self._bus.wait_connected()
            if not self._link.failing:
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
            self._state.mark(self._staleness.turned_stale(), "stale")

    # -- the link speaks (LinkEvents) -------------------------------------------------------------------------------

    def link_changed(self) -> None:
        """The link, or what is said about it, has changed: status and values follow."""
        self._status_publisher.set(self._link.state, self._link.detail, self._link.link_state.value)

    def link_left(self) -> None:
        """The link is not up any more: all values turn `offline`."""
        self._state.mark_all("offline")
        self._old_states.all_left()

    def device_left(self, name: str) -> None:
        """One of several devices is away: its values turn `offline`."""
        self._state.mark(self._registry.sensors_of(name), "offline")
        self._old_states.device_left(name)

    def _link_in_detail(self) -> JsonValue:
        """All of what the status says in short."""
        everybody = self._link.devices_away.all().items()
        away = {name: {"reason": device.reason, "since": device.since_ms} for name, device in everybody}
        return {"link": self._link.link_state.value, "detail": self._link.fault, "devices_away": away}
