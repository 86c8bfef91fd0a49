"""Commands that a device wants to hear again and again: what was applied last is repeated, for a while."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from wattbus.clock import Clock
from wattbus.connector import Scalar
from wattbus.errors import CommandRejected, LinkDown

log = logging.getLogger(__name__)


class Repetition:
    """The cyclic repetition of one actuator.

    `every_s` after it was written last a value is written again, until `timeout_s` after the command (None: until the
    next one). Devices with a watchdog of their own then fall back as if nobody was there, which is the purpose: who
    controls has to repeat his command before that.
    """

    def __init__(
        self,
        key: str,
        every_s: float,
        timeout_s: float | None,
        clock: Clock,
        write: Callable[[str, Scalar], Awaitable[None]],
    ) -> None:
        self._key = key
        self._every_s = every_s
        self._timeout_s = timeout_s
        self._clock = clock
        self._write = write
        self._value: Scalar = None
        self._until: float | None = None
        self._is_failing = False

    def applied(self, value: Scalar) -> None:
        """A command was: it is the one that is repeated from now on."""
        self._value = value
        self._until = None if self._timeout_s is None else self._clock.monotonic() + self._timeout_s

    async def run(self) -> None:
        """Repeat for ever what there is to repeat."""
        while True:
            await self._clock.sleep(self._every_s)
            if self._value is None:
                continue
            if self._until is not None and self._clock.monotonic() >= self._until:
                log.info("%s: no new command for %g s, it is not repeated any more", self._key, self._timeout_s)
                self._value = None
                continue
            try:
                await self._write(self._key, self._value)
            except CommandRejected as error:
                log.warning("%s: not repeated any more, the device says no: %s", self._key, error)
                self._value = None
            except LinkDown as error:
                if not self._is_failing:
                    log.warning("%s: a repetition failed: %s", self._key, error)
                self._is_failing = True
            else:
                self._is_failing = False
