"""Run services: logging, signals, supervision of tasks, and the service's own line on the bus."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import secrets
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any

from wattbus import __version__, health, metrics, topics
from wattbus.bus import Bus, Outgoing
from wattbus.cancellation import raise_if_cancelled
from wattbus.clock import SYSTEM_CLOCK, Clock
from wattbus.errors import BrokerAway, ConfigError, PublishError, causes
from wattbus.messages import LogMessage, State, StatusMessage
from wattbus.retry import Backoff

log = logging.getLogger(__name__)

# The service that the running task belongs to: several of them share a process under `wattbus up`.
SERVICE: contextvars.ContextVar[str] = contextvars.ContextVar("wattbus_service", default="wattbus")


class _ServiceName(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        record.service = SERVICE.get()
        return True


def configure_logging(level: str) -> None:
    """One line per event on standard error: time, level, service, text."""
    handler = logging.StreamHandler()
    handler.addFilter(_ServiceName())
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(service)s: %(message)s"))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for chatty in ("aiosqlite", "asyncio", "aiohttp", "pymodbus", "alembic", "wattbus.bus.paho"):
        logging.getLogger(chatty).setLevel(max(logging.WARNING, logging.getLevelName(level)))
    # Both report an ordinary loss of connection as an error; the bus tells it once.
    logging.getLogger("wattbus.bus.paho").setLevel(logging.CRITICAL)


class Presence:
    """The service's line on the bus: `${service}/status`, retained, also its Last Will.

    `sequence` is asked for the last number given to a reading, by connectors.
    """

    def __init__(
        self,
        service: str,
        *,
        session: str | None = None,
        sequence: Callable[[], int] | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.service = service
        self.topic = topics.status(service)
        self.instance = secrets.token_hex(4)
        self.state: State = "online"
        self.detail = ""
        self._session = session
        self._sequence = sequence
        self._clock = clock
        self._started_ms = clock.now_ms()
        self._bus: Bus | None = None
        self._changed = asyncio.Event()
        self._twin_told = False

    def _message(self, state: State, detail: str, sequence: int | None = None) -> Outgoing:
        message = StatusMessage(
            state=state,
            timestamp=self._clock.now_ms(),
            version=__version__,
            instance=self.instance,
            session=self._session,
            sequence=sequence,
            detail=detail,
        )
        return Outgoing(self.topic, message.payload(), qos=1, retain=True)

    def _last_sequence(self) -> int | None:
        return self._sequence() if self._sequence else None

    @property
    def will(self) -> Outgoing:
        """What the broker publishes when this service vanishes; made long before, it cannot know the last number."""
        return self._message("offline", "the connection was lost")

    def attach(self, bus: Bus) -> None:
        """Tell the state at every connect of this bus."""
        if self._bus is None:
            self._bus = bus
            bus.on_connect(self.tell)

    def set(self, state: State, detail: str = "") -> None:
        """Change the state; `run()` tells it."""
        if (state, detail) != (self.state, self.detail):
            self.state, self.detail = state, detail
            self._changed.set()

    async def tell(self) -> None:
        if self._bus is None:
            return
        self._changed.clear()
        try:
            await self._bus.publish(self._message(self.state, self.detail, self._last_sequence()))
        except PublishError as error:
            log.error("the status cannot be told: %s", error)

    async def run(self) -> None:
        """Publish every change of the state."""
        while True:
            await self._changed.wait()
            try:
                await self.tell()
            except BrokerAway:
                await self._bus_is_back()  # told at the connect in any case

    async def _bus_is_back(self) -> None:
        if self._bus is not None:
            await self._bus.wait_connected()

    async def farewell(self) -> None:
        """Say goodbye: the Last Will is only for those who could not."""
        if self._bus is None or not self._bus.connected:
            return
        try:
            async with asyncio.timeout(2):
                await self._bus.publish(self._message("offline", "stopped", self._last_sequence()))
        except (BrokerAway, PublishError, TimeoutError):
            log.warning("could not say goodbye to the broker")

    def notice(self, other: StatusMessage) -> None:
        """Look at a status below our own name: two services with one name push each other out for ever."""
        if other.instance == self.instance or other.state == "offline" or other.timestamp < self._started_ms:
            return
        if not self._twin_told:
            self._twin_told = True
            log.error(
                "another service is running under the name %s (instance %s): give one of them another name",
                self.service,
                other.instance,
            )
        if self._bus is not None:
            self._bus.backoff = Backoff(first_s=60.0, longest_s=60.0)


class LogPublisher(logging.Handler):
    """Publishes this service's log records on `${service}/logs` (QoS 0; while there is no connection they are not)."""

    def __init__(self, service: str, bus: Bus) -> None:
        super().__init__(logging.INFO)
        self._service = service
        self._bus = bus
        self._loop = asyncio.get_running_loop()

    def emit(self, record: logging.LogRecord) -> None:
        if SERVICE.get() != self._service or record.name.startswith("wattbus.bus"):
            return
        try:
            text = record.getMessage()
        except (TypeError, ValueError):
            return  # arguments that do not fit their text; standard error says so
        message = LogMessage(
            timestamp=int(record.created * 1000),
            msg=text,
            emitter=record.funcName,
            level=record.levelno,
        )
        outgoing = Outgoing(topics.logs(self._service), message.payload(), qos=0)
        with contextlib.suppress(RuntimeError):  # the loop is closed: the process ends
            self._loop.call_soon_threadsafe(self._bus.publish_now, outgoing)


@contextlib.asynccontextmanager
async def on_the_bus(bus: Bus, presence: Presence) -> AsyncIterator[None]:
    """Be on the bus: connection, status, logs, metrics and health for as long as the context lasts, then goodbye."""
    service = presence.service
    presence.attach(bus)
    metrics.MQTT_CONNECTED.labels(service).set_function(lambda: float(bus.connected))
    metrics.MQTT_CONNECTS.labels(service).set_function(lambda: float(bus.counters.connects))
    health.of(service).ready("broker", lambda: "" if bus.connected else "no connection to the broker")
    publisher = LogPublisher(service, bus)
    logging.getLogger().addHandler(publisher)
    tasks = [
        asyncio.create_task(supervise("bus", bus.run), name=f"{service} bus"),
        asyncio.create_task(supervise("status", presence.run), name=f"{service} status"),
    ]
    try:
        yield
    finally:
        logging.getLogger().removeHandler(publisher)
        await presence.farewell()
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def supervise(
    name: str,
    work: Callable[[], Awaitable[None]],
    *,
    backoff: Backoff | None = None,
    clock: Clock = SYSTEM_CLOCK,
    forever: bool = True,
) -> None:
    """Run `work` and start it again, with backoff, whenever a bug ends it. ConfigError passes through.

    `forever`: coming back without an error is a bug too.
    """
    backoff = backoff or Backoff()
    service = SERVICE.get()
    running = False
    health.of(service).alive(name, lambda: "" if running else "failed, waiting to be started again")
    while True:
        started = clock.monotonic()
        running = True
        try:
            await work()
            if not forever:
                return
            raise RuntimeError(f"{name} ended without being told to")
        except (Exception, asyncio.CancelledError) as error:
            if isinstance(error, asyncio.CancelledError):
                raise_if_cancelled()  # else something that `work` waited for was cancelled, not we
            faults = [cause for cause in causes(error) if isinstance(cause, ConfigError)]
            if faults:
                raise faults[0] from None
            running = False
            metrics.BUGS.labels(service, name).inc()
            log.exception("%s failed; this is a bug, it is started again", name)
        if clock.monotonic() - started > 60:
            backoff.reset()
        await clock.sleep(backoff.next_s())


async def run_until_signal(main: Coroutine[Any, Any, None], grace_s: float = 8.0) -> None:
    """Run `main` until it ends or SIGTERM or SIGINT comes; then cancel it and wait at most `grace_s` seconds."""
    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(main)
    stop = loop.create_future()

    def stop_once() -> None:
        if not stop.done():
            stop.set_result(None)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop_once)
    try:
        await asyncio.wait({task, stop}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
    if not task.done():
        task.cancel()
        _, late = await asyncio.wait({task}, timeout=grace_s)
        if late:
            log.error("did not end within %g s", grace_s)
            return
    if not task.cancelled():
        task.result()


async def in_service(name: str, work: Callable[[], Awaitable[None]]) -> None:
    """Run a service's coroutine under its name (for logs, metrics and health)."""
    SERVICE.set(name)
    try:
        await work()
    finally:
        health.forget(name)
