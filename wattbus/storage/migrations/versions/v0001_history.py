"""Datapoints, values in two levels, setpoints, schedules, outcomes, sessions."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "datapoints",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("connector", sa.Text, nullable=False),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("topic", sa.Text),
        sa.Column("announced", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.UniqueConstraint("connector", "type", "key", name="one_datapoint_per_key"),
        sa.UniqueConstraint("topic", name="one_datapoint_per_topic"),
    )
    if op.get_context().dialect.name == "postgresql":
        values_on_postgresql()
    else:
        values_on_sqlite()
    for name in ("setpoints", "schedules"):
        op.create_table(
            name,
            sa.Column("datapoint", sa.Integer, sa.ForeignKey("datapoints.id"), nullable=False),
            sa.Column("time", sa.BigInteger, nullable=False),
            sa.Column("items", sa.Text, nullable=False),
            sa.PrimaryKeyConstraint("datapoint", "time"),
            sqlite_with_rowid=False,
        )
    op.create_table(
        "outcomes",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("datapoint", sa.Integer, sa.ForeignKey("datapoints.id"), nullable=False),
        sa.Column("time", sa.BigInteger, nullable=False),
        sa.Column("outcome", sa.Text, nullable=False),
        sa.Column("value", sa.Text, nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        sa.Column("command_id", sa.Text),
        sa.Column("command_time", sa.BigInteger),
    )
    op.create_index("outcomes_by_time", "outcomes", ["datapoint", "time"])
    op.create_table(
        "sessions",
        sa.Column("connector", sa.Text, nullable=False),
        sa.Column("session", sa.Text, nullable=False),
        sa.Column("upto", sa.BigInteger, nullable=False),
        sa.Column("missing", sa.Text, nullable=False),
        sa.Column("dropped", sa.Text, nullable=False),
        sa.Column("first_seen", sa.BigInteger, nullable=False),
        sa.Column("last_seen", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("connector", "session"),
    )
    op.create_index("sessions_by_last_seen", "sessions", ["last_seen"])
    op.create_table(
        "storage_state",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("value", sa.BigInteger, nullable=False),
    )


def values_on_sqlite() -> None:
    for name, key in (("recent", ("time", "datapoint")), ("history", ("datapoint", "time"))):
        op.create_table(
            name,
            sa.Column("time", sa.BigInteger, nullable=False),
            sa.Column("datapoint", sa.Integer, nullable=False),
            sa.Column("number", sa.Double),
            sa.Column("whole", sa.SmallInteger, nullable=False),
            sa.Column("other", sa.Text),
            sa.Column("quality", sa.Text),
            sa.PrimaryKeyConstraint(*key),
            sqlite_with_rowid=False,
        )


def values_on_postgresql() -> None:
    """The widest columns first: in another order each row would hold eight bytes of nothing."""
    op.create_table(
        "history",
        sa.Column("number", sa.Double),
        sa.Column("time", sa.BigInteger, nullable=False),
        sa.Column("datapoint", sa.Integer, nullable=False),
        sa.Column("whole", sa.SmallInteger, nullable=False),
        sa.Column("other", sa.Text),
        sa.Column("quality", sa.Text),
        sa.PrimaryKeyConstraint("datapoint", "time"),
    )
    # With its defaults a large table would be looked after when a fifth of it has changed: once in years.
    op.execute(
        "ALTER TABLE history SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02,"
        " autovacuum_vacuum_insert_scale_factor = 0.02)"
    )
