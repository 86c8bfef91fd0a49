"""What people edit about datapoints, and the datapoints that are known before a value of theirs is recorded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sqlalchemy import delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from wattbus.connector import DatapointType
from wattbus.jsontext import JsonValue
from wattbus.storage import bulk
from wattbus.storage.edit_tables import datapoint_edits
from wattbus.storage.engine import Engine, alone_with_datapoints
from wattbus.storage.schema import datapoints
from wattbus.storage.values import from_text, storable, to_text


class Identity(NamedTuple):
    """What names a datapoint for ever: its connector, its type, and the key that its connector chose."""

    connector: str
    type: DatapointType
    key: str


@dataclass(frozen=True, slots=True)
class DatapointEdit:
    """What a person said about a datapoint. `fields` replace the announced ones; `is_active` None: nobody chose."""

    short_name: str | None = None
    is_active: bool | None = None
    fields: Mapping[str, JsonValue] = field(default_factory=dict)


class Edits:
    """Reads and writes edits of one database. Every method raises DatabaseAway."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def load(self) -> dict[Identity, DatapointEdit]:
        """Every edit, by its datapoint. Raises DatabaseAway."""
        async with self._engine.reading() as connection:
            found = await connection.execute(select(datapoint_edits))
            return {
                Identity(row.connector, row.type, row.key): DatapointEdit(
                    row.short_name, row.is_active, from_text(row.fields)
                )
                for row in found
            }

    async def save(self, edits: Mapping[Identity, DatapointEdit]) -> None:
        """Write these in one transaction. Raises BatchRefused when a short name is taken."""

        async def work(connection: AsyncConnection) -> None:
            for identity in edits:  # all of them first: two datapoints may swap their short names
                await connection.execute(delete(datapoint_edits).where(*_is(identity)))
            rows = [_row(identity, edit) for identity, edit in edits.items() if edit != DatapointEdit()]
            if rows:
                await connection.execute(insert(datapoint_edits), rows)

        await self._engine.write(work)

    async def forget_choices(self, connector: str) -> None:
        """Nobody has chosen among the datapoints of this connector any more."""
        forgotten = update(datapoint_edits).where(datapoint_edits.c.connector == connector).values(is_active=None)

        async def work(connection: AsyncConnection) -> None:
            await connection.execute(forgotten)

        await self._engine.write(work)

    async def make(self, topics: Mapping[Identity, str | None]) -> None:
        """Make these datapoints, each with its value topic if known, unless they are there.

        What is there stays as it is, also under the topic's id: history keeps all of it in memory, and gives what it
        recorded under a topic to the announced datapoint itself.
        """
        with_topics = [(*_stored(identity), topic, True) for identity, topic in topics.items() if topic is not None]
        with_keys = [(*_stored(identity), None, True) for identity in topics]

        async def work(connection: AsyncConnection) -> None:
            await alone_with_datapoints(connection)
            columns = ("connector", "type", "key", "topic", "announced")
            for rows in (with_topics, with_keys):
                await bulk.insert(connection, datapoints, columns, rows, "ON CONFLICT DO NOTHING")

        await self._engine.write(work)


def _stored(identity: Identity) -> Identity:
    """As history writes it."""
    return identity._replace(key=storable(identity.key))


def _is(identity: Identity) -> list[Any]:
    columns = datapoint_edits.c
    return [columns.connector == identity.connector, columns.type == identity.type, columns.key == identity.key]


def _row(identity: Identity, edit: DatapointEdit) -> dict[str, Any]:
    return {
        **identity._asdict(),
        "short_name": edit.short_name,
        "is_active": edit.is_active,
        "fields": to_text(dict(edit.fields)),
    }
