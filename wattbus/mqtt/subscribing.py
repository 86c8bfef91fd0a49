"""Which topics a client subscribes to, at every connection again."""

from __future__ import annotations

import logging
from collections.abc import Iterable

import aiomqtt
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from wattbus.cancellation import raise_if_cancelled
from wattbus.errors import BrokerAway
from wattbus.mqtt import refusals
from wattbus.mqtt.refusals import Refusals
from wattbus.mqtt.topics import match

log = logging.getLogger(__name__)

FILTERS_PER_PACKET = 100


class Subscriptions:
    """`streamed` filters feed the stream of messages, `watched` ones the watchers; both: filter → QoS."""

    def __init__(self, refused: Refusals) -> None:
        self.streamed: dict[str, int] = {}
        self.watched: dict[str, int] = {}
        self._refusals = refused
        self._refused: set[str] = set()  # by the broker of the present connection

    def is_streamed(self, topic: str) -> bool:
        """Whether messages on a topic belong into the stream."""
        if topic in self.streamed:
            return True
        return any(match(wide, topic) for wide in self.streamed if "+" in wide or "#" in wide)

    def all_filters(self) -> dict[str, int]:
        """What to subscribe to: of overlapping filters the wider one, else Mosquitto delivers everything twice.

        Where the broker refuses the wider one, perhaps it allows the narrower one.
        """
        filters = dict(self.watched)
        for topic, qos in self.streamed.items():
            filters[topic] = max(qos, filters.get(topic, 0))
        wildcards = (topic for topic in filters if "+" in topic or "#" in topic)
        wide = [(topic, filters[topic]) for topic in wildcards if topic not in self._refused]
        return {
            topic: qos
            for topic, qos in filters.items()
            if not any(other != topic and at >= qos and match(other, topic) for other, at in wide)
        }

    async def restore(self, client: aiomqtt.Client) -> None:
        """Everything, on a new connection. Raises BrokerAway."""
        done: set[str] = set()
        self._refused.clear()
        while missing := {topic: qos for topic, qos in self.all_filters().items() if topic not in done}:
            await self.subscribe(client, missing)
            done |= missing.keys()  # somebody may have subscribed to more meanwhile

    async def subscribe(self, client: aiomqtt.Client, filters: dict[str, int]) -> None:
        """Raises BrokerAway."""
        wanted = list(filters.items())
        for start in range(0, len(wanted), FILTERS_PER_PACKET):
            part = wanted[start : start + FILTERS_PER_PACKET]
            options = [(topic, SubscribeOptions(qos=qos)) for topic, qos in part]
            try:
                codes = await client.subscribe(options)
                raise_if_cancelled()
            except aiomqtt.MqttError as error:
                raise BrokerAway(f"subscribing: {error}") from None
            for (topic, _), code in zip(part, codes, strict=True):
                self._note(topic, code)

    def _note(self, topic: str, code: object) -> None:
        if isinstance(code, ReasonCode) and code.is_failure:
            self._refused.add(topic)
            if not self._is_needed(topic):
                log.warning("the broker refuses the subscription to %s: %s; narrower ones take its place", topic, code)
            else:
                self._refusals.refused(refusals.subscription(topic), str(code))
        elif self._refusals:
            self._refusals.accepted(refusals.subscription(topic), at_once=True)

    def _is_needed(self, topic: str) -> bool:
        """Whether no narrower filter takes the place of a refused one: strict brokers allow those alone."""
        return not any(other != topic and match(topic, other) for other in (*self.streamed, *self.watched))

    async def leave(self, client: aiomqtt.Client, filters: Iterable[str]) -> None:
        """End those that nobody wants, also such as an earlier process has left in the session. Raises BrokerAway."""
        wanted = self.all_filters()
        gone = [topic for topic in filters if topic not in wanted]
        for start in range(0, len(gone), FILTERS_PER_PACKET):
            try:
                await client.unsubscribe(gone[start : start + FILTERS_PER_PACKET])
                raise_if_cancelled()
            except aiomqtt.MqttError as error:
                raise BrokerAway(str(error)) from None
