"""Settings of the set-up."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path

from pydantic import Field, SecretStr, field_validator

from wattbus.settings import Settings as BaseSettings

_HOST_NAME = re.compile(
    r"(\*\.)?[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?)*"
)


class Settings(BaseSettings):
    """What the set-up can be told."""

    secrets_folder: Path = Field(Path("/secrets"), description="Where everything is written: the volume.")
    secrets_gid: int = Field(
        10001, ge=0, description="Group of the services' containers: their files are `root:SECRETS_GID`, mode 0440."
    )
    environment_folder: str = Field(
        "",
        description="Folders (separated by commas) with `KIND/*.env` or `KIND.env`: each file's `CONNECTOR_NAME` or "
        "`SERVICE_NAME` becomes a user. Also `--environment-folder`.",
    )
    broker_users: str = Field("", description="More users: `name` or `name:role`, separated by commas.")
    broker_extra_rules: str = Field(
        "",
        description="More access rules, in Mosquitto's words: `user NAME`, then `topic read TOPIC`, one per line. "
        "`BROKER_EXTRA_RULES_FILE` names a file.",
    )
    broker_folder: str = Field(
        "",
        description="Where the broker sees the folder `mosquitto` of `SECRETS_FOLDER`, if elsewhere; in the containers "
        "`/mosquitto/config`.",
    )
    broker_data_folder: str = Field("/mosquitto/data", description="Where the broker keeps its state.")
    broker_include_folder: str = Field(
        "",
        description="Folder with `*.conf` of your own (bridges), as the broker sees it; it must exist there. Empty: "
        "none.",
    )
    broker_uid: int = Field(1883, ge=0, description="User whom the broker's files belong to (in its image: 1883).")
    broker_gid: int = Field(1883, ge=0, description="Group of the broker's files.")
    broker_plain_address: str = Field(
        "", description="Address of the listener without TLS; empty: all, for a containers' network."
    )
    broker_plain_port: int = Field(1883, ge=1, le=65535, description="TCP port of the listener without TLS.")
    broker_tls_port: int = Field(8883, ge=0, le=65535, description="TCP port of the listener with TLS; 0: none.")
    broker_websockets_port: int = Field(
        0, ge=0, le=65535, description="TCP port of a listener for WebSockets over TLS; 0: none."
    )
    broker_tls_names: str = Field(
        "",
        description="Names and addresses in the generated certificate, separated by commas, beside `broker`, "
        "`mosquitto`, `localhost`, `127.0.0.1` and the name of this machine.",
    )
    broker_tls_cert: str = Field(
        "", description="A certificate of your own, with its chain: PEM text or a path. Empty: one is generated."
    )
    broker_tls_key: SecretStr = Field(
        SecretStr(""), description="The key of your own certificate, without pass phrase: PEM text or a path."
    )
    broker_tls_ca: str = Field(
        "",
        description="The CA that clients need for your own certificate: PEM text or a path. Empty: they know it, as it "
        "is a public one.",
    )
    database_host: str = Field("database", description="Host of PostgreSQL, for `database_url`.")
    database_port: int = Field(5432, ge=1, le=65535, description="TCP port of PostgreSQL.")
    database_name: str = Field("wattbus", description="Name of the database.")
    database_user: str = Field("wattbus", description="Role that owns it.")

    @field_validator("broker_tls_names")
    @classmethod
    def _are_names(cls, value: str) -> str:
        for name in _parts(value):
            if not is_host(name):
                raise ValueError(f"{name} is neither a host name nor an address")
        return value

    @field_validator("broker_folder", "broker_data_folder", "broker_include_folder")
    @classmethod
    def _is_absolute(cls, value: str) -> str:
        if value and (not value.startswith("/") or "\n" in value):
            raise ValueError("expected an absolute path")
        return value

    @field_validator("broker_plain_address")
    @classmethod
    def _is_address(cls, value: str) -> str:
        if value and not _is_address(value):
            raise ValueError("expected an address like 127.0.0.1")
        return value

    @property
    def mosquitto_folder(self) -> Path:
        """Where the broker's files are written."""
        return self.secrets_folder / "mosquitto"

    @property
    def mosquitto_folder_seen(self) -> str:
        """The same folder as the broker sees it."""
        return self.broker_folder.rstrip("/") or str(self.mosquitto_folder.absolute())

    @property
    def environment_folders(self) -> list[Path]:
        return [Path(part) for part in _parts(self.environment_folder)]

    @property
    def tls_names(self) -> list[str]:
        return _parts(self.broker_tls_names)

    @property
    def has_tls(self) -> bool:
        return bool(self.broker_tls_port or self.broker_websockets_port)

    def database_url(self, password: str) -> str:
        host = f"[{self.database_host}]" if ":" in self.database_host else self.database_host
        return f"postgresql://{self.database_user}:{password}@{host}:{self.database_port}/{self.database_name}"


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def is_host(text: str) -> bool:
    """Whether it is a host name or an address, as certificates have them."""
    return _is_address(text) or (len(text) <= 253 and _HOST_NAME.fullmatch(text) is not None)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
