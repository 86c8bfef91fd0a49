"""The tables of what people edit. What changes here needs a migration beside it; a test compares the two.

Datapoints are named by connector, type and key: their ids may change when one that was recorded under its topic's id
is united with its announcement, and what people wrote must survive that.
"""

from __future__ import annotations

from sqlalchemy import Boolean, Column, ForeignKey, Integer, PrimaryKeyConstraint, Table, Text, UniqueConstraint, true

from wattbus.storage.schema import metadata

datapoint_edits = Table(
    "datapoint_edits",
    metadata,
    Column("connector", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("short_name", Text),
    Column("is_active", Boolean),  # null: nobody chose
    Column("fields", Text, nullable=False),  # JSON object: what differs from the announcement
    PrimaryKeyConstraint("connector", "type", "key"),
    UniqueConstraint("short_name", name="one_datapoint_per_short_name"),
)

controllers = Table(
    "controllers",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False),
    Column("topic", Text, nullable=False),  # where its list of controlled datapoints is published
    UniqueConstraint("name", name="one_controller_per_name"),
    UniqueConstraint("topic", name="one_controller_per_topic"),
    sqlite_autoincrement=True,  # an id that was given never means another one
)

controlled_datapoints = Table(
    "controlled_datapoints",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("controller", Integer, ForeignKey("controllers.id", ondelete="CASCADE"), nullable=False),
    Column("sensor_connector", Text, nullable=False),
    Column("sensor_key", Text, nullable=False),
    Column("actuator_connector", Text, nullable=False),
    Column("actuator_key", Text, nullable=False),
    Column("is_active", Boolean, nullable=False, server_default=true()),
    UniqueConstraint("actuator_connector", "actuator_key", name="one_controller_per_actuator"),
    sqlite_autoincrement=True,
)
