"""Controllers and what they control: edited by people, told to each controller as a whole."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

from api.directory import DatapointDirectory
from api.live import Live
from wattbus.errors import BrokerAway, PublishError
from wattbus.jsontext import JsonValue, dumps
from wattbus.mqtt.client import MqttClient
from wattbus.mqtt.packets import Outgoing
from wattbus.recording.database_session import Database
from wattbus.storage import DatabaseAway, EditableStore
from wattbus.storage.control import ControlledDatapoint, StoredController

log = logging.getLogger(__name__)

RETRY_S = 1.0
LOOK_AGAIN_S = 10.0  # another API may have changed what is in the database


class ControlKeeper:
    """Publishes the list of every controller, retained, at each connect and when it changes."""

    def __init__(
        self, live: Live, directory: DatapointDirectory, database: Database[EditableStore], bus: MqttClient
    ) -> None:
        self.controllers: list[StoredController] = []
        self.pairs: Mapping[int, ControlledDatapoint] = {}
        self._live = live
        self._directory = directory
        self._database = database
        self._bus = bus
        self._told: dict[str, bytes] = {}
        self._former: set[str] = set()  # topics that were a controller's, and are nobody's now
        self._again = asyncio.Event()
        bus.on_disconnect(self._told.clear)
        bus.on_connect(self._connected)

    async def _connected(self) -> None:
        self._again.set()

    async def run(self) -> None:
        """Keep them for ever."""
        with self._live.changes.subscribed(lambda change: change.kind in ("datapoints", "pairs")) as changed:
            while True:
                await self._bus.wait_connected()
                self._again.clear()
                changed.taken()
                done = self._directory.loaded and await self._tell_all()
                news = asyncio.ensure_future(changed.changes())
                again = asyncio.ensure_future(self._again.wait())
                try:
                    await asyncio.wait(
                        {news, again}, timeout=LOOK_AGAIN_S if done else RETRY_S, return_when=asyncio.FIRST_COMPLETED
                    )
                finally:
                    news.cancel()
                    again.cancel()

    async def load(self) -> None:
        """Read them from the database. Raises DatabaseAway."""
        before = {controller.topic for controller in self.controllers}
        self.controllers = await self._database.once(lambda store: store.control.controllers())
        self._former = (self._former | before) - {controller.topic for controller in self.controllers}
        self.pairs = await self._database.once(lambda store: store.control.pairs())

    async def changed(self) -> None:
        """Somebody edited: read again and tell."""
        await self.load()
        self._live.changes.tell("pairs")

    async def _tell_all(self) -> bool:
        """Every controller its list, a former topic an empty one, as the database has it now; whether that worked."""
        try:
            await self.load()
        except DatabaseAway:
            return False
        wanted = {controller.topic: self.told_to(controller) for controller in self.controllers}
        wanted |= {topic: [] for topic in self._former}
        for topic, pairs in wanted.items():
            payload = dumps(pairs)
            if self._told.get(topic) == payload:
                continue
            try:
                await self._bus.publish(Outgoing(topic, payload, retain=True))
            except BrokerAway:
                return False
            except PublishError as error:
                log.error("a controller cannot be told what it controls: %s", error)
            self._told[topic] = payload
        return True

    def told_to(self, controller: StoredController) -> list[JsonValue]:
        """The payload of `controlled_datapoints`: active pairs whose topics are known."""
        known = self._directory.datapoints.by_identity
        told: list[JsonValue] = []
        for pair in self.pairs.values():
            sensor, actuator = known.get(pair.sensor), known.get(pair.actuator)
            if pair.controller != controller.id or not pair.is_active or sensor is None or actuator is None:
                continue
            if sensor.topic and actuator.topic:
                wanted = {"setpoint": actuator.topic_of("setpoint"), "schedule": actuator.topic_of("schedule")}
                told.append({"sensor": {"value": sensor.topic}, "actuator": {"value": actuator.topic, **wanted}})
        return told
