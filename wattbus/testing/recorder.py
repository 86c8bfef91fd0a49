"""What a connector publishes: its whole runtime on a real broker, and a plain client that sees everything of it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from wattbus.connector import Connector
from wattbus.runtime.connector_runtime import run_connector
from wattbus.service.lifecycle import in_service
from wattbus.settings import ConnectorSettings
from wattbus.testing.mqtt import PlainClient, plain_client


@contextlib.asynccontextmanager
async def published_by(connector: Connector, settings: ConnectorSettings) -> AsyncIterator[PlainClient]:
    """Run a connector as `wattbus run` does, at the broker in its settings.

    The client has seen all that was published below the connector's name, and publishes commands.
    """
    async with plain_client(settings.mqtt_broker_port, f"{settings.name}/#", host=settings.mqtt_broker_host) as client:
        running = asyncio.create_task(in_service(settings.name, lambda: run_connector(connector, settings)))
        try:
            yield client
            assert not running.done(), "the connector has ended"
        finally:
            running.cancel()
            await asyncio.wait([running])
    if not running.cancelled() and (error := running.exception()) is not None:
        raise error
