"""A Modbus server to talk to when there is no device: every register answers with its own number."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from connectors.modbus_tcp.config import ModbusConfig
from connectors.modbus_tcp.settings import Settings
from links.modbus_server import ILLEGAL_ADDRESS, Bank, ModbusServer, NumberBank, Refused, Table

_TABLES: dict[str, Table] = {
    "read_coils": "coils",
    "read_discrete_inputs": "discrete_inputs",
    "read_holding_registers": "holding_registers",
    "read_input_registers": "input_registers",
    "write_coil": "coils",
    "write_coils": "coils",
    "write_register": "holding_registers",
    "write_registers": "holding_registers",
}


class ConfiguredBank(NumberBank):
    """The registers of one unit that MODBUS_CONFIG knows; others are refused, as by a real device."""

    def __init__(self, unit: int, config: ModbusConfig) -> None:
        super().__init__()
        self._there = {
            (_TABLES[method], entry.address + index)
            for method, _, entry in [*config.reads(), *config.writes()]
            if entry.unit == unit
            for index in range(entry.words)
        }

    def read(self, table: Table, address: int, count: int) -> Sequence[int]:
        self._check(table, address, count)
        return super().read(table, address, count)

    def write(self, table: Table, address: int, values: Sequence[int]) -> None:
        self._check(table, address, len(values))
        super().write(table, address, values)

    def _check(self, table: Table, address: int, count: int) -> None:
        if any((table, address + index) not in self._there for index in range(count)):
            raise Refused(ILLEGAL_ADDRESS)


def banks(config: ModbusConfig) -> dict[int, Bank]:
    """A bank for every unit in the configuration."""
    units = {entry.unit for _, _, entry in [*config.reads(), *config.writes()]}
    return {unit: ConfiguredBank(unit, config) for unit in sorted(units)}


async def simulate(
    settings: Settings, host: str = "127.0.0.1", port: int = 0, started: Callable[[str, int], None] | None = None
) -> None:
    """Serve for ever what `settings` read and write, in their framing, without TLS; `started` is told where.

    With an empty MODBUS_CONFIG every unit has every register.
    """
    config = settings.modbus_config
    server = ModbusServer(
        banks(config), anyone=NumberBank() if config.is_empty else None, framing=settings.modbus_framing
    )
    await server.start(host, port)
    async with server:
        if started is not None:
            started(server.host, server.port)
        await asyncio.Event().wait()
