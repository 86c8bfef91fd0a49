"""Settings of the socket connector; names and meaning are BEMCom's where BEMCom has them."""

from __future__ import annotations

import codecs
import ipaddress
import re
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, field_validator, model_validator

from connectors.socket.codec import ParseAs
from connectors.socket.framing import FramingName
from connectors.socket.nodes import NodeTable
from wattbus.settings import ConnectorSettings

Mode = Literal["client", "listener", "udp"]
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# This machine, private networks (RFC 1918, RFC 4193) and link-local addresses.
PRIVATE = "127.0.0.0/8 10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 169.254.0.0/16 ::1/128 fc00::/7 fe80::/10"
LINES: frozenset[FramingName] = frozenset(("line", "length", "pause"))
FRAMINGS: dict[ParseAs, frozenset[FramingName]] = {
    "JSON": LINES | {"json"},
    "YAML": LINES | {"json", "yaml"},
    "VALUES": LINES,
    "NUMBERS": LINES,
    "PAIRS": LINES,
}
AUTO: dict[ParseAs, FramingName] = {
    "JSON": "json",
    "YAML": "yaml",
    "VALUES": "line",
    "NUMBERS": "line",
    "PAIRS": "line",
}


def _networks(text: Any) -> Any:
    """`192.168.0.0/24, 10.1.2.3`, or a list of them; `all` is every address there is."""
    names = re.split(r"[\s,]+", text.strip()) if isinstance(text, str) else text
    if not isinstance(names, list | tuple) or names in ([], [""]):
        raise ValueError("expected networks, such as 192.168.0.0/24, or all")
    return tuple(network for name in names for network in _network(str(name)))


def _network(name: str) -> list[Network]:
    if name.lower() == "all":
        return [ipaddress.ip_network("0.0.0.0/0"), ipaddress.ip_network("::/0")]
    try:
        return [ipaddress.ip_network(name, strict=False)]
    except ValueError:
        raise ValueError(f"{name!r} is no network (192.168.0.0/24) and no address") from None


def _an_encoding(name: str) -> str:
    """One in which ASCII is what it is: lines and brackets are found in the bytes."""
    try:
        found = codecs.lookup(name.strip())
        if "".join(map(chr, range(128))).encode(found.name) == bytes(range(128)):
            return found.name
    except (LookupError, UnicodeError, TypeError, ValueError):
        pass
    raise ValueError(
        f"{name!r} is no encoding that extends ASCII; expected one such as utf-8, windows-1252, iso-8859-1"
    )


Networks = Annotated[tuple[Network, ...], BeforeValidator(_networks)]


class Settings(ConnectorSettings):
    """What the socket connector can be told."""

    socket_mode: Mode | None = Field(
        None,
        description="`client` connects to a server, `listener` lets devices connect over TCP, `udp` takes datagrams. "
        "Empty: `client` when `SERVER_IP` is set, else `listener`.",
    )
    # -- client
    server_ip: str = Field("", description="Address or host name of the server to connect to.")
    server_port: int | None = Field(None, ge=1, le=65535, description="TCP port of the server.")
    recv_timeout: float = Field(
        60.0,
        allow_inf_nan=False,
        description="Client: longest time without a message (s), then the connection is made anew. Negative: wait for "
        "ever. 0: a message must be there at once.",
    )
    # -- listener and UDP
    listen_host: str = Field(
        "0.0.0.0",
        min_length=1,
        description="Address on which devices are listened to; `::` is IPv6 and IPv4, `127.0.0.1` this machine alone.",
    )
    listen_port: int = Field(50011, ge=0, le=65535, description="Port on which devices are listened to.")
    listen_apikey: SecretStr | None = Field(
        None, description="A word that every line must contain to be taken, as emonHub's `apikey`; it is not kept."
    )
    socket_allowed_networks: Networks = Field(
        PRIVATE,
        validate_default=True,
        description="Networks whose devices are heard, others are refused; `all`: everybody who reaches the port.",
    )
    socket_max_clients: int = Field(
        100,
        ge=1,
        le=10_000,
        description="Most connections at a time. When all are taken, a newcomer gets the place of the one that was "
        "silent longest (10 s at least), or waits.",
    )
    socket_idle_seconds: float = Field(
        86_400.0, ge=0, description="A connection without a message for this long is closed (s); 0: never."
    )
    # -- messages
    parse_as: ParseAs | None = Field(
        None,
        description="What a message is: `JSON`, `YAML`, `VALUES` (lines of a node and its values, `14 15 26`), "
        "`NUMBERS` (lines of values alone), `PAIRS` (lines of names and values, `power=100 temp=21.5`). "
        "Empty: `JSON` for a client, else `VALUES`.",
    )
    socket_encoding: Annotated[str, AfterValidator(_an_encoding)] = Field(
        "utf-8",
        description="Encoding of text, such as `windows-1252`. Bytes that are not in it are replaced by U+FFFD and "
        "counted.",
    )
    recv_bufsize: int = Field(4096, ge=16, le=2**24, description="Longest message (bytes).")
    socket_framing: Literal[FramingName, "auto"] = Field(
        "auto",
        description="What divides the stream into messages: `line`, `length` (in front of each), `json` (the closing "
        "bracket), `yaml` (`---`, `...`, or a pause), `pause`. `auto`: what fits `PARSE_AS`; a datagram of JSON or "
        "YAML is one message.",
    )
    socket_pause_seconds: float = Field(
        0.3,
        ge=0,
        le=3600,
        description="A pause this long (s) ends a message (`pause`) or a YAML document; 0: only markers end those.",
    )
    socket_length_bytes: Literal[1, 2, 4] = Field(4, description="With `SOCKET_FRAMING=length`: bytes of a length.")
    socket_length_order: Literal["big", "little"] = Field(
        "big", description="With `SOCKET_FRAMING=length`: order of the bytes of a length."
    )
    socket_joins_midway: bool = Field(
        False,
        description="`TRUE` where a connection may begin in the middle of a message (serial-to-network converters): "
        "what comes before the first boundary is dropped.",
    )
    socket_max_messages_per_second: float = Field(
        1000.0,
        gt=0,
        description="Messages per second and address. TCP: what is more waits at its sender; UDP: it is dropped.",
    )
    socket_max_datapoints: int = Field(
        2000,
        ge=1,
        le=100_000,
        description="Most datapoints that messages can make. Beyond it new keys are left out; those already there, and "
        "values with a name in `SOCKET_NODES`, are taken.",
    )
    # -- values
    socket_prefix_peer: bool = Field(
        False,
        description="Put the sender's address in front of each key: for several devices that send the same keys.",
    )
    socket_numbers_in_text: bool = Field(
        False, description='Take text that is a number (`{"t": "21.5"}`) for the number.'
    )
    socket_nodes: NodeTable = Field(
        {},
        description="What is known about nodes, as JSON or YAML: id → `name`, `names`, `scales`, `units`, "
        "`silence_seconds`; see the README of the connector.",
    )
    socket_nodes_only: bool = Field(False, description="Refuse lines of nodes that are not in `SOCKET_NODES`.")
    socket_silence_seconds: float = Field(
        0.0, ge=0, description="A node or sender that is silent for this long (s) counts as `offline`; 0: never."
    )
    values_separator: str = Field("", description="What is between the values of a line; empty: white space.")
    values_timestamped: bool = Field(
        False, description="Lines begin with the unix time (s), as with emonHub's `timestamped`."
    )
    values_targeted: bool = Field(
        False, description="Lines have a target id behind the node id, as with emonHub's `targeted`; it is left out."
    )
    values_node_offset: int = Field(0, description="Is added to each node id, as emonHub's `nodeoffset`.")

    @property
    def mode(self) -> Mode:
        return self.socket_mode or ("client" if self.server_ip else "listener")

    @property
    def format(self) -> ParseAs:
        return self.parse_as or ("JSON" if self.mode == "client" else "VALUES")

    @property
    def framing(self) -> FramingName:
        """The framing of a stream, or within a datagram."""
        if self.socket_framing != "auto":
            return self.socket_framing
        return "pause" if self.mode == "udp" and self.format in ("JSON", "YAML") else AUTO[self.format]

    @field_validator("parse_as", mode="before")
    @classmethod
    def _any_case(cls, value: Any) -> Any:
        return value.upper() or None if isinstance(value, str) else value

    @field_validator("socket_length_bytes", mode="before")
    @classmethod
    def _text_is_a_number(cls, value: Any) -> Any:
        return int(value) if isinstance(value, str) and value.isdecimal() else value

    @field_validator("socket_mode", mode="before")
    @classmethod
    def _empty_is_none(cls, value: Any) -> Any:
        return value or None

    @field_validator("server_ip", "listen_host")
    @classmethod
    def _plain_address(cls, value: str) -> str:
        if re.search(r"[\s/@?#]", value.strip()):
            raise ValueError("expected an address or a host name alone")
        return value.strip().strip("[]")

    @field_validator("listen_apikey")
    @classmethod
    def _one_word(cls, value: SecretStr | None) -> SecretStr | None:
        text = value.get_secret_value() if value is not None else ""
        if text and (len(text) < 8 or re.search(r"\s", text)):
            raise ValueError("expected one word of at least 8 characters")
        return value if text else None

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        for fault in (self._wrong_mode(), self._wrong_framing(), self._wrong_values()):
            if fault:
                raise ValueError(fault)
        return self

    def _wrong_mode(self) -> str:
        if not self.socket_mode and self.server_ip and "listen_port" in self.model_fields_set:
            return "SERVER_IP and LISTEN_PORT are both set: choose with SOCKET_MODE"
        if self.mode == "client":
            missing = [name for name in ("server_ip", "server_port") if not getattr(self, name)]
            return f"{missing[0].upper()} is required for a client" if missing else ""
        given = [name for name in ("server_ip", "server_port") if getattr(self, name)]
        return f"{given[0].upper()} is for SOCKET_MODE=client, and this is a {self.mode}" if given else ""

    def _wrong_framing(self) -> str:
        if self.framing not in FRAMINGS[self.format]:
            fitting = ", ".join(name for name in get_args(FramingName) if name in FRAMINGS[self.format])
            return f"SOCKET_FRAMING: {self.framing} does not fit PARSE_AS={self.format} (of: {fitting})"
        if self.framing in ("pause", "length") and not self.socket_pause_seconds and self.mode != "udp":
            return f"SOCKET_PAUSE_SECONDS: SOCKET_FRAMING={self.framing} needs one"
        return ""

    def _wrong_values(self) -> str:
        if self.listen_apikey and (self.mode == "client" or self.format not in ("VALUES", "NUMBERS", "PAIRS")):
            return "LISTEN_APIKEY: only for devices that send lines (PARSE_AS=VALUES, NUMBERS or PAIRS)"
        if self.socket_nodes_only and not self.socket_nodes:
            return "SOCKET_NODES_ONLY: without SOCKET_NODES nobody would be heard"
        return ""
