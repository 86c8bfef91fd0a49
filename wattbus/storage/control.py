"""Controllers, and the pairs of a sensor and an actuator that each of them controls."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import CursorResult, Table, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from wattbus.storage.edit_tables import controlled_datapoints, controllers
from wattbus.storage.edits import Identity
from wattbus.storage.engine import Engine


@dataclass(frozen=True, slots=True)
class StoredController:
    """A controller; `topic` is where its list of controlled datapoints is published."""

    id: int
    name: str
    topic: str


@dataclass(frozen=True, slots=True)
class ControlledDatapoint:
    """A pair; an actuator belongs to one pair only."""

    controller: int
    sensor: Identity
    actuator: Identity
    is_active: bool = True


class ControlTables:
    """Reads and writes controllers and pairs. Every method raises DatabaseAway.

    Those that write raise BatchRefused when a name, a topic or an actuator is taken, or when the controller is gone.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def controllers(self) -> list[StoredController]:
        """Every controller, in the order in which they were made."""
        async with self._engine.reading() as connection:
            found = await connection.execute(select(controllers).order_by(controllers.c.id))
            return [StoredController(*row) for row in found]

    async def save_controller(self, name: str, topic: str, controller: int | None = None) -> int | None:
        """Make a controller, or change one; its id, None when there is no such controller."""
        return await self._save(controllers, {"name": name, "topic": topic}, controller)

    async def delete_controller(self, controller: int) -> bool:
        """With all its pairs; whether it was there."""
        return await self._delete(controllers, controller)

    async def pairs(self) -> dict[int, ControlledDatapoint]:
        """By id."""
        async with self._engine.reading() as connection:
            found = await connection.execute(select(controlled_datapoints).order_by(controlled_datapoints.c.id))
            return {
                row.id: ControlledDatapoint(
                    row.controller,
                    Identity(row.sensor_connector, "sensor", row.sensor_key),
                    Identity(row.actuator_connector, "actuator", row.actuator_key),
                    row.is_active,
                )
                for row in found
            }

    async def save_pair(self, pair: ControlledDatapoint, pair_id: int | None = None) -> int | None:
        """Make a pair, or change one; its id, None when there is no such pair."""
        row = {
            "controller": pair.controller,
            "sensor_connector": pair.sensor.connector,
            "sensor_key": pair.sensor.key,
            "actuator_connector": pair.actuator.connector,
            "actuator_key": pair.actuator.key,
            "is_active": pair.is_active,
        }
        return await self._save(controlled_datapoints, row, pair_id)

    async def delete_pair(self, pair_id: int) -> bool:
        """Forget a pair; nothing happens when it is gone already."""
        return await self._delete(controlled_datapoints, pair_id)

    async def _save(self, table: Table, row: dict[str, object], present: int | None) -> int | None:
        async def work(connection: AsyncConnection) -> int | None:
            if present is None:
                made = await connection.execute(insert(table).values(row))
                return int(made.inserted_primary_key[0]) if made.inserted_primary_key else None
            changed = await connection.execute(update(table).where(table.c.id == present).values(row))
            return present if changed.rowcount else None

        return await self._engine.write(work)

    async def _delete(self, table: Table, present: int) -> bool:
        async def work(connection: AsyncConnection) -> bool:
            gone: CursorResult[object] = await connection.execute(delete(table).where(table.c.id == present))
            return gone.rowcount > 0

        return await self._engine.write(work)
