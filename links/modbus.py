"""A Modbus client over TCP: one connection, one request at a time, every kind of failure told apart.

The only file that knows pymodbus. What pymodbus 3.16 leaves to its user, and what stands here therefore: it lets a
request on a lost connection run into its time-out; it skips answers of a wrong unit or transaction so that they look
like silence; it accepts an answer with another function code or length; an answer it cannot decode ends in a traceback
of the event loop; its TLS framer takes every TCP segment for a whole frame; it closes the connection on the fifth
unanswered request whoever was asked. So frames are looked at before pymodbus decodes them, and the client object is
made anew for every connection.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pymodbus import FramerType, ModbusException
from pymodbus.client import AsyncModbusTcpClient
from pymodbus.transport import CommParams, CommType

from links.modbus_errors import BadAnswer, ConnectFailed, ConnectionLost, ExceptionAnswer, ModbusError, NoAnswer
from links.modbus_frames import BIT_METHODS, FrameError, Framing
from links.modbus_transaction import Transaction
from wattbus.cancellation import raise_if_cancelled
from wattbus.clock import SYSTEM_CLOCK, Clock

if TYPE_CHECKING:
    from pymodbus.pdu import ModbusPDU

# Every failure is raised here, with more words; pymodbus would log each of them a second time.
logging.getLogger("pymodbus.logging").setLevel(logging.CRITICAL + 1)

# A connection on which this many requests in a row got no answer, from whatever unit, is taken for half-open.
_SILENCE_IS_HALF_OPEN = 2


@dataclass(frozen=True, slots=True)
class ModbusTarget:
    """Where a Modbus server is and how it is spoken to; times in seconds.

    `timeout_s` bounds connecting and each answer; `wait_after_connect_s` is for devices that drop what comes too soon
    after connecting; `pause_s` is kept between an answer and the next request.
    """

    host: str
    port: int = 502
    framing: Framing = "tcp"
    timeout_s: float = 3.0
    wait_after_connect_s: float = 0.0
    pause_s: float = 0.0
    tls: ssl.SSLContext | None = None

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


class ModbusLink:
    """One connection to a Modbus server, opened when it is needed and again when it broke.

    One request is under way at a time (V1.0b section 4.4.2 allows servers with a single transaction). All requests
    raise `ModbusError` when the request failed and `ConnectFailed` (a `LinkDown`) when the connection cannot be opened.

    After a time-out a late answer must not pass for the next one's. TCP framing has transaction ids for that. RTU
    framing has none, so the connection is closed. On TCP framing it is closed once two requests in a row had no
    answer: a half-open connection heals, and one dead unit behind a gateway does not cut its living neighbours.
    """

    def __init__(self, target: ModbusTarget, clock: Clock = SYSTEM_CLOCK) -> None:
        self.target = target
        self._clock = clock
        self._lock = asyncio.Lock()
        self._connection: _Connection | None = None
        self._users = 0
        self._unanswered = 0
        self._free_at = 0.0

    @property
    def is_open(self) -> bool:
        return self._connection is not None and not self._connection.lost

    async def open(self) -> None:
        """Open the connection if it is not. Raises ConnectFailed."""
        async with self._lock:
            await self._opened()

    def close(self) -> None:
        """Close the connection; a request under way ends in ConnectionLost."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    @asynccontextmanager
    async def session(self) -> AsyncIterator[None]:
        """The connection is closed when the last of the sessions that overlap ends."""
        self._users += 1
        try:
            yield
        finally:
            self._users -= 1
            if self._users == 0:
                self.close()

    async def read(self, method: str, unit: int, address: int, count: int) -> list[int] | list[bool]:
        """Registers (0…65535) or bits, exactly `count` of them; `method` is a `read_…` of FUNCTION_CODES."""
        what = f"{method} {address}" + (f"…{address + count - 1}" if count > 1 else "") + f" of unit {unit}"

        async def ask(client: AsyncModbusTcpClient) -> ModbusPDU:
            answer: ModbusPDU = await getattr(client, method)(address, count=count, device_id=unit)
            return answer

        async with self._lock:
            try:
                answer = await self._request(what, ask)
            except ConnectionLost:
                # Many devices close a connection that was idle; asking once more does no harm to a read.
                answer = await self._request(what, ask)
        if method in BIT_METHODS:
            return [bool(bit) for bit in answer.bits[:count]]
        return [int(register) for register in answer.registers]

    async def write(self, method: str, unit: int, address: int, values: Sequence[int] | Sequence[bool]) -> None:
        """Write and wait for the device's confirmation; `method` is a `write_…` of FUNCTION_CODES.

        A write is never repeated: when no answer comes it may or may not have been executed.
        """
        argument = list(values) if method in ("write_coils", "write_registers") else values[0]

        async def ask(client: AsyncModbusTcpClient) -> ModbusPDU:
            answer: ModbusPDU = await getattr(client, method)(address, argument, device_id=unit)
            return answer

        async with self._lock:
            await self._request(f"{method} {address} of unit {unit}", ask)

    async def _request(self, what: str, ask: _Ask) -> ModbusPDU:
        connection = await self._opened()
        await self._pause()
        try:
            answer = await connection.exchange(what, ask)
        except (NoAnswer, BadAnswer) as error:
            self._unanswered = self._unanswered + 1 if isinstance(error, NoAnswer) else 0
            if self.target.framing == "rtu" or connection.broken or self._unanswered >= _SILENCE_IS_HALF_OPEN:
                self._drop(connection)
            raise
        except ExceptionAnswer:
            self._unanswered = 0
            raise
        except BaseException:
            # Lost, or cancelled while an answer is still on its way.
            self._drop(connection)
            raise
        finally:
            self._free_at = self._clock.monotonic() + self.target.pause_s
        self._unanswered = 0
        return answer

    async def _opened(self) -> _Connection:
        if self._connection is not None:
            if not self._connection.lost:
                return self._connection
            self._drop(self._connection)
        connection = _Connection(self.target)
        await connection.open()
        self._connection = connection
        self._unanswered = 0
        if self.target.wait_after_connect_s:
            await self._clock.sleep(self.target.wait_after_connect_s)
        return connection

    async def _pause(self) -> None:
        wait_s = self._free_at - self._clock.monotonic()
        if self.target.pause_s and wait_s > 0:
            await self._clock.sleep(wait_s)

    def _drop(self, connection: _Connection) -> None:
        connection.close()
        if self._connection is connection:
            self._connection = None


class _Client(AsyncModbusTcpClient):
    """pymodbus's TCP client with TLS beneath it: its own TLS client cannot put frames together from segments."""

    def __init__(self, target: ModbusTarget, **hooks: Callable[..., object]) -> None:
        self.comm_params = CommParams(
            comm_type=CommType.TCP,
            host=target.host,
            port=target.port,
            comm_name="modbus",
            reconnect_delay=0,
            timeout_connect=target.timeout_s,
            sslctx=target.tls,
        )
        framer = FramerType.SOCKET if target.framing == "tcp" else FramerType.RTU
        super().__init__(target.host, framer=framer, retries=0, **hooks)  # type: ignore[arg-type]
        self.failure = ""
        self._create = self.ctx.call_create
        self.ctx.call_create = self._create_and_remember

    async def _create_and_remember(self) -> object:
        """pymodbus tells only that connecting failed; people need to know why."""
        try:
            return await self._create()
        except OSError as error:
            plain = error.errno and not isinstance(error, ssl.SSLError | socket.gaierror)
            self.failure = os.strerror(error.errno) if plain and error.errno else str(error)
            raise


_Ask = Callable[[AsyncModbusTcpClient], Awaitable["ModbusPDU"]]


class _Connection:
    """One TCP connection of pymodbus, whose bytes are looked at on their way."""

    def __init__(self, target: ModbusTarget) -> None:
        self._target = target
        self._client = _Client(target, trace_packet=self._look, trace_connect=self._connected)
        # Its limit of unanswered requests is not ours (see ModbusLink).
        self._client.set_max_no_responses(2**31)
        self._exchange: Transaction | None = None
        self._fault: ModbusError | None = None
        self._scope: asyncio.Timeout | None = None
        self.lost = False
        self.broken = False

    async def open(self) -> None:
        try:
            opened = await self._client.connect()
            raise_if_cancelled()
        except (ModbusException, OSError) as error:
            raise ConnectFailed(f"{self._target}: {error}") from error
        except BaseException:
            self._client.close()
            raise
        if not opened:
            self._client.close()
            raise ConnectFailed(f"{self._target}: {self._client.failure or 'no connection in time'}")

    def close(self) -> None:
        self.lost = True
        self._client.close()
        self._end(ConnectionLost(f"{self._target}: connection closed"))

    async def exchange(self, what: str, ask: _Ask) -> ModbusPDU:
        """One request and its answer. Raises ModbusError."""
        self._exchange, self._fault = None, None
        try:
            async with asyncio.timeout(None) as self._scope:
                answer = await ask(self._client)
                raise_if_cancelled()
        except TimeoutError:
            fault = self._fault or ConnectionLost("connection lost")
            raise type(fault)(f"{what}: {fault}") from None
        except ModbusException:
            if self.lost:
                raise ConnectionLost(f"{what}: connection lost") from None
            stray = self._exchange.stray if self._exchange else ""
            reason = f"no answer within {self._target.timeout_s:g} s" + (f", only {stray}" if stray else "")
            raise NoAnswer(f"{what}: {reason}") from None
        finally:
            self._scope = None
        if answer.isError():
            raise ExceptionAnswer(what, answer.exception_code)
        return answer

    def _connected(self, connected: bool) -> None:
        if not connected:
            self.lost = True
            self._end(ConnectionLost("connection lost"))

    def _look(self, sending: bool, packet: bytes) -> bytes:
        if sending:
            self._exchange = Transaction(self._target.framing, packet)
            return packet
        if self._exchange is None:
            return b""
        try:
            fault = self._exchange.fault_in(packet)
        except FrameError as error:
            self.broken = True
            fault = BadAnswer(str(error))
        if fault is not None:
            self._end(fault)
            return b""
        return packet

    def _end(self, fault: ModbusError) -> None:
        """End the request under way now, not at its time-out."""
        answered = self._exchange is not None and self._exchange.answered
        if self._scope is not None and self._fault is None and not answered:
            self._fault = fault
            self._scope.reschedule(asyncio.get_running_loop().time())
