"""What history subscribes to; and what earlier processes of this name, with other settings, left in its session."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from wattbus.clock import SYSTEM_CLOCK, Clock
from wattbus.errors import BrokerAway
from wattbus.mqtt.client import MqttClient

FILTERS = (
    "{}/values",
    "{}/messages/+/value",
    "{}/messages/+/result",
    "{}/messages/+/setpoint",
    "{}/messages/+/schedule",
    "{}/datapoints",
    "{}/datapoint_map",
)
EVERYBODY = "+"
MOST_FOREIGN = 10_000


def subscriptions(connectors: Iterable[str]) -> list[str]:
    """What history subscribes to, always and statically; no names: everything."""
    return [pattern.format(name) for name in (list(connectors) or [EVERYBODY]) for pattern in FILTERS]


class HistorySubscriptions:
    """Leaves what the broker still has in our session and HISTORY_CONNECTORS does not want (any more).

    The session outlives the process for weeks, so that nothing is lost; nobody else ends its subscriptions.
    """

    def __init__(self, bus: MqttClient, connectors: Iterable[str], clock: Clock = SYSTEM_CLOCK) -> None:
        self._bus = bus
        self._wanted = frozenset(connectors)
        self._clock = clock
        self._foreign: set[str] = set()  # those that were dealt with
        self._to_leave: dict[str, None] = {}
        self._news = asyncio.Event()
        if self._wanted:
            self._leave(EVERYBODY)

    def came_from(self, connector: str) -> None:
        """A message came of a connector that is none of ours."""
        if connector not in self._foreign and len(self._foreign) < MOST_FOREIGN:
            self._foreign.add(connector)
            self._leave(connector)

    def recorded(self, connectors: Iterable[str]) -> None:
        """These were recorded lately, perhaps by name; where everybody is recorded they would come twice."""
        if not self._wanted:
            for connector in connectors:
                self._leave(connector)

    def _leave(self, name: str) -> None:
        self._to_leave[name] = None
        self._news.set()

    async def run(self) -> None:
        while True:
            await self._news.wait()
            await self._bus.wait_connected()
            self._news.clear()
            names = list(self._to_leave)
            try:
                await self._bus.leave(subscriptions(names))
            except BrokerAway:
                self._news.set()
                await self._clock.sleep(0.05)  # the bus may not have noticed yet: let it
                continue
            for name in names:
                self._to_leave.pop(name, None)
