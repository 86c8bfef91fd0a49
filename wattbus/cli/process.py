"""One process from its first coroutine to its end, which is bounded."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

from wattbus.errors import AddressTaken
from wattbus.retry import Backoff
from wattbus.service.health import HealthServer
from wattbus.service.lifecycle import run_until_signal
from wattbus.settings import ServiceSettings

log = logging.getLogger(__name__)

STRAGGLERS_S = 1.0
THREADS_S = 3.0


def run_process(main: Callable[[], Coroutine[Any, Any, None]], grace_s: float = 8.0) -> None:
    """Run `main` until it ends, or SIGTERM or SIGINT comes; then nothing can hold the process for long."""
    asyncio.run(_bounded(main, grace_s))


async def _bounded(main: Callable[[], Coroutine[Any, Any, None]], grace_s: float) -> None:
    failed = True
    try:
        await run_until_signal(main(), grace_s)
        failed = False
    finally:
        code = 1 if await _stragglers() or failed else 0
        # Beyond this a library's thread may still try to connect; asyncio would wait for it.
        asyncio.get_running_loop().call_later(THREADS_S, os._exit, code)


async def _stragglers() -> set[asyncio.Task[Any]]:
    others = asyncio.all_tasks() - {task for task in [asyncio.current_task()] if task}
    for task in others:
        task.cancel()
    if not others:
        return set()
    _, late = await asyncio.wait(others, timeout=STRAGGLERS_S)
    if late:
        log.error("did not end: %s", ", ".join(task.get_name() for task in late))
    return late


@contextlib.asynccontextmanager
async def health_served(settings: ServiceSettings) -> AsyncIterator[str]:
    """Serve health and metrics if HTTP_PORT is set; gives the address, "" when not."""
    if settings.http_port is None:
        yield ""
        return
    server = HealthServer(settings.http_host, settings.http_port)
    try:
        port = await server.start()
        yield f"http://{settings.http_host}:{port}"
    finally:
        await server.stop()


@contextlib.asynccontextmanager
async def health_served_when_free(settings: ServiceSettings) -> AsyncIterator[str]:
    """As `health_served`, but a port that is taken is waited for: recording does not depend on it."""
    async with contextlib.AsyncExitStack() as served:
        try:
            address = await served.enter_async_context(health_served(settings))
        except AddressTaken as error:
            log.error("%s; it is tried again, everything else runs", error)
            waiting = asyncio.create_task(_serve_later(settings, served), name="health server")
            try:
                yield f"http://{settings.http_host}:{settings.http_port}"
            finally:
                waiting.cancel()
                await asyncio.wait({waiting})
        else:
            yield address


async def _serve_later(settings: ServiceSettings, served: contextlib.AsyncExitStack) -> None:
    backoff = Backoff()
    while True:
        await asyncio.sleep(backoff.next_s())
        with contextlib.suppress(AddressTaken):
            address = await served.enter_async_context(health_served(settings))
            log.warning("health and metrics are served on %s now", address)
            return
