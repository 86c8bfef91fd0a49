"""Run services: logging, signals, supervision of tasks, and the service's own line on the bus."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any

from wattbus import metrics
from wattbus.cancellation import raise_if_cancelled
from wattbus.clock import SYSTEM_CLOCK, Clock
from wattbus.errors import reason_to_end
from wattbus.mqtt import topics
from wattbus.mqtt.client import MqttClient
from wattbus.mqtt.messages import LogMessage
from wattbus.mqtt.packets import Outgoing
from wattbus.retry import Backoff
from wattbus.service import health, journal
from wattbus.service.status_publisher import StatusPublisher

log = logging.getLogger(__name__)

UNTAKEN_S = 120.0
CANCEL_AGAIN_S = 1.0
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)  # the last one: the terminal was closed

# The service that the running task belongs to: several of them share a process under `wattbus up`.
SERVICE: contextvars.ContextVar[str] = contextvars.ContextVar("wattbus_service", default="wattbus")


class _ServiceName(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        record.service = SERVICE.get()
        return True


def configure_logging(level: str) -> None:
    """One line per event on standard error: time, level, service, text. In systemd's journal: as that has it."""
    handler = logging.StreamHandler()
    handler.addFilter(_ServiceName())
    usual = logging.Formatter("%(asctime)s %(levelname)-7s %(service)s: %(message)s")
    handler.setFormatter(journal.JournalFormatter() if journal.is_journal(sys.stderr) else usual)
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for chatty in ("aiosqlite", "asyncio", "aiohttp", "pymodbus", "alembic", "wattbus.mqtt.client.paho"):
        logging.getLogger(chatty).setLevel(max(logging.WARNING, logging.getLevelName(level)))
    # Both report an ordinary loss of connection as an error; the bus tells it once.
    logging.getLogger("wattbus.mqtt.client.paho").setLevel(logging.CRITICAL)


class LogPublisher(logging.Handler):
    """Publishes this service's log records on `${service}/logs` (QoS 0; while there is no connection they are not)."""

    def __init__(self, service: str, bus: MqttClient) -> None:
        super().__init__(logging.INFO)
        self._service = service
        self._bus = bus
        self._loop = asyncio.get_running_loop()

    def emit(self, record: logging.LogRecord) -> None:
        """Publish a record of this service, from any thread; others' are left to them."""
        if SERVICE.get() != self._service or record.name.startswith("wattbus.mqtt.client"):
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
async def on_the_bus(bus: MqttClient, status_publisher: StatusPublisher) -> AsyncIterator[None]:
    """Be on the bus: connection, status, logs, metrics and health for as long as the context lasts, then goodbye."""
    service = status_publisher.service
    status_publisher.attach(bus)
    metrics.MQTT_CONNECTED.labels(service).set_function(lambda: float(bus.connected))
    metrics.MQTT_CONNECTS.labels(service).set_function(lambda: float(bus.counters.connects))
    health.of(service).ready("broker", lambda: _away(bus))
    health.of(service).ready("conditions", status_publisher.conditions.not_ready)
    health.of(service).ready("name", lambda: status_publisher.name_lock.fault if status_publisher.name_lock else "")
    health.of(service).stuck("untaken messages", lambda: _untaken(bus, status_publisher))
    publisher = LogPublisher(service, bus)
    logging.getLogger().addHandler(publisher)
    tasks = [
        asyncio.create_task(supervise("bus", bus.run), name=f"{service} bus"),
        asyncio.create_task(supervise("status", status_publisher.run), name=f"{service} status"),
    ]
    try:
        yield
    finally:
        logging.getLogger().removeHandler(publisher)
        await status_publisher.publish_offline()
        left = set(tasks)
        while left:  # a library may swallow a cancellation that comes at the wrong moment
            for task in left:
                task.cancel()
            _, left = await asyncio.wait(left, timeout=CANCEL_AGAIN_S)


def _away(bus: MqttClient) -> str:
    return "" if bus.connected else f"no connection to the broker: {bus.fault or 'it is being made'}"


def _untaken(bus: MqttClient, status_publisher: StatusPublisher) -> str:
    """Whether what arrives is left lying by a service that says that it works; one without a database has to wait."""
    if not status_publisher.works or bus.untaken_s < UNTAKEN_S:
        return ""
    return f"nothing has been taken from the bus for {bus.untaken_s:.0f} s, though messages wait"


async def supervise(
    name: str,
    work: Callable[[], Awaitable[None]],
    *,
    backoff: Backoff | None = None,
    clock: Clock = SYSTEM_CLOCK,
    forever: bool = True,
) -> None:
    """Run `work` and start it again, with backoff, whenever a bug ends it. ConfigError and StopAsked pass through.

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
            if (reason := reason_to_end(error)) is not None:
                raise reason from None
            running = False
            metrics.BUGS.labels(service, name).inc()
            log.exception("%s failed; this is a bug, it is started again", name)
        if clock.monotonic() - started > 60:
            backoff.reset()
        await clock.sleep(backoff.next_s())


async def run_until_signal(main: Coroutine[Any, Any, None], grace_s: float = 8.0) -> None:
    """Run `main` until it ends, or SIGTERM, SIGINT or SIGHUP comes; then cancel it and wait at most `grace_s` s.

    Raises what `main` raises, also when it was told to end (ReadingsLost).
    """
    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(main)
    stop = loop.create_future()

    def stop_once() -> None:
        if not stop.done():
            stop.set_result(None)

    for number in STOP_SIGNALS:
        loop.add_signal_handler(number, stop_once)
    try:
        await asyncio.wait({task, stop}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for number in STOP_SIGNALS:
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
