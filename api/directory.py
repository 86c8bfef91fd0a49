"""Keeps the datapoints up to date: with the bus at once, with the database as soon as it can be reached."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Mapping

from api.changes import Change
from api.datapoints import Datapoints, KnownDatapoint, united
from api.errors import NotFound, Unavailable
from api.live import Live
from wattbus.clock import Clock
from wattbus.connector import DatapointType
from wattbus.recording.database_session import Database
from wattbus.storage import DatabaseAway, EditableStore, StoredDatapoint
from wattbus.storage.edits import DatapointEdit, Identity

log = logging.getLogger(__name__)

GATHER_S = 0.1  # many announcements come together
LOOK_SOON_S = 2.0  # history makes a datapoint of a value that nobody announced
LOOK_AGAIN_S = 10.0


class DatapointDirectory:
    """The datapoints, and their ids in the database."""

    def __init__(self, live: Live, database: Database[EditableStore], clock: Clock) -> None:
        self.datapoints = Datapoints()
        self.loaded = False  # whether the database was read once: what people chose is not known before
        self.edits: Mapping[Identity, DatapointEdit] = {}
        self._live = live
        self._database = database
        self._clock = clock
        self._stored: Collection[StoredDatapoint] = ()
        self._reading = asyncio.Lock()

    async def run(self) -> None:
        """Follow the announcements for ever, and the database every few seconds."""
        with self._live.changes.subscribed(self._is_news) as announced:
            while True:
                try:
                    await self.refresh()
                except DatabaseAway as error:
                    log.debug("ids have to wait for the database: %s", error)
                announced.taken()  # `refresh` has told of what it found itself
                try:
                    async with asyncio.timeout(LOOK_AGAIN_S if self.loaded else LOOK_SOON_S):
                        news = await announced.changes()
                except TimeoutError:
                    continue
                self.unite()
                is_announced = any(change.kind == "datapoints" for change in news)
                await self._clock.sleep(GATHER_S if is_announced else LOOK_SOON_S)

    def _is_news(self, change: Change) -> bool:
        unknown = change.kind == "value" and change.subject not in self.datapoints.by_topic
        return unknown or change.kind == "datapoints"

    async def refresh(self) -> None:
        """Read the database, and make there what connectors announce. Raises DatabaseAway."""
        async with self._reading:
            await self._read()
            missing = {found.identity: found.topic for found in self.datapoints if found.id is None}
            if missing:
                await self._database.once(lambda store: store.edits.make(missing))
                await self._read()

    async def _read(self) -> None:
        self._stored = await self._database.once(lambda store: store.history.datapoints())
        self.edits = await self._database.once(lambda store: store.edits.load())
        self.loaded = True
        self.unite()

    def unite(self) -> None:
        """Put together what is known; tell of it when something is different."""
        before = self.datapoints
        self.datapoints = united(self._live.connectors.values(), self._stored, self.edits)
        if self.datapoints.by_identity != before.by_identity:
            for connector in before.by_connector.keys() | self.datapoints.by_connector.keys():
                if before.by_connector.get(connector) != self.datapoints.by_connector.get(connector):
                    self._live.changes.tell("datapoints", connector)

    # -- asking -----------------------------------------------------------------------------------------------------

    async def by_id(self, datapoint_id: int) -> KnownDatapoint:
        """Raises NotFound, or Unavailable while the database has never been read."""
        found = self.datapoints.by_id.get(datapoint_id)
        if found is None:
            self.check_loaded()
            raise NotFound
        return found

    def by_key(self, connector: str, key: str, kind: DatapointType) -> KnownDatapoint:
        """Raises NotFound."""
        found = self.datapoints.by_identity.get(Identity(connector, kind, key))
        if found is None:
            raise NotFound
        return found

    def check_loaded(self) -> None:
        """Raises Unavailable while ids are not known."""
        if not self.loaded:
            raise Unavailable("The database does not work yet.")
