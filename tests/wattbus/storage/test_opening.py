"""Opening databases, as several services of one process do at their start."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

from wattbus.storage import open_editable_store, open_raw_store, open_store


async def test_services_of_one_process_open_their_databases_at_once(tmp_path: Path) -> None:
    shared, own = f"sqlite:///{tmp_path}/history.db", f"sqlite:///{tmp_path}/raw.db"
    stores = await asyncio.gather(
        open_store(shared), open_editable_store(shared), open_raw_store(own), open_raw_store(shared)
    )
    for store in stores:
        await store.close()
    for name in ("history.db", "raw.db"):
        with sqlite3.connect(tmp_path / name) as database:
            assert len(database.execute("SELECT version_num FROM alembic_version").fetchall()) == 1
