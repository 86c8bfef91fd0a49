"""The listener: devices connect to us, one after another or many at once, for one line or for months."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable
from dataclasses import dataclass, field

from connectors.socket.admission import Admission, Rate, plain_address
from connectors.socket.ports import keep_alive, listening_socket
from connectors.socket.reception import CHUNK_BYTES, Idle, Reception, Stream, receive
from wattbus.clock import Clock
from wattbus.connector import Link

log = logging.getLogger(__name__)

GIVES_WAY_AFTER_S = 10.0
MUTE_GIVES_WAY_AFTER_S = 1.0  # of those that have not said anything yet
ACCEPT_AGAIN_S = 0.5
TURNS = 20  # of the event loop; from an accepted connection to its first message it takes about ten


@dataclass(eq=False, slots=True)
class _Connection:
    """One device that is connected."""

    stream: Stream
    heard_at: float
    task: asyncio.Task[None] = field(init=False)

    @property
    def gives_way_at(self) -> float:
        """From when on a newcomer may have its place."""
        return self.heard_at + (GIVES_WAY_AFTER_S if self.stream.messages else MUTE_GIVES_WAY_AFTER_S)


class Listener:
    """Accepts connections on `host`:`port`; `started` is told the address once it listens."""

    def __init__(
        self,
        host: str,
        port: int,
        reception: Reception,
        admission: Admission,
        rate: Rate,
        clock: Clock,
        *,
        most: int = 100,
        idle_s: float = 0.0,
        started: Callable[[str, int], None] = lambda host, port: None,
    ) -> None:
        self._host = host
        self._port = port
        self._reception = reception
        self._admission = admission
        self._rate = rate
        self._clock = clock
        self._most = most
        self._idle_s = idle_s
        self._started = started
        self._connections: set[_Connection] = set()
        self._left = asyncio.Event()

    async def run(self, link: Link) -> None:
        """Listen for ever. Raises LinkDown when the port cannot be had."""
        with await listening_socket(self._host, self._port, socket.SOCK_STREAM) as listening:
            self._started(*listening.getsockname()[:2])
            link.connected()  # devices come when they like
            async with asyncio.TaskGroup() as tasks:
                while True:
                    await self._accept(listening, tasks, link)

    async def _accept(self, listening: socket.socket, tasks: asyncio.TaskGroup, link: Link) -> None:
        try:
            accepted, address = await asyncio.get_running_loop().sock_accept(listening)
        except OSError as error:  # the device has gone again, or there are no descriptors left
            log.debug("cannot accept a connection: %s", error)
            await self._clock.sleep(ACCEPT_AGAIN_S)
            return
        peer = plain_address(address[0])
        if not self._admission.allows(peer):
            self._reception.complaints.note("address", peer, "is not in SOCKET_ALLOWED_NETWORKS; it is refused")
            accepted.close()
            return
        try:
            await self._wait_for_place(peer)
        except BaseException:
            accepted.close()
            raise
        connection = _Connection(self._reception.stream(peer, link), self._clock.monotonic())
        connection.task = tasks.create_task(self._serve(accepted, connection), name=f"connection of {peer}")
        self._connections.add(connection)
        connection.task.add_done_callback(lambda _: self._leave(connection))

    def _leave(self, connection: _Connection) -> None:
        self._connections.discard(connection)
        self._left.set()

    async def _wait_for_place(self, peer: str) -> None:
        """Wait until there is a place; whoever was silent longest gives way. Others wait in the backlog meanwhile."""
        if len(self._connections) >= self._most:
            self._reception.complaints.note(
                "clients", peer, f"finds all {self._most} places taken (SOCKET_MAX_CLIENTS)"
            )
        while len(self._connections) >= self._most:
            oldest = min(self._connections, key=lambda connection: connection.gives_way_at)
            rest_s = oldest.gives_way_at - self._clock.monotonic()
            self._left.clear()
            if rest_s <= 0:
                await _turns()
                if oldest.gives_way_at > self._clock.monotonic() or self._left.is_set():
                    continue
                oldest.task.cancel()
                rest_s = GIVES_WAY_AFTER_S
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(rest_s):
                    await self._left.wait()

    async def _serve(self, accepted: socket.socket, connection: _Connection) -> None:
        stream = connection.stream

        def heard() -> None:
            connection.heard_at = self._clock.monotonic()

        keep_alive(accepted)
        try:
            reader, writer = await asyncio.open_connection(sock=accepted)
        except BaseException:
            accepted.close()
            raise
        try:
            await receive(
                lambda: reader.read(CHUNK_BYTES), stream, self._rate, self._clock, idle_s=self._idle_s, heard=heard
            )
        except Idle:
            text = f"has sent no message for {self._idle_s:g} s; the connection is closed"
            self._reception.complaints.note("idle", stream.peer, text)
        except OSError as error:  # reset, or gone without a word
            log.debug("%s: %s", stream.peer, error)
        finally:
            writer.transport.abort()


async def _turns() -> None:
    """Let everything that has arrived be read first: perhaps it was we who hung."""
    for _ in range(TURNS):
        await asyncio.sleep(0)
