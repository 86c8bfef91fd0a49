"""Tells which actuators this controller drives, and drives none that another controller does."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from controller.control import Control
from controller.other_controllers import OtherControllers, told
from controller.reports import wake_or_pause
from wattbus import metrics
from wattbus.clock import Clock
from wattbus.errors import BrokerAway, PublishError
from wattbus.mqtt import topics
from wattbus.mqtt.client import MqttClient
from wattbus.mqtt.messages import BadMessage, ControlsMessage
from wattbus.mqtt.packets import IncomingMessage, Outgoing

log = logging.getLogger(__name__)


class ActuatorOwnership:
    """Publishes `${controller}/controls`, retained, before the first command to what is new in it.

    `changed` is told which actuators are not driven any more, and what there is to complain of.
    """

    def __init__(
        self,
        service: str,
        bus: MqttClient,
        clock: Clock,
        control: Control,
        changed: Callable[[frozenset[str], str], None],
    ) -> None:
        self._service = service
        self._bus = bus
        self._clock = clock
        self._control = control
        self._changed = changed
        self._others = OtherControllers(service, clock)
        self._ours: frozenset[str] = frozenset()  # what was published
        self._theirs: frozenset[str] = frozenset()
        self._fault = ""
        self._news = asyncio.Event()
        self._from_the_beginning = True
        self._followed: set[str] = set()
        self._refused = False
        control.drive(self._ours)
        bus.watch("+/controls", self._on_controls)
        bus.on_connect(self._connected)

    def look(self) -> None:
        """Pairs are new, or have gone, or their retained messages are in."""
        self._news.set()

    async def _connected(self) -> None:
        self._from_the_beginning = True  # the broker may have lost what it retained
        self._news.set()

    def _on_controls(self, delivery: IncomingMessage) -> None:
        try:
            if self._others.take_controls(delivery.topic.split("/")[0], delivery.payload):
                self._news.set()
        except BadMessage as error:
            metrics.BAD_MESSAGES.labels(self._service, "controls").inc()
            log.warning("a message on %s makes no sense and is left out: %s", delivery.topic, error)

    def take_status(self, delivery: IncomingMessage) -> None:
        """Some service told its status; those of other controllers are of interest. Raises BadMessage."""
        if self._others.take_status(delivery.topic.split("/")[0], delivery.payload, delivery.retain):
            self._news.set()

    async def run(self) -> None:
        """Follow the others for ever."""
        while True:
            await self._bus.wait_connected()
            self._news.clear()
            try:
                await self._follow()
                await self._claim()
            except BrokerAway:
                await self._clock.sleep(0.05)  # the bus may not have noticed yet: let it
                continue
            await wake_or_pause(self._clock, self._news, self._others.next_at() - self._clock.monotonic())

    async def _follow(self) -> None:
        """Hear how the other controllers are."""
        new = self._others.names - self._followed
        self._followed |= new
        await self._bus.subscribe(topics.status(name) for name in new)

    async def _claim(self) -> None:
        holders = {}
        wanted = set()
        for name, actuator in self._control.actuators.items():
            ours = name in self._ours
            if not ours and not actuator.ready:
                continue  # retained messages are not in yet: who else is there is not known
            if holder := self._others.holder(name, ours=ours):
                holders[name] = holder
            else:
                wanted.add(name)
        before, now = self._ours, frozenset(wanted)
        if before - now:
            self._control.drive(now)  # let go before it is told
        if now != before or (self._from_the_beginning and now):
            await self._tell(now)
        self._from_the_beginning = False
        self._control.drive(now, now & self._theirs)
        self._ours, self._theirs = now, frozenset(holders)
        self._report(frozenset(before - now), told(holders.items()))

    async def _tell(self, actuators: frozenset[str]) -> None:
        message = ControlsMessage(actuators=sorted(actuators), timestamp=self._clock.now_ms())
        try:
            await self._bus.publish(Outgoing(topics.controls(self._service), message.payload(), retain=True))
        except PublishError as error:
            if not self._refused:
                self._refused = True
                log.error("other controllers cannot be told what is driven here: %s", error)

    def _report(self, left: frozenset[str], fault: str) -> None:
        if fault != self._fault:
            if fault:
                log.error("%s: give each controller pairs of its own", fault)
            else:
                log.warning("no other controller drives any of the actuators now")
        self._fault = fault
        self._changed(left, fault)
