"""Settings: typed, from the environment, a `.env` file and secret files, each documented where it is defined.

A service's settings are one class derived from `ServiceSettings` (connectors: `ConnectorSettings`); a field's name in
upper case is the variable's name, its `description` is its documentation. `load()` reads them from a mapping of
variables, so that several services with different files can live in one process.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args

from dotenv import dotenv_values
from pydantic import AfterValidator, Field, SecretStr, ValidationError, field_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from wattbus.errors import ConfigError
from wattbus.structures import parse_structure

LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]


def _topic_level(name: str) -> str:
    if not name or not all(char.isascii() and (char.islower() or char.isdigit() or char in "-_") for char in name):
        raise ValueError("use lower case letters, digits and dashes (it is a level of every topic)")
    return name


TopicLevel = Annotated[str, AfterValidator(_topic_level)]


class Settings(BaseSettings):
    """Base of all settings: values come from `load()` alone, never from the process by accident."""

    model_config = SettingsConfigDict(
        extra="ignore", frozen=True, hide_input_in_errors=True, validate_default=False, allow_inf_nan=False
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what is given counts: `load` reads environment and files itself."""
        return (init_settings,)


class BrokerSettings(Settings):
    """How to reach the MQTT broker; the names are the same in every service."""

    mqtt_broker_host: str = Field("127.0.0.1", description="Host name or address of the MQTT broker.")
    mqtt_broker_port: int = Field(1883, ge=1, le=65535, description="TCP port of the MQTT broker (TLS: usually 8883).")
    mqtt_username: str | None = Field(None, description="User at the broker; empty signs in anonymously.")
    mqtt_password: SecretStr | None = Field(None, description="Password at the broker.")
    mqtt_tls: bool = Field(False, description="Encrypt the connection to the broker.")
    mqtt_ca_file: str | None = Field(
        None,
        description="Certificates (PEM file) that the broker's certificate is checked against; empty: those of the "
        "operating system. Setting it switches TLS on.",
    )

    @field_validator("mqtt_username", "mqtt_password", "mqtt_ca_file", mode="before")
    @classmethod
    def _empty_is_none(cls, value: Any) -> Any:
        return None if value == "" else value


class ServiceSettings(BrokerSettings):
    """What every service can be told."""

    service_name: TopicLevel = Field(
        "", validate_default=False, description="Name of this service on the bus; default: the name of its kind."
    )
    http_host: str = Field("127.0.0.1", description="Address on which health and metrics are served.")
    http_port: int | None = Field(
        None,
        ge=0,
        le=65535,
        description="Port for `/healthz`, `/readyz`, `/details` and `/metrics`; empty: not served; 0: any free port.",
    )
    data_directory: Path = Field(Path("data"), description="Folder for what the service must keep over a restart.")
    loglevel: LogLevel = Field("INFO", description="Least severe level that is logged.")
    debug: bool = Field(False, description="`TRUE` is the same as `LOGLEVEL=DEBUG`.")

    @field_validator("http_port", mode="before")
    @classmethod
    def _empty_port_is_none(cls, value: Any) -> Any:
        return None if value == "" else value

    @field_validator("loglevel", mode="before")
    @classmethod
    def _any_case(cls, value: Any) -> Any:
        return value.upper() if isinstance(value, str) else value

    @property
    def name(self) -> str:
        """The service's name on the bus: the first level of its topics and its MQTT client id."""
        return self.service_name

    @property
    def level(self) -> str:
        """The log level by Python's name for it."""
        return "DEBUG" if self.debug else self.loglevel


class FutureLimit(Settings):
    """How wrong a clock may be: the same for connectors and histories."""

    future_limit_seconds: float = Field(
        3600.0,
        gt=0,
        description="A timestamp further in the future than this (s) is not believed: its values get the time of their "
        "arrival and are marked `implausible`.",
    )


class ConnectorSettings(ServiceSettings, FutureLimit):
    """What every connector can be told."""

    connector_name: TopicLevel = Field(
        description="Name of this connector on the bus: lower case letters, digits and dashes, unique in the "
        "installation. It is the first level of all its topics."
    )
    send_raw_message_to_db: bool = Field(False, description="Publish every raw message for the raw message database.")
    read_only: bool = Field(False, description="Reject every command; nothing is ever written to the device.")
    state: Literal["always", "change"] = Field(
        "always",
        description="`always` publishes the value topics at every reading; `change` when the value changes and every "
        "`STATE_REFRESH_SECONDS`.",
    )
    state_refresh_seconds: float = Field(
        60.0, gt=0, description="With `STATE=change`: publish an unchanged value again after this time (s)."
    )
    heartbeat_seconds: float = Field(30.0, gt=0, description="Time between heartbeats (s).")
    outbox_max_bytes: int = Field(
        64 * 2**20,
        ge=64 * 2**10,
        description="Bound of the outbox on disk (bytes), in which readings wait for history's receipt; beyond it the "
        "oldest go first, counted.",
    )
    outbox_write_seconds: float = Field(
        1.0,
        gt=0,
        description="Readings that have waited so long (s) are written to the outbox's files: as much may be lost when "
        "the process is killed. On an SD card 10 spares it.",
    )
    outbox_stop_seconds: float = Field(
        5.0,
        ge=0,
        description="How long (s) a stop waits for history's receipts when the disk does not take what waits.",
    )
    command_max_age_seconds: float = Field(
        300.0, gt=0, description="Commands that waited longer than this at the broker (s) end as `expired`."
    )
    command_timeout_seconds: float = Field(
        30.0, gt=0, description="A command that the device has not confirmed within this time (s) ends as `failed`."
    )
    history_grace_seconds: float = Field(
        60.0,
        ge=0,
        description="Time (s) after the first connect within which a history that records this connector must show "
        "itself; without one, readings are released when the broker has them.",
    )
    stale_after_intervals: float = Field(
        3.0, gt=1, description="A value counts as stale after this many of its expected intervals without news."
    )

    @property
    def name(self) -> str:
        """The connector's name, which is its service's."""
        return self.connector_name


S = TypeVar("S", bound=Settings)


class _Variables(EnvSettingsSource):
    """Reads a mapping of variables instead of the environment; JSON settings may also be written as YAML."""

    def __init__(self, settings_cls: type[BaseSettings], variables: Mapping[str, str]) -> None:
        self._variables = variables
        super().__init__(settings_cls, case_sensitive=False)

    def _load_env_vars(self) -> Mapping[str, str | None]:
        return {name.lower(): value for name, value in self._variables.items()}

    def decode_complex_value(self, field_name: str, field: FieldInfo, value: Any) -> Any:
        return parse_structure(field_name.upper(), value)


def load(settings_class: type[S], variables: Mapping[str, str], **defaults: str) -> S:
    """Make settings from variables. Raises ConfigError, one line per fault, naming variable and path.

    `NAME_FILE` is accepted for any setting NAME (its value is the file's content) unless a setting has that name
    itself. An empty variable counts as not given where the setting is not text.
    """
    merged = {name.upper(): value for name, value in {**defaults, **variables}.items()}
    fields = {name.upper(): field for name, field in settings_class.model_fields.items()}
    for name, field in fields.items():
        file_name = f"{name}_FILE"
        if merged.get(file_name) and file_name not in fields:
            if merged.get(name):
                raise ConfigError(f"{name} and {file_name} are both set: keep one of them")
            merged[name] = _file_content(file_name, merged[file_name])
        if merged.get(name) == "" and not _accepts_empty(field):
            del merged[name]
    try:
        return settings_class(**_Variables(settings_class, merged)())
    except ValidationError as error:
        raise ConfigError("\n".join(_fault(fault) for fault in error.errors(include_url=False))) from None


def _file_content(variable: str, path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").removesuffix("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{variable}: cannot read {path}: {error}") from None


def _accepts_empty(field: FieldInfo) -> bool:
    return field.annotation is str or str in get_args(field.annotation)


def _fault(fault: Any) -> str:
    """`MODBUS_CONFIG.read_coils[0].address: Input should be …`."""
    variable, *path = fault["loc"] or ("settings",)
    where = str(variable).upper()
    for step in path:
        where += f"[{step}]" if isinstance(step, int) else f".{step}"
    if fault["type"] == "missing":
        return f"{where} is required" + ("" if path else " and not set")
    return f"{where}: {fault['msg'].removeprefix('Value error, ')}"


def from_environment(env_file: Path | None = None) -> dict[str, str]:
    """The variables of the process, over those of `env_file` (default: `.env` in the current folder)."""
    return {**read_env_file(env_file or Path(".env")), **os.environ}


def read_env_file(path: Path) -> dict[str, str]:
    """The variables of a `.env` file, {} when it does not exist. Raises ConfigError when it cannot be read."""
    if not path.exists():
        return {}
    try:
        values = dotenv_values(path, interpolate=False, encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot read it: {error}") from None
    return {name: value for name, value in values.items() if value is not None}


def unknown_variables(settings_class: type[Settings], names: set[str]) -> dict[str, str]:
    """Names that this service has no setting for, each with the closest one that exists ("" when none is close)."""
    known = {name.upper() for name in settings_class.model_fields}
    accepted = known | {f"{name}_FILE" for name in known} | {"SERVICE"}
    return {
        name: next(iter(get_close_matches(name.upper(), known, n=1, cutoff=0.8)), "")
        for name in sorted(names)
        if name.upper() not in accepted
    }
