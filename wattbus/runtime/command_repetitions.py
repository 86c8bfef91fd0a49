"""Which message repeats a command that was taken already, so that it is answered and not executed again. Pure.

Two things tell, and never the payload alone (on, off, on is three commands):

* the broker delivers a message again (MQTT 5, 4.4): the same packet id in the same session, marked as a duplicate;
* its sender sends it again: the same id, or correlation data, with the same content, within the age that commands have.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Generic, TypeVar

from wattbus.clock import Clock
from wattbus.mqtt.messages import Command, ResultMessage
from wattbus.mqtt.packets import IncomingMessage

Order = TypeVar("Order")
Key = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class _Known(Generic[Order]):
    became: Order | ResultMessage
    payload: bytes
    at_s: float  # monotonic


class Repetitions(Generic[Order]):
    """The last `most` commands of one connector. `Order` is what the executor has of one that is under way."""

    def __init__(self, max_age_s: float, most: int, clock: Clock) -> None:
        self._max_age_s = max_age_s
        self._most = most
        self._clock = clock
        self._known: OrderedDict[Key, _Known[Order]] = OrderedDict()

    def of(self, delivery: IncomingMessage, command: Command) -> Order | ResultMessage | None:
        """The command under way that this message repeats, or the outcome it had; None: it is a new one."""
        if delivery.duplicate:
            found = self._known.get(_delivery_key(delivery))
            if found is not None and found.payload == delivery.payload:
                return found.became
        key = _sender_key(delivery, command)
        found = None if key is None else self._known.get(key)
        if found is None or found.payload != delivery.payload or self._clock.monotonic() - found.at_s > self._max_age_s:
            return None
        return found.became

    def note(self, delivery: IncomingMessage, command: Command, order: Order) -> None:
        """A new command."""
        for key in _keys(delivery, command):
            self._known.pop(key, None)
            self._known[key] = _Known(order, delivery.payload, self._clock.monotonic())
        while len(self._known) > 2 * self._most:  # each has up to two keys
            self._known.popitem(last=False)

    def finished(
        self, order: Order, deliveries: list[IncomingMessage], command: Command, result: ResultMessage
    ) -> None:
        """What became of a command, whose `deliveries` are the first one and what repeated it."""
        for delivery in deliveries:
            for key in _keys(delivery, command):
                if (found := self._known.get(key)) is not None and found.became is order:
                    self._known[key] = _Known(result, found.payload, self._clock.monotonic())


def _keys(delivery: IncomingMessage, command: Command) -> list[Key]:
    broker = [_delivery_key(delivery)] if delivery.qos else []
    sender = _sender_key(delivery, command)
    return broker if sender is None else [*broker, sender]


def _delivery_key(delivery: IncomingMessage) -> Key:
    return "delivery", delivery.session, delivery.packet_id, delivery.topic


def _sender_key(delivery: IncomingMessage, command: Command) -> Key | None:
    named = command.id or delivery.correlation
    return ("sender", delivery.topic, named) if named else None
