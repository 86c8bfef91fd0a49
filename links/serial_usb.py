"""Which serial ports hang on USB, and which one has given ids: read from Linux' /sys."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from links.serial_port import UsbDevice

SYS = Path("/sys")


@dataclass(frozen=True, slots=True)
class UsbPort:
    """A serial port on USB: its device path, ids in lower case hex, serial number, and what the device calls itself."""

    path: str
    vendor: str
    product: str
    serial: str
    name: str

    def __str__(self) -> str:
        return f"{self.path} (usb://{self.vendor}:{self.product}{':' + self.serial if self.serial else ''} {self.name})"


def usb_ports(sys: Path = SYS) -> list[UsbPort]:
    """The serial ports on USB, in the order of their names; none where there is no /sys.

    Reads a handful of files that lie in memory, so the event loop may do it.
    """
    return sorted(_usb_ports(sys), key=lambda port: port.path)


def find_usb_port(device: UsbDevice, sys: Path = SYS) -> str:
    """The device path of the port with these ids. Raises OSError (ENODEV, ENOTUNIQ) that lists what is there."""
    there = usb_ports(sys)
    found = [
        port
        for port in there
        if (port.vendor, port.product) == (device.vendor, device.product) and device.serial in (None, port.serial)
    ]
    if not found:
        others = ", ".join(map(str, there)) or "none"
        raise OSError(errno.ENODEV, f"no such USB device is plugged in; serial ports on USB: {others}")
    if len(found) > 1:
        hint = "give the serial number too, or a path in /dev/serial/by-path"
        raise OSError(errno.ENOTUNIQ, f"several devices fit, {hint}: {', '.join(map(str, found))}")
    return found[0].path


def _usb_ports(sys: Path) -> Iterator[UsbPort]:
    for tty in sys.glob("class/tty/*"):
        usb = _usb_folder(tty / "device")
        if usb is not None:
            yield UsbPort(
                f"/dev/{tty.name}",
                _read(usb / "idVendor").lower(),
                _read(usb / "idProduct").lower(),
                _read(usb / "serial"),
                _read(usb / "product"),
            )


def _usb_folder(device: Path) -> Path | None:
    """The folder of the USB device above a tty: the first one upwards that has ids."""
    if not device.exists():
        return None
    resolved = device.resolve()
    return next((folder for folder in [resolved, *resolved.parents] if (folder / "idVendor").exists()), None)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:  # not every device has a serial number, and it may just have been unplugged
        return ""
