"""Bring a database to the schema that this version knows."""

from __future__ import annotations

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from wattbus.errors import ConfigError


def migrate(connection: Connection) -> None:
    """Apply what is missing, within the connection's transaction.

    Raises ConfigError when the schema is newer than this version knows: it is left as it is.
    """
    config = Config()
    config.set_main_option("script_location", "wattbus.storage:migrations")
    config.attributes["connection"] = connection
    known = ScriptDirectory.from_config(config)
    present = set(MigrationContext.configure(connection).get_current_heads())
    unknown = present - {script.revision for script in known.walk_revisions()}
    if unknown:
        raise ConfigError(
            f"DATABASE_URL: the database has schema {', '.join(sorted(unknown))}, this version knows none newer than "
            f"{known.get_current_head()}: update this service, or give it another database"
        )
    if present != set(known.get_heads()):
        command.upgrade(config, "head")
