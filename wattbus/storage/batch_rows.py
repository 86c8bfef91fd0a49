"""From a batch of records to rows: datapoints are made where they are missing, values taken apart into columns."""

from __future__ import annotations

from collections.abc import Awaitable

from sqlalchemy.ext.asyncio import AsyncConnection

from wattbus.connector import DatapointType
from wattbus.storage import commands
from wattbus.storage.records import Batch, ReadingValues, Written
from wattbus.storage.registry import DatapointIds
from wattbus.storage.values import Row, Unstorable, storable, to_columns


class BatchRows:
    """Asks the registry for ids; works within a writer's transaction."""

    def __init__(self, registry: DatapointIds) -> None:
        self._registry = registry

    async def make_datapoints(self, connection: AsyncConnection, batch: Batch) -> None:
        """Make the datapoints of all records that have none yet."""
        keys: list[tuple[str, str]] = []
        topics: list[tuple[str, str, DatapointType]] = []
        for record in batch.values:
            if isinstance(record, ReadingValues):
                ids = self._registry.sensors(record.connector)
                if not record.values.keys() <= ids.keys():
                    keys += [(record.connector, key) for key in record.values if key not in ids]
            elif self._registry.of_topic(record.topic) is None:
                likely: DatapointType = "actuator" if record.topic.endswith("-set/value") else "sensor"
                topics.append((record.connector, record.topic, likely))
        topics += [(plan.connector, plan.topic, "actuator") for plan in batch.plans]
        topics += [(outcome.connector, outcome.topic, "actuator") for outcome in batch.outcomes]
        await self._registry.add_sensors(connection, keys)
        await self._registry.add_topics(connection, topics)

    def of_values(self, batch: Batch) -> tuple[list[Row], int]:
        """The rows of all values, and how many no column holds."""
        rows: list[Row] = []
        refused = 0
        for record in batch.values:
            if isinstance(record, ReadingValues):
                refused += self._of_reading(record, rows)
                continue
            try:
                columns = to_columns(record.value)
            except Unstorable:
                refused += 1
                continue
            quality = storable(record.quality) if record.quality else record.quality
            rows.append((record.timestamp_ms, self._id_of(record.topic), *columns, quality))
        return rows, refused

    def _of_reading(self, reading: ReadingValues, rows: list[Row]) -> int:
        ids, time = self._registry.sensors(reading.connector), reading.timestamp_ms
        quality = {key: storable(word) for key, word in reading.quality.items()}
        refused = 0
        for key, value in reading.values.items():
            if type(value) is float and -1e308 < value < 1e308:  # nearly every value, without a call
                rows.append((time, ids[key], value, 0, None, quality.get(key)))
                continue
            try:
                rows.append((time, ids[key], *to_columns(value), quality.get(key)))
            except Unstorable:
                refused += 1
        return refused

    async def write_commands(self, connection: AsyncConnection, batch: Batch) -> Written:
        """Write the batch's setpoints, schedules and outcomes."""
        written = Written()
        for plan in batch.plans:
            written += await _unless_unstorable(commands.write_plan(connection, plan, self._id_of))
        for outcome in batch.outcomes:
            written += await _unless_unstorable(commands.write_outcome(connection, outcome, self._id_of))
        return written

    def _id_of(self, topic: str) -> int:
        found = self._registry.of_topic(topic)
        if found is None:
            raise LookupError(f"no datapoint was made for {topic}")
        return found


async def _unless_unstorable(writing: Awaitable[Written]) -> Written:
    try:
        return await writing
    except Unstorable:
        return Written(refused=1)
