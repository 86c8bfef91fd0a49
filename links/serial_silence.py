"""A line that stands and says nothing: opened again, then reset."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import NoReturn

from wattbus.clock import SYSTEM_CLOCK, Clock
from wattbus.errors import LinkSilent


class SilenceWatch:
    """Kept by a connector over all entries of its `run()`:

        async with open_line(port) as line, asyncio.TaskGroup() as tasks:
            tasks.create_task(self._read(line, link))       # for everything valid: _silence.fed(), link.connected()
            await self._silence.opened(lambda: board.reset(line))
            tasks.create_task(self._silence.guard())

    When nothing was heard for `limit_s` seconds, `guard()` raises `LinkSilent`; the runtime then opens the line again.
    If it is silent again, `opened()` executes the reset after the next opening. If that does not help, `LinkSilent`
    says so, and since when it is silent: the status has it. Opening and resetting go on until something is heard. A
    device without a reset gets a second opening instead. `limit_s` None never barks.

    Whatever answers at the opening (a stick, a board) while what is behind it stays silent is no reason to call
    `link.connected()`: not while `is_silent`.
    """

    def __init__(self, limit_s: float | None, clock: Clock = SYSTEM_CLOCK, *, what: str = "the line") -> None:
        self.limit_s = limit_s
        self._clock = clock
        self._what = what
        self._silent_periods = 0  # in a row
        self._fed_at = clock.monotonic()
        self._heard_ms: int | None = None
        self._opened_ms: int | None = None
        self._was_reset = False

    def fed(self) -> None:
        """Something valid was heard."""
        self._fed_at = self._clock.monotonic()
        self._heard_ms = self._clock.now_ms()
        self._silent_periods = 0
        self._was_reset = False

    @property
    def is_silent(self) -> bool:
        """Whether it was found silent, and nothing has been heard since."""
        return self._silent_periods > 0

    async def opened(self, reset: Callable[[], Awaitable[bool | None]] | None = None) -> None:
        """The line was just opened: resets what is at its far end when that is due. May raise what `reset` raises.

        `reset` gives False when there is nothing to reset with.
        """
        if self._opened_ms is None:
            self._opened_ms = self._clock.now_ms()
        if reset is not None and self._silent_periods >= 2:
            self._was_reset = await reset() is not False
        self._fed_at = self._clock.monotonic()

    async def guard(self) -> NoReturn:
        """Wait until nothing was heard for `limit_s` seconds, counted from here at the earliest. Raises LinkSilent."""
        self._fed_at = self._clock.monotonic()
        while True:
            if self.limit_s is None:
                await self._clock.sleep(3600.0)
                continue
            rest_s = self._fed_at + self.limit_s - self._clock.monotonic()
            if rest_s > 0:
                await self._clock.sleep(rest_s)
                continue
            self._silent_periods += 1
            raise LinkSilent(self._text())

    def _text(self) -> str:
        if self._silent_periods == 1:
            return f"{self._what} is silent for {self.limit_s:g} s; it is opened again"
        if self._silent_periods == 2:
            return f"{self._what} is still silent; it is opened again and reset"
        tried = "opening it again and resetting it" if self._was_reset else "opening it again"
        return f"{self._what} is silent {self._since()}; {tried} did not help"

    def _since(self) -> str:
        if self._heard_ms is None:
            return f"and was never heard since {_local(self._opened_ms or self._clock.now_ms())}"
        return f"since {_local(self._heard_ms)}"


def _local(timestamp_ms: int) -> str:
    return datetime.fromtimestamp(timestamp_ms / 1000).astimezone().isoformat(sep=" ", timespec="seconds")
