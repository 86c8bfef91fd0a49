"""Settings of the wireless M-Bus connector."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, SecretStr, model_validator

from connectors.im871a.meters_config import MetersConfig
from connectors.im871a.receivers import amb8465, cul, iu891a
from connectors.im871a.receivers.line_sources import LineAddress, parse_address
from links.serial_port import SerialPort, SerialUrl
from wattbus.settings import ConnectorSettings

LinkMode = Literal["S1", "S1-m", "S2", "T1", "T2", "R2", "C1A", "C1B", "C2A", "C2B", "C+T"]
FAULTS = ("noise", "cut", "crc", "mute", "silence", "stubborn")  # of the simulated stick
Receivers = Literal["im871a", "iu891a", "amb8465", "cul", "lines"]
BAUD_RATES = {"im871a": 57_600, "iu891a": iu891a.BAUD_RATE, "amb8465": amb8465.BAUD_RATE, "cul": cul.BAUD_RATE}
MODES: dict[str, Collection[str]] = {"iu891a": iu891a.MODES, "amb8465": amb8465.MODES, "cul": cul.MODES}
Seconds = Annotated[float, Field(ge=0)]


def _checked_address(text: str) -> str:
    parse_address(text.strip())
    return text.strip()


LinesFrom = Annotated[str, AfterValidator(_checked_address)]


class Settings(ConnectorSettings):
    """Where the stick is, and which meters are listened to."""

    im871a_receiver: Receivers = Field(
        "im871a",
        description="What hears the meters: the stick `im871a`; `iu891a` (also the iU893A); `amb8465` (also Metis-II); "
        "`cul` (nanoCUL and others with culfw); `lines`: a program or gateway that hands over telegrams as text.",
    )
    im871a_lines_from: LinesFrom = Field(
        "serial",
        description="With `IM871A_RECEIVER=lines`: `tcp://host:port` (we connect), `tcp-listen://address:port`, "
        "`udp-listen://address:port`, `serial` (`IM871A_PORT`), `stdin`, `mqtt:topic` (the broker of this connector), "
        "`mqtt://host:port/topic` or `mqtts://…` (another one).",
    )
    im871a_lines_username: str = Field("", description="User at the other broker with the telegrams.")
    im871a_lines_password: SecretStr = Field(SecretStr(""), description="Password at the other broker.")
    im871a_port: SerialUrl = Field(
        "usb://10c4:ea60",
        description="The stick: a path (`/dev/serial/by-id/…`), `usb://10c4:ea60` or `usb://10c4:ea60:SERIAL` (the "
        "USB bridge of the iM871A-USB), `socket://host:port`, `rfc2217://host:port`.",
    )
    im871a_baudrate: int = Field(
        57600,
        ge=1200,
        le=921_600,
        description="Speed of the serial port (bit/s). When not set, with another receiver than the iM871A, it is that "
        "receiver's own: 115200 (iU891A), 9600 (AMB8465, lines), 38400 (CUL).",
    )
    im871a_link_mode: LinkMode = Field(
        "C+T",
        description="What the stick listens to: `C+T` (both, from firmware 0x14 on), `T1`, `C1A`, `C1B`, `S1` and so "
        "on. Most meters in Europe send T1 or C1; the meter's data sheet says which.",
    )
    im871a_meters: MetersConfig = Field(
        {},
        description='The meters, as JSON or YAML: `{"32666857": {"key": "9A25…", "name": "main meter"}}`. The number '
        "is the one on the meter (eight digits); `KAM-32666857` where two makers use the same. `key`: 32 hexadecimal "
        "digits, left out for meters that do not encrypt. `silent_seconds`: `IM871A_METER_SILENT_SECONDS` for this "
        "meter.",
    )
    im871a_meters_file: Path | None = Field(
        None,
        description="A file with more meters in the same form. It is read again whenever it changes: no restart. What "
        "it says of a meter that is in `IM871A_METERS`, too, counts.",
    )
    im871a_unknown_meters: bool = Field(
        True,
        description="Announce meters that are heard and not configured (manufacturer, number, medium), never their "
        "values.",
    )
    im871a_silent_seconds: Seconds = Field(
        900.0,
        description="When no meter at all was heard for this long (s), the stick is opened again, then reset, then it "
        "is reported; 0: never.",
    )
    im871a_meter_silent_seconds: Seconds = Field(
        3600.0,
        description="A configured meter that was not heard for this long (s) counts as away, its values as `offline`; "
        "0: never. Some water meters send only on working days.",
    )
    im871a_duplicate_seconds: Seconds = Field(
        60.0,
        description="The same telegram again within this time (s), from a repeater, is left out; 0: none is. Telegrams "
        "without access number never are.",
    )
    recalc_gateway_id: str = Field(
        "",
        pattern=r"^[^/+#\s]*$",
        description="Number of this gateway in ReCalc's topics (`v2/<gateway>/…`); empty: without ReCalc.",
    )
    recalc_allow_stop: bool = Field(
        False, description="`TRUE`: a message on the topic `STOP` ends this connector, as its ancestor did."
    )

    im871a_simulate_file: Path | None = Field(
        None,
        description="For `wattbus simulate` only: a file with telegrams to play, one per line in hexadecimal digits; "
        "`12.5 2c44…` waits 12.5 s before it. Empty: a meter with the number 20000001 and the key 000102…0f.",
    )
    im871a_simulate_interval_seconds: float = Field(
        8.0, gt=0, description="For `wattbus simulate` only: time between telegrams (s)."
    )
    im871a_simulate_faults: str = Field(
        "",
        description="For `wattbus simulate` only: how it misbehaves, with blanks between: `noise`, `cut`, `crc`, "
        "`mute`, `silence` (until it is reset), `stubborn` (keeps its link mode).",
    )

    @model_validator(mode="after")
    def _stop_needs_recalc(self) -> Self:
        if self.recalc_allow_stop and not self.recalc_gateway_id:
            raise ValueError("RECALC_ALLOW_STOP needs RECALC_GATEWAY_ID")
        return self

    @model_validator(mode="after")
    def _receiver_knows_the_mode(self) -> Self:
        modes = MODES.get(self.im871a_receiver)
        if modes is not None and self.im871a_link_mode not in modes:
            raise ValueError(
                f"IM871A_LINK_MODE: {self.im871a_receiver} cannot listen to {self.im871a_link_mode}: {', '.join(modes)}"
            )
        return self

    @property
    def port(self) -> SerialPort:
        is_told = "im871a_baudrate" in self.model_fields_set
        speed = self.im871a_baudrate if is_told else BAUD_RATES.get(self.im871a_receiver, 9600)
        return SerialPort(self.im871a_port, baudrate=speed)

    @property
    def lines_from(self) -> LineAddress:
        return parse_address(self.im871a_lines_from)
