"""Settings of the API."""

from __future__ import annotations

import ipaddress

from pydantic import Field, ValidationInfo, field_validator

from wattbus.settings import ServiceSettings, TopicLevel


class Settings(ServiceSettings):
    """What the API can be told."""

    service_name: TopicLevel = Field("api", description="Name of this service on the bus.")
    api_behind_gateway: bool = Field(
        False,
        description="`TRUE` in a container whose port is published on the loopback address of its machine. Any "
        "`API_HOST` is accepted then, and only requests that come through the container's gateway, which is its "
        "machine: not those of other containers, or of the network around.",
    )
    api_host: str = Field(
        "127.0.0.1",
        description="Address on which REST and pages are served. Only addresses of this machine itself "
        "(`127.0.0.1`, `::1`, `localhost`) are accepted: there is no sign-in yet.",
    )
    api_port: int = Field(8080, ge=0, le=65535, description="TCP port of REST and pages; 0: any free port.")
    api_page: bool = Field(True, description="Serve the pages for people, too; `FALSE`: REST and WebSocket alone.")
    database_url: str = Field(
        "",
        repr=False,
        description="Database that history and raw_db write to: `sqlite:///path/to/file.db` (an absolute path has four "
        "slashes) or `postgresql://user:password@host:port/name`. Empty: `history.db` and `raw.db` in "
        "`DATA_DIRECTORY`.",
    )
    command_wait_seconds: float = Field(
        2.0, ge=0, le=60, description="How long an answer waits for the outcome of a command (s)."
    )
    command_expiry_seconds: int = Field(
        60, ge=1, description="Commands that waited longer than this at the broker (s) are dropped by it."
    )

    @field_validator("api_host")
    @classmethod
    def _this_machine_only(cls, host: str, others: ValidationInfo) -> str:
        if not others.data.get("api_behind_gateway") and not is_loopback(host):
            raise ValueError(
                f"{host} can be reached by others, and there is no sign-in yet: anybody who reaches this port could "
                "command every device. Use 127.0.0.1, ::1 or localhost"
            )
        return host

    @property
    def url(self) -> str:
        """The database's URL."""
        return self.database_url or f"sqlite:///{self.data_directory.absolute() / 'history.db'}"

    @property
    def raw_url(self) -> str:
        """The URL of the database with the raw messages."""
        return self.database_url or f"sqlite:///{self.data_directory.absolute() / 'raw.db'}"


def is_loopback(host: str) -> bool:
    """Whether this address, or name of an address, is one of this machine itself that nobody else can reach."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
