"""A file with meters that is read again whenever it changes, so that a key can be changed without a restart."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import NoReturn

from connectors.im871a.meters_config import MeterConfig, read_meters
from connectors.im871a.registry import MeterRegistry
from wattbus.clock import Clock
from wattbus.errors import ConfigError

log = logging.getLogger(__name__)

LOOK_EVERY_S = 1.0
LARGEST_BYTES = 4 * 2**20
SOURCE = "file"

Stamp = tuple[int, int, int, int]


class MetersFile:
    """A file that goes away or makes no sense later leaves the meters as they are, and is told of once.

    A change counts when the file is the same at two looks: an editor that has emptied it to write it anew has not said
    that there are no meters. Looking is asking for time and size; links are followed, so another file in its place (as
    Kubernetes and editors do it) is noticed, too.
    """

    def __init__(self, path: Path, meters: MeterRegistry, clock: Clock) -> None:
        self._path = path
        self._meters = meters
        self._clock = clock
        self._seen: Stamp | None = None  # at the last look
        self._taken: Stamp | None = None
        self._fault = ""

    def start(self) -> None:
        """Take what it says. Raises ConfigError where that cannot be."""
        try:
            self._seen = self._taken = self._stamp()
            self._meters.replace(SOURCE, _parsed(self._content()))
        except (OSError, ValueError) as error:
            raise ConfigError(f"IM871A_METERS_FILE: {self._path}: {_reason(error)}") from None

    async def follow(self) -> NoReturn:
        """Look again every second."""
        while True:
            await self._clock.sleep(LOOK_EVERY_S)
            self.look()

    def look(self) -> None:
        """Take what it says if it has changed, and stays so."""
        try:
            stamp, before = self._stamp(), self._seen
            self._seen = stamp
            if stamp == self._taken or stamp != before:
                return
            content = self._content()
        except OSError as error:
            self._seen = self._taken = None
            self._tell(_reason(error))
            return
        self._taken = stamp
        try:
            meters = _parsed(content)
        except ValueError as error:
            self._tell(_reason(error))
            return
        self._fault = ""
        self._meters.replace(SOURCE, meters)
        log.info("%s has changed: %d meters in it", self._path, len(meters))

    def _tell(self, fault: str) -> None:
        if fault != self._fault:
            log.error("IM871A_METERS_FILE: %s: %s; the meters stay as they were", self._path, fault)
        self._fault = fault

    def _stamp(self) -> Stamp:
        """What tells one state of the file from another."""
        status = self._path.stat()
        return status.st_mtime_ns, status.st_size, status.st_ino, status.st_dev

    def _content(self) -> bytes:
        with self._path.open("rb") as file:
            return file.read(LARGEST_BYTES + 1)


def _parsed(content: bytes) -> dict[str, MeterConfig]:
    """Raises ValueError, which never holds a key."""
    if len(content) > LARGEST_BYTES:
        raise ValueError(f"it has more than {LARGEST_BYTES} bytes")
    return read_meters(content.decode())


def _reason(error: OSError | ValueError) -> str:
    if isinstance(error, OSError):
        return f"cannot read it: {error.strerror or error}"
    return "it is not text" if isinstance(error, UnicodeDecodeError) else str(error)
