"""The store of a service through which people look at history and change what is theirs."""

from __future__ import annotations

from wattbus.storage.control import ControlTables
from wattbus.storage.corrections import Corrections
from wattbus.storage.edits import Edits
from wattbus.storage.engine import Engine
from wattbus.storage.history_store import HistoryStore
from wattbus.storage.store import Store
from wattbus.storage.value_table import ValueTable


class EditableStore:
    """History to read, and what people edit, over the connections of one database."""

    def __init__(self, engine: Engine, history: HistoryStore, layout: ValueTable) -> None:
        self._history = history
        self.history: Store = history
        self.edits = Edits(engine)
        self.control = ControlTables(engine)
        self.corrections = Corrections(engine, layout)

    async def open(self) -> None:
        await self._history.open()

    async def close(self) -> None:
        await self._history.close()
