"""Settings of history."""

from __future__ import annotations

from typing import Any

from pydantic import Field, field_validator

from wattbus.settings import FutureLimit, ServiceSettings, TopicLevel


class Settings(ServiceSettings, FutureLimit):
    """What history can be told."""

    service_name: TopicLevel = Field(
        "history", description="Name of this service on the bus; several history processes need different ones."
    )
    database_url: str = Field(
        "",
        repr=False,
        description="Database that history writes to: `sqlite:///path/to/file.db` (an absolute path has four slashes) "
        "or `postgresql://user:password@host:port/name`. Empty: `history.db` in `DATA_DIRECTORY`.",
    )
    history_connectors: list[TopicLevel] = Field(
        [],
        description="Names of the connectors to record, as a JSON list or separated by commas; empty: all of them. "
        "Several history processes share the work by disjoint lists.",
    )
    history_batch_messages: int = Field(
        1000, ge=1, le=100_000, description="Most messages that are written in one transaction."
    )
    history_batch_wait_ms: float = Field(
        50.0, ge=0, le=10_000, description="Longest time that a message waits for others to share a transaction (ms)."
    )
    history_receipt_seconds: float = Field(
        1.0, gt=0, le=60, description="Shortest time between two receipts for one connector (s)."
    )
    history_retention_days: float = Field(
        730.0,
        ge=0,
        description="Values, setpoints, schedules and outcomes older than this are removed (days); 0: never.",
    )
    history_max_bytes: int = Field(
        10 * 2**30,
        ge=0,
        description="Beyond this size (bytes) the oldest values are removed; 0: no bound.",
    )

    @field_validator("history_connectors", mode="before")
    @classmethod
    def _separated_by_commas(cls, value: Any) -> Any:
        if isinstance(value, str):
            return [name.strip() for name in value.split(",") if name.strip()]
        return value

    @property
    def url(self) -> str:
        """The database's URL."""
        return self.database_url or f"sqlite:///{self.data_directory.absolute() / 'history.db'}"
