"""The bus around the controller: subscribe, take in, decide, send, tell."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import Counter, deque

from controller.actuator import Actuator
from controller.actuator_ownership import ActuatorOwnership
from controller.control import Control
from controller.orders import Order
from controller.pairs import Pair, PairDirectory, merged, pairs_in
from controller.reports import Previews, decision_message, decisions_topic, preview_message, wake_or_pause
from controller.settings import Settings
from controller.state_file import StateFile
from controller.subscriptions import PairSubscriptions
from wattbus import metrics
from wattbus.clock import SYSTEM_CLOCK, Clock
from wattbus.errors import BrokerAway, PublishError
from wattbus.jsontext import JsonValue
from wattbus.mqtt import topics
from wattbus.mqtt.client import MqttClient
from wattbus.mqtt.messages import BadMessage, ValueMessage
from wattbus.mqtt.packets import IncomingMessage, Outgoing
from wattbus.service import health
from wattbus.service.lifecycle import on_the_bus, supervise
from wattbus.service.status_publisher import StatusPublisher

log = logging.getLogger(__name__)

SESSION_EXPIRY_S = 14 * 86_400  # how long the broker keeps setpoints and outcomes for a controller that is away
MOST_AT_ONCE = 500
SAVE_AT_MOST_EVERY_S = 0.5
LOOK_WHETHER_TO_SAVE_S = 0.1

SENT = metrics.counter("controller_commands", "Commands sent, by cause.", "cause")
BAD = metrics.counter("controller_bad_messages", "Messages that make no sense, by kind of topic.", "kind")
OUTCOMES = metrics.counter("controller_unsent", "Commands that the broker refused or nobody listens to.", "reason")
PAIRS = metrics.gauge("controller_pairs", "Pairs of sensor and actuator that are controlled.")


async def run(settings: Settings, clock: Clock = SYSTEM_CLOCK) -> None:
    """Control for ever."""
    await Controller(settings, clock).run()


class Controller:
    """Puts the parts together."""

    def __init__(self, settings: Settings, clock: Clock = SYSTEM_CLOCK) -> None:
        self.name = settings.name
        self._settings = settings
        self._clock = clock
        self._status_publisher = StatusPublisher(settings.name, clock=clock)
        self._bus = MqttClient(
            settings, settings.name, will=self._status_publisher.will, session_expiry_s=SESSION_EXPIRY_S
        )
        self._status_publisher.attach(self._bus)  # before ourselves: the status is told first
        self._previews = Previews(settings.name, self._bus, clock, self._preview)
        self.control = Control(settings.options, clock, self._previews.changed)
        self._directory = PairDirectory(settings.controlled_datapoints)
        self._told: list[Pair] = []  # by the API
        self._wake = asyncio.Event()
        announcements = [topics.datapoints(name) for name in self._directory.connectors]
        self._subscriptions = PairSubscriptions(
            self._bus,
            self._status_publisher,
            clock,
            self.control,
            settings.controller_settle_seconds,
            self._settled,
            keep=announcements,
        )
        self._claims: ActuatorOwnership | None = None
        if not settings.controller_dry_run:  # else nothing is driven
            self._claims = ActuatorOwnership(self.name, self._bus, clock, self.control, self._others_changed)
        self._rival_fault = ""
        dry = ".dry-run" if settings.controller_dry_run else ""  # what was not sent must not count as sent later
        file = settings.data_directory / "controller" / f"{settings.name}{dry}.json"
        self._memory = StateFile(file, settings.mqtt_topic_controlled_datapoints, clock, self._note_memory)
        self._held: deque[IncomingMessage] = deque()
        self._taken: list[IncomingMessage] = []
        self._bad: Counter[str] = Counter()
        PAIRS.labels(self.name).set_function(lambda: float(len(self.control.actuators)))

    # -- life -------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Until cancelled."""
        self._told = self._memory.restore(self.control, self._directory)
        self._follow_pairs()
        announcements = [topics.datapoints(name) for name in self._directory.connectors]
        api = (
            [self._settings.mqtt_topic_controlled_datapoints] if self._settings.mqtt_topic_controlled_datapoints else []
        )
        await self._bus.subscribe([*api, *announcements])
        health.of(self.name).ready("pairs", self._not_ready)
        self._bus.on_disconnect(self._subscriptions.disconnected)
        self._bus.on_connect(self._connected)
        work = {
            "bus messages": self._consume,
            "subscriptions": self._subscriptions.run,
            "decisions": self._decide,
            "previews": self._previews.run,
            "state file": self._keep_saved,
        }
        if self._claims is not None:
            work["claims"] = self._claims.run
        try:
            async with on_the_bus(self._bus, self._status_publisher), asyncio.TaskGroup() as tasks:
                for name, coroutine in work.items():
                    tasks.create_task(supervise(name, coroutine, clock=self._clock), name=f"{self.name} {name}")
        finally:
            if self._bus.counters.connects:  # else another process has our name, and keeps the file
                self._memory.save_at_the_end(self.control, self._told, self._directory)

    async def _connected(self) -> None:
        self._subscriptions.connected()
        self._previews.tell_all()

    def _follow_pairs(self) -> None:
        """Control what the API and the settings tell, as far as its topics are known."""
        new, gone = self.control.set_pairs(merged(self._told, self._directory.pairs()))
        for topic in gone:
            self._previews.forget(topic)
            self._memory.forget(topic)
        if new or gone:
            self._subscriptions.pairs_changed(new)
            if self._claims is not None:
                self._claims.look()
        self._tell_state()

    def _settled(self) -> None:
        """The retained messages of some pairs are in."""
        if self._claims is not None:
            self._claims.look()
        self._wake.set()

    def _others_changed(self, left: frozenset[str], fault: str) -> None:
        """Which actuators other controllers drive is different, and which we do."""
        for topic in left & self.control.actuators.keys():
            self._previews.forget(topic)
        self._rival_fault = fault
        self._tell_state()
        self._wake.set()

    def _not_ready(self) -> str:
        waiting = sum(not actuator.ready for actuator in self.control.actuators.values())
        return f"{waiting} pairs wait for their retained messages" if waiting else ""

    def _note_memory(self, fault: str) -> None:
        self._status_publisher.report_fault("state file", fault, ready=True)

    def _tell_state(self) -> None:
        unknown = self._directory.unknown
        waiting = f"not announced yet: {', '.join(unknown[:10])}" if unknown else ""
        detail = "; ".join(filter(None, (waiting, self._rival_fault)))
        self._status_publisher.set("degraded" if detail else "online", detail)

    async def _save(self) -> None:
        await self._memory.save(self.control, self._told, self._directory)

    async def _keep_saved(self) -> None:
        """What is to be remembered gets into the file soon, and the decisions do not wait for the disk."""
        saved_at = float("-inf")
        while True:
            await self._clock.sleep(LOOK_WHETHER_TO_SAVE_S)
            if self.control.dirty and self._clock.monotonic() - saved_at >= SAVE_AT_MOST_EVERY_S:
                saved_at = self._clock.monotonic()
                await self._save()

    # -- the bus speaks ---------------------------------------------------------------------------------------------

    async def _consume(self) -> None:
        """Take in what arrives; a setpoint or schedule is acknowledged when it is in the file.

        Entered again after a bug it goes on with the next message.
        """
        while True:
            if not self._held:
                self._held.extend(await self._bus.next_deliveries(MOST_AT_ONCE))
            while self._held:
                delivery = self._held.popleft()
                self._taken.append(delivery)
                self._take(delivery)
            if self.control.items_dirty:
                await self._save()
            for delivery in self._taken:
                delivery.acknowledge()
            self._taken.clear()
            self._wake.set()

    def _take(self, delivery: IncomingMessage) -> None:
        topic, payload = delivery.topic, delivery.payload
        try:
            if topic == self._settings.mqtt_topic_controlled_datapoints:
                self._told = pairs_in(payload)
                self._follow_pairs()
            elif (connector := topic.removesuffix("/datapoints")) in self._directory.connectors:
                self._directory.learn(connector, payload, lambda fault: self._note_bad("datapoints", topic, fault))
                self._follow_pairs()
            if self._claims is not None and topic.endswith("/status"):
                self._claims.take_status(delivery)
            self.control.take(topic, payload, delivery.retain)
        except BadMessage as error:
            self._note_bad(self._kind(topic), topic, str(error))

    def _kind(self, topic: str) -> str:
        if topic == self._settings.mqtt_topic_controlled_datapoints:
            return "controlled_datapoints"
        kind = self.control.kind(topic)
        return "datapoints" if kind == "other" and topic.endswith("/datapoints") else kind

    def _note_bad(self, kind: str, topic: str, fault: str) -> None:
        """Count it; log the first and then every hundredth."""
        BAD.labels(self.name, kind).inc()
        if self._bad[kind] % 100 == 0:
            log.warning("a message on %s makes no sense (%d so far of its kind): %s", topic, self._bad[kind] + 1, fault)
        self._bad[kind] += 1

    # -- deciding and sending ---------------------------------------------------------------------------------------

    async def _decide(self) -> None:
        """The one scheduler: of all items, of all repetitions."""
        for actuator in self.control.actuators.values():
            if actuator.sending:  # a bug has ended what was underway
                actuator.broker_away(self._clock.monotonic())
        while True:
            self._wake.clear()
            if orders := self.control.due():
                async with asyncio.TaskGroup() as tasks:
                    for actuator, order in orders:
                        tasks.create_task(self._send(actuator, order), name=f"{self.name} command")
            await wake_or_pause(self._clock, self._wake, self.control.pause_s())

    async def _send(self, actuator: Actuator, order: Order) -> None:
        now_ms, command_id = self._clock.now_ms(), secrets.token_hex(8)
        actuator.begin_sending(order, command_id, now_ms, self._clock.monotonic())
        told = decision_message(actuator, order, command_id, now_ms, self._settings.controller_dry_run)
        try:
            if self._settings.controller_dry_run:
                actuator.reached(False, self._clock.monotonic())
            else:
                await self._send_command(actuator, order, command_id, now_ms)
            await self._bus.publish(Outgoing(decisions_topic(self.name), told))
        except BrokerAway:
            if actuator.sending:
                actuator.broker_away(self._clock.monotonic())
        except PublishError as error:
            self._note_refused(actuator, error)
        self.control.dirty = True
        self.control.plan(actuator, self._clock.now_ms(), self._clock.monotonic())
        self._previews.changed(actuator.pair.actuator)

    async def _send_command(self, actuator: Actuator, order: Order, command_id: str, now_ms: int) -> None:
        message = ValueMessage(value=order.value, timestamp=now_ms, id=command_id)
        published = await self._bus.publish(
            Outgoing(
                actuator.pair.actuator,
                message.payload(),
                expiry_s=self._settings.command_expiry_seconds,
                correlation=command_id.encode(),
            )
        )
        SENT.labels(self.name, order.cause).inc()
        if published.reached_nobody:
            OUTCOMES.labels(self.name, "nobody listens").inc()
        actuator.reached(published.reached_nobody, self._clock.monotonic())

    def _note_refused(self, actuator: Actuator, error: PublishError) -> None:
        """The status and the log say it already (`publishing refused`)."""
        if actuator.sending:
            OUTCOMES.labels(self.name, "refused").inc()
            actuator.refused(error.reason, self._clock.monotonic())

    def _preview(self, topic: str) -> dict[str, JsonValue] | None:
        actuator = self.control.actuators.get(topic)
        if actuator is None or not actuator.decided:
            return None
        return preview_message(actuator, self.control, self._clock, self._settings.controller_dry_run)
