"""Messages as the client gives and takes them, and the limits that both ends keep."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

LONGEST_PAYLOAD = 4 * 2**20  # bytes; nothing longer is sent, and what comes is counted and dropped unread
LARGEST_PACKET = LONGEST_PAYLOAD + 65536 + 1024  # with the longest topic, and properties
TOO_LARGE, NO_SUBSCRIBERS = 149, 16  # MQTT 5, table 2-6


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message to publish. `expiry_s` is the MQTT 5 message expiry."""

    topic: str
    payload: bytes
    qos: int = 1
    retain: bool = False
    expiry_s: int | None = None
    correlation: bytes | None = None
    response_topic: str | None = None

    @property
    def packet_bytes(self) -> int:
        """The size of its packet, never less than it really is."""
        return (
            len(self.payload)
            + len(self.topic.encode())
            + 64
            + len(self.correlation or b"")
            + 4 * len(self.response_topic or "")
        )

    def properties(self) -> Properties | None:
        """As paho takes them; None when there are none."""
        if self.expiry_s is None and self.correlation is None and self.response_topic is None:
            return None
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        if self.expiry_s is not None:
            properties.MessageExpiryInterval = self.expiry_s
        if self.correlation is not None:
            properties.CorrelationData = self.correlation
        if self.response_topic is not None:
            properties.ResponseTopic = self.response_topic
        return properties


@dataclass(frozen=True, slots=True)
class Published:
    """The broker has the message; `reached_nobody` if it said that no subscription matched."""

    reached_nobody: bool = False


class Acknowledging(Protocol):
    """Who passes acknowledgements on to the broker."""

    def acknowledge_in_order(self, connection: int) -> None:
        """Send the acknowledgements that are due on this connection; nothing if it is gone."""


@dataclass(slots=True)
class IncomingMessage:
    """A message that arrived. One with QoS 1 must be acknowledged, after it was processed.

    `packet_id` names it within the broker's `session` until it is acknowledged: a redelivery (`duplicate`) has the
    same one. Both are of no meaning with QoS 0.
    """

    topic: str
    payload: bytes
    qos: int
    retain: bool
    duplicate: bool
    expiry_s: int | None
    correlation: bytes | None
    response_topic: str | None
    _acknowledging: Acknowledging = field(repr=False)
    connection: int = field(repr=False)
    packet_id: int
    session: int = 0
    _acknowledged: bool = field(default=False, repr=False)

    def acknowledge(self) -> None:
        """Tell the broker that this message is done with; harmless when its connection is gone."""
        self._acknowledged = True
        self._acknowledging.acknowledge_in_order(self.connection)


Watcher = Callable[[IncomingMessage], None]


@dataclass(slots=True)
class ClientCounters:
    """What went over the bus, for metrics."""

    received: int = 0
    received_too_large: int = 0
    published: int = 0
    publish_refused: int = 0
    connects: int = 0
