"""Telling the service manager how we are: the notification protocol of systemd (man sd_notify(3), version 252).

One datagram of `NAME=value` lines to the UNIX socket that NOTIFY_SOCKET names; `@` at its beginning stands for the NUL
byte of an abstract address. Nothing here waits: a datagram that the manager does not take now is not sent.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import MutableMapping

log = logging.getLogger(__name__)

LONGEST_STATUS = 300  # characters; `systemctl status` shows one line


class Notifier:
    """Speaks to the service manager. `address` "" means that there is none, and nothing is said.

    `watchdog_s` is the time within which it wants to be pinged, None when it does not.
    """

    def __init__(self, address: str = "", watchdog_s: float | None = None) -> None:
        self.watchdog_s = watchdog_s if address else None
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self._socket: socket.socket | None = None
        self._failed = False

    @classmethod
    def taken_from(cls, environment: MutableMapping[str, str]) -> Notifier:
        """As the variables say, which go: our children must not speak in our name."""
        address = environment.pop("NOTIFY_SOCKET", "")
        microseconds, process = environment.pop("WATCHDOG_USEC", ""), environment.pop("WATCHDOG_PID", "")
        is_ours = process in ("", str(os.getpid()))
        usable = address[:1] in ("/", "@") and len(address) > 1
        if address and not usable:
            log.warning("NOTIFY_SOCKET is no UNIX socket: %s", address)
        watchdog_s = int(microseconds) / 1e6 if microseconds.isdecimal() and int(microseconds) and is_ours else None
        return cls(address if usable else "", watchdog_s)

    @property
    def listens(self) -> bool:
        """Whether there is somebody to tell."""
        return bool(self._address)

    def tell(self, **fields: str | int) -> bool:
        """Send `NAME=value` for each field; whether it was taken. Line breaks in values become spaces."""
        if not self._address:
            return False
        lines = "".join(f"{name}={_one_line(str(value))}\n" for name, value in fields.items())
        try:
            if self._socket is None:
                self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
                self._socket.setblocking(False)
            self._socket.sendto(lines.encode("utf-8", "replace"), self._address)
        except OSError as error:
            if not self._failed:
                log.warning("the service manager cannot be told how we are: %s", error.strerror or error)
            self._failed = True
            return False
        self._failed = False
        return True

    def close(self) -> None:
        """Close the socket to systemd."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def _one_line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= LONGEST_STATUS else f"{line[: LONGEST_STATUS - 1]}…"
