"""Receipts on the bus: after the commit, at most once per interval, the newest session last."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict, defaultdict
from collections.abc import Iterable

from wattbus.clock import SYSTEM_CLOCK, Clock
from wattbus.errors import BrokerAway, PublishError
from wattbus.mqtt import topics
from wattbus.mqtt.client import MqttClient
from wattbus.mqtt.messages import Receipt
from wattbus.mqtt.packets import Outgoing
from wattbus.storage import SessionState

log = logging.getLogger(__name__)

DAY_MS = 86_400_000
MOST_SESSIONS = 100  # per connector: one that restarts every few seconds must not flood the bus


class ReceiptPublisher:
    """Publishes what was committed. The topic is one per connector: what stays retained is its newest session."""

    def __init__(self, bus: MqttClient, interval_s: float, clock: Clock = SYSTEM_CLOCK) -> None:
        self._bus = bus
        self._interval_s = interval_s
        self._clock = clock
        self._known: dict[str, OrderedDict[str, SessionState]] = defaultdict(OrderedDict)  # by connector, oldest first
        self._due: dict[str, set[str]] = defaultdict(set)
        self._something_due = asyncio.Event()
        self._refused: set[str] = set()
        bus.on_connect(self._publish_again)

    def committed(self, states: Iterable[SessionState]) -> None:
        """These are in the database now, and their senders are waiting to hear it."""
        for state in states:
            sessions = self._known[state.connector]
            sessions[state.session] = state
            self._due[state.connector].add(state.session)
            if len(sessions) > MOST_SESSIONS:
                silent = min(sessions.values(), key=lambda known: known.last_seen_ms)
                del sessions[silent.session]
            self._something_due.set()

    async def _publish_again(self) -> None:
        """A broker that died may have come back without what it retained."""
        lately = self._clock.now_ms() - DAY_MS
        for sessions in self._known.values():
            self.committed([state for state in sessions.values() if state.last_seen_ms >= lately])

    async def run(self) -> None:
        while True:
            await self._something_due.wait()
            await self._bus.wait_connected()
            self._something_due.clear()
            due, self._due = self._due, defaultdict(set)
            for connector, names in due.items():
                await self._publish(connector, names)
            await self._clock.sleep(self._interval_s)

    async def _publish(self, connector: str, names: set[str]) -> None:
        sessions = self._known[connector]
        newest = max(sessions.values(), key=lambda state: state.first_seen_ms).session
        ordered = [name for name in sessions if name in names and name != newest] + [newest]
        for name in ordered:
            state = sessions[name]
            receipt = Receipt(session=name, upto=state.upto, missing=list(state.missing))
            try:
                await self._bus.publish(Outgoing(topics.receipts(connector), receipt.payload(), retain=True))
                self._refused.discard(connector)
            except BrokerAway:
                return  # all of them go out again at the next connect
            except PublishError as error:
                if connector not in self._refused:
                    self._refused.add(connector)
                    log.error("no receipts for %s: %s", connector, error)
                return
