"""Where a byte line is and how it is set: names of ports, and what is wrong with them. Contacts nothing."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

FORMS = (
    "a path (/dev/ttyUSB0), a USB device (usb://0403:6001 or usb://0403:6001:SERIAL), socket://host:port "
    "or rfc2217://host:port"
)
_USB = re.compile(r"(?:usb://)?([0-9a-fA-F]{4}):([0-9a-fA-F]{4})(?::(.+))?")
_NETWORK = ("socket", "rfc2217")


@dataclass(frozen=True, slots=True)
class DevicePath:
    """A serial device, or a pseudo-terminal, by its path."""

    path: str


@dataclass(frozen=True, slots=True)
class UsbDevice:
    """A serial device by its USB ids (lower case hex) and, where there are several, its serial number."""

    vendor: str
    product: str
    serial: str | None


@dataclass(frozen=True, slots=True)
class NetworkAddress:
    """A serial line behind TCP: `socket` carries the bytes as they are, `rfc2217` sets the far port too."""

    scheme: Literal["socket", "rfc2217"]
    host: str
    port: int


Address = DevicePath | UsbDevice | NetworkAddress


def parse_url(url: str) -> Address:
    """What a port's name means. Raises ValueError, which says what is wrong and what is expected."""
    if not url.strip():
        raise ValueError(f"empty; expected {FORMS}")
    if match := _USB.fullmatch(url):
        return UsbDevice(match[1].lower(), match[2].lower(), match[3])
    if url.startswith("usb:"):
        raise ValueError("a USB device is usb://VENDOR:PRODUCT or usb://VENDOR:PRODUCT:SERIAL, ids of four hex digits")
    if url.startswith("/"):
        return DevicePath(url)
    scheme, separator, _ = url.partition("://")
    if not separator:
        hint = f" (did you mean /dev/{url}?)" if re.fullmatch(r"tty\w+|serial\d", url) else ""
        raise ValueError(f"{url!r} is no serial port{hint}; expected {FORMS}")
    if scheme not in _NETWORK:
        raise ValueError(f"{scheme}:// is not known; expected {FORMS}")
    return _network_address(url)


def _network_address(url: str) -> NetworkAddress:
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError:
        raise ValueError(f"the port in {url} must be 1 to 65535") from None
    if not parts.hostname:
        raise ValueError(f"{url} has no host; expected {parts.scheme}://host:port")
    if not port:
        raise ValueError(f"{url} has no port; expected {parts.scheme}://host:port")
    if parts.path not in ("", "/") or parts.query or parts.fragment or parts.username:
        raise ValueError(f"{parts.scheme}://host:port takes nothing beside host and port")
    return NetworkAddress("socket" if parts.scheme == "socket" else "rfc2217", parts.hostname, port)


def checked_url(url: str) -> str:
    """The url itself, stripped. Raises ValueError."""
    parse_url(url.strip())
    return url.strip()


# A setting that names a serial port: `my_port: SerialUrl = Field(...)`.
SerialUrl = Annotated[str, AfterValidator(checked_url), Field(examples=["/dev/ttyUSB0"])]


@dataclass(frozen=True, slots=True)
class SerialPort:
    """A port and its settings. Raises ValueError when `url` is no port's name.

    `baudrate` (bit/s) to `rtscts` do not matter behind `socket://`. `dtr` and `rts` are the levels of the modem lines
    once the port is open (a P1 cable wants RTS high; some boards restart when DTR changes). `exclusive` keeps others
    away who ask for a lock too (flock, as serialx, pyserial and picocom can); it does nothing behind TCP. Times in
    seconds.
    """

    url: str
    baudrate: int = 9600
    bytesize: Literal[5, 6, 7, 8] = 8
    parity: Literal["N", "E", "O"] = "N"
    stopbits: Literal[1, 2] = 1
    xonxoff: bool = False
    rtscts: bool = False
    dtr: bool = True
    rts: bool = True
    exclusive: bool = True
    open_timeout_s: float = 10.0
    write_timeout_s: float = 5.0

    def __post_init__(self) -> None:
        parse_url(self.url)

    @property
    def address(self) -> Address:
        return parse_url(self.url)
