"""One HTTP server inside our own coroutine: it ends when we are cancelled, and handles no signal itself."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import socket
from collections.abc import Iterator

import uvicorn
from starlette.types import ASGIApp

from wattbus.errors import AddressTaken, ConfigError

log = logging.getLogger(__name__)

GOODBYE_S = 2  # for requests that are under way
LONGEST_GOODBYE_S = 4.0
LONGEST_WEBSOCKET_MESSAGE = 2**20  # bytes


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals belong to the process, which may run other services, too."""
        yield


def listen(host: str, port: int) -> socket.socket:
    """A listening socket. Raises AddressTaken when something else listens there, ConfigError when it cannot be."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio switches Nagle's algorithm off for sockets that name TCP only: without it every answer takes 40 ms more.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host.strip("[]"), port))
        listening.listen(128)
    except OSError as error:
        listening.close()
        kind = AddressTaken if error.errno == errno.EADDRINUSE else ConfigError
        raise kind(f"API_PORT: cannot listen on {host}:{port}: {error.strerror}") from None
    return listening


async def serve(app: ASGIApp, listening: socket.socket) -> None:
    """Serve until cancelled."""
    server = _Server(
        uvicorn.Config(
            app,
            log_config=None,
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=GOODBYE_S,
            ws_max_size=LONGEST_WEBSOCKET_MESSAGE,
            ws_max_queue=8,
            ws_ping_interval=20.0,
            ws_ping_timeout=20.0,
        )
    )
    serving = asyncio.ensure_future(server.serve(sockets=[listening]))
    try:
        await asyncio.shield(serving)
        raise RuntimeError("the HTTP server ended without being told to")
    finally:
        server.should_exit = True
        _, late = await asyncio.wait({serving}, timeout=LONGEST_GOODBYE_S)
        if late:
            log.warning("requests did not end within %g s", LONGEST_GOODBYE_S)
            serving.cancel()
            await asyncio.wait({serving})
