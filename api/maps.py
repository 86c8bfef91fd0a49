"""Which datapoints a connector shall publish: what people chose, told to it as its datapoint map.

BEMCom's connectors say nothing before they have one and get everything; ours get one only when somebody chose.
"""

from __future__ import annotations

import asyncio
import logging

from api.datapoints import KnownDatapoint
from api.directory import DatapointDirectory
from api.errors import Unavailable
from api.live import Live, LiveConnector
from wattbus.clock import Clock
from wattbus.errors import BrokerAway, PublishError
from wattbus.mqtt import topics
from wattbus.mqtt.client import MqttClient
from wattbus.mqtt.messages import DatapointMap
from wattbus.mqtt.packets import Outgoing
from wattbus.storage import DatabaseAway

log = logging.getLogger(__name__)

PATIENCE_MS = 1000  # our own connectors say a moment later that they are of our kind
RETRY_S = 0.5


class MapKeeper:
    """Publishes maps, retained, when they change and when the broker has not kept them."""

    def __init__(self, live: Live, directory: DatapointDirectory, bus: MqttClient, clock: Clock) -> None:
        self._live = live
        self._directory = directory
        self._bus = bus
        self._clock = clock
        self._told: dict[str, DatapointMap] = {}
        self._settled = asyncio.Event()
        self._again = asyncio.Event()
        bus.on_disconnect(self._forget)
        bus.on_connect(self._retained_are_in)

    def _forget(self) -> None:
        self._told.clear()
        self._settled.clear()
        self._live.forget_maps()

    async def _retained_are_in(self) -> None:
        """The broker answers in order: the status was acknowledged, so what it retains has arrived."""
        await self._bus.drained()
        self._settled.set()
        self._again.set()

    async def run(self) -> None:
        """Keep them for ever."""
        with self._live.changes.subscribed(lambda change: change.kind == "datapoints") as announced:
            while True:
                await self._settled.wait()
                self._again.clear()
                announced.taken()
                waiting = self._directory.loaded and await self._tell_all()
                news = asyncio.ensure_future(announced.changes())
                again = asyncio.ensure_future(self._again.wait())
                try:
                    timeout_s = RETRY_S if waiting or not self._directory.loaded else None
                    await asyncio.wait({news, again}, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    news.cancel()
                    again.cancel()

    async def _tell_all(self) -> bool:
        """Whether something has to be tried again."""
        waiting = False
        if any(self._is_news(connector) and connector.datapoint_map for connector in self._live.connectors.values()):
            try:
                await self._directory.refresh()  # another API has told these maps: what it knows is in the database
            except DatabaseAway:
                return True
        for connector in list(self._live.connectors.values()):
            wanted = self.wanted(connector)
            if wanted is None or not self._is_news(connector):
                continue
            if self._may_be_ours(connector):
                waiting = True
                continue
            waiting |= not await self._tell(connector.name, wanted)
        return waiting

    def _is_news(self, connector: LiveConnector) -> bool:
        """Whether it should have another map than the one that we told it last, or that the broker has for it."""
        wanted = self.wanted(connector)
        return wanted is not None and wanted not in (self._told.get(connector.name), connector.datapoint_map)

    def _may_be_ours(self, connector: LiveConnector) -> bool:
        young = self._clock.now_ms() - connector.available_since_ms < PATIENCE_MS
        return not connector.describes_itself and young

    async def _tell(self, name: str, wanted: DatapointMap | None) -> bool:
        payload = wanted.payload() if wanted is not None else b""
        try:
            await self._bus.publish(Outgoing(topics.datapoint_map(name), payload, retain=True))
        except BrokerAway:
            return False
        except PublishError as error:
            log.error("no datapoint map for %s: %s", name, error)
        if wanted is not None:
            self._told[name] = wanted
        else:
            self._told.pop(name, None)
        return True

    def wanted(self, connector: LiveConnector) -> DatapointMap | None:
        """The map that this connector should have; None when it needs none."""
        if not connector.describes_itself and connector.available is None:
            return None
        if connector.describes_itself and not self.is_chosen(connector.name):
            return None
        return self.complete(connector.name)

    def complete(self, name: str) -> DatapointMap:
        """Everything of this connector that nobody switched off."""
        active = [found for found in self._of(name) if found.is_active]
        return DatapointMap(
            sensor={found.key: found.topic for found in active if found.type == "sensor" and found.topic},
            actuator={found.topic: found.key for found in active if found.type == "actuator" and found.topic},
        )

    def _of(self, name: str) -> list[KnownDatapoint]:
        return [found for found in self._directory.datapoints.by_connector.get(name, []) if found.announced]

    def is_chosen(self, name: str) -> bool:
        """Whether a person chose among the datapoints of this connector."""
        return any(
            edit.is_active is not None for identity, edit in self._directory.edits.items() if identity.connector == name
        )

    async def withdraw(self, connector: LiveConnector) -> None:
        """Nobody chooses any more: our own connectors publish everything without a map.

        Raises Unavailable while the broker is away.
        """
        if connector.describes_itself and not await self._tell(connector.name, None):
            raise Unavailable("The broker is away: the connector keeps its datapoint map.")
