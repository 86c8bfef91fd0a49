"""Raw messages by connector and time."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_table(
        "raw_connectors",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("connector", sa.Text, nullable=False),
        sa.Column("messages", sa.BigInteger, nullable=False),
        sa.Column("bytes", sa.BigInteger, nullable=False),
        sa.UniqueConstraint("connector", name="one_raw_connector_per_name"),
    )
    on_postgresql = op.get_context().dialect.name == "postgresql"
    # A hypertable's unique keys hold the time: on PostgreSQL the index below is the only one, and the number is given.
    number = (
        sa.Column("id", sa.BigInteger, nullable=False, server_default=sa.text("nextval('raw_messages_id_seq')"))
        if on_postgresql
        else sa.Column("id", sa.Integer, primary_key=True)
    )
    if on_postgresql:
        op.execute("CREATE SEQUENCE raw_messages_id_seq")
    op.create_table(
        "raw_messages",
        number,
        sa.Column("connector", sa.Integer, nullable=False),
        sa.Column("time", sa.BigInteger, nullable=False),
        sa.Column("digest", sa.BigInteger, nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("connector_version", sa.Text),
    )
    op.create_index("one_raw_message_per_content", "raw_messages", ["connector", "time", "digest"], unique=True)
    if on_postgresql:
        op.execute("ALTER SEQUENCE raw_messages_id_seq OWNED BY raw_messages.id")
        op.execute(
            "ALTER TABLE raw_messages SET (autovacuum_vacuum_scale_factor = 0.02,"
            " autovacuum_analyze_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.02)"
        )
