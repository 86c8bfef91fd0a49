"""Columns of values are called what they hold: `whole` is `is_integer`, `other` is `json_value`."""

from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """In place on both databases, whatever the size: only the names change, also of a hypertable."""
    tables = ("history",) if op.get_context().dialect.name == "postgresql" else ("recent", "history")
    for table in tables:
        op.execute(f"ALTER TABLE {table} RENAME COLUMN whole TO is_integer")
        op.execute(f"ALTER TABLE {table} RENAME COLUMN other TO json_value")
