"""Settings of raw_db."""

from __future__ import annotations

from pydantic import Field, field_validator

from wattbus.settings import ServiceSettings, TopicLevel


class Settings(ServiceSettings):
    """What raw_db can be told."""

    service_name: TopicLevel = Field("raw-db", description="Name of this service on the bus.")
    database_url: str = Field(
        "",
        repr=False,
        description="Database that raw messages are written to: `sqlite:///path/to/file.db` (an absolute path has four "
        "slashes) or `postgresql://user:password@host:port/name`. It may be history's. Empty: `raw.db` in "
        "`DATA_DIRECTORY`.",
    )
    mqtt_topic_all_raw_messages: str = Field(
        "+/raw_message_to_db",
        description="Topics of the raw messages, as an MQTT subscription; the first level of a topic is the "
        "connector's name.",
    )
    raw_db_batch_messages: int = Field(
        1000, ge=1, le=100_000, description="Most messages that are written in one transaction."
    )
    raw_db_batch_wait_ms: float = Field(
        50.0, ge=0, le=10_000, description="Longest time that a message waits for others to share a transaction (ms)."
    )
    raw_db_retention_days: float = Field(
        365.0, ge=0, description="Raw messages older than this are removed (days); 0: never."
    )
    raw_db_max_bytes: int = Field(
        10 * 2**30, ge=0, description="Beyond this size (bytes) the oldest raw messages are removed; 0: no bound."
    )

    @field_validator("mqtt_topic_all_raw_messages")
    @classmethod
    def _is_a_subscription(cls, value: str) -> str:
        levels = value.split("/")
        whole = all(level in ("+", "#") or not set(level) & {"+", "#"} for level in levels)
        if not value or not whole or "#" in levels[:-1] or value.startswith("$"):
            raise ValueError("expected an MQTT subscription like +/raw_message_to_db")
        return value

    @property
    def url(self) -> str:
        """The database's URL."""
        return self.database_url or f"sqlite:///{self.data_directory.absolute() / 'raw.db'}"
