"""Settings of the Modbus/TCP connector; names and meaning are BEMCom's where BEMCom has them."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from connectors.modbus_tcp.config import ModbusConfig
from links.modbus_workarounds import HARMLESS, NO_WORKAROUNDS, WORKAROUNDS, Workaround
from wattbus.settings import ConnectorSettings


class Settings(ConnectorSettings):
    """What the Modbus/TCP connector can be told."""

    poll_seconds: float = Field(gt=0, description="Time between two polls (s).")
    modbus_master_ip: str = Field(
        min_length=1, description="Address or host name of the Modbus server: the device or its gateway."
    )
    modbus_master_port: int = Field(
        502, ge=1, le=65535, description="TCP port of the Modbus server (TLS: usually 802)."
    )
    modbus_config: ModbusConfig = Field(
        description="Which registers and coils are read and written, as JSON or YAML; the README of the connector "
        "describes every key."
    )
    modbus_max_retries: int = Field(
        3,
        ge=1,
        description="How often a range is asked for, in total, before it is reported as failing; then it is skipped "
        "until the next poll.",
    )
    modbus_retry_wait_seconds: float = Field(
        15.0,
        ge=0,
        description="Wait before a failed range is asked for again (s). When the next poll comes earlier, that is the "
        "repetition: values that can be read keep their pace.",
    )
    modbus_poll_break: float = Field(
        0.0, ge=0, description="Pause between an answer and the next request (s), for devices that need one."
    )
    modbus_disconnect_between_polls: bool = Field(
        False,
        description="Open the connection for each poll and close it after, for devices that serve one client only; "
        "commands open it too.",
    )
    modbus_lsrf_word_order: bool = Field(
        False,
        description="Floats (`f`, `d`) have their least significant register first. `word_order` of an entry overrides "
        "it and covers integers too.",
    )
    modbus_timeout_seconds: float = Field(
        3.0, gt=0, description="Longest time for connecting and for each answer (s); gateways to slow lines need more."
    )
    modbus_framing: Literal["tcp", "rtu"] = Field(
        "tcp", description="`tcp`: Modbus/TCP. `rtu`: RTU frames in TCP, as transparent serial converters speak."
    )
    modbus_tls: bool = Field(False, description="Encrypt the connection (Modbus/TCP Security, usually port 802).")
    modbus_ca_file: str | None = Field(
        None,
        description="Certificates (PEM file) that the device's certificate is checked against; empty: those of the "
        "operating system.",
    )
    modbus_cert_file: str | None = Field(
        None, description="Our own certificate (PEM file), if the device asks for one."
    )
    modbus_key_file: str | None = Field(None, description="The key of our own certificate (PEM file).")
    modbus_tls_check_hostname: bool = Field(
        True, description="The device's certificate must be for `MODBUS_MASTER_IP`; `FALSE` accepts any name in it."
    )
    modbus_max_registers_per_request: int = Field(
        125, ge=1, le=125, description="Longest request (registers); some devices answer fewer than the standard's 125."
    )
    modbus_merge_requests: bool = Field(
        True,
        description="Read ranges of one unit that touch or overlap in one request. A request that the device refuses "
        "is taken apart again by itself.",
    )
    modbus_wait_after_connect: float = Field(
        0.0, ge=0, description="Wait after connecting (s), for devices that lose what comes too soon."
    )

    modbus_workarounds: str = Field(
        ", ".join(sorted(HARMLESS)),
        description="Faults of the device that are put up with, by name, with commas between; the README of the "
        f"connector says what each risks. Known: {', '.join(WORKAROUNDS)}; `none`, `all`.",
    )

    @property
    def workarounds(self) -> frozenset[Workaround]:
        """`modbus_workarounds`, one by one."""
        return _workarounds(self.modbus_workarounds)

    @field_validator("modbus_workarounds")
    @classmethod
    def _workarounds_are_known(cls, text: str) -> str:
        _workarounds(text)
        return text

    @field_validator("modbus_ca_file", "modbus_cert_file", "modbus_key_file", mode="before")
    @classmethod
    def _empty_file_is_none(cls, value: Any) -> Any:
        return None if value == "" else value

    @model_validator(mode="after")
    def _tls_files_need_tls(self) -> Self:
        given = {
            "MODBUS_CA_FILE": self.modbus_ca_file,
            "MODBUS_CERT_FILE": self.modbus_cert_file,
            "MODBUS_KEY_FILE": self.modbus_key_file,
        }
        if not self.modbus_tls and (names := [name for name, value in given.items() if value]):
            raise ValueError(f"{', '.join(names)}: only with MODBUS_TLS=TRUE")
        if self.modbus_key_file and not self.modbus_cert_file:
            raise ValueError("MODBUS_KEY_FILE: only with MODBUS_CERT_FILE")
        return self


def _workarounds(text: str) -> frozenset[Workaround]:
    names = [name for part in text.split(",") if (name := part.strip().lower())]
    if names in ([], ["none"]):
        return NO_WORKAROUNDS
    if names == ["all"]:
        return frozenset(WORKAROUNDS)
    if unknown := [name for name in names if name not in WORKAROUNDS]:
        raise ValueError(f"{', '.join(unknown)}: not known; known are {', '.join(WORKAROUNDS)}, none, all")
    return frozenset(one for one in WORKAROUNDS if one in names)
