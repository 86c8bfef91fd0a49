"""The client: one connection to a server, made again whenever it ends."""

from __future__ import annotations

import asyncio
import logging

from connectors.socket.admission import Rate
from connectors.socket.reception import CHUNK_BYTES, Reception, Stream, receive
from links.serial_faults import went_away
from links.serial_line import Line, open_line
from links.serial_port import SerialPort
from links.serial_silence import SilenceWatch
from wattbus.clock import Clock
from wattbus.connector import Link
from wattbus.errors import LinkDown, LinkSilent, causes
from wattbus.retry import Backoff

log = logging.getLogger(__name__)

AT_ONCE_S = 0.1  # RECV_TIMEOUT=0; a network needs a moment


class Client:
    """`timeout_s` is RECV_TIMEOUT: negative waits for ever, 0 wants a message at once.

    The reference's connector shuts down when a message is late or the server closes; this one connects again.
    """

    def __init__(self, host: str, port: int, timeout_s: float, reception: Reception, rate: Rate, clock: Clock) -> None:
        self._peer = host
        self._port = SerialPort(f"socket://[{host}]:{port}" if ":" in host else f"socket://{host}:{port}")
        self._reception = reception
        self._rate = rate
        self._clock = clock
        limit_s = None if timeout_s < 0 else timeout_s or AT_ONCE_S
        self._silence = SilenceWatch(limit_s, clock, what=f"{host}:{port}")

    async def run(self, link: Link) -> None:
        """Receive for ever. Raises LinkDown when the server is away, silent, or closes without a message.

        A server that closes behind its message, as some do after each one, is connected to again without a word.
        """
        backoff = Backoff()
        while True:
            stream = self._reception.stream(self._peer, link)
            try:
                await self._whole_connection(stream, link)
            except BaseExceptionGroup as group:
                if not stream.messages or any(_is_serious(error) for error in causes(group)):
                    raise
                log.debug("connecting again: %s", causes(group)[0])
            await self._clock.sleep(backoff.next_s())
            backoff.reset()

    async def _whole_connection(self, stream: Stream, link: Link) -> None:
        """In a task of its own: a TaskGroup that ends hides a cancellation that comes at the same moment."""
        connection = asyncio.create_task(self._connection(stream, link), name=f"connection to {self._peer}")
        try:
            await asyncio.wait([connection])
        finally:
            connection.cancel()
            await asyncio.wait([connection])
            if not connection.cancelled():
                connection.exception()  # seen, also when it is of no interest any more
        await connection

    async def _connection(self, stream: Stream, link: Link) -> None:
        async with open_line(self._port) as line, asyncio.TaskGroup() as tasks:
            await self._silence.opened()
            if self._silence.limit_s is None:  # no message is ever due; else the first one is the server's answer
                link.connected()
            tasks.create_task(self._receive(line, stream, link), name=f"receive from {line.name}")
            tasks.create_task(self._silence.guard(), name=f"silence of {line.name}")

    async def _receive(self, line: Line, stream: Stream, link: Link) -> None:
        closed = f"{line.name}: {went_away(None, self._port.address)}"

        async def read() -> bytes:
            try:
                return await line.read(CHUNK_BYTES)
            except LinkDown as error:
                if str(error) == closed:  # the line tells in words alone how it ended
                    return b""
                raise

        def heard() -> None:
            self._silence.fed()
            link.connected()

        await receive(read, stream, self._rate, self._clock, heard=heard)
        raise LinkDown(closed)


def _is_serious(error: BaseException) -> bool:
    """Anything but the end of the connection."""
    return isinstance(error, LinkSilent) or not isinstance(error, LinkDown)
