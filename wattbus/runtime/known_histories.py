"""Which histories keep the readings of one connector, and whether one of them does so now.

A history is a service whose status has `records`, [] or with the connector's name in it; or, before there was that
field, the one called `history`. Once seen it is remembered, also over restarts: readings wait for it. It is forgotten
when its status is taken off the bus (an empty retained message), which says that it is gone for good; a history that
lives tells its status again then.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from wattbus.mqtt import topics
from wattbus.mqtt.messages import StatusMessage, parse

log = logging.getLogger(__name__)

MOST = 100  # remembered: an installation has a handful


class KnownHistories:
    """The histories of `connector`. `file` remembers their names; None: nothing does."""

    def __init__(self, connector: str, file: Path | None = None) -> None:
        self._connector = connector
        self._file = file
        self._recording = dict.fromkeys(self._remembered(), False)

    @property
    def state(self) -> Literal["none", "away", "online"]:
        """`online` when one of them records, `away` when there are some and none does."""
        if not self._recording:
            return "none"
        return "online" if any(self._recording.values()) else "away"

    def take(self, service: str, payload: bytes) -> bool:
        """A message on `${service}/status`; whether it is news of a history. Raises BadMessage."""
        if not payload:
            return self._forget(service)
        if service != topics.HISTORY and b'"records"' not in payload:
            return False
        status = parse(StatusMessage, payload)
        if not self._keeps_ours(service, status):
            return self._leave(service)
        works = status.state == "online" if status.recording is None else status.recording
        return self._note(service, works and status.state != "offline")

    @property
    def recording(self) -> list[str]:
        """Those that say that they record us now."""
        return [name for name, records in self._recording.items() if records]

    def take_for_away(self) -> bool:
        """Nobody stands behind what their statuses say; whether that is news."""
        found = self.recording
        self._recording.update(dict.fromkeys(found, False))
        return bool(found)

    def heard_receipt(self) -> bool:
        """Somebody gives receipts who does not call itself a history (an older one, with a name of its own)."""
        return not self._recording and self._note(topics.HISTORY, False)

    def _keeps_ours(self, service: str, status: StatusMessage) -> bool:
        if status.records is None:
            return service == topics.HISTORY
        return not status.records or self._connector in status.records

    def _note(self, service: str, recording: bool) -> bool:
        if self._recording.get(service) == recording:
            return False
        is_new = service not in self._recording
        if is_new and len(self._recording) >= MOST:
            return False
        self._recording[service] = recording
        if is_new:
            self._remember()
        return True

    def _leave(self, service: str) -> bool:
        """It does not record us, or not any more: what waits here goes on waiting until another one does."""
        if not self._recording.get(service):
            return False
        self._recording[service] = False
        if self.state == "away":
            log.warning(
                "%s does not record this connector any more, and no other history does: readings wait here until one "
                "does. If none shall, clear its status (mosquitto_pub -r -n -t %s)",
                service,
                topics.status(service),
            )
        return True

    def _forget(self, service: str) -> bool:
        if service not in self._recording:
            return False
        del self._recording[service]
        self._remember()
        return True

    # -- over restarts ----------------------------------------------------------------------------------------------

    def _remembered(self) -> Iterable[str]:
        """Their names; an empty file, as an earlier version left it, stands for the usual one."""
        if self._file is None:
            return []
        try:
            return self._file.read_text(encoding="utf-8").split()[:MOST] or [topics.HISTORY]
        except FileNotFoundError:
            return []
        except (OSError, UnicodeDecodeError) as error:
            log.error("cannot read %s, so there may be a history: %s", self._file, error)
            return [topics.HISTORY]

    def _remember(self) -> None:
        if self._file is None:
            return
        try:
            if self._recording:
                self._file.parent.mkdir(parents=True, exist_ok=True)
                self._file.write_text("".join(f"{name}\n" for name in self._recording), encoding="utf-8")
            else:
                self._file.unlink(missing_ok=True)
        except OSError as error:
            log.error("cannot note which histories there are: %s", error)
