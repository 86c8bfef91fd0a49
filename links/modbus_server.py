"""A Modbus server for simulators and tests: its units are register banks, and it can misbehave in every known way.

It serves the demo device and `simulate`; tests give it `Faults`. mbpoll and pymodbus speak to it in the tests, so that
our client is not only tested against our own frames.
"""

from __future__ import annotations

import asyncio
import ssl
import struct
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Literal, Protocol, Self

from links.modbus_frames import (
    MOST_BITS,
    MOST_REGISTERS,
    FrameError,
    Framing,
    ModbusFrame,
    encode,
    pack_bits,
    split_rtu_request,
    split_tcp,
    unpack_bits,
)

Table = Literal["coils", "discrete_inputs", "input_registers", "holding_registers"]

_READ_TABLES: dict[int, Table] = {1: "coils", 2: "discrete_inputs", 3: "holding_registers", 4: "input_registers"}
_MOST_WRITTEN = {"coils": 1968, "holding_registers": 123}  # V1.1b3 sections 6.11 and 6.12

ILLEGAL_FUNCTION, ILLEGAL_ADDRESS, ILLEGAL_VALUE, GATEWAY_TARGET_SILENT = 1, 2, 3, 11


class Refused(Exception):  # noqa: N818 - an answer of the protocol, not a fault of the program
    """The answer is an exception with this code (V1.1b3 section 7)."""

    def __init__(self, code: int) -> None:
        super().__init__(f"exception {code}")
        self.code = code


class Bank(Protocol):
    """The registers and coils of one unit. Both methods raise Refused."""

    def read(self, table: Table, address: int, count: int) -> Sequence[int]: ...

    def write(self, table: Table, address: int, values: Sequence[int]) -> None: ...


class NumberBank:
    """Every register answers with its own number, every coil with whether its number is odd, until it is written."""

    def __init__(self) -> None:
        self.written: dict[tuple[Table, int], int] = {}

    def read(self, table: Table, address: int, count: int) -> Sequence[int]:
        mask = 1 if table in ("coils", "discrete_inputs") else 0xFFFF
        return [self.written.get((table, number), number & mask) for number in range(address, address + count)]

    def write(self, table: Table, address: int, values: Sequence[int]) -> None:
        self.written |= {(table, address + index): int(value) for index, value in enumerate(values)}


@dataclass(slots=True)
class Faults:
    """How the server misbehaves; the sets and mappings are keyed by a register or coil that the request covers."""

    exceptions: dict[int, int] = field(default_factory=dict)  # exception code
    late_s: dict[int, float] = field(default_factory=dict)  # seconds until the answer
    wrong_transaction: set[int] = field(default_factory=set)
    wrong_unit: set[int] = field(default_factory=set)
    wrong_function: set[int] = field(default_factory=set)
    short: set[int] = field(default_factory=set)  # one register or byte too few
    garbage: set[int] = field(default_factory=set)  # no Modbus at all
    ignored: set[int] = field(default_factory=set)  # no answer
    hang_up: set[int] = field(default_factory=set)  # the connection is closed instead of an answer
    byte_pause_s: float = 0.0  # seconds between the bytes of every answer
    silent_units: set[int] = field(default_factory=set)
    silent: bool = False  # accepts connections and never answers


@dataclass(frozen=True, slots=True)
class Request:
    """What a client asked for."""

    unit: int
    function: int
    table: Table
    address: int
    count: int
    values: tuple[int, ...] = ()


class ModbusServer:
    """Serves `banks` by unit id; `anyone` answers for units that are not in it.

    `requests` holds the last thousand requests, `reads` how often each register was read and answered, `connections`
    how many were accepted. Use as an async context manager, or `start` and `close`.
    """

    def __init__(
        self,
        banks: Mapping[int, Bank],
        *,
        anyone: Bank | None = None,
        framing: Framing = "tcp",
        tls: ssl.SSLContext | None = None,
        faults: Faults | None = None,
    ) -> None:
        self.banks = dict(banks)
        self.faults = faults or Faults()
        self.requests: deque[Request] = deque(maxlen=1000)
        self.reads: Counter[tuple[int, Table, int]] = Counter()
        self.connections = 0
        self.host, self.port = "", 0
        self._anyone = anyone
        self._framing: Framing = framing
        self._tls = tls
        self._server: asyncio.Server | None = None
        self._writers: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        """Listen; `host` and `port` then say where. Raises OSError when the address cannot be had."""
        self._server = await asyncio.start_server(self._accept, host, port, ssl=self._tls, reuse_address=True)
        self.host, self.port = self._server.sockets[0].getsockname()[:2]

    async def close(self) -> None:
        """Stop listening and end every connection."""
        if self._server is not None:
            self._server.close()
        await self.hang_up()

    async def hang_up(self) -> None:
        """End every connection; new ones are welcome."""
        tasks = list(self._writers)
        for task in tasks:
            self._writers[task].transport.abort()
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def __aenter__(self) -> Self:
        if self._server is None:
            await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def written(self) -> list[Request]:
        """The writes among the last requests."""
        return [request for request in self.requests if request.function > 4]

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer), name="modbus server connection")
        self._writers[task] = writer
        task.add_done_callback(self._writers.pop)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        buffer = b""
        try:
            with suppress(ConnectionError, FrameError, ssl.SSLError, TimeoutError):
                while received := await reader.read(4096):
                    frames, buffer = self._split(buffer + received)
                    for frame in frames:
                        await self._respond(frame, writer)
        finally:
            writer.close()

    def _split(self, buffer: bytes) -> tuple[list[ModbusFrame], bytes]:
        if self._framing == "tcp":
            return split_tcp(buffer)
        frame = split_rtu_request(buffer)
        return ([], buffer) if frame is None else ([frame], buffer[len(frame.pdu) + 3 :])

    async def _respond(self, frame: ModbusFrame, writer: asyncio.StreamWriter) -> None:
        request = _request(frame)
        covered = range(request.address, request.address + request.count) if request else range(0)
        faults = self.faults
        if request is not None:
            self.requests.append(request)
        if faults.silent or frame.unit in faults.silent_units or not faults.ignored.isdisjoint(covered):
            return
        if not faults.hang_up.isdisjoint(covered):
            raise ConnectionAbortedError
        if late := [faults.late_s[address] for address in covered if address in faults.late_s]:
            await asyncio.sleep(max(late))
        pdu = self._answer(frame, request)
        if pdu is not None:
            await self._send(self._spoilt(frame, pdu, covered), writer)

    def _answer(self, frame: ModbusFrame, request: Request | None) -> bytes | None:
        """The answer's PDU; None when nobody is there to answer."""
        bank = self.banks.get(frame.unit, self._anyone)
        function = frame.pdu[0]
        if bank is None:
            # A serial line stays silent, a gateway on TCP says so.
            return bytes([function | 0x80, GATEWAY_TARGET_SILENT]) if self._framing == "tcp" else None
        try:
            if request is None:
                raise Refused(ILLEGAL_FUNCTION if function not in (1, 2, 3, 4, 5, 6, 15, 16) else ILLEGAL_VALUE)
            if request.address + request.count > 0x10000:
                raise Refused(ILLEGAL_ADDRESS)
            for address in range(request.address, request.address + request.count):
                if address in self.faults.exceptions:
                    raise Refused(self.faults.exceptions[address])
            return self._executed(bank, request, frame.pdu)
        except Refused as refused:
            return bytes([function | 0x80, refused.code])

    def _executed(self, bank: Bank, request: Request, pdu: bytes) -> bytes:
        if request.values:
            bank.write(request.table, request.address, request.values)
            return pdu if request.function in (5, 6) else pdu[:5]
        words = bank.read(request.table, request.address, request.count)
        self.reads.update((request.unit, request.table, request.address + index) for index in range(request.count))
        if request.function in (1, 2):
            values = pack_bits([bool(word) for word in words])
        else:
            values = struct.pack(f">{request.count}H", *words)
        return bytes([request.function, len(values)]) + values

    def _spoilt(self, frame: ModbusFrame, pdu: bytes, covered: range) -> bytes:
        faults = self.faults
        transaction, unit = frame.transaction, frame.unit
        if not faults.short.isdisjoint(covered):
            size = max(pdu[1] - 2, 1)
            pdu = bytes([pdu[0], size]) + pdu[2 : 2 + size]
        if not faults.wrong_function.isdisjoint(covered):
            pdu = bytes([43]) + pdu[1:]
        if not faults.wrong_transaction.isdisjoint(covered):
            transaction = (transaction + 1000) & 0xFFFF
        if not faults.wrong_unit.isdisjoint(covered):
            unit = (unit + 1) & 0xFF
        if not faults.garbage.isdisjoint(covered):
            return b"HTTP/1.1 400 Bad Request\r\n\r\n"
        return encode(self._framing, ModbusFrame(transaction, unit, pdu))

    async def _send(self, data: bytes, writer: asyncio.StreamWriter) -> None:
        if not self.faults.byte_pause_s:
            writer.write(data)
        for byte in data if self.faults.byte_pause_s else b"":
            writer.write(bytes([byte]))
            await asyncio.sleep(self.faults.byte_pause_s)
        await writer.drain()


def _request(frame: ModbusFrame) -> Request | None:
    """The request in a frame; None when the function is unknown or the numbers are out of the standard's bounds."""
    function, pdu = frame.pdu[0], frame.pdu
    if len(pdu) < 5:
        return None
    address, number = struct.unpack_from(">HH", pdu, 1)
    if function in _READ_TABLES:
        table = _READ_TABLES[function]
        most = MOST_BITS if function in (1, 2) else MOST_REGISTERS
        return Request(frame.unit, function, table, address, number) if 1 <= number <= most else None
    if function == 5 and number in (0, 0xFF00):
        return Request(frame.unit, function, "coils", address, 1, (number >> 15,))
    if function == 6:
        return Request(frame.unit, function, "holding_registers", address, 1, (number,))
    if function in (15, 16):
        return _many(frame, "coils" if function == 15 else "holding_registers", address, number)
    return None


def _many(frame: ModbusFrame, table: Table, address: int, count: int) -> Request | None:
    size = (count + 7) // 8 if table == "coils" else 2 * count
    data = frame.pdu[6:]
    if not 1 <= count <= _MOST_WRITTEN[table] or len(data) != size or frame.pdu[5] != size:
        return None
    values = unpack_bits(data, count) if table == "coils" else struct.unpack(f">{count}H", data)
    return Request(frame.unit, frame.pdu[0], table, address, count, tuple(int(value) for value in values))
