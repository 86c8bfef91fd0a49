"""A Modbus client over TCP: one connection, one request at a time, every kind of failure told apart."""

from __future__ import annotations

import logging
import ssl
import struct
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from links.modbus_connection import ModbusConnection
from links.modbus_errors import BadAnswer, ConnectionLost, ExceptionAnswer, NoAnswer
from links.modbus_frames import BIT_METHODS, FUNCTION_CODES, Framing, pack_bits, unpack_bits
from links.modbus_turns import Turns
from links.modbus_workarounds import HARMLESS, Workaround
from wattbus.clock import SYSTEM_CLOCK, Clock

log = logging.getLogger(__name__)

# A connection on which this many requests in a row got no answer, from whatever unit, is taken for half-open.
_SILENCE_IS_HALF_OPEN = 2
# A busy device is asked again after these pauses (s); V1.1b3 section 7 leaves it to the client.
BUSY_PAUSES_S = (0.1, 0.2, 0.4)


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
    workarounds: frozenset[Workaround] = HARMLESS

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


class ModbusLink:
    """One connection to a Modbus server, opened when it is needed and again when it broke.

    One request is under way at a time (V1.0b section 4.4.2 allows servers with a single transaction). All requests
    raise `ModbusError` when the request failed and `ConnectFailed` (a `LinkDown`) when the connection cannot be opened.

    Writes come before the reads that wait (`Turns`). A device that is busy (exception 6, and 5 to a read) is asked
    again soon, a few times; others have their turn between.

    After a time-out a late answer must not pass for the next one's. TCP framing has transaction ids for that. RTU
    framing has none, and with the workaround `transaction_id` they cannot be trusted, so the connection is closed. Else
    it is closed once two requests in a row had no answer: a half-open connection heals, and one dead unit behind a
    gateway does not cut its living neighbours.
    """

    def __init__(self, target: ModbusTarget, clock: Clock = SYSTEM_CLOCK) -> None:
        self.target = target
        self._clock = clock
        self._turns = Turns()
        self._connection: ModbusConnection | None = None
        self._worked_around: set[Workaround] = set()
        self._users = 0
        self._unanswered = 0
        self._free_at = 0.0

    @property
    def is_open(self) -> bool:
        return self._connection is not None and not self._connection.lost

    async def open(self) -> None:
        """Open the connection if it is not. Raises ConnectFailed."""
        async with self._turns.turn():
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

    async def read(
        self, method: str, unit: int, address: int, count: int, *, urgent: bool = False
    ) -> list[int] | list[bool]:
        """Registers (0…65535) or bits, exactly `count` of them; `method` is a `read_…` of FUNCTION_CODES."""
        what = f"{method} {address}" + (f"…{address + count - 1}" if count > 1 else "") + f" of unit {unit}"
        pdu = struct.pack(">BHH", FUNCTION_CODES[method], address, count)
        for pause_s in (*BUSY_PAUSES_S, None):
            try:
                async with self._turns.turn(urgent=urgent):
                    try:
                        answer = await self._request(what, unit, pdu)
                    except ConnectionLost:
                        # Many devices close a connection that was idle; asking once more does no harm to a read.
                        answer = await self._request(what, unit, pdu)
                break
            except ExceptionAnswer as error:
                if pause_s is None or not (error.is_busy or error.is_acknowledged):
                    raise
                await self._clock.sleep(pause_s)
        data = answer[2:]
        if method in BIT_METHODS:
            return unpack_bits(data, count)
        return list(struct.unpack(f">{count}H", data))

    async def write(self, method: str, unit: int, address: int, values: Sequence[int] | Sequence[bool]) -> None:
        """Write and wait for the device's confirmation; `method` is a `write_…` of FUNCTION_CODES.

        A write is repeated only when the device says that it was too busy to execute it. When no answer comes it may
        or may not have been executed; after an `OddConfirmation` and an exception 5 it can be read back.
        """
        what = f"{method} {address} of unit {unit}"
        pdu = _write_pdu(method, address, values)
        for pause_s in (*BUSY_PAUSES_S, None):
            try:
                async with self._turns.turn(urgent=True):
                    await self._request(what, unit, pdu)
                return
            except ExceptionAnswer as error:
                if pause_s is None or not error.is_busy:
                    raise
                await self._clock.sleep(pause_s)

    async def _request(self, what: str, unit: int, pdu: bytes) -> bytes:
        connection = await self._opened()
        await self._pause()
        try:
            answer = await connection.exchange(what, unit, pdu)
        except (NoAnswer, BadAnswer) as error:
            self._unanswered = self._unanswered + 1 if isinstance(error, NoAnswer) else 0
            is_ambiguous = self.target.framing == "rtu" or "transaction_id" in self.target.workarounds
            if is_ambiguous or connection.broken or self._unanswered >= _SILENCE_IS_HALF_OPEN:
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

    async def _opened(self) -> ModbusConnection:
        if self._connection is not None:
            if not self._connection.lost:
                return self._connection
            self._drop(self._connection)
        target = self.target
        connection = ModbusConnection(
            str(target), target.framing, target.timeout_s, target.workarounds, self._note_workaround
        )
        await connection.open(target.host, target.port, target.tls)
        self._connection = connection
        self._unanswered = 0
        if self.target.wait_after_connect_s:
            await self._clock.sleep(self.target.wait_after_connect_s)
        return connection

    async def _pause(self) -> None:
        wait_s = self._free_at - self._clock.monotonic()
        if self.target.pause_s and wait_s > 0:
            await self._clock.sleep(wait_s)

    def _note_workaround(self, name: Workaround, what: str) -> None:
        if name not in self._worked_around:
            self._worked_around.add(name)
            log.warning("%s: %s; accepted because of MODBUS_WORKAROUNDS=%s", self.target, what, name)

    def _drop(self, connection: ModbusConnection) -> None:
        connection.close()
        if self._connection is connection:
            self._connection = None


def _write_pdu(method: str, address: int, values: Sequence[int] | Sequence[bool]) -> bytes:
    function = FUNCTION_CODES[method]
    match method:
        case "write_coil":
            return struct.pack(">BHH", function, address, 0xFF00 if values[0] else 0)
        case "write_register":
            return struct.pack(">BHH", function, address, values[0])
        case "write_coils":
            data = pack_bits([bool(value) for value in values])
        case _:
            data = struct.pack(f">{len(values)}H", *values)
    return struct.pack(">BHHB", function, address, len(values), len(data)) + data
