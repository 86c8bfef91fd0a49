"""Modbus: what a command waits behind polls, how fast raw messages are decoded, and how many values reach the bus.

PYTHONPATH=. python bench/modbus.py            # all three, a minute
PYTHONPATH=. python bench/modbus.py command    # or one: command, decode, bus
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import sys
import time
from collections.abc import Iterable
from typing import Any

from connectors.modbus_tcp import codec
from connectors.modbus_tcp.config import ModbusConfig
from connectors.modbus_tcp.connector import ModbusTcp, create
from connectors.modbus_tcp.decoder import Decoder
from connectors.modbus_tcp.settings import Settings
from links.modbus_server import Faults, ModbusServer, NumberBank
from wattbus.connector import Datapoint
from wattbus.jsontext import JsonValue, dumps
from wattbus.settings import load

ANSWER_S = 0.03


class NoBus:
    """The runtime's side of the contract, as far as serializing goes."""

    def __init__(self) -> None:
        self.values = 0
        self.connector: ModbusTcp | None = None

    def connected(self) -> None:
        pass

    def emit(self, raw: JsonValue, timestamp_ms: int | None = None) -> None:
        assert self.connector is not None
        for reading in self.connector.decode(raw):
            self.values += len(reading.values)
            for value in reading.values.values():
                dumps({"value": value, "timestamp": 1})

    def announce(self, datapoints: Iterable[Datapoint]) -> None:
        pass

    def unit(self, name: str, up: bool, reason: str = "") -> None:
        pass


def settings(port: int, config: dict[str, Any], **more: str) -> Settings:
    given = {
        "CONNECTOR_NAME": "bench",
        "MODBUS_MASTER_IP": "127.0.0.1",
        "MODBUS_MASTER_PORT": str(port),
        "MODBUS_CONFIG": json.dumps(config),
    }
    return load(Settings, {**given, **more})


async def command(dead: int) -> None:
    """100 units behind one gateway that takes 30 ms for each request; `dead` of them never answer (0.3 s)."""
    units = range(1, 101)
    config = {
        "read_holding_registers": [{"address": 1, "count": 1, "unit": unit, "datatypes": ">H"} for unit in units],
        "write_register": [{"address": 9, "unit": 100, "datatypes": ">H"}],
    }
    faults = Faults(late_s=dict.fromkeys((1, 9), ANSWER_S), silent_units=set(range(1, dead + 1)))
    async with ModbusServer({unit: NumberBank() for unit in units}, faults=faults) as server:
        connector = create(settings(server.port, config, POLL_SECONDS="1", MODBUS_TIMEOUT_SECONDS="0.3"))
        link = NoBus()
        link.connector = connector
        running = asyncio.create_task(connector.run(link))
        await asyncio.sleep(1.0)
        taken: list[float] = []
        for number in range(20):
            began = time.perf_counter()
            await connector.write("write_register__100__9", number)
            taken.append(time.perf_counter() - began)
            await asyncio.sleep(0.07)
        running.cancel()
        await asyncio.wait([running])
    worst, middle = max(taken), statistics.median(taken)
    print(
        f"command behind 100 units, {dead} dead: median {middle * 1000:.0f} ms = {middle / ANSWER_S:.1f} requests',"
        f" longest {worst * 1000:.0f} ms = {worst / ANSWER_S:.1f}"
    )


def decode() -> None:
    """2,000 values of one poll: one raw message per unit, as they are emitted."""
    for units, ranges in ((1, 50), (20, 50), (1, 1000), (100, 20)):
        entries = [
            {"address": 4 * at, "count": 2, "unit": unit, "datatypes": ">f", "scaling_factors": {}}
            for unit in range(1, units + 1)
            for at in range(ranges)
        ]
        config = ModbusConfig.model_validate({"read_holding_registers": entries})
        messages = [
            {"unit": unit, "read_holding_registers": {str(4 * at): [16968, 62915] for at in range(ranges)}}
            for unit in range(1, units + 1)
        ]
        decoder = Decoder(config)
        began = time.process_time()
        found = sum(len(one.values) for message in messages for one in decoder.decode(message))
        taken = time.process_time() - began
        assert found == units * ranges
        print(
            f"decode {units} units x {ranges} ranges = {found} values: {taken * 1000:.1f} ms of processor time, "
            f"{taken / found * 1e6:.1f} us per value"
        )
    assert codec.decode(messages[0], config)


async def bus(seconds: float = 5.0) -> None:
    """Ten devices of 1,000 float values each, polled as fast as it goes; everything but the broker itself."""
    entries = [{"address": 124 * at, "count": 124, "unit": 1, "datatypes": ">62f"} for at in range(16)]
    config = {"read_holding_registers": entries}
    servers = [ModbusServer({1: NumberBank()}) for _ in range(10)]
    links: list[NoBus] = []
    tasks: list[asyncio.Task[None]] = []
    for server in servers:
        await server.start()
        link = NoBus()
        link.connector = create(settings(server.port, config, POLL_SECONDS="0.01"))
        links.append(link)
        tasks.append(asyncio.create_task(link.connector.run(link)))
    await asyncio.sleep(0.5)
    before, began, processor = sum(link.values for link in links), time.perf_counter(), time.process_time()
    await asyncio.sleep(seconds)
    count, took = sum(link.values for link in links) - before, time.perf_counter() - began
    busy = (time.process_time() - processor) / took
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    for server in servers:
        await server.close()
    print(
        f"ten devices: {count / took:,.0f} values a second read, decoded and serialized in one process with the "
        f"simulated devices ({busy:.2f} processors busy, load {os.getloadavg()[0]:.1f} on {os.cpu_count()})"
    )


def main() -> None:
    what = sys.argv[1:] or ["command", "decode", "bus"]
    if "command" in what:
        asyncio.run(command(0))
        asyncio.run(command(10))
    if "decode" in what:
        decode()
    if "bus" in what:
        asyncio.run(bus())


if __name__ == "__main__":
    main()
