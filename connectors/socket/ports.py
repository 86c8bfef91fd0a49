"""Sockets of the operating system: bound to a port of ours, and with an eye on far ends that vanish."""

from __future__ import annotations

import asyncio
import contextlib
import socket

from wattbus.errors import LinkDown

BACKLOG = 1024  # connections that the operating system keeps, with what they have sent, until it is their turn
# A device that lost its power never says goodbye: the operating system asks after two minutes of silence.
KEEP_ALIVE = {"TCP_KEEPIDLE": 120, "TCP_KEEPINTVL": 20, "TCP_KEEPCNT": 3}


def keep_alive(connection: socket.socket) -> None:
    """Ask the operating system to notice a far end that vanished."""
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in KEEP_ALIVE.items():
            if hasattr(socket, name):  # macOS names some of them differently
                connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


async def listening_socket(host: str, port: int, kind: socket.SocketKind) -> socket.socket:
    """A socket bound to this address, listening if `kind` is a stream. `::` takes IPv4 too. Raises LinkDown."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=kind, flags=socket.AI_PASSIVE)
        family, _, _, _, address = found[0]
        bound = socket.socket(family, kind)
    except OSError as error:
        raise LinkDown(f"cannot listen on {host}: {error.strerror or error}") from error
    try:
        bound.setblocking(False)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(address[0] != "::"))
        if kind == socket.SOCK_STREAM:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
        if kind == socket.SOCK_STREAM:
            bound.listen(BACKLOG)
    except OSError as error:
        bound.close()
        raise LinkDown(f"cannot listen on {host}:{port}: {error.strerror or error}") from error
    return bound
