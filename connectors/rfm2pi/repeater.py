"""The repeater: a TCP port whose lines go out on the radio link, as OemGateway's RFM2PiListenerRepeater has it.

A line is a packet as the board takes it: `1,2,3,20s` sends three bytes to node 20, `1,2,3,s` to all nodes, `a` instead
of `s` asks for an acknowledgement. Anything else is refused: settings of the board have actuators of their own. Each
line is answered (`ok` or `error: …`), which OemGateway did not do; who does not read the answer is not disturbed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections.abc import Awaitable, Callable
from typing import Protocol

from connectors.rfm2pi.board import NotConfirmed
from links.serial_splitter import Lines
from wattbus.connector import Link
from wattbus.errors import CommandRejected, LinkDown

log = logging.getLogger(__name__)

MOST_CLIENTS = 8
LONGEST_LINE = 400
IDLE_S = 60.0
PAUSE_S = 0.25  # between two packets: other nodes want to be heard, too, and the band has a duty cycle
TRY_AGAIN_S = 30.0
UNIT = "repeater"
_PACKET = re.compile(r"((?:\d{1,3},)+)(\d{0,2})([as])", re.ASCII)


class Send(Protocol):
    """What sends a packet: `Board.send`."""

    def __call__(self, data: bytes, node: int = 0, *, acknowledge: bool = False) -> Awaitable[None]: ...


def parse_packet(line: str) -> tuple[bytes, int, bool]:
    """Bytes, node and whether an acknowledgement is asked for. Raises CommandRejected."""
    match = _PACKET.fullmatch(line.strip())
    if match is None:
        raise CommandRejected("expected bytes and a node, such as 1,2,3,20s")
    try:
        data = bytes(map(int, match[1].rstrip(",").split(",")))
    except ValueError:
        raise CommandRejected("a byte is 0 to 255") from None
    return data, int(match[2] or 0), match[3] == "a"


class Repeater:
    """Listens while `run()` runs."""

    def __init__(self, host: str, port: int, send: Send) -> None:
        self._host = host
        self._port = port
        self._send = send
        self._clients: set[asyncio.Task[None]] = set()
        self._turn = asyncio.Lock()

    async def run(self, link: Link, started: Callable[[int], None] | None = None) -> None:
        """For ever; a port that somebody else has is told and tried again. `started` is told the port."""
        while True:
            try:
                server = await asyncio.start_server(self._serve, self._host, self._port)
            except OSError as error:
                reason = f"cannot listen on {self._host}:{self._port}: {error.strerror or error}"
                link.unit(UNIT, up=False, reason=reason)
                await asyncio.sleep(TRY_AGAIN_S)
                continue
            link.unit(UNIT, up=True)
            if started is not None:
                started(server.sockets[0].getsockname()[1])
            try:
                await asyncio.Event().wait()
            finally:
                server.close()
                clients = list(self._clients)
                for client in clients:
                    client.cancel()
                await asyncio.gather(*clients, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._clients.add(task)
        try:
            if len(self._clients) > MOST_CLIENTS:
                writer.write(b"error: too many clients\r\n")
            else:
                await self._listen(reader, writer)
        except (OSError, TimeoutError):
            log.debug("a client of the repeater went away")
        except asyncio.CancelledError:
            log.debug("the repeater ends")  # nobody else cancels this; Python 3.11 would log it as a fault
        finally:
            self._clients.discard(task)
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _listen(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lines = Lines(LONGEST_LINE)
        while True:
            async with asyncio.timeout(IDLE_S):
                data = await reader.read(1024)
            if not data:
                return
            too_long = lines.dropped_lines
            for line in lines.feed(data):
                writer.write((await self._repeat(line.decode("ascii", "replace")) + "\r\n").encode())
            if lines.dropped_lines > too_long:
                writer.write(b"error: the line is too long\r\n")
            async with asyncio.timeout(IDLE_S):
                await writer.drain()

    async def _repeat(self, line: str) -> str:
        try:
            data, node, acknowledge = parse_packet(line)
            async with self._turn:
                await self._send(data, node, acknowledge=acknowledge)
                await asyncio.sleep(PAUSE_S)
        except (CommandRejected, LinkDown, NotConfirmed) as error:
            return f"error: {error}"
        return "ok"
