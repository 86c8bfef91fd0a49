"""How much of a table's space holds something: what was deleted is free for reuse, and the file does not shrink."""

from __future__ import annotations

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

SAMPLE_PAGES = 2_000  # of the table; more than these are judged by them, within some 5 %

_SMALL = ("datapoints", "setpoints", "schedules", "outcomes", "sessions")

# A row: its pointer on the page, its head, the four numbers that every row has, and what it says in text, each as the
# database stores it (compressed, say), rounded up to eight.
_ROW = "4 + ((24 + 22 + coalesce(pg_column_size(json_value), 0) + coalesce(pg_column_size(quality), 0) + 7) / 8) * 8"
_EXTENT = text(
    "SELECT pg_relation_size('history'), pg_table_size('history'), pg_indexes_size('history'),"
    " current_setting('block_size')::bigint"
)
_LIVE = text(f"SELECT coalesce(sum({_ROW}), 0) FROM history TABLESAMPLE SYSTEM (:percent) REPEATABLE (7)")
_OTHERS = text("SELECT " + " + ".join(f"pg_total_relation_size('{name}')" for name in _SMALL))


async def bytes_in_use(connection: AsyncConnection) -> int:
    """Bytes of history's tables and their indexes, without what is free for reuse in the table of values.

    Of that table some pages are looked at, always the same ones: what share of them holds something is taken for the
    share of the whole, indexes included.
    """
    heap, table, indexes, page = (await connection.execute(_EXTENT)).one()
    others = int((await connection.execute(_OTHERS)).scalar_one())
    if heap == 0:
        return others
    share = min(1.0, SAMPLE_PAGES * page / heap)
    live = float((await connection.execute(_LIVE, {"percent": 100.0 * share})).scalar_one()) / share
    room = (table - heap) + heap * (page - 24) / page  # large texts lie beside it; a page has a header
    return others + int((table + indexes) * min(1.0, live / room))
