"""What services that record have in common: their client, their life, and how they name what they cannot record."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import prometheus_client

from wattbus.clock import Clock
from wattbus.errors import ConfigError, causes
from wattbus.mqtt.client import MqttClient
from wattbus.recording.database_session import Database
from wattbus.service.lifecycle import on_the_bus, supervise
from wattbus.service.status_publisher import StatusPublisher
from wattbus.settings import ServiceSettings

log = logging.getLogger(__name__)

SESSION_EXPIRY_S = 14 * 86_400  # how long the broker keeps messages for a service that is away
LOGGED_EVERY = 100


def recording_client(settings: ServiceSettings, status_publisher: StatusPublisher, batch_messages: int) -> MqttClient:
    """A client whose session outlives the process, and which stops reading when two batches wait."""
    return MqttClient(
        settings,
        settings.name,
        will=status_publisher.will,
        session_expiry_s=SESSION_EXPIRY_S,
        high_water=2 * batch_messages,
    )


async def run_recorder(
    bus: MqttClient,
    status_publisher: StatusPublisher,
    database: Database[Any],
    tasks: Mapping[str, Callable[[], Awaitable[None]]],
    clock: Clock,
) -> None:
    """Be on the bus and run these tasks for ever; then close the database. Raises ConfigError."""
    try:
        async with on_the_bus(bus, status_publisher), asyncio.TaskGroup() as group:
            for name, work in tasks.items():
                group.create_task(supervise(name, work, clock=clock), name=name)
    except BaseExceptionGroup as group_of_errors:
        wrong = [cause for cause in causes(group_of_errors) if isinstance(cause, ConfigError)]
        raise wrong[0] if wrong else group_of_errors from None
    finally:
        await database.close()


class BadMessages:
    """Counts what cannot be recorded, by kind; logs the first and then every hundredth of each kind."""

    def __init__(self, service: str, counted: prometheus_client.Counter, what: str) -> None:
        self._service = service
        self._counted = counted
        self._what = what
        self._number: Counter[str] = Counter()

    def note(self, kind: str, fault: str) -> None:
        """`kind` is the label of the metric, `fault` says which one it is and why."""
        self._counted.labels(self._service, kind).inc()
        if self._number[kind] % LOGGED_EVERY == 0:
            log.warning("%s (%s, %d so far): %s", self._what, kind, self._number[kind] + 1, fault)
        self._number[kind] += 1
