"""What `/healthz`, `/readyz`, `/details` and `/metrics` say about the services of this process."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator, Mapping

from aiohttp import web

from wattbus import metrics
from wattbus.errors import AddressTaken, ConfigError
from wattbus.jsontext import JsonValue

# A check returns why it is not well, or "" when it is.
Check = Callable[[], str]
Details = Callable[[], JsonValue]


class Health:
    """The checks of one service.

    `alive` ones say whether it works at all, `ready` ones whether it can do its job. `stuck` ones are those of being
    alive that nothing inside this process will mend: it should be ended and started again.
    """

    def __init__(self, service: str) -> None:
        self.service = service
        self._alive: dict[str, Check] = {}
        self._ready: dict[str, Check] = {}
        self._stuck: dict[str, Check] = {}
        self._details: Details = dict

    def details(self, details: Details) -> None:
        """What `/details` says of this service: all of what its status on the bus must say in few words."""
        self._details = details

    def in_detail(self) -> JsonValue:
        """All that its services tell about themselves beside faults, for `/details`."""
        return self._details()

    def alive(self, name: str, check: Check) -> None:
        """Register a check of whether the service works at all; it gives the fault, or ""."""
        self._alive[name] = check

    def stuck(self, name: str, check: Check) -> None:
        """Register a check of what only a new process mends; it gives the fault, or ""."""
        self._stuck[name] = check

    def ready(self, name: str, check: Check) -> None:
        """Register a check of whether the service can do its job; it gives the fault, or ""."""
        self._ready[name] = check

    def faults(self, *, ready: bool) -> dict[str, str]:
        """What is not well: name of the check → reason."""
        checks = {**self._alive, **self._ready} if ready else self._alive
        return {**_faults(checks), **_faults(self._stuck)}

    def stuck_faults(self) -> dict[str, str]:
        """As `faults`, of the `stuck` checks alone."""
        return _faults(self._stuck)


def _faults(checks: Mapping[str, Check]) -> dict[str, str]:
    return {name: reason for name, check in checks.items() if (reason := check())}


_SERVICES: dict[str, Health] = {}


def of(service: str) -> Health:
    """The health of a service of this process, made when first asked for."""
    return _SERVICES.setdefault(service, Health(service))


def services() -> Iterator[Health]:
    """The health of every service of this process."""
    yield from list(_SERVICES.values())


def forget(service: str) -> None:
    """The service has ended."""
    _SERVICES.pop(service, None)


def _answer(ready: bool) -> web.Response:
    faults = {health.service: faults for health in services() if (faults := health.faults(ready=ready))}
    return web.json_response({"ok": not faults, "faults": faults}, status=503 if faults else 200)


async def _healthz(_: web.Request) -> web.Response:
    return _answer(ready=False)


async def _readyz(_: web.Request) -> web.Response:
    return _answer(ready=True)


async def _details(_: web.Request) -> web.Response:
    return web.json_response({health.service: health.in_detail() for health in services()})


async def _metrics(_: web.Request) -> web.Response:
    return web.Response(body=metrics.exposition(), headers={"Content-Type": metrics.CONTENT_TYPE})


class HealthServer:
    """Serves health and metrics of this process over HTTP."""

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port
        app = web.Application()
        app.router.add_get("/healthz", _healthz)
        app.router.add_get("/readyz", _readyz)
        app.router.add_get("/details", _details)
        app.router.add_get("/metrics", _metrics)
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False)

    async def start(self) -> int:
        """Listen; the port (the one chosen, if it was 0).

        Raises AddressTaken when something else listens there, ConfigError when it cannot be.
        """
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._host, self._port)
        try:
            await site.start()
        except OSError as error:
            kind = AddressTaken if error.errno == errno.EADDRINUSE else ConfigError
            raise kind(f"HTTP_PORT: cannot listen on {self._host}:{self._port}: {error.strerror}") from None
        return int(self._runner.addresses[0][1])

    async def stop(self) -> None:
        """Close the port."""
        await self._runner.cleanup()
