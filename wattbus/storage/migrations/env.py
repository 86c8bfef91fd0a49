"""Alembic runs this; the connection comes from `wattbus.storage.migrate`."""

from alembic import context

from wattbus.storage.schema import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
