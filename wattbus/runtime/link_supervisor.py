"""Keeps a connector's `run()` going: enters it again after `LinkDown`, notices silence, knows who is away."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import NamedTuple, Protocol

from wattbus import metrics
from wattbus.clock import Clock
from wattbus.connector import Connector, Datapoint, LinkState
from wattbus.errors import ConfigError, LinkDown, LinkSilent, causes
from wattbus.jsontext import JsonValue
from wattbus.mqtt.messages import State
from wattbus.retry import Backoff
from wattbus.runtime.devices_away import DevicesAway
from wattbus.runtime.link_states import LinkStates
from wattbus.runtime.link_timers import LinkTimers
from wattbus.service.conditions import Conditions

log = logging.getLogger(__name__)

ENDS_WITHIN_S = 120.0  # longest time that run() may take to end when it is cancelled


class Decoded(NamedTuple):
    """What became of a raw message: how many values it gave, and why it made no sense ("" when it did)."""

    values: int
    fault: str = ""


class Permit(Protocol):
    """Whether this process may speak to the device at all: not while another one lives that has its name."""

    @property
    def fault(self) -> str:
        """Why run() must not be entered now, "" when it may."""

    async def granted(self) -> None:
        """Wait until it may."""

    async def withdrawn(self) -> None:
        """Wait until it may not."""


class LinkEvents(Protocol):
    """Who wants to know what becomes of a link."""

    def link_changed(self) -> None:
        """State, reason, or the devices that are away, are others now."""

    def link_left(self) -> None:
        """`run()` has ended: nothing is heard of any device."""

    def device_left(self, name: str) -> None:
        """Nothing is heard of this device."""


class LinkSupervisor:
    """The connector's side of the world. It is the `Link` that the connector gets.

    `emit` publishes and decodes a raw message. An outage is one of the service's `conditions`. `shortest_interval_s` is
    the expected interval (s) of the most frequent sensor, None when nothing is expected of any.
    """

    def __init__(
        self,
        name: str,
        connector: Connector,
        clock: Clock,
        *,
        emit: Callable[[JsonValue, int | None], Decoded],
        announce: Callable[[Iterable[Datapoint]], None],
        events: LinkEvents,
        conditions: Conditions,
        shortest_interval_s: Callable[[], float | None],
        permit: Permit | None = None,
        backoff: Backoff | None = None,
    ) -> None:
        self.entered = False  # whether run() is being run: commands can be tried
        self.failing = False  # a bug in the connector ended run(), it waits to be started again
        self.devices_away = DevicesAway(clock)
        self._name = name
        self._connector = connector
        self._clock = clock
        self._emit = emit
        self._announce = announce
        self._events = events
        self._permit = permit
        self._backoff = backoff or Backoff()
        self._timers = LinkTimers(shortest_interval_s, clock)
        self._states = LinkStates(conditions, events.link_changed, self._timers.is_value_due)
        self._leaving_since: float | None = None

    # -- what the connector is given --------------------------------------------------------------------------------

    def connected(self) -> None:
        """As `Link.connected`."""
        self._timers.connected()
        self._states.connected()

    def emit(self, raw: JsonValue, timestamp_ms: int | None = None) -> None:
        """As `Link.emit`."""
        decoded = self._emit(raw, timestamp_ms)
        if decoded.values:
            self._timers.values_came()
            self._states.values_came()
        elif decoded.fault:
            self._timers.nonsense_came(decoded.fault)
            self._states.nonsense_came(decoded.fault)

    def announce(self, datapoints: Iterable[Datapoint]) -> None:
        """As `Link.announce`."""
        self._announce(datapoints)
        if self.link_state is LinkState.CONNECTED:
            self._states.judge()  # what is announced may be due

    def unit(self, name: str, up: bool, reason: str = "") -> None:
        """As `Link.unit`."""
        if up:
            if self.devices_away.came_back(name):
                self._events.link_changed()
            return
        is_new = name not in self.devices_away
        if self.devices_away.went(name, reason):
            if is_new:
                self._events.device_left(name)
            self._events.link_changed()

    # -- what is known ----------------------------------------------------------------------------------------------

    @property
    def link_state(self) -> LinkState:
        """How the link stands now."""
        return self._states.state

    @property
    def fault(self) -> str:
        """Why the link does not do what it should, "" when it does; single devices may be away all the same."""
        return "" if self._states.is_well else self._states.reason

    @property
    def state(self) -> State:
        """The state of the service as far as the link makes it."""
        return "degraded" if self.fault or self.devices_away else "online"

    @property
    def detail(self) -> str:
        """What the status says beside the conditions, bounded however many devices are away."""
        if self._states.has_failed:
            return ""  # that nobody behind it is heard has the condition's cause now
        return self.devices_away.summary or self.fault

    @property
    def stuck(self) -> str:
        """Why nothing but a new process helps, "" when all is well: run() was cancelled and goes on all the same."""
        since = self._leaving_since
        if since is None or (for_s := self._clock.monotonic() - since) < ENDS_WITHIN_S:
            return ""
        return f"run() was told to end {for_s:.0f} s ago and did not"

    # -- keeping it going -------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Enter the connector's run() for ever. Raises ConfigError only."""
        while True:
            if self._permit is not None:
                await self._permit.granted()
            try:
                await self._enter()
            except LinkSilent as error:
                self._left(LinkState.SILENT, str(error) or "the device is silent")
            except LinkDown as error:
                self._left(LinkState.DOWN, str(error) or "the device is away")
            except ConfigError:
                raise
            except _Withdrawn as error:
                self._events.link_left()
                self._states.given_up(str(error))
                continue
            except Exception as error:
                metrics.BUGS.labels(self._name, "run").inc()
                log.exception("the connector failed; this is a bug, it is started again")
                self.failing = True
                self._left(LinkState.DOWN, f"a bug in the connector: {type(error).__name__}: {error}")
            await self._clock.sleep(self._backoff.next_s())
            self.failing = False

    def _left(self, state: LinkState, reason: str) -> None:
        self._note_settled()
        if state is LinkState.DOWN:
            self._timers.broke()
        self._events.link_left()  # values turn offline before the status says why
        self._states.left(state, reason)

    async def _enter(self) -> None:
        self._timers.entered()
        self._states.entered()
        running = asyncio.ensure_future(self._connector.run(self))
        watching = asyncio.ensure_future(self._watch())
        withdrawn = asyncio.ensure_future(self._withdrawn())
        tasks = {running, watching, withdrawn}
        self.entered = True
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.entered = False
            for task in tasks:
                task.cancel()
            self._leaving_since = self._clock.monotonic()
            await asyncio.wait(tasks)
            self._leaving_since = None
        for task in (running, watching, withdrawn):
            if not task.cancelled() and (error := task.exception()) is not None:
                raise _one_cause(error)
        raise RuntimeError("run() ended without being told to")

    async def _withdrawn(self) -> None:
        if self._permit is None:
            await asyncio.Event().wait()
        else:
            await self._permit.withdrawn()
            raise _Withdrawn(self._permit.fault)

    async def _watch(self) -> None:
        """Notice when the link has settled, and when it is silent."""
        while True:
            await self._clock.sleep(1.0)
            self._note_settled()
            self.devices_away.log_the_rest()
            if (overdue := self._timers.overdue()) is not None:
                raise overdue

    def _note_settled(self) -> None:
        if self._timers.has_settled:
            self._backoff.reset()
            self._states.settled()


class _Withdrawn(Exception):  # noqa: N818 - a state of the world
    """Another process has the name."""


def _one_cause(error: BaseException) -> BaseException:
    """Of several failures at once: wrong settings before a bug before a link that is down."""
    found = causes(error)
    for cause in found:
        if isinstance(cause, ConfigError):
            return cause
    for cause in found:
        if not isinstance(cause, LinkDown):
            return cause
    return found[0]
