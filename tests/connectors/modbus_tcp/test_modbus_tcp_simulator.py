"""The simulator answers what the configuration asks, and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from connectors.modbus_tcp.simulator import simulate
from links.modbus import ModbusLink, ModbusTarget
from links.modbus_errors import ExceptionAnswer
from tests.connectors.modbus_tcp.conftest import running, settings_for

CONFIG = {
    "read_holding_registers": [{"address": 10, "count": 2, "unit": 3, "datatypes": ">2H"}],
    "write_register": [{"address": 11, "unit": 3, "datatypes": ">H"}],
}


async def simulated(config: Mapping[str, Any], **variables: str) -> tuple[asyncio.Task[None], int]:
    where: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    settings = settings_for(config, **variables)
    task = asyncio.create_task(simulate(settings, started=lambda _host, port: where.set_result(port)))
    return task, await where


@pytest.mark.parametrize("framing", ["tcp", "rtu"])
async def test_the_connector_meets_its_own_simulator(framing: str) -> None:
    task, port = await simulated(CONFIG, MODBUS_FRAMING=framing)

    class Server:
        pass

    server: Any = Server()
    server.port = port
    async with running(server, CONFIG, MODBUS_FRAMING=framing) as run:
        await run.link.until(lambda link: bool(link.raw))
        await run.connector.write("write_register__3__11", 500)
        await run.link.until(lambda link: link.raw[-1] == {"unit": 3, "read_holding_registers": {"10": [10, 500]}})
    assert run.link.raw[0] == {"unit": 3, "read_holding_registers": {"10": [10, 11]}}
    task.cancel()
    await asyncio.wait([task])


async def test_registers_outside_the_configuration_are_refused() -> None:
    task, port = await simulated(CONFIG)
    link = ModbusLink(ModbusTarget("127.0.0.1", port, timeout_s=1))
    with pytest.raises(ExceptionAnswer, match="illegal data address"):
        await link.read("read_holding_registers", 3, 12, 1)
    link.close()
    task.cancel()
    await asyncio.wait([task])


async def test_without_a_configuration_every_unit_has_every_register() -> None:
    task, port = await simulated({})
    link = ModbusLink(ModbusTarget("127.0.0.1", port, timeout_s=1))
    assert await link.read("read_input_registers", 200, 65535, 1) == [65535]
    link.close()
    task.cancel()
    await asyncio.wait([task])
