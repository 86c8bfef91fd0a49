"""A history that is said to be online and gives no receipts: is there anybody?

A broker that died with its history retains for ever that it was online. Who believes that repeats its readings for
ever.
"""

from __future__ import annotations

import contextlib
import os
import socket

from wattbus.clock import Clock
from wattbus.errors import BrokerAway, PublishError
from wattbus.mqtt import topics
from wattbus.mqtt.client import MqttClient
from wattbus.mqtt.messages import WhoMessage
from wattbus.mqtt.packets import Outgoing
from wattbus.runtime.known_histories import KnownHistories

DOUBTED_AFTER_S = 60.0  # a history gives a receipt every second
ANSWER_S = 10.0


class HistoryDoubts:
    """Asks those that should give receipts on `${history}/who`; whoever lives answers with its status."""

    def __init__(self, bus: MqttClient, histories: KnownHistories, session: str, clock: Clock) -> None:
        self._bus = bus
        self._histories = histories
        self._instance = session[:8]
        self._clock = clock
        self._heard_at = clock.monotonic()
        self._asked_at: float | None = None
        self._asked: set[str] = set()
        self._answered = False

    def heard_receipt(self) -> None:
        """A receipt: all is well; or a new connection, on which receipts may come again."""
        self._heard_at = self._clock.monotonic()
        self._asked_at = None

    def answered(self, service: str) -> None:
        """A status that is not retained: its service lives."""
        if service in self._asked and self._asked_at is not None:
            if self.nobody_answers:  # it has come (back) since
                self.heard_receipt()
            self._answered = True

    @property
    def nobody_answers(self) -> bool:
        """Whether all that were asked had the time to answer, and none did."""
        if self._asked_at is None or self._clock.monotonic() - self._asked_at < ANSWER_S:
            return False
        return not self._answered

    async def look(self, waits: bool) -> float:
        """How long (s) receipts have been missing that should come, 0 when all is well; `waits`: something waits."""
        if not self._bus.connected or not (waits or self.nobody_answers):
            self.heard_receipt()
            return 0.0
        silent_s = self._clock.monotonic() - self._heard_at
        if silent_s < DOUBTED_AFTER_S:
            return 0.0
        if self._asked_at is None:
            self._asked_at = self._clock.monotonic()
            self._asked, self._answered = set(self._histories.recording), False
            question = WhoMessage(instance=self._instance, host=socket.gethostname(), process=os.getpid())
            for name in sorted(self._asked):
                with contextlib.suppress(BrokerAway, PublishError):
                    await self._bus.publish(Outgoing(topics.who(name), question.payload()))
        return silent_s
