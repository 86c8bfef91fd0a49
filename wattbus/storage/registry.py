"""Which datapoint a key or a topic stands for: the `datapoints` table, with all of it in memory.

A value topic does not say its datapoint's key. Its datapoint is found by the topic first; if nobody has announced the
topic yet, one is made whose key is the topic's id, and a later announcement corrects key and type, or unites it with
the datapoint that has that key. So neither an announcement nor the order of start matters.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Table, delete, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from wattbus.connector import DatapointType
from wattbus.storage import bulk
from wattbus.storage.engine import alone_with_datapoints
from wattbus.storage.records import Announcement
from wattbus.storage.schema import datapoints, outcomes, schedules, setpoints
from wattbus.storage.values import storable


@dataclass(slots=True)
class Known:
    id: int
    connector: str
    type: DatapointType
    key: str
    topic: str | None
    announced: bool


class DatapointIds:
    """Ids of datapoints. Changes are made within a writer's transaction; after a rollback call `load()`."""

    def __init__(self, values: Sequence[Table]) -> None:
        self._values = values  # the tables in which values lie
        self._by_topic: dict[str, Known] = {}
        self._by_key: dict[tuple[str, str, str], Known] = {}
        self._sensors: dict[str, dict[str, int]] = defaultdict(dict)  # connector → key → id: the hot path
        self._newest = 0

    async def load(self, connection: AsyncConnection) -> None:
        """Learn what is in the table, and nothing else."""
        self._by_topic.clear()
        self._by_key.clear()
        self._sensors.clear()
        self._newest = 0
        await self._load_new(connection)

    def sensors(self, connector: str) -> dict[str, int]:
        """Key → id of the connector's sensors."""
        return self._sensors[connector]

    def of_topic(self, topic: str) -> int | None:
        """The id of the datapoint on a value topic, None when it is not known."""
        known = self._by_topic.get(topic)
        return known.id if known else None

    async def add_sensors(self, connection: AsyncConnection, wanted: Iterable[tuple[str, str]]) -> None:
        """Make datapoints for these (connector, key) of readings."""
        keys = {(connector, key): storable(key) for connector, key in wanted}
        await self._insert(connection, [(connector, "sensor", key, None, True) for (connector, _), key in keys.items()])
        for (connector, sent), key in keys.items():
            self._sensors[connector][sent] = self._sensors[connector][key]

    async def add_topics(self, connection: AsyncConnection, wanted: Iterable[tuple[str, str, DatapointType]]) -> None:
        """Make datapoints for these (connector, topic, likely type), unless the topic's id is a known key.

        A setpoint, say, makes an actuator of what looked like a sensor.
        """
        rows = []
        for connector, topic, kind in dict.fromkeys(wanted):
            known = self._by_topic.get(topic)
            if known is not None:
                await self._become_actuator(connection, known, kind)
                continue
            key = _topic_id(topic)
            namesake = self._by_key.get((connector, kind, key))
            if namesake is None:
                rows.append((connector, kind, key, topic, False))
            elif namesake.topic is None:
                await self._change(connection, namesake, topic=topic)
            else:
                rows.append((connector, kind, topic, topic, False))
        await self._insert(connection, rows)

    async def _become_actuator(self, connection: AsyncConnection, known: Known, kind: DatapointType) -> None:
        taken = (known.connector, kind, known.key) in self._by_key
        if kind == "actuator" and not known.announced and not taken:
            await self._change(connection, known, type=kind)

    async def announce(self, connection: AsyncConnection, announcements: Iterable[Announcement]) -> None:
        """Let each topic stand for the datapoint that its connector says."""
        new = []
        for announced in announcements:
            told = replace(announced, key=storable(announced.key))
            by_topic = self._by_topic.get(told.topic)
            by_key = self._by_key.get((told.connector, told.type, told.key))
            if by_topic is None and by_key is None:
                new.append((told.connector, told.type, told.key, told.topic, True))
            elif by_key is None or by_topic is not by_key or not by_key.announced:
                await self._correct(connection, told, by_topic, by_key)
        await self._insert(connection, new)

    async def _correct(
        self, connection: AsyncConnection, told: Announcement, by_topic: Known | None, by_key: Known | None
    ) -> None:
        if by_key is not None and by_key is not by_topic and by_key.topic and not by_key.announced:
            # Another topic's id happens to be this key: that one takes its whole topic as a name.
            await self._change(connection, by_key, key=by_key.topic)
            by_key = None
        if by_topic is not None and by_topic is not by_key:
            if not by_topic.announced and by_key is not None:
                await alone_with_datapoints(connection)
                await _merge(connection, self._values, by_topic.id, by_key.id)
                await self._remove(connection, by_topic)
            elif by_topic.announced:
                await self._change(connection, by_topic, topic=None)  # the topic stands for something else now
                by_topic = None
        subject = by_key or by_topic
        if subject is None:
            await self._insert(connection, [(told.connector, told.type, told.key, told.topic, True)])
            return
        await self._change(connection, subject, type=told.type, key=told.key, topic=told.topic, announced=True)

    async def _insert(
        self, connection: AsyncConnection, rows: Sequence[tuple[str, str, str, str | None, bool]]
    ) -> None:
        if not rows:
            return
        await alone_with_datapoints(connection)
        columns = ("connector", "type", "key", "topic", "announced")
        await bulk.insert(connection, datapoints, columns, rows, "ON CONFLICT DO NOTHING")
        await self._load_new(connection)
        if any(row[:3] not in self._by_key and row[3] not in self._by_topic for row in rows):
            await self.load(connection)  # somebody else has changed what we remember

    async def _load_new(self, connection: AsyncConnection) -> None:
        rows = await connection.execute(select(datapoints).where(datapoints.c.id > self._newest))
        for row in rows:
            self._remember(Known(row.id, row.connector, row.type, row.key, row.topic, row.announced))
            self._newest = max(self._newest, row.id)

    async def _change(self, connection: AsyncConnection, known: Known, **columns: object) -> None:
        self._drop(known)
        await alone_with_datapoints(connection)
        await connection.execute(update(datapoints).where(datapoints.c.id == known.id).values(**columns))
        for name, value in columns.items():
            setattr(known, name, value)
        self._remember(known)

    async def _remove(self, connection: AsyncConnection, known: Known) -> None:
        self._drop(known)
        await alone_with_datapoints(connection)
        await connection.execute(delete(datapoints).where(datapoints.c.id == known.id))
        self._newest = min(self._newest, known.id - 1)  # SQLite gives the highest id out again

    def _remember(self, known: Known) -> None:
        self._by_key[known.connector, known.type, known.key] = known
        if known.topic:
            self._by_topic[known.topic] = known
        if known.type == "sensor":
            self._sensors[known.connector][known.key] = known.id

    def _drop(self, known: Known) -> None:
        self._by_key.pop((known.connector, known.type, known.key), None)
        if known.topic:
            self._by_topic.pop(known.topic, None)
        if known.type == "sensor":
            self._sensors[known.connector].pop(known.key, None)


def _topic_id(topic: str) -> str:
    """`c/messages/ID/value` → `ID`."""
    return topic.split("/")[-2] if topic.count("/") >= 2 else topic


async def _merge(connection: AsyncConnection, values: Sequence[Table], guessed: int, announced: int) -> None:
    """Give all that datapoint `guessed` has to `announced`; where both have the same time, the latter's stays.

    `values` are the tables in which values lie.
    """
    for table in (*values, setpoints, schedules):
        await _move(connection, table, guessed, announced)
    await connection.execute(update(outcomes).where(outcomes.c.datapoint == guessed).values(datapoint=announced))


async def _move(connection: AsyncConnection, table: Table, guessed: int, announced: int) -> None:
    taken = select(table.c.time).where(table.c.datapoint == announced).scalar_subquery()
    await connection.execute(delete(table).where(table.c.datapoint == guessed, table.c.time.in_(taken)))
    await connection.execute(update(table).where(table.c.datapoint == guessed).values(datapoint=announced))
