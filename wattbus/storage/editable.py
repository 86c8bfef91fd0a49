"""The store of a service through which people look at history and change what is theirs."""

from __future__ import annotations

from wattbus.storage.control import Control
from wattbus.storage.corrections import Corrections
from wattbus.storage.edits import Edits
from wattbus.storage.engine import BUSY_S, SqliteEngine, sqlite_url
from wattbus.storage.sqlite import SqliteStore
from wattbus.storage.store import Store


class EditableStore:
    """History to read, and what people edit, over the connections of one database."""

    def __init__(self, engine: SqliteEngine) -> None:
        self._sqlite = SqliteStore(engine)
        self.history: Store = self._sqlite
        self.edits = Edits(engine)
        self.control = Control(engine)
        self.corrections = Corrections(engine)

    async def open(self) -> None:
        await self._sqlite.open()

    async def close(self) -> None:
        await self._sqlite.close()


async def open_editable_store(database_url: str, *, busy_s: float = BUSY_S) -> EditableStore:
    """As `open_store`."""
    store = EditableStore(SqliteEngine(sqlite_url(database_url), busy_s))
    try:
        await store.open()
    except BaseException:
        await store.close()
        raise
    return store
