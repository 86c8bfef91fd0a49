"""Bring a database to the schema that this version knows."""

from __future__ import annotations

import asyncio
import weakref
from functools import lru_cache

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncConnection

from wattbus.errors import ConfigError
from wattbus.storage.errors import DatabaseChanged

_MIGRATING: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = weakref.WeakKeyDictionary()


def one_migration_at_a_time() -> asyncio.Lock:
    """Alembic keeps what it works on in the module: several services in one process would mix up their databases.

    Processes are kept apart by the database: its file's lock, or a lock that a transaction takes first.
    """
    return _MIGRATING.setdefault(asyncio.get_running_loop(), asyncio.Lock())


def migrate(connection: Connection) -> None:
    """Apply what is missing, within the connection's transaction.

    Raises ConfigError when the schema is newer than this version knows: it is left as it is.
    """
    config, known = _known()
    config.attributes["connection"] = connection
    present = refuse_newer(connection)
    if present != set(known.get_heads()):
        command.upgrade(config, "head")


async def require_our_schema(connection: AsyncConnection) -> None:
    """Raises DatabaseChanged when the schema is not (any more) the one that this version writes to."""
    present = (await connection.exec_driver_sql("SELECT version_num FROM alembic_version")).scalars().all()
    if list(present) != [_newest()]:
        raise DatabaseChanged(f"the database has schema {', '.join(present) or 'none'} now, not {_newest()}")


@lru_cache(maxsize=1)
def _newest() -> str | None:
    return _known()[1].get_current_head()


def refuse_newer(connection: Connection) -> set[str]:
    """The schema that is there; changes nothing. Raises ConfigError when it is newer than this version knows."""
    _, known = _known()
    present = set(MigrationContext.configure(connection).get_current_heads())
    unknown = present - {script.revision for script in known.walk_revisions()}
    if unknown:
        raise ConfigError(
            f"DATABASE_URL: the database has schema {', '.join(sorted(unknown))}, this version knows none newer than "
            f"{known.get_current_head()}: update this service, or give it another database"
        )
    return present


def _known() -> tuple[Config, ScriptDirectory]:
    config = Config()
    config.set_main_option("script_location", "wattbus.storage:migrations")
    return config, ScriptDirectory.from_config(config)
