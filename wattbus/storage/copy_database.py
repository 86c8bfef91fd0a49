"""Move what a SQLite file holds into a PostgreSQL database.

    python -m wattbus.storage.copy_database /var/lib/wattbus/history.db

The database is the one of `DATABASE_URL`, in the environment or in `.env`. Stop the services first. All of it is one
transaction: either everything is there afterwards or nothing. A table that is to be filled must be empty, so that
history.db and raw.db can go into one database one after the other, and nothing goes there twice. The file stays as it
was, but for its schema, which is brought up to date.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field
from sqlalchemy import CompoundSelect, Select, Table, delete, func, select, text, union_all
from sqlalchemy.ext.asyncio import AsyncConnection

from wattbus.errors import ConfigError
from wattbus.settings import Settings, from_environment, load
from wattbus.storage.edit_tables import controlled_datapoints, controllers, datapoint_edits
from wattbus.storage.errors import BatchRefused, DatabaseAway
from wattbus.storage.factory import POSTGRESQL_SCHEMES, parts
from wattbus.storage.postgres.driver import copy
from wattbus.storage.postgres.raw import COST
from wattbus.storage.schema import (
    datapoints,
    history,
    outcomes,
    raw_connectors,
    raw_messages,
    recent,
    schedules,
    sessions,
    setpoints,
)
from wattbus.storage.values import COLUMNS, storable

ROWS_AT_ONCE = 10_000
FAILED = 1  # exit code

# In the order of their foreign keys; `recent` goes into `history`.
TABLES = (
    datapoints, history, setpoints, schedules, outcomes, sessions, raw_connectors, raw_messages, datapoint_edits,
    controllers, controlled_datapoints,
)  # fmt: skip
_COUNT_RAW = text(
    f"UPDATE raw_connectors SET bytes = counted.cost FROM (SELECT connector, sum({COST}) AS cost FROM raw_messages"
    " GROUP BY connector) AS counted WHERE raw_connectors.id = counted.connector"
)


class Target(Settings):
    """Where it goes."""

    database_url: str = Field(repr=False, description="`postgresql://user:password@host:port/name`.")


async def move(file: Path, database_url: str) -> dict[str, int]:
    """Table → rows that were moved; `file` has an absolute path.

    Raises ConfigError, DatabaseAway, BatchRefused; then nothing was moved.
    """
    source, target = parts(f"sqlite:///{file}"), parts(database_url)
    if database_url.partition("://")[0].partition("+")[0] not in POSTGRESQL_SCHEMES:
        raise ConfigError("DATABASE_URL: expected postgresql://user:password@host:port/name")
    source.must_exist()
    moved: dict[str, int] = {}

    async def work(there: AsyncConnection) -> None:
        async with source.engine.reading() as here:
            for table in TABLES:
                moved[table.name] = await _move(here, there, table)
        await there.execute(_COUNT_RAW)

    try:
        await source.engine.open()
        await target.engine.open()
        await target.engine.write(work)
    finally:
        await target.engine.close()
        await source.engine.close()
    return moved


async def _move(here: AsyncConnection, there: AsyncConnection, table: Table) -> int:
    """The rows of one table; then its next number is behind theirs."""
    rows = _rows(here, table)
    part = await anext(rows, None)
    if part is None:
        return 0
    await _make_room(there, table)
    columns = list(COLUMNS) if table is history else [column.name for column in table.c]
    number = 0
    while part is not None:
        await copy(there, table.name, columns, part)
        number += len(part)
        part = await anext(rows, None)
    if "id" in table.c:
        last = f"SELECT setval(pg_get_serial_sequence('{table.name}', 'id'), max(id)) FROM {table.name}"
        await there.execute(text(last))
    return number


async def _rows(here: AsyncConnection, table: Table) -> AsyncIterator[list[tuple[Any, ...]]]:
    found = await here.stream(_query(table).execution_options(yield_per=ROWS_AT_ONCE))
    async for part in found.partitions():
        yield [tuple(storable(field) if isinstance(field, str) else field for field in row) for row in part]


def _query(table: Table) -> Select[Any] | CompoundSelect[Any]:
    """Values come in the order of their key from both levels, which SQLite merges without sorting the larger one."""
    if table is not history:
        return select(table)
    levels = (select(*(level.c[name] for name in COLUMNS)) for level in (history, recent))
    return union_all(*levels).order_by(text("datapoint, time"))


async def _make_room(there: AsyncConnection, table: Table) -> None:
    if table is controllers:  # a new database has one that nobody has made
        await there.execute(delete(controllers))
    elif (await there.execute(select(func.count()).select_from(select(table).limit(1).subquery()))).scalar_one():
        raise ConfigError(f"DATABASE_URL: the table {table.name} is not empty there; nothing was moved")


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m wattbus.storage.copy_database",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="the SQLite file")
    given = parser.parse_args(arguments)
    try:
        moved = asyncio.run(move(given.file.absolute(), load(Target, from_environment()).database_url))
    except (ConfigError, DatabaseAway, BatchRefused) as error:
        sys.stderr.write(f"{error}\n")
        return FAILED
    sys.stdout.writelines(f"{number:>12} {name}\n" for name, number in moved.items() if number)
    return 0


if __name__ == "__main__":
    sys.exit(main())
