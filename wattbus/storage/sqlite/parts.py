"""What the stores are made of when the database is one SQLite file."""

from __future__ import annotations

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from wattbus.storage.engine import BUSY_S, Engine
from wattbus.storage.raw_reader import RawTableReader
from wattbus.storage.retention import SteppingRetainer
from wattbus.storage.sqlite.engine import SqliteEngine, require_file, sqlite_url
from wattbus.storage.sqlite.pages import bytes_in_use, give_back
from wattbus.storage.sqlite.raw import SqliteRawStore
from wattbus.storage.sqlite.two_level_table import TwoLevelTable
from wattbus.storage.value_table import Retainer, ValueTable

_RAW_BYTES = text("SELECT coalesce(sum(bytes), 0) FROM raw_connectors")


class SqliteParts:
    """`Parts` of one SQLite file."""

    def __init__(self, database_url: str, busy_s: float | None = None) -> None:
        self._url = sqlite_url(database_url)
        self.engine: Engine = SqliteEngine(self._url, BUSY_S if busy_s is None else busy_s)

    def layout(self) -> ValueTable:
        return TwoLevelTable()

    def retainer(self) -> Retainer:
        return SteppingRetainer(self.engine, TwoLevelTable.tables, _bytes_of_history, give_back)

    def raw_reader(self) -> RawTableReader:
        return RawTableReader(self.engine)

    def raw_store(self) -> SqliteRawStore:
        return SqliteRawStore(self.engine)

    def must_exist(self) -> None:
        require_file(self._url)


async def _bytes_of_history(connection: AsyncConnection) -> int:
    """Neither pages that are free for reuse count nor raw messages, which have a bound of their own."""
    raw = (await connection.execute(_RAW_BYTES)).scalar_one()
    return max(0, await bytes_in_use(connection) - int(raw))
