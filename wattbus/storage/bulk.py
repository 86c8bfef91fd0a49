"""Many rows in few statements.

On SQLite `executemany` takes and gives back the interpreter's lock at every row: while the event loop is busy each row
may wait 5 ms for it, and 470,000 rows/s become 1,300. One statement with many rows takes it once. PostgreSQL takes
each column as one array, so that one statement serves any number of rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import Table
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncConnection

ROWS_PER_STATEMENT = 1024  # at 8 columns well below SQLite's limit of 32,766 parameters
_POSTGRESQL = postgresql.dialect()  # type: ignore[no-untyped-call]


async def insert(
    connection: AsyncConnection, table: Table, columns: Sequence[str], rows: Sequence[tuple[Any, ...]], on_conflict: str
) -> int:
    """Insert the rows; how many were changed. `on_conflict` must make a repeated row harmless.

    On SQLite a last part is filled up to the next power of two with its last row, so that few different statements
    exist and each is compiled once.
    """
    if connection.dialect.name == "postgresql":
        return await _insert_arrays(connection, table, columns, rows, on_conflict)
    changed = 0
    for start in range(0, len(rows), ROWS_PER_STATEMENT):
        part = rows[start : start + ROWS_PER_STATEMENT]
        size = 1 << (len(part) - 1).bit_length()
        parameters = [field for row in part for field in row]
        parameters += list(part[-1]) * (size - len(part))
        changed += await _insert_part(connection, table, columns, parameters, size, on_conflict)
    return changed


async def insert_large(
    connection: AsyncConnection, table: Table, columns: Sequence[str], rows: Sequence[tuple[Any, ...]], on_conflict: str
) -> int:
    """As `insert`, for rows too large to be repeated: on SQLite a last part becomes several statements instead."""
    if connection.dialect.name == "postgresql":
        return await _insert_arrays(connection, table, columns, rows, on_conflict)
    changed = start = 0
    while start < len(rows):
        size = min(ROWS_PER_STATEMENT, 1 << ((len(rows) - start).bit_length() - 1))
        parameters = [field for row in rows[start : start + size] for field in row]
        changed += await _insert_part(connection, table, columns, parameters, size, on_conflict)
        start += size
    return changed


async def _insert_part(
    connection: AsyncConnection,
    table: Table,
    columns: Sequence[str],
    parameters: Sequence[Any],
    size: int,
    on_conflict: str,
) -> int:
    statement = f"{_into(table, columns)} VALUES {_places(len(columns), size)} {on_conflict}"
    return (await connection.exec_driver_sql(statement, tuple(parameters))).rowcount


async def matching(
    connection: AsyncConnection, table: Table, columns: Sequence[str], rows: Sequence[tuple[Any, ...]], condition: str
) -> list[int]:
    """Which of the rows, by their index, meet a row of the table. On SQLite alone.

    `condition` speaks of `given`, which has `columns`, and of `present`, the table; its index should find the key.
    """
    found: set[int] = set()
    for start in range(0, len(rows), ROWS_PER_STATEMENT):
        part = rows[start : start + ROWS_PER_STATEMENT]
        size = 1 << (len(part) - 1).bit_length()
        numbered = [(number, *row) for number, row in enumerate(part, start)]
        parameters = [field for row in numbered for field in row]
        parameters += list(numbered[-1]) * (size - len(part))
        statement = (
            f"WITH given (number_of_row, {', '.join(columns)}) AS (VALUES {_places(len(columns) + 1, size)})"
            f" SELECT number_of_row FROM given CROSS JOIN {table.name} AS present WHERE {condition}"
        )
        found.update((await connection.exec_driver_sql(statement, tuple(parameters))).scalars())
    return sorted(found)


@lru_cache(maxsize=64)
def _places(columns: int, rows: int) -> str:
    one = "(" + ",".join("?" * columns) + ")"
    return ",".join([one] * rows)


async def _insert_arrays(
    connection: AsyncConnection, table: Table, columns: Sequence[str], rows: Sequence[tuple[Any, ...]], on_conflict: str
) -> int:
    if not rows:
        return 0
    statement = f"{_into(table, columns)} SELECT * FROM {arrays(table, columns)} {on_conflict}"
    return (await connection.exec_driver_sql(statement, as_arrays(rows))).rowcount


def arrays(table: Table, columns: Sequence[str]) -> str:
    """The rows of PostgreSQL's parameters from $1 on, each an array of one of these columns."""
    types = (table.c[name].type.compile(_POSTGRESQL) for name in columns)
    return f"unnest({', '.join(f'${n}::{type_}[]' for n, type_ in enumerate(types, 1))})"


def as_arrays(rows: Sequence[tuple[Any, ...]]) -> tuple[list[Any], ...]:
    """Rows as columns: the parameters of `arrays`."""
    return tuple(list(column) for column in zip(*rows, strict=True))


def _into(table: Table, columns: Sequence[str]) -> str:
    return f"INSERT INTO {table.name} ({', '.join(columns)})"
