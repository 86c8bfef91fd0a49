"""Publishing with a window of our own, and the reason codes of PUBACKs."""

from __future__ import annotations

import asyncio
from typing import Any

from paho.mqtt.client import Client as PahoClient
from paho.mqtt.client import error_string
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from wattbus.errors import BrokerAway, PublishError
from wattbus.mqtt import refusals
from wattbus.mqtt.packets import (
    LARGEST_PACKET,
    NO_SUBSCRIBERS,
    TOO_LARGE,
    ClientCounters,
    Outgoing,
    Published,
)
from wattbus.mqtt.refusals import Refusals

MOST_IN_FLIGHT = 100  # QoS 1 messages that wait for their PUBACK; the broker may allow fewer
MOST_UNSENT_PACKETS = 2000  # packets in paho's own queue above which the socket counts as congested


class Publisher:
    """Sends over the present connection. Nothing waits here for the next one: whoever publishes decides that."""

    def __init__(self, counters: ClientCounters, refused: Refusals) -> None:
        self._counters = counters
        self._refusals = refused
        self._paho: PahoClient | None = None
        self._open = False  # the subscriptions stand
        self._window = MOST_IN_FLIGHT
        self._largest_packet = LARGEST_PACKET
        self._in_flight: dict[int, tuple[str, asyncio.Future[Published]]] = {}
        self._room = asyncio.Event()

    # -- the connection ---------------------------------------------------------------------------------------------

    def attach(self, paho: PahoClient, limits: Properties | None) -> None:
        """A connection, with what the broker's CONNACK allows."""
        self._paho = paho
        self._window = min(MOST_IN_FLIGHT, getattr(limits, "ReceiveMaximum", None) or 65535)
        self._largest_packet = min(LARGEST_PACKET, getattr(limits, "MaximumPacketSize", None) or LARGEST_PACKET)

    def open(self) -> None:
        """The subscriptions stand: messages may go out."""
        self._open = True
        self._room.set()

    def detach(self) -> None:
        """The connection is gone: what is in flight fails."""
        self._paho, self._open = None, False
        in_flight, self._in_flight = self._in_flight, {}
        for topic, future in in_flight.values():
            if not future.done():
                future.set_exception(BrokerAway(f"{topic}: the connection broke before the broker acknowledged"))
        self._room.set()

    @property
    def congested(self) -> bool:
        """Whether packets pile up because the socket does not take them."""
        return self._paho is not None and len(self._paho._out_packet) > MOST_UNSENT_PACKETS

    # -- sending ----------------------------------------------------------------------------------------------------

    async def publish_soon(self, message: Outgoing) -> asyncio.Future[Published]:
        """Wait for room in the window, send, and return the future of the broker's acknowledgement."""
        while len(self._in_flight) >= self._window and self._open:
            self._room.clear()
            await self._room.wait()
        return self._send(message)

    def publish_now(self, message: Outgoing) -> bool:
        """Publish with QoS 0 if there is a connection that keeps up; false if not, and nothing was sent.

        A message that can never be sent (too large) counts as done with, and is a refusal.
        """
        if not self._open or self.congested:
            return False
        try:
            self._send(message)
        except BrokerAway:
            return False
        except PublishError:
            return True
        return True

    def _send(self, message: Outgoing) -> asyncio.Future[Published]:
        if self._paho is None:
            raise BrokerAway("not connected to the broker")
        if message.packet_bytes > self._largest_packet:
            raise self._too_large(message, f"{len(message.payload)} bytes are more than may be sent")
        future: asyncio.Future[Published] = asyncio.get_running_loop().create_future()
        future.add_done_callback(_seen)
        try:
            sent = self._paho.publish(message.topic, message.payload, message.qos, message.retain, message.properties())
        except ValueError as error:
            raise self._too_large(message, str(error)) from None
        if sent.rc != 0:
            raise BrokerAway(f"{message.topic}: {error_string(sent.rc)}")
        if message.qos == 0:
            self._counters.published += 1
            future.set_result(Published())
        else:
            self._in_flight[sent.mid] = (message.topic, future)
        return future

    def _too_large(self, message: Outgoing, reason: str) -> PublishError:
        self._counters.publish_refused += 1
        self._refusals.refused(refusals.too_large(message.topic), reason)
        return PublishError(message.topic, reason, TOO_LARGE)

    def confirmed(self, paho: PahoClient, userdata: Any, mid: int, code: ReasonCode, given: Properties | None) -> None:
        """A PUBACK (or, with QoS 0, that it was written to the socket)."""
        waiting = self._in_flight.pop(mid, None)
        self._room.set()
        if waiting is None:
            return
        topic, future = waiting
        if code.is_failure:
            self._counters.publish_refused += 1
            name = refusals.too_large(topic) if code.value == TOO_LARGE else refusals.publishing(topic)
            self._refusals.refused(name, str(code))
            if not future.done():
                future.set_exception(PublishError(topic, f"the broker refuses it: {code}", code.value))
            return
        self._counters.published += 1
        if self._refusals:
            self._refusals.accepted(refusals.publishing(topic), at_once=True)
            self._refusals.accepted(refusals.too_large(topic))
        if not future.done():
            future.set_result(Published(reached_nobody=code.value == NO_SUBSCRIBERS))


def _seen(future: asyncio.Future[Published]) -> None:
    """Failures are for whoever asks; asyncio need not complain when nobody does."""
    if not future.cancelled():
        future.exception()
