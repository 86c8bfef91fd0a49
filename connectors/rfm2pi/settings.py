"""Settings of the radio board connector; OemGateway's and emonHub's names are understood beside ours."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from connectors.rfm2pi.bands import is_set
from connectors.rfm2pi.layout import FINISHED_VALUES
from connectors.rfm2pi.nodes import Nodes, NodesConfig
from connectors.rfm2pi.values import Code, ValuesConfig
from links.serial_port import SerialPort, SerialUrl
from wattbus.settings import ConnectorSettings

_MEGAHERTZ = {4: 433, 8: 868, 9: 915}  # what is sent to the board; OemGateway's setting is this number


def _in_megahertz(value: Any) -> Any:
    try:
        number = int(value)
    except (TypeError, ValueError):
        return value
    return _MEGAHERTZ.get(number, number)


def _a_group(value: Any) -> Any:
    """Some shells have a variable GROUP of their own, with the name of a group of users in it."""
    return None if isinstance(value, str) and not value.strip().lstrip("+-").isdecimal() else value


def _a_time_zone(name: str) -> str:
    if name:
        try:
            ZoneInfo(name)
        except (OSError, ValueError, KeyError):  # ZoneInfoNotFoundError is a KeyError
            raise ValueError(f"there is no time zone {name!r}; expected a name such as Europe/Berlin") from None
    return name


Baudrate = Annotated[int, Field(ge=300, le=4_000_000)]
Group = Annotated[int, Field(ge=0, le=255)]
Frequency = Annotated[Literal[433, 434, 868, 869, 915], BeforeValidator(_in_megahertz)]
BaseId = Annotated[int, Field(ge=1, le=60)]
Seconds = Annotated[float, Field(ge=0)]
TcpPort = Annotated[int, Field(ge=1, le=65535)]

# OemGateway's (and, of these, emonHub's) name → ours.
THEIR_NAMES = {
    "com_port": "rfm2pi_port",
    "com_baud": "rfm2pi_baudrate",
    "sgroup": "rfm2pi_group",
    "frequency": "rfm2pi_frequency",
    "baseid": "rfm2pi_base_id",
    "sendtimeinterval": "rfm2pi_time_seconds",
    "port_nb": "rfm2pi_repeater_port",
    "group": "rfm2pi_group",
    "quiet": "rfm2pi_quiet",
    "interval": "rfm2pi_time_seconds",
}
# emonHub's name → what replaces it.
REPLACED = {
    "nodeoffset": "NODEOFFSET is not here: nodes of two boards are told apart by CONNECTOR_NAME, and RFM2PI_NODES "
    "names them; numbers are as the nodes send them",
    "calibration": "CALIBRATION is not here: it is a setting of the emonPi's firmware, which keeps it (`1p` is 230 V, "
    "`2p` is 110 V, in a terminal program); scales of RFM2PI_NODES correct single values",
}


class Settings(ConnectorSettings):
    """What the radio board connector can be told."""

    rfm2pi_port: SerialUrl = Field(
        "/dev/ttyAMA0",
        description="The serial port of the board: a path, `usb://0403:6001` or `usb://0403:6001:SERIAL`, "
        "`socket://host:port`, `rfc2217://host:port`.",
    )
    rfm2pi_baudrate: Baudrate = Field(
        38400, description="Speed of the serial port (bit/s). RFM69Pi and RFM2Pi: 38400, the first RFM12Pi: 9600."
    )
    rfm2pi_plain: bool = Field(
        False,
        description="The port carries lines `NodeID value value …` with finished values, as OemGateway's "
        "SerialListener reads them; there is no radio board, and nothing is written to it.",
    )
    rfm2pi_group: Group | None = Field(
        None, description="Network group (OpenEnergyMonitor: 210; 0: all groups). Empty: left as the board has it."
    )
    rfm2pi_frequency: Frequency | None = Field(
        None,
        description="Band: 433 (or 434), 868 (or 869) or 915 (MHz), or 4, 8, 9 as OemGateway has it. It must "
        "be the one that the radio module is made for. Empty: left as the board has it.",
    )
    rfm2pi_base_id: BaseId | None = Field(
        None, description="Node id of the board itself (usually 5 or 15). Empty: left as the board has it."
    )
    rfm2pi_quiet: bool | None = Field(
        None,
        description="`TRUE`: the board does not report packets with a wrong checksum. Empty: left as the board has it.",
    )
    rfm2pi_time_seconds: Seconds = Field(
        0.0, description="Send the time of day to all displays on the radio link every this many seconds; 0: never."
    )
    rfm2pi_time_zone: Annotated[str, AfterValidator(_a_time_zone)] = Field(
        "", description="Time zone of that time, such as `Europe/Berlin`. Empty: that of the machine (`TZ`)."
    )
    rfm2pi_nodes: NodesConfig = Field(
        {},
        description="Which nodes there are and how their frames are read, as JSON or YAML; the README of the connector "
        "describes every key. A node that is not in it has signed 16-bit values, numbered from 1.",
    )
    rfm2pi_datacode: Code = Field(
        "h",
        description="Data code of the values of nodes that `RFM2PI_NODES` does not describe; `0`: each byte is one.",
    )
    rfm2pi_only_described_nodes: bool = Field(
        False, description="`TRUE`: frames of nodes that `RFM2PI_NODES` does not describe (a neighbour's) are left out."
    )
    rfm2pi_node_silent_seconds: Seconds = Field(
        300.0,
        description="A node that was not heard for this long (s) counts as away, its values as `offline`; 0: never. "
        "`silent_seconds` of a node in `RFM2PI_NODES` overrides it.",
    )
    rfm2pi_silent_seconds: Seconds = Field(
        300.0,
        description="When no node at all was heard for this long (s), the port is opened again, then the board is "
        "reset, then it is reported; 0: never.",
    )
    rfm2pi_repeater_port: TcpPort | None = Field(
        None, description="TCP port whose lines (`1,2,3,20s`) go out on the radio link; empty: none."
    )
    rfm2pi_repeater_host: str = Field(
        "127.0.0.1",
        description="Address on which the repeater listens. Whoever reaches it can send on the radio link.",
    )
    com_port: SerialUrl | None = Field(None, description="OemGateway's and emonHub's name for `RFM2PI_PORT`.")
    com_baud: Baudrate | None = Field(None, description="emonHub's name for `RFM2PI_BAUDRATE`.")
    sgroup: Group | None = Field(None, description="OemGateway's name for `RFM2PI_GROUP`.")
    frequency: Frequency | None = Field(None, description="OemGateway's name for `RFM2PI_FREQUENCY`.")
    baseid: BaseId | None = Field(None, description="OemGateway's name for `RFM2PI_BASE_ID`.")
    sendtimeinterval: Seconds | None = Field(None, description="OemGateway's name for `RFM2PI_TIME_SECONDS`.")
    port_nb: TcpPort | None = Field(None, description="OemGateway's name for `RFM2PI_REPEATER_PORT`.")
    group: Annotated[Group | None, BeforeValidator(_a_group)] = Field(
        None, description="emonHub's name for `RFM2PI_GROUP`."
    )
    quiet: bool | None = Field(None, description="emonHub's name for `RFM2PI_QUIET`.")
    interval: Seconds | None = Field(None, description="emonHub's name for `RFM2PI_TIME_SECONDS`.")
    nodeoffset: str = Field("", description="emonHub's; not here: `RFM2PI_NODES` names nodes.")
    calibration: str = Field("", description="emonHub's; not here: the emonPi's firmware keeps it.")

    @model_validator(mode="after")
    def _their_names_do_not_contradict(self) -> Self:
        for theirs, ours in THEIR_NAMES.items():
            given, own = getattr(self, theirs), self._given(ours, but=theirs)
            if given is not None and any(not is_set(theirs, given, one) for one in own.values()):
                raise ValueError(
                    f"{theirs.upper()} and {next(iter(own)).upper()} say different things: keep one of them"
                )
        return self

    def _given(self, ours: str, but: str = "") -> dict[str, Any]:
        """A setting of ours as it is given, by the names that were used; not by one of them."""
        names = [theirs for theirs, meant in THEIR_NAMES.items() if meant == ours and getattr(self, theirs) is not None]
        return {name: getattr(self, name) for name in [ours, *names] if name in self.model_fields_set and name != but}

    def replaced(self) -> list[str]:
        """What is given and has no effect here, and what replaces it."""
        return [text for name, text in REPLACED.items() if getattr(self, name).strip() not in ("", "0")]

    def chosen(self, name: str) -> Any:
        """A setting of ours, or what was given under their name for it."""
        return next(reversed(self._given(name).values()), getattr(self, name))

    def for_a_board(self) -> list[str]:
        """The variables that are given and mean something for a radio board only."""
        names = ["rfm2pi_group", "rfm2pi_frequency", "rfm2pi_base_id", "rfm2pi_quiet", "rfm2pi_time_seconds"]
        given = [name.upper() for name in [*names, "rfm2pi_repeater_port"] if self.chosen(name)]
        nodes = self.rfm2pi_nodes.items()
        return given + [f"RFM2PI_NODES.{number}.{what}" for number, node in nodes for what in node.for_a_board()]

    @property
    def port(self) -> SerialPort:
        return SerialPort(self.chosen("rfm2pi_port"), baudrate=self.chosen("rfm2pi_baudrate"))

    @property
    def nodes(self) -> Nodes:
        unknown = FINISHED_VALUES if self.rfm2pi_plain else ValuesConfig(datacode=self.rfm2pi_datacode).layout()
        return Nodes.of(self.rfm2pi_nodes, unknown)
