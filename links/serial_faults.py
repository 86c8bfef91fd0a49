"""What goes wrong with a byte line, in words that say what to do."""

from __future__ import annotations

import errno
import grp
import re
import socket
from pathlib import Path

from links.serial_port import Address, DevicePath, NetworkAddress

_OPENING_DEVICE = {
    errno.ENOENT: "no such device; is it plugged in, and is the path right?",
    errno.EBUSY: "in use by another process; two programs cannot share one port",
    errno.ENODEV: "the device is not there",
    errno.ENXIO: "the device is not there",
    errno.EIO: "the device does not answer; unplug it and plug it in again",
    errno.EISDIR: "a folder, not a serial port",
    errno.ENOTTY: "not a serial port",
    errno.EINVAL: "not a serial port, or it cannot be set like this",
}
_OPENING_NETWORK = {
    errno.ECONNREFUSED: "connection refused; is the port right, and does it serve only one client at a time?",
    errno.EHOSTUNREACH: "the host cannot be reached",
    errno.ENETUNREACH: "the host's network cannot be reached",
    errno.ETIMEDOUT: "the host does not answer",
}
_LOST_NETWORK = {
    errno.ECONNRESET: "the far end has reset the connection",
    errno.EPIPE: "the far end has closed the connection",
    errno.ETIMEDOUT: "the far end does not answer any more",
    errno.EHOSTUNREACH: "the host cannot be reached any more",
}
_ERRNO_IN_TEXT = re.compile(r"\[Errno (\d+)\]")  # asyncio puts the failures of several addresses into one text


def opening_failed(error: Exception, address: Address) -> str:
    """Why a line could not be opened."""
    if isinstance(error, socket.gaierror | UnicodeError):  # the latter: it cannot be a host's name at all
        return "the host name is not known"
    number = _number(error)
    if isinstance(address, NetworkAddress):
        return _OPENING_NETWORK.get(number) or _plain(error)
    if number in (errno.EACCES, errno.EPERM):
        return f"no permission; add the user to the group {_group(address)}, then sign in again"
    if isinstance(address, DevicePath):
        return _OPENING_DEVICE.get(number) or _plain(error)
    if number in (errno.ENODEV, errno.ENOTUNIQ):
        return _plain(error)  # the search for a USB device says what is there
    return _OPENING_DEVICE.get(number) or _plain(error)


def went_away(error: Exception | None, address: Address) -> str:
    """Why an open line is gone."""
    if isinstance(address, NetworkAddress):
        if error is None or _number(error) == errno.EIO:  # serialx' word for an end
            return "the far end has closed the connection"
        return _LOST_NETWORK.get(_number(error)) or _plain(error)
    if error is None or _number(error) in (errno.EIO, errno.ENXIO, errno.ENODEV):
        return "the device is gone (unplugged?)"
    return _plain(error)


def _number(error: Exception) -> int:
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    match = _ERRNO_IN_TEXT.search(str(error))
    return int(match[1]) if match else 0


def _plain(error: Exception) -> str:
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return text or type(error).__name__


def _group(address: Address) -> str:
    """The group that the device belongs to, so that the advice is right on every distribution."""
    if isinstance(address, DevicePath):
        try:
            name = grp.getgrgid(Path(address.path).stat().st_gid).gr_name
        except (OSError, KeyError):
            return "dialout"
        if name != "root":
            return name
    return "dialout"
