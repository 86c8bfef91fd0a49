"""Following the topics of the controlled pairs, and knowing when their retained messages are in."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable

from controller.actuator import Actuator
from controller.control import Control
from wattbus.clock import Clock
from wattbus.errors import BrokerAway
from wattbus.mqtt import topics
from wattbus.mqtt.client import MqttClient
from wattbus.service.status_publisher import StatusPublisher


class PairSubscriptions:
    """Subscribes to what `control` needs, and lets its pairs be decided a moment after. `settled` is called then."""

    def __init__(
        self,
        bus: MqttClient,
        status_publisher: StatusPublisher,
        clock: Clock,
        control: Control,
        settle_s: float,
        settled: Callable[[], None],
        keep: Collection[str] = (),
    ) -> None:
        self._bus = bus
        self._status_publisher = status_publisher
        self._clock = clock
        self._control = control
        self._settle_s = settle_s
        self._settled = settled
        self._keep = keep  # somebody else needs them, too
        self._current: dict[str, int] = {}
        self._again: set[str] = set()  # topics whose retained messages somebody needs who was not there before
        self._news = asyncio.Event()

    def pairs_changed(self, new: Iterable[Actuator]) -> None:
        """Other pairs are controlled: `new` ones need the retained messages of their topics."""
        for actuator in new:
            pair = actuator.pair
            self._again |= {pair.sensor, pair.setpoint, pair.schedule, topics.status(pair.actuator_connector)}
        self._news.set()

    def connected(self) -> None:
        """There is a connection: subscribe to what is needed."""
        self._news.set()

    def disconnected(self) -> None:
        """The connection is gone: nothing is decided before the retained messages are in again."""
        self._control.wait_for_retained()

    async def run(self) -> None:
        """Follow what is needed, for ever."""
        while True:
            await self._news.wait()
            await self._bus.wait_connected()
            self._news.clear()
            try:
                await self._follow()
                # The broker answers in order: when the status is acknowledged, retained messages have arrived.
                await self._status_publisher.tell()
            except BrokerAway:
                self._news.set()
                await self._clock.sleep(0.05)  # the bus may not have noticed yet: let it
                continue
            await self._bus.drained()
            await self._settle()

    async def _follow(self) -> None:
        wanted, again = self._control.topics, self._again
        self._again = set()
        leave = [
            topic
            for topic, qos in self._current.items()
            if topic not in self._keep and (wanted.get(topic) != qos or topic in again)
        ]
        self._current = {topic: qos for topic, qos in self._current.items() if topic not in leave}
        new = [topic for topic in wanted if topic not in self._current]
        await self._bus.unsubscribe(leave)
        for qos in (0, 1):
            part = [topic for topic in new if wanted[topic] == qos]
            self._current.update(dict.fromkeys(part, qos))  # the bus knows them even if the connection breaks now
            await self._bus.subscribe(part, qos)

    async def _settle(self) -> None:
        """What comes one after the other (a setpoint, then its schedule) gets the time to come."""
        here = [name for name, actuator in self._control.actuators.items() if not actuator.ready]
        if self._news.is_set() or not here:
            return
        await self._clock.sleep(self._settle_s)
        if not self._news.is_set() and self._bus.connected:
            self._control.set_ready(here)
            self._settled()
