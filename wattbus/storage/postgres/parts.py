"""What the stores are made of when the database is a PostgreSQL."""

from __future__ import annotations

from wattbus.storage.engine import Engine
from wattbus.storage.postgres.address import driver_url
from wattbus.storage.postgres.engine import LOCK_S, PostgresEngine
from wattbus.storage.postgres.history_table import HistoryTable
from wattbus.storage.postgres.raw import PostgresRawReader, PostgresRawStore
from wattbus.storage.postgres.retention import TableRetainer
from wattbus.storage.postgres.size import bytes_in_use
from wattbus.storage.postgres.timescale import HISTORY
from wattbus.storage.retention import SteppingRetainer
from wattbus.storage.value_table import Retainer, ValueTable


class PostgresParts:
    """`Parts` of one PostgreSQL database."""

    def __init__(self, database_url: str, busy_s: float | None = None) -> None:
        self.engine: Engine = PostgresEngine(driver_url(database_url), LOCK_S if busy_s is None else busy_s)

    def layout(self) -> ValueTable:
        return HistoryTable()

    def retainer(self) -> Retainer:
        plain = SteppingRetainer(self.engine, HistoryTable.tables, bytes_in_use, _leave_it)
        return TableRetainer(self.engine, HISTORY, plain)

    def raw_reader(self) -> PostgresRawReader:
        return PostgresRawReader(self.engine)

    def raw_store(self) -> PostgresRawStore:
        return PostgresRawStore(self.engine)

    def must_exist(self) -> None:
        """Connecting makes no database."""


async def _leave_it(_: Engine) -> None:
    """What was deleted is used again."""
