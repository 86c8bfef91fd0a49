"""Publishes which datapoints there are, follows their topics, and clears what earlier processes left."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Collection

from wattbus.clock import Clock
from wattbus.errors import BrokerAway, PublishError
from wattbus.jsontext import loads
from wattbus.mqtt import topics
from wattbus.mqtt.client import MqttClient
from wattbus.mqtt.messages import BadMessage
from wattbus.mqtt.packets import IncomingMessage, Outgoing
from wattbus.runtime.datapoint_registry import DatapointRegistry, Topics
from wattbus.runtime.state_topics import StateTopics

log = logging.getLogger(__name__)

AT_MOST_EVERY_S, AT_LEAST_EVERY_S = 1.0, 60.0
BYTES_PER_S = 100_000  # of announcements, on average, while datapoints are being discovered
PIECES_AT_ONCE = 100  # a few milliseconds; then others have their turn
FORGET_AFTER_S = 600.0  # what an earlier process announced, and this one never saw, is cleared then


class Announcer:
    """`changed()` says that datapoints or the datapoint map changed. `kept` are topics that stay subscribed to.

    An announcement is always complete, so while thousands of datapoints are being discovered it is repeated the less
    often the longer it is. Topics are followed every second all the same: nobody has to wait for an actuator.
    """

    def __init__(
        self, bus: MqttClient, registry: DatapointRegistry, state: StateTopics, clock: Clock, kept: Collection[str]
    ) -> None:
        self._bus = bus
        self._registry = registry
        self._state = state
        self._clock = clock
        self._kept = kept
        self._topics = Topics()
        self._topics_changed = asyncio.Event()
        self._news = asyncio.Event()
        self._following = asyncio.Lock()
        self._published = b""
        self.announced_before: dict[str, str] = {}  # by an earlier process: topic → key of its sensors

    def changed(self) -> None:
        """There are other datapoints, or other topics: announce them soon."""
        self._topics_changed.set()
        self._news.set()

    async def announce(self) -> None:
        """Publish what there is, whenever it changed, for ever."""
        while True:
            await self._news.wait()
            await self._bus.wait_connected()
            self._news.clear()
            try:
                size = await self._announce()
            except BrokerAway:
                self._news.set()
                size = 0
            except PublishError as error:
                log.error("the datapoints cannot be announced: %s", error)
                size = 0
            await self._clock.sleep(min(max(AT_MOST_EVERY_S, size / BYTES_PER_S), AT_LEAST_EVERY_S))

    async def _announce(self) -> int:
        """The size of the announcement in bytes."""
        await self._follow_topics()  # who hears of an actuator may command it at once
        pieces_are_left = True
        while pieces_are_left:
            pieces_are_left = self._registry.announcement.make_pieces(PIECES_AT_ONCE)
            await asyncio.sleep(0)
        available, descriptions = self._registry.announcement.available(), self._registry.announcement.descriptions()
        name = self._registry.connector
        await self._bus.publish(Outgoing(topics.available_datapoints(name), available, retain=True))
        self._published = descriptions
        await self._bus.publish(Outgoing(topics.datapoints(name), descriptions, retain=True))
        return len(available) + len(descriptions)

    # -- topics -----------------------------------------------------------------------------------------------------

    async def follow(self) -> None:
        """Follow changes of topics, at most once a second, for ever."""
        while True:
            await self._topics_changed.wait()
            await self._bus.wait_connected()
            with contextlib.suppress(BrokerAway):
                await self._follow_topics()
            await self._clock.sleep(AT_MOST_EVERY_S)

    async def _follow_topics(self) -> None:
        """Subscribe to new actuator topics, leave old ones, clear the state of sensors that went or moved."""
        async with self._following:
            if self._topics_changed.is_set():
                self._topics_changed.clear()
                try:
                    await self._move_to(self._registry.topics)
                except BaseException:
                    self._topics_changed.set()
                    raise

    async def _move_to(self, after: Topics) -> None:
        before = self._topics
        self._state.move(self._registry.sensor_topics)  # nothing is published in the old places from now on
        await self._bus.subscribe(after.actuators - before.actuators)
        await self._bus.unsubscribe(before.actuators - after.actuators - set(self._kept))
        for topic in (before.sensors | self._state.published_on) - after.sensors:
            await self._clear(topic)
            self._state.published_on.discard(topic)
        self._topics = after

    async def _clear(self, topic: str) -> None:
        """Take a sensor's state off the broker."""
        try:
            await self._bus.publish(Outgoing(topic, b"", retain=True))
        except PublishError as error:
            log.error("the state of a former datapoint cannot be cleared: %s", error)

    # -- what earlier processes left --------------------------------------------------------------------------------

    def old_announcement(self, delivery: IncomingMessage) -> None:
        """What a process before this one announced; our own words come back, too. Raises BadMessage."""
        if not delivery.retain or not delivery.payload or delivery.payload == self._published:
            return
        try:
            announced = loads(delivery.payload)
        except ValueError as error:
            raise BadMessage(str(error)) from None
        if not isinstance(announced, list):
            raise BadMessage("not a list")
        for entry in announced:
            if isinstance(entry, dict) and entry.get("type") == "sensor" and isinstance(entry.get("topic"), str):
                self.announced_before[entry["topic"]] = str(entry.get("key"))

    async def forget_old_datapoints(self, all_is_there: Callable[[], bool]) -> None:
        """Clear the state of sensors that an earlier process announced and that do not exist any more."""
        seen_s = 0.0
        while seen_s < FORGET_AFTER_S:  # only what stays away while all devices are there has gone
            await self._clock.sleep(10.0)
            seen_s += 10.0 if all_is_there() else 0.0
        for topic in self.announced_before.keys() - self._registry.topics.sensors:
            while True:
                await self._bus.wait_connected()
                try:
                    await self._clear(topic)
                except BrokerAway:
                    await self._clock.sleep(0.05)  # the bus may not have noticed yet: let it
                    continue
                break
        await asyncio.Event().wait()
