"""Settings of the smart meter connector."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, field_validator

from connectors.dsmr_p1.cipher import Keys
from connectors.dsmr_p1.codec import Options
from connectors.dsmr_p1.meter_time import Zone, zone
from links.serial_port import SerialUrl
from wattbus.settings import ConnectorSettings

# Public and the same in all meters of Luxembourg [Luxmetering E-Meter P1 Specification 1.1.3, section 3.2.5].
LUXEMBOURGS_AUTHENTICATION_KEY = "00112233445566778899AABBCCDDEEFF"

ProfileName = Literal["netherlands", "belgium", "luxembourg", "sweden", "hungary", "austria", "easymeter"]


def _major(value: Any) -> Any:
    """`2.2`, `4.2`, `5.0.2`, `V5` → the version's first digit."""
    text = str(value).strip().lower().removeprefix("v").removeprefix("dsmr").strip()
    return text.partition(".")[0]


def _a_zone(name: str) -> str:
    if name.strip().lower() == "auto":
        return "auto"
    zone(name.strip())
    return name.strip()


class Settings(ConnectorSettings):
    """What the smart meter connector can be told."""

    dsmr_port: SerialUrl = Field(
        "/dev/ttyUSB0",
        description="Where the meter is: a serial port (`/dev/ttyUSB0`, `usb://0403:6001:SERIAL`), or a network "
        "adapter (`socket://host:port`, `rfc2217://host:port`).",
    )
    dsmr_version: Annotated[Literal["auto", "2", "3", "4", "5"], BeforeValidator(_major)] = Field(
        "auto",
        description="Version of the meter's P1 standard: `2` and `3` speak 9600 bit/s 7E1, `4`, `5` and all meters "
        "outside the Netherlands 115200 bit/s. `auto` tries one after the other. Behind `socket://` it does not "
        "matter.",
    )
    dsmr_profile: Literal[
        "auto", "netherlands", "belgium", "luxembourg", "sweden", "hungary", "austria", "easymeter"
    ] = Field(
        "auto",
        description="Whose names and descriptions the values get: `auto` goes by the codes in the telegram.",
    )
    dsmr_interval_seconds: float = Field(
        0.0,
        ge=0,
        le=86_400,
        description="Keep only one telegram of every so many seconds, and the last of every day; 0: all of them.",
    )
    dsmr_meter_clock: Literal["auto", "always", "never"] = Field(
        "auto",
        description="Whether values get the meter's time: `auto` unless it is impossible or more than a day off, "
        "`always` unless it is impossible, `never`: the time of reception.",
    )
    dsmr_time_zone: Annotated[str, AfterValidator(_a_zone)] = Field(
        "Europe/Amsterdam",
        description="Zone whose time the meter keeps: a name (`Europe/Vilnius`), or `auto`: it is found by whole hours "
        "between the meter's clock and the time of reception. All of Europe changes to summer time at once.",
    )
    dsmr_crc: Literal["check", "form"] = Field(
        "check",
        description="`form`: telegrams whose CRC is right by no known rule are believed by their form, as those of "
        "meters without CRC; their values have the quality `unverified`. For meters with a CRC of their own.",
    )
    dsmr_timeout_seconds: float = Field(
        20.0, gt=1, le=86_400, description="When no telegram came for this long (s), the line is opened again."
    )
    dsmr_data_request: bool = Field(
        True,
        description="Raise RTS, which asks the meter for telegrams in many cables. `FALSE` for cables that supply the "
        "data request by themselves and use RTS for something else.",
    )
    dsmr_xonxoff: bool = Field(
        False,
        description="Software flow control on the serial port. A meter never listens; do not use it with encrypted "
        "telegrams, it takes bytes out of them.",
    )
    dsmr_encryption_key: SecretStr | None = Field(
        None,
        description="Key of a meter that encrypts (Luxembourg, Austria), 32 hexadecimal digits; the grid operator "
        "gives it to you.",
    )
    dsmr_authentication_key: SecretStr = Field(
        SecretStr(LUXEMBOURGS_AUTHENTICATION_KEY),
        description="Second key of a meter that encrypts, 32 hexadecimal digits. The default is that of Luxembourg, "
        "which is public. `none`: the tag is not checked, and the telegram's CRC alone decides.",
    )
    dsmr_simulate_profile: ProfileName = Field(
        "netherlands", description="For `wattbus simulate` only: whose meter it is."
    )
    dsmr_simulate_version: Annotated[Literal["3", "4", "5"], BeforeValidator(_major)] = Field(
        "5", description="For `wattbus simulate` only: version of the Dutch meter's standard."
    )
    dsmr_simulate_file: str = Field(
        "", description="For `wattbus simulate` only: a file with telegrams to play instead."
    )
    dsmr_simulate_start: str = Field(
        "",
        description="For `wattbus simulate` only: the meter's clock at the start, as it prints it "
        "(`261025015955S`); empty: now.",
    )
    dsmr_simulate_interval_seconds: float = Field(
        0.0,
        ge=0,
        le=86_400,
        description="For `wattbus simulate` only: time between telegrams (s), 0.001 or more; 0: as the version says.",
    )
    dsmr_simulate_faults: str = Field(
        "",
        description="For `wattbus simulate` only: how it misbehaves, with blanks between: `noise`, `cut`, `crc`, "
        "`double`, `silence`, `hang_up`, `clock`, `replay`. Every fifth telegram is concerned.",
    )
    dsmr_simulate_pty: bool = Field(
        True, description="For `wattbus simulate` only: also at a pseudo-terminal, whose path it prints."
    )

    @field_validator("dsmr_simulate_interval_seconds", mode="after")
    @classmethod
    def _leaves_time_for_others(cls, interval_s: float) -> float:
        """Shorter than a telegram takes, nothing else would ever run, and nobody could listen."""
        if 0 < interval_s < 0.001:
            raise ValueError("expected 0, or 0.001 or more")
        return interval_s

    @field_validator("dsmr_encryption_key", "dsmr_authentication_key", mode="after")
    @classmethod
    def _is_a_key(cls, key: SecretStr | None) -> SecretStr | None:
        text = "none" if key is None else key.get_secret_value().strip()
        if text.lower() == "none":
            return None if key is None else SecretStr("none")
        if len(text) != 32 or any(char not in "0123456789abcdefABCDEF" for char in text):
            raise ValueError("expected 32 hexadecimal digits")
        return SecretStr(text)

    @property
    def keys(self) -> Keys | None:
        """None where there is no encryption key."""
        if self.dsmr_encryption_key is None or self.dsmr_encryption_key.get_secret_value() == "none":
            return None
        authentication = self.dsmr_authentication_key.get_secret_value()
        return Keys(
            bytes.fromhex(self.dsmr_encryption_key.get_secret_value()),
            None if authentication == "none" else bytes.fromhex(authentication),
        )

    @property
    def options(self) -> Options:
        """What decoding needs of all this."""
        return Options(self.dsmr_profile, self.dsmr_meter_clock, self.keys, self.zone, self.dsmr_crc == "form")

    @property
    def zone(self) -> Zone | None:
        """The meter's; None: it is to be found out."""
        return None if self.dsmr_time_zone == "auto" else zone(self.dsmr_time_zone)
