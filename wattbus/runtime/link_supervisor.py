"""Keeps a connector's `run()` going: enters it again after `LinkDown`, notices silence, knows who is away."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable

from wattbus import metrics
from wattbus.clock import Clock
from wattbus.connector import Connector, Datapoint
from wattbus.errors import ConfigError, LinkDown, causes
from wattbus.jsontext import JsonValue
from wattbus.mqtt.messages import State
from wattbus.retry import Backoff, FreshnessWatchdog

log = logging.getLogger(__name__)

ENDS_WITHIN_S = 120.0  # longest time that run() may take to end when it is cancelled
SETTLED_AFTER_S = 5.0  # a link that stood this long without a message counts as up: some devices speak rarely


class LinkSupervisor:
    """The connector's side of the world. It is the `Link` that the connector gets.

    `changed` is called whenever `state`, `detail` or the devices that are away changed.
    """

    def __init__(
        self,
        name: str,
        connector: Connector,
        clock: Clock,
        *,
        emit: Callable[[JsonValue, int | None], None],
        announce: Callable[[Iterable[Datapoint]], None],
        changed: Callable[[], None],
        silence_limit_s: Callable[[], float | None],
        backoff: Backoff | None = None,
    ) -> None:
        self.entered = False  # whether run() is being run: commands can be tried
        self.devices_away: dict[str, str] = {}
        self._name = name
        self._connector = connector
        self._clock = clock
        self._emit = emit
        self._announce = announce
        self._changed = changed
        self._silence_limit_s = silence_limit_s
        self._backoff = backoff or Backoff()
        self._watchdog = FreshnessWatchdog(None, clock)
        self._up = False
        self._reason = "connecting"
        self._told_down = False
        self._settles_after_s = SETTLED_AFTER_S
        self._leaving_since: float | None = None
        self.failing = False  # a bug in the connector ended run(), it waits to be started again

    # -- what the connector is given --------------------------------------------------------------------------------

    def emit(self, raw: JsonValue, timestamp_ms: int | None = None) -> None:
        self._watchdog.fed()
        self._is_up()
        self._emit(raw, timestamp_ms)

    def announce(self, datapoints: Iterable[Datapoint]) -> None:
        self._announce(datapoints)

    def unit(self, name: str, up: bool, reason: str = "") -> None:
        if up == (name not in self.devices_away):
            if not up and reason != self.devices_away[name]:
                self.devices_away[name] = reason  # no line in the log: it went once, and the status says why by now
                self._changed()
            return
        if up:
            del self.devices_away[name]
            log.info("device %s is back", name)
        else:
            self.devices_away[name] = reason
            log.warning("device %s is away: %s", name, reason or "no reason given")
        self._changed()

    # -- what is known ----------------------------------------------------------------------------------------------

    @property
    def is_up(self) -> bool:
        return self._up

    @property
    def is_silent(self) -> bool:
        """The link stands, but nothing comes."""
        return self._up and self._watchdog.is_silent

    @property
    def stuck(self) -> str:
        """Why nothing but a new process helps, "" when all is well: run() was cancelled and goes on all the same."""
        since = self._leaving_since
        if since is None or (for_s := self._clock.monotonic() - since) < ENDS_WITHIN_S:
            return ""
        return f"run() was told to end {for_s:.0f} s ago and did not"

    @property
    def state(self) -> State:
        return "online" if self._up and not self.devices_away else "degraded"

    @property
    def detail(self) -> str:
        if not self._up:
            return self._reason
        return "; ".join(f"{name}: {reason or 'away'}" for name, reason in self.devices_away.items())

    # -- keeping it going -------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Enter the connector's run() for ever. Raises ConfigError only."""
        while True:
            entered_at = self._clock.monotonic()
            try:
                await self._enter()
            except LinkDown as error:
                self._settles_after_s = error.settles_after_s
                self._is_down(str(error) or "the device is away")
            except ConfigError:
                raise
            except Exception as error:
                metrics.BUGS.labels(self._name, "run").inc()
                log.exception("the connector failed; this is a bug, it is started again")
                self.failing = True
                self._is_down(f"a bug in the connector: {type(error).__name__}: {error}", tell=False)
            if self._clock.monotonic() - entered_at >= SETTLED_AFTER_S:
                self._backoff.reset()
            await self._clock.sleep(self._backoff.next_s())
            self.failing = False

    async def _enter(self) -> None:
        self._watchdog = FreshnessWatchdog(self._silence_limit_s(), self._clock)
        running = asyncio.ensure_future(self._connector.run(self))
        watching = asyncio.ensure_future(self._watch())
        self.entered = True
        try:
            await asyncio.wait({running, watching}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.entered = False
            for task in (running, watching):
                task.cancel()
            self._leaving_since = self._clock.monotonic()
            await asyncio.wait({running, watching})
            self._leaving_since = None
        if not running.cancelled() and running.exception() is not None:
            raise _one_cause(running.exception())
        if not watching.cancelled() and watching.exception() is not None:
            raise _one_cause(watching.exception())
        raise RuntimeError("run() ended without being told to")

    async def _watch(self) -> None:
        """Call a quiet link up after a while, and a silent one down."""
        settled_at = self._clock.monotonic() + self._settles_after_s
        while True:
            await self._clock.sleep(1.0)
            if self._clock.monotonic() >= settled_at:
                self._is_up()
            limit_s = self._watchdog.limit_s = self._silence_limit_s()
            if limit_s is not None and self._watchdog.is_silent:
                error = LinkDown(f"silent for {self._watchdog.silence_s:.0f} s")
                error.settles_after_s = limit_s + SETTLED_AFTER_S
                raise error

    def _is_up(self) -> None:
        if self._up:
            return
        self._up = True
        if self._told_down:
            log.info("the link is up again")
        self._told_down = False
        self._changed()

    def _is_down(self, reason: str, tell: bool = True) -> None:
        if tell and not self._told_down:
            log.warning("the link is down: %s", reason)
            self._told_down = True
        if self._up or reason != self._reason:
            self._up, self._reason = False, reason
            self._changed()


def _one_cause(error: BaseException | None) -> BaseException:
    """Of several failures at once: wrong settings before a bug before a link that is down."""
    assert error is not None
    found = causes(error)
    for cause in found:
        if isinstance(cause, ConfigError):
            return cause
    for cause in found:
        if not isinstance(cause, LinkDown):
            return cause
    return found[0]
