"""A device whose every answer is written down byte by byte, for answers that no standard knows."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from links.modbus import ModbusLink, ModbusTarget
from links.modbus_frames import Framing, ModbusFrame, encode, split_rtu_request, split_tcp
from links.modbus_workarounds import HARMLESS, Workaround

# What is sent for a request; a float among the bytes is a pause (s).
Script = Callable[[ModbusFrame], "bytes | list[bytes | float] | None"]


@dataclass
class Device:
    """`requests` are the PDUs that came."""

    script: Script
    framing: Framing
    requests: list[bytes] = field(default_factory=list)
    port: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        buffer = b""
        try:
            while received := await reader.read(4096):
                buffer += received
                if self.framing == "tcp":
                    frames, buffer = split_tcp(buffer)
                else:
                    frame = split_rtu_request(buffer)
                    frames, buffer = ([frame], b"") if frame else ([], buffer)
                for frame in frames:
                    self.requests.append(frame.pdu)
                    answer = self.script(frame)
                    for part in answer if isinstance(answer, list) else [answer or b""]:
                        if isinstance(part, float):
                            await asyncio.sleep(part)
                        else:
                            writer.write(part)
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def device(
    script: Script,
    framing: Framing = "tcp",
    workarounds: frozenset[Workaround] = HARMLESS,
    timeout_s: float = 0.2,
) -> AsyncIterator[tuple[ModbusLink, Device]]:
    """The device, and a link to it."""
    own = Device(script, framing)
    server = await asyncio.start_server(own.serve, "127.0.0.1", 0)
    own.port = server.sockets[0].getsockname()[1]
    link = ModbusLink(ModbusTarget("127.0.0.1", own.port, framing, timeout_s, workarounds=workarounds))
    try:
        yield link, own
    finally:
        link.close()
        server.close()


def values_of(request: bytes) -> bytes:
    """The right answer's PDU: every register answers with its own number, every coil is on; writes are confirmed."""
    function, address, count = struct.unpack_from(">BHH", request)
    if function in (1, 2):
        data = b"\xff" * (count // 8) + (bytes([(1 << count % 8) - 1]) if count % 8 else b"")
    elif function in (3, 4):
        data = struct.pack(f">{count}H", *range(address, address + count))
    else:
        return request[:5]
    return bytes([function, len(data)]) + data


def answered(frame: ModbusFrame, pdu: bytes, framing: Framing = "tcp", *, transaction: int | None = None) -> bytes:
    """An answer to the request with this PDU."""
    number = frame.transaction if transaction is None else transaction & 0xFFFF
    return encode(framing, ModbusFrame(number, frame.unit, pdu))


Ask = Callable[[ModbusLink], Awaitable[object]]
