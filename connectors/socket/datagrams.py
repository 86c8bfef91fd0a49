"""UDP: each datagram is whole, or did not come at all."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable

from connectors.socket.admission import Admission, Rate, plain_address
from connectors.socket.ports import listening_socket
from connectors.socket.reception import Reception
from wattbus.connector import Link
from wattbus.errors import LinkDown

LONGEST_DATAGRAM = 65_535
BUFFER_BYTES = 2**20  # for bursts; the operating system may give less


class Datagrams:
    """Takes datagrams on `host`:`port`; `started` is told the address."""

    def __init__(
        self,
        host: str,
        port: int,
        reception: Reception,
        admission: Admission,
        rate: Rate,
        *,
        started: Callable[[str, int], None] = lambda host, port: None,
    ) -> None:
        self._host = host
        self._port = port
        self._reception = reception
        self._admission = admission
        self._rate = rate
        self._started = started

    async def run(self, link: Link) -> None:
        """Receive for ever. Raises LinkDown when the port cannot be had, or fails."""
        loop = asyncio.get_running_loop()
        with await listening_socket(self._host, self._port, socket.SOCK_DGRAM) as bound:
            with contextlib.suppress(OSError):
                bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
            self._started(*bound.getsockname()[:2])
            link.connected()  # devices speak when they like
            while True:
                try:
                    data, address = await loop.sock_recvfrom(bound, LONGEST_DATAGRAM)
                except OSError as error:
                    raise LinkDown(f"{self._host}:{self._port}: {error.strerror or error}") from error
                self._take(data, plain_address(address[0]), link)
                await asyncio.sleep(0)  # a flood is received without waiting, and the others want their turn

    def _take(self, data: bytes, peer: str, link: Link) -> None:
        if not self._admission.allows(peer):
            self._reception.complaints.note("address", peer, "is not in SOCKET_ALLOWED_NETWORKS; it is not heard")
            return
        if not self._rate.allows(peer):
            text = "exceeds SOCKET_MAX_MESSAGES_PER_SECOND; datagrams are dropped"
            self._reception.complaints.note("rate", peer, text)
            return
        stream = self._reception.stream(peer, link)
        stream.feed(data)
        stream.end(whole=True)
