"""The API as a service: bus, database and HTTP server around the core."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from api.app import create_app
from api.core import Core, create_core
from api.server import listen, serve
from api.settings import Settings
from wattbus import metrics
from wattbus.clock import SYSTEM_CLOCK, Clock
from wattbus.errors import ConfigError, causes
from wattbus.service.lifecycle import on_the_bus, supervise
from wattbus.storage import check_url

log = logging.getLogger(__name__)

DATAPOINTS = metrics.gauge("api_datapoints", "Datapoints that are known.")
TOPICS = metrics.gauge("api_live_topics", "Datapoints whose last value is held in memory.")
LISTENERS = metrics.gauge("api_listeners", "Pages, browsers and parts of the API that follow changes.")
LEFT_OUT = metrics.gauge("api_left_out", "Messages on more topics, or from more connectors, than are held.")


async def run(
    settings: Settings, started: Callable[[str, Core], None] | None = None, clock: Clock = SYSTEM_CLOCK
) -> None:
    """Serve for ever; `started` is told the address. Raises ConfigError when the port or the database cannot be."""
    check_url(settings.url)
    core = create_core(settings, clock)
    await core.subscribe()
    listening = listen(settings.api_host, settings.api_port)
    address = _address(settings.api_host, listening.getsockname()[1])
    _measure(core)
    try:
        async with on_the_bus(core.bus, core.status_publisher), asyncio.TaskGroup() as tasks:
            for name, work in {
                "live model": core.read_bus,
                "lives of connectors": core.watch_lives,
                "datapoints": core.directory.run,
                "datapoint maps": core.maps.run,
                "controlled datapoints": core.control.run,
            }.items():
                tasks.create_task(supervise(name, work, clock=clock), name=f"{settings.name} {name}")
            tasks.create_task(serve(create_app(core), listening), name=f"{settings.name} HTTP")
            log.info("REST and pages: %s (only for this machine: there is no sign-in yet)", address)
            if started is not None:
                started(address, core)
    except BaseExceptionGroup as group:
        wrong = [cause for cause in causes(group) if isinstance(cause, ConfigError)]
        raise wrong[0] if wrong else group from None
    finally:
        listening.close()
        await core.close()


def _address(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _measure(core: Core) -> None:
    name = core.settings.name
    DATAPOINTS.labels(name).set_function(lambda: float(len(core.directory.datapoints)))
    TOPICS.labels(name).set_function(lambda: float(len(core.live.states)))
    LISTENERS.labels(name).set_function(lambda: float(core.changes.listeners))
    LEFT_OUT.labels(name).set_function(lambda: float(core.live.left_out))
