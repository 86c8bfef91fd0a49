"""The server against clients that are not ours: pymodbus and mbpoll (libmodbus)."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from shutil import which

import pytest
from pymodbus import FramerType
from pymodbus.client import AsyncModbusTcpClient

from links.modbus_frames import Framing
from links.modbus_server import ModbusServer, NumberBank, Refused, Table


class SmallBank(NumberBank):
    """Ten registers, so that there is an end."""

    def read(self, table: Table, address: int, count: int) -> list[int]:
        if address + count > 10:
            raise Refused(2)
        return list(super().read(table, address, count))


@pytest.fixture
async def server() -> AsyncIterator[ModbusServer]:
    async with ModbusServer({1: SmallBank()}) as server:
        yield server


@pytest.mark.parametrize("framing", ["tcp", "rtu"])
async def test_pymodbus_reads_and_writes(framing: Framing) -> None:
    async with ModbusServer({1: SmallBank()}, framing=framing) as server:
        framer = FramerType.SOCKET if framing == "tcp" else FramerType.RTU
        client = AsyncModbusTcpClient(server.host, port=server.port, framer=framer, retries=0, timeout=1)
        await client.connect()
        await client.write_registers(2, [20, 30], device_id=1)
        await client.write_register(4, 40, device_id=1)
        await client.write_coils(2, [False, True, True], device_id=1)
        await client.write_coil(5, False, device_id=1)
        assert (await client.read_holding_registers(1, count=5, device_id=1)).registers == [1, 20, 30, 40, 5]
        assert (await client.read_input_registers(1, count=2, device_id=1)).registers == [1, 2]
        assert (await client.read_coils(1, count=5, device_id=1)).bits[:5] == [True, False, True, True, False]
        assert (await client.read_discrete_inputs(1, count=2, device_id=1)).bits[:2] == [True, False]
        refused = await client.read_holding_registers(8, count=5, device_id=1)
        assert (refused.isError(), refused.exception_code) == (True, 2)
        client.close()


async def mbpoll(server: ModbusServer, *arguments: str) -> str:
    if which("mbpoll") is None:
        pytest.skip("mbpoll is not installed: the server was not tried with libmodbus")
    process = await asyncio.create_subprocess_exec(
        "mbpoll", "-m", "tcp", "-p", str(server.port), "-0", "-1", *arguments[:-1], server.host, *arguments[-1].split(),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    output, _ = await process.communicate()
    return output.decode()


async def test_mbpoll_reads_and_writes(server: ModbusServer) -> None:
    assert "Written 1 references" in await mbpoll(server, "-t", "4:float", "-B", "-r", "1", "50.24")
    assert [request.values for request in server.written()] == [(0x4248, 0xF5C3)]
    assert "50.24" in await mbpoll(server, "-t", "4:float", "-B", "-r", "1", "")
    assert "Illegal data address" in await mbpoll(server, "-t", "3", "-r", "20", "")
    assert "Written 2 references" in await mbpoll(server, "-t", "0", "-r", "2", "0 1")
    coils = await mbpoll(server, "-t", "0", "-r", "1", "-c", "3", "")
    assert [line.split()[-1] for line in coils.splitlines() if line.startswith("[")] == ["1", "0", "1"]


@pytest.mark.parametrize(
    ("pdu", "answer"),
    [
        ("2B 0E 01 00", "AB 01"),  # a function that it does not have: illegal function
        ("03 00 00 00 00", "83 03"),  # no registers at all: illegal data value
        ("03 00 00 00 7E", "83 03"),  # more than 125
        ("01 00 00 07 D1", "81 03"),  # more than 2000
        ("05 00 01 12 34", "85 03"),  # a coil is 0000 or FF00
        ("10 00 01 00 02 03 00 01 02", "90 03"),  # byte count and values disagree
        ("03 FF FF 00 02", "83 02"),  # beyond the last register
    ],
)
async def test_requests_outside_the_standard_are_refused_as_it_says(
    server: ModbusServer, pdu: str, answer: str
) -> None:
    """Modbus Application Protocol V1.1b3, the state diagrams of section 6."""
    reader, writer = await asyncio.open_connection(server.host, server.port)
    data = bytes.fromhex(pdu)
    writer.write(struct.pack(">HHHB", 7, 0, len(data) + 1, 1) + data)
    expected = bytes.fromhex(answer)
    assert await reader.readexactly(9) == struct.pack(">HHHB", 7, 0, len(expected) + 1, 1) + expected
    writer.close()


async def test_a_unit_that_is_not_there_is_a_gateways_silence(server: ModbusServer) -> None:
    client = AsyncModbusTcpClient(server.host, port=server.port, retries=0, timeout=1)
    await client.connect()
    answer = await client.read_holding_registers(1, device_id=9)
    assert answer.exception_code == 11
    client.close()


async def test_every_read_and_write_is_counted(server: ModbusServer) -> None:
    client = AsyncModbusTcpClient(server.host, port=server.port, retries=0, timeout=1)
    await client.connect()
    await client.read_holding_registers(1, count=2, device_id=1)
    await client.read_holding_registers(2, count=2, device_id=1)
    await client.read_holding_registers(9, count=2, device_id=1)  # refused: not counted
    client.close()
    counts = {address: count for (_, _, address), count in server.reads.items()}
    assert counts == {1: 1, 2: 2, 3: 1}
    assert [(request.address, request.count) for request in server.requests] == [(1, 2), (2, 2), (9, 2)]
