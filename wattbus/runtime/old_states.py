"""What an earlier process of this connector left retained as good, of devices that are away since this one started."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Mapping

from wattbus.clock import Clock
from wattbus.errors import BrokerAway, BrokerRefuses, PublishError
from wattbus.jsontext import dumps
from wattbus.mqtt import topics
from wattbus.mqtt.client import MqttClient
from wattbus.mqtt.messages import BadMessage, ValueMessage, WhoMessage, parse
from wattbus.mqtt.packets import IncomingMessage, Outgoing
from wattbus.runtime.datapoint_registry import DatapointRegistry
from wattbus.runtime.state_topics import StateTopics

log = logging.getLogger(__name__)

COLLECT_S = 1.0  # more devices may go
TRY_AGAIN_S = 10.0


class OldStates:
    """Marks them `offline`, once each: sensors that this process has heard itself are the state topics' business.

    `announced` are sensors that the earlier process announced, topic → key. `instance` is this process, for the second
    client that reads what the broker retains.
    """

    def __init__(
        self,
        bus: MqttClient,
        instance: str,
        registry: DatapointRegistry,
        state: StateTopics,
        announced: Mapping[str, str],
        clock: Clock,
    ) -> None:
        self._bus = bus
        self._instance = instance
        self._registry = registry
        self._state = state
        self._announced = announced
        self._clock = clock
        self._all_are_away = False
        self._devices_away: set[str] = set()
        self._needed = asyncio.Event()
        self._is_connected = asyncio.Event()
        self._looked_at: set[str] = set()

    def connected(self) -> None:
        """What the earlier process announced has arrived."""
        self._is_connected.set()

    def all_left(self) -> None:
        """Nothing is heard of any device."""
        self._all_are_away = True
        self._needed.set()

    def device_left(self, name: str) -> None:
        """A device is away: what an earlier process left as good for it is not."""
        self._devices_away.add(name)
        self._needed.set()

    async def run(self) -> None:
        """For ever."""
        while True:
            await self._needed.wait()
            await self._is_connected.wait()
            await self._clock.sleep(COLLECT_S)
            self._needed.clear()
            unheard = self._unheard()
            if not unheard:
                continue
            try:
                await self._mark(await self._retained(unheard), unheard)
            except BrokerRefuses as error:
                log.debug("cannot look what an earlier process left: %s", error)  # this broker is strict
            except (BrokerAway, PublishError):
                self._needed.set()
                await self._clock.sleep(TRY_AGAIN_S)
                continue
            self._looked_at |= unheard.keys()

    def _unheard(self) -> dict[str, str]:
        """Topic → key of sensors that are away, and that this process has never heard."""
        if self._all_are_away:
            known = {topic: key for key, topic in self._registry.sensor_topics.items()}
            away = {**self._announced, **known}
        else:
            keys = [key for device in self._devices_away for key in self._registry.sensors_of(device)]
            away = {topic: key for key in keys if (topic := self._registry.topic_of(key)) is not None}
        self._all_are_away = False
        self._devices_away.clear()
        return {topic: key for topic, key in away.items() if topic not in self._looked_at and key not in self._state}

    async def _retained(self, wanted: Mapping[str, str]) -> dict[str, ValueMessage]:
        """What is retained on these topics, and says nothing against its value. Raises BrokerAway, PublishError."""
        found: dict[str, ValueMessage] = {}

        def take(message: IncomingMessage) -> None:
            if message.retain and message.topic in wanted:
                try:
                    value = parse(ValueMessage, message.payload)
                except BadMessage:
                    return
                if value.quality != "offline":
                    found[message.topic] = value

        name = self._registry.connector
        reader = self._bus.probe_client(f"{name}-{self._instance}")
        reader.watch(topics.value(name, "+"), take, qos=0)
        async with reader.visit():
            # The broker answers in order: when it has this, what it retains has arrived. The question is our own.
            question = WhoMessage(instance=self._instance, host=socket.gethostname(), process=os.getpid())
            await reader.publish(Outgoing(topics.who(name), question.payload()))
        return found

    async def _mark(self, found: Mapping[str, ValueMessage], keys: Mapping[str, str]) -> None:
        for topic, value in found.items():
            message = Outgoing(topic, dumps({**value.model_dump(exclude_unset=True), "quality": "offline"}), 0, True)
            while keys[topic] not in self._state and not self._bus.publish_now(message):
                await self._bus.wait_connected()
                await self._clock.sleep(0.05)
            await asyncio.sleep(0)
