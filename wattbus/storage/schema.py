"""The tables. What changes here needs a migration beside it; a test compares the two.

Values lie in two tables of one shape on SQLite: `recent`, keyed (time, datapoint), takes every batch at its end, and
`history`, keyed (datapoint, time), is what queries want. A datapoint-first key alone wrote thirty times the bytes and
fell to a seventh of the speed. On PostgreSQL there is `history` alone, with its columns in another order. The value
tables have no foreign key: their ids come from `datapoints` in the same transaction, and the check would cost a look-up
per row.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    false,
)

metadata = MetaData()

datapoints = Table(
    "datapoints",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("connector", Text, nullable=False),
    Column("type", Text, nullable=False),  # sensor or actuator
    Column("key", Text, nullable=False),
    Column("topic", Text),  # its value topic, when known
    Column("announced", Boolean, nullable=False, server_default=false()),  # else key and type are guessed
    UniqueConstraint("connector", "type", "key", name="one_datapoint_per_key"),
    UniqueConstraint("topic", name="one_datapoint_per_topic"),
)


def _values(name: str, *key: str, only_on: str | None = None) -> Table:
    return Table(
        name,
        metadata,
        Column("time", BigInteger, nullable=False),
        Column("datapoint", Integer, nullable=False),
        Column("number", Double),
        Column("is_integer", SmallInteger, nullable=False),
        Column("json_value", Text),
        Column("quality", Text),
        PrimaryKeyConstraint(*key),
        sqlite_with_rowid=False,
        info={"only_on": only_on},
    )


recent = _values("recent", "time", "datapoint", only_on="sqlite")
history = _values("history", "datapoint", "time")


def _plans(name: str) -> Table:
    return Table(
        name,
        metadata,
        Column("datapoint", Integer, ForeignKey("datapoints.id"), nullable=False),
        Column("time", BigInteger, nullable=False),
        Column("items", Text, nullable=False),  # JSON as given
        PrimaryKeyConstraint("datapoint", "time"),
        sqlite_with_rowid=False,
    )


setpoints = _plans("setpoints")
schedules = _plans("schedules")

outcomes = Table(
    "outcomes",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("datapoint", Integer, ForeignKey("datapoints.id"), nullable=False),
    Column("time", BigInteger, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("value", Text, nullable=False),  # JSON
    Column("detail", Text, nullable=False),
    Column("command_id", Text),
    Column("command_time", BigInteger),
    Index("outcomes_by_time", "datapoint", "time"),
)

sessions = Table(
    "sessions",
    metadata,
    Column("connector", Text, nullable=False),
    Column("session", Text, nullable=False),
    Column("upto", BigInteger, nullable=False),
    Column("missing", Text, nullable=False),  # JSON: [[from, to], …]
    Column("dropped", Text, nullable=False),
    Column("first_seen", BigInteger, nullable=False),
    Column("last_seen", BigInteger, nullable=False),
    PrimaryKeyConstraint("connector", "session"),
    Index("sessions_by_last_seen", "last_seen"),
)

storage_state = Table(
    "storage_state",
    metadata,
    Column("name", Text, primary_key=True),  # watermark: newest time that a merge has taken from recent to history
    Column("value", BigInteger, nullable=False),
)

# -- raw messages -----------------------------------------------------------------------------------------------------

raw_connectors = Table(
    "raw_connectors",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("connector", Text, nullable=False),
    # Kept in the transactions that write and remove, because counting a whole table takes minutes on a small machine.
    Column("messages", BigInteger, nullable=False),
    Column("bytes", BigInteger, nullable=False),  # what they occupy, estimated
    UniqueConstraint("connector", name="one_raw_connector_per_name"),
)

# A table in the order of arrival with a narrow index: large rows in a table ordered by connector would be moved about.
# On PostgreSQL the index is its only key.
raw_messages = Table(
    "raw_messages",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("connector", Integer, nullable=False),
    Column("time", BigInteger, nullable=False),
    Column("digest", BigInteger, nullable=False),  # of the message: two of one connector may share a millisecond
    Column("message", Text, nullable=False),  # JSON, exactly as it came
    Column("connector_version", Text),
    Index("one_raw_message_per_content", "connector", "time", "digest", unique=True),
)
