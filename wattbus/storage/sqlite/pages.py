"""The pages of one SQLite file: how many hold something, and giving back those that do not."""

from __future__ import annotations

import asyncio

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from wattbus.storage.engine import Engine

PAGES_PER_STEP = 500
_RAW_BYTES = text("SELECT coalesce(sum(bytes), 0) FROM raw_connectors")
FREE_PAGES_KEPT = 0.1  # of the file: new rows fill them; more are given back to the file system


async def bytes_in_use(connection: AsyncConnection) -> int:
    """Pages that hold something, in bytes; pages that are free for reuse do not count."""
    pages, free = await _pages(connection)
    size = (await connection.exec_driver_sql("PRAGMA page_size")).scalar_one()
    return int(size) * (pages - free)


async def bytes_of_history(connection: AsyncConnection) -> int:
    """Of the bytes in use those of raw messages do not count: they have a bound of their own."""
    raw = (await connection.execute(_RAW_BYTES)).scalar_one()
    return max(0, await bytes_in_use(connection) - int(raw))


async def give_back(engine: Engine) -> None:
    """Shrink the file when much of it is free, in steps that leave room for writers between them."""
    while True:
        async with engine.reading() as connection:
            pages, free = await _pages(connection)
            automatic = (await connection.exec_driver_sql("PRAGMA auto_vacuum")).scalar_one()
        if automatic == 0 or free <= max(PAGES_PER_STEP, pages * FREE_PAGES_KEPT):
            return
        await engine.write(_vacuum_a_little)
        await asyncio.sleep(0)


async def _vacuum_a_little(connection: AsyncConnection) -> None:
    """Each step of this statement frees one page, and of all calls that the driver has only this one takes them all.

    It commits the transaction first; freeing pages needs none of ours.
    """
    driver = (await connection.get_raw_connection()).driver_connection
    if driver is not None:
        await driver.executescript(f"PRAGMA incremental_vacuum({PAGES_PER_STEP})")


async def _pages(connection: AsyncConnection) -> tuple[int, int]:
    pages = (await connection.exec_driver_sql("PRAGMA page_count")).scalar_one()
    free = (await connection.exec_driver_sql("PRAGMA freelist_count")).scalar_one()
    return int(pages), int(free)
