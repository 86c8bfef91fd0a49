"""One TCP connection to a Modbus server: opened, one request at a time, closed."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import Callable

from links.modbus_errors import BadAnswer, ConnectFailed, ConnectionLost, ExceptionAnswer, ModbusError, NoAnswer
from links.modbus_frames import FrameError, Framing, ModbusFrame
from links.modbus_transaction import Transaction
from links.modbus_workarounds import NO_WORKAROUNDS, Workaround

# How long nonsense must have been the last that came until it is taken for the answer (s); RTU framing only.
_LONGEST_GRACE_S = 0.5


class ModbusConnection(asyncio.Protocol):
    """`lost`: it is closed. `broken`: what comes on it cannot be trusted any more, close it."""

    def __init__(
        self,
        name: str,
        framing: Framing,
        timeout_s: float,
        workarounds: frozenset[Workaround] = NO_WORKAROUNDS,
        worked_around: Callable[[Workaround, str], None] = lambda name, what: None,
    ) -> None:
        self.lost = False
        self.broken = False
        self._name = name
        self._framing = framing
        self._timeout_s = timeout_s
        self._workarounds = workarounds
        self._worked_around = worked_around
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._number = 0
        self._echoes = False
        self._rubbish_follows = False
        self._transaction: Transaction | None = None
        self._answer: asyncio.Future[bytes] | None = None
        self._grace: asyncio.TimerHandle | None = None

    async def open(self, host: str, port: int, tls: ssl.SSLContext | None) -> None:
        """Connect. Raises ConnectFailed."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._timeout_s):
                await loop.create_connection(lambda: self, host, port, ssl=tls)
        except TimeoutError:
            self.close()
            raise ConnectFailed(f"{self._name}: no connection in time") from None
        except (OSError, ValueError) as error:
            self.close()
            raise ConnectFailed(f"{self._name}: {_in_words(error)}") from error
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close; a request under way ends in ConnectionLost."""
        self.lost = True
        if self._transport is not None:
            self._transport.abort()
        self._fail(ConnectionLost(f"{self._name}: connection closed"))

    async def exchange(self, what: str, unit: int, pdu: bytes) -> bytes:
        """One request and its answer's PDU; `what` names it in errors. Raises ModbusError."""
        if self._transport is None or self.lost:
            raise ConnectionLost(f"{what}: connection lost")
        if self._framing == "rtu" or "extra_bytes" in self._workarounds or self._rubbish_follows:
            self._buffer.clear()
        self._number = self._number % 0xFFFF + 1
        number = self._number if self._framing == "tcp" else 0
        transaction = Transaction(self._framing, ModbusFrame(number, unit, pdu), self._workarounds, echoes=self._echoes)
        self._transaction = transaction
        self._answer = answer = asyncio.get_running_loop().create_future()
        try:
            self._transport.write(transaction.adu)
            async with asyncio.timeout(self._timeout_s):
                given: bytes = await answer
        except TimeoutError:
            raise self._timed_out(what, transaction) from None
        except ModbusError as error:
            raise type(error)(f"{what}: {error}") from None
        finally:
            self._transaction = self._answer = None
            self._end_grace()
        self._echoes |= transaction.saw_echo
        self._rubbish_follows = transaction.leaves_rubbish
        for name, reason in transaction.used.items():
            self._worked_around(name, f"{what}: {reason}")
        if given[0] & 0x80:
            raise ExceptionAnswer(what, given[1])
        return given

    def _timed_out(self, what: str, transaction: Transaction) -> ModbusError:
        error = transaction.verdict(bytes(self._buffer)) or transaction.last_word()
        if error is not None:
            return type(error)(f"{what}: {error}")
        stray = transaction.stray or ("an echo of the request" if transaction.saw_echo else "")
        return NoAnswer(f"{what}: no answer within {self._timeout_s:g} s" + (f", only {stray}" if stray else ""))

    # -- asyncio.Protocol -------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        if self.lost:
            transport.abort()

    def connection_lost(self, error: Exception | None) -> None:
        self.lost = True
        self._fail(ConnectionLost("connection lost"))

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if self._transaction is None or self._answer is None or self._answer.done():
            if len(self._buffer) > 4096:  # somebody talks without being asked
                self.broken = True
                self._buffer.clear()
            return
        try:
            answer = self._transaction.answer_in(self._buffer)
        except FrameError as error:
            self.broken = True
            self._fail(BadAnswer(str(error)))
        except ModbusError as error:
            self._fail(error)
        else:
            if answer is not None:
                self._answer.set_result(answer)
            elif self._framing == "rtu":
                self._begin_grace()

    def _fail(self, error: ModbusError) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)

    # -- nonsense on RTU framing ------------------------------------------------------------------------------------

    def _begin_grace(self) -> None:
        self._end_grace()
        grace_s = min(self._timeout_s / 2, _LONGEST_GRACE_S)
        self._grace = asyncio.get_running_loop().call_later(grace_s, self._judge_nonsense)

    def _end_grace(self) -> None:
        if self._grace is not None:
            self._grace.cancel()
            self._grace = None

    def _judge_nonsense(self) -> None:
        if self._transaction is not None and (error := self._transaction.verdict(bytes(self._buffer))) is not None:
            self._fail(error)


def _in_words(error: Exception) -> str:
    is_plain = isinstance(error, OSError) and error.errno and not isinstance(error, ssl.SSLError | socket.gaierror)
    return os.strerror(error.errno) if is_plain and isinstance(error, OSError) and error.errno else str(error)
