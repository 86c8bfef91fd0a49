"""What people edit: datapoints' names and limits, controllers and what they control."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table(
        "datapoint_edits",
        sa.Column("connector", sa.Text, nullable=False),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("short_name", sa.Text),
        sa.Column("is_active", sa.Boolean),
        sa.Column("fields", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("connector", "type", "key"),
        sa.UniqueConstraint("short_name", name="one_datapoint_per_short_name"),
    )
    controllers = op.create_table(
        "controllers",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("topic", sa.Text, nullable=False),
        sa.UniqueConstraint("name", name="one_controller_per_name"),
        sa.UniqueConstraint("topic", name="one_controller_per_topic"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "controlled_datapoints",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("controller", sa.Integer, sa.ForeignKey("controllers.id", ondelete="CASCADE"), nullable=False),
        sa.Column("sensor_connector", sa.Text, nullable=False),
        sa.Column("sensor_key", sa.Text, nullable=False),
        sa.Column("actuator_connector", sa.Text, nullable=False),
        sa.Column("actuator_key", sa.Text, nullable=False),
        sa.Column("is_active", sa.Boolean, nullable=False, server_default=sa.true()),
        sa.UniqueConstraint("actuator_connector", "actuator_key", name="one_controller_per_actuator"),
        sqlite_autoincrement=True,
    )
    # The controller listens there unless it is told otherwise: a pair needs no controller to be made first.
    op.bulk_insert(controllers, [{"name": "python_controller", "topic": "python_controller/controlled_datapoints"}])
