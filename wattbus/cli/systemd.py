"""`wattbus up` as a service of systemd: readiness, a line for `systemctl status`, and the watchdog's pings."""

from __future__ import annotations

import asyncio
import faulthandler
import logging
from collections.abc import Sequence

from wattbus.service import health
from wattbus.service.systemd_notify import Notifier

log = logging.getLogger(__name__)

READY_WITHIN_S = 15.0  # what is not ready by then (a broker far away) does not hold up the machine's start
LOOK_S = 0.2  # while it starts
TELL_EVERY_S = 5.0
PINGS_PER_INTERVAL = 3
FEW = 5  # services that are named


class Reports:
    """Reports on the services of this process. The watchdog is pinged while the loop turns and none of them is stuck.

    What is merely away (a device, the broker, a database) and a task that waits to be started again after a bug are no
    reason to end everything: the process lives with them.
    """

    def __init__(self, notifier: Notifier, services: Sequence[str]) -> None:
        self._notifier = notifier
        self._services = services
        self._told = ""
        self._stuck_told = False

    async def run(self) -> None:
        """Until cancelled."""
        if not self._notifier.listens:
            return
        faulthandler.enable()  # the watchdog ends us with SIGABRT: the journal shows where we hung
        await self._until_started()
        ready = False
        while True:
            ready = ready or self._notifier.tell(READY=1)
            self._ping()
            if (summary := self.summary()) != self._told and self._notifier.tell(STATUS=summary):
                self._told = summary
            await asyncio.sleep(self._pause_s)

    @property
    def _pause_s(self) -> float:
        watchdog_s = self._notifier.watchdog_s
        return TELL_EVERY_S if watchdog_s is None else min(TELL_EVERY_S, watchdog_s / PINGS_PER_INTERVAL)

    async def _until_started(self) -> None:
        """Every service is on the bus, or has given up; or it takes too long."""
        self._notifier.tell(STATUS=f"starting {len(self._services)} services")
        for _ in range(round(READY_WITHIN_S / LOOK_S)):
            if all(self._is_started(name) for name in self._services):
                return
            await asyncio.sleep(LOOK_S)

    @staticmethod
    def _is_started(name: str) -> bool:
        found = next((found for found in health.services() if found.service == name), None)
        return found is not None and "broker" not in found.faults(ready=True)

    def _ping(self) -> None:
        stuck = {found.service: faults for found in health.services() if (faults := found.stuck_faults())}
        if not stuck:
            self._stuck_told = False
            if self._notifier.watchdog_s is not None:
                self._notifier.tell(WATCHDOG=1)
        elif not self._stuck_told:
            self._stuck_told = True
            log.critical("stuck, to be started anew as a whole: %s", _named(stuck))

    def summary(self) -> str:
        """`5 services; not ready: heatpump (link: Connection refused)`."""
        faults = {found.service: faults for found in health.services() if (faults := found.faults(ready=True))}
        number = f"{len(self._services)} service{'s' if len(self._services) != 1 else ''}"
        return f"{number}; not ready: {_named(faults)}" if faults else f"{number}, all ready"


def _named(faults: dict[str, dict[str, str]]) -> str:
    named = [
        f"{service} ({'; '.join(f'{check}: {reason}' for check, reason in of.items())})"
        for service, of in sorted(faults.items())
    ]
    return ", ".join(named[:FEW]) + (f" and {len(named) - FEW} more" if len(named) > FEW else "")
