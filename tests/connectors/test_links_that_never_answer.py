"""Devices that are not there, or only seem to be: whole connectors on real sockets, which must never call them up."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from connectors.dsmr_p1 import connector as dsmr_p1
from connectors.dsmr_p1.settings import Settings as DsmrSettings
from connectors.modbus_tcp import connector as modbus_tcp
from connectors.modbus_tcp.settings import Settings as ModbusSettings
from connectors.socket import connector as socket_connector
from connectors.socket.settings import Settings as SocketSettings
from wattbus.connector import Connector, Link
from wattbus.mqtt.embedded_broker import Mosquitto
from wattbus.runtime import link_timers
from wattbus.runtime.connector_runtime import Runtime
from wattbus.service import health
from wattbus.service.lifecycle import in_service
from wattbus.settings import load
from wattbus.testing.mqtt import plain_client
from wattbus.testing.waiting import PATIENCE_S

NAME = "meter"
ATTEMPTS = 6
WITHIN_S = PATIENCE_S
REGISTER = {"read_holding_registers": [{"unit": 1, "address": 1, "count": 1, "datatypes": ">H"}]}


def modbus(port: int, common: dict[str, str]) -> tuple[Connector, Any]:
    variables = {
        "MODBUS_MASTER_IP": "127.0.0.1",
        "MODBUS_MASTER_PORT": str(port),
        "MODBUS_CONFIG": json.dumps(REGISTER),
        "MODBUS_TIMEOUT_SECONDS": "0.2",
        "MODBUS_RETRY_WAIT_SECONDS": "0.01",
        "POLL_SECONDS": "0.1",
    }
    settings = load(ModbusSettings, {**common, **variables})
    return modbus_tcp.create(settings), settings


def p1(port: int, common: dict[str, str]) -> tuple[Connector, Any]:
    variables = {"DSMR_PORT": f"socket://127.0.0.1:{port}", "DSMR_TIMEOUT_SECONDS": "1.01"}
    settings = load(DsmrSettings, {**common, **variables})
    return dsmr_p1.create(settings), settings


def client(port: int, common: dict[str, str]) -> tuple[Connector, Any]:
    variables = {"SERVER_IP": "127.0.0.1", "SERVER_PORT": str(port), "RECV_TIMEOUT": "0.2"}
    settings = load(SocketSettings, {**common, **variables})
    return socket_connector.create(settings), settings


@contextlib.asynccontextmanager
async def swallows() -> AsyncIterator[int]:
    """An address that swallows packets: a listener whose backlog is full."""
    with contextlib.ExitStack() as sockets:
        listener = sockets.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            filling = sockets.enter_context(socket.socket())
            filling.setblocking(False)
            filling.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


@contextlib.asynccontextmanager
async def accepts() -> AsyncIterator[int]:
    """Accepts connections, takes what is said, and never answers."""

    async def hear(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while await reader.read(1000):
                pass
        writer.close()

    server = await asyncio.start_server(hear, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


def counting(connector: Connector) -> list[int]:
    """How often `run()` was entered."""
    entered: list[int] = []
    run = connector.run

    async def counted(link: Link) -> None:
        entered.append(len(entered) + 1)
        await run(link)

    connector.run = counted  # type: ignore[method-assign]
    return entered


@pytest.mark.parametrize(
    ("device", "make", "reason"),
    [
        (swallows, modbus, "no connection in time"),
        (accepts, modbus, "no unit answers"),
        (accepts, p1, "the meter is silent"),
        (accepts, client, "is silent"),
    ],
)
async def test_it_is_never_up_and_logged_once(
    device: Callable[[], contextlib.AbstractAsyncContextManager[int]],
    make: Callable[[int, dict[str, str]], tuple[Connector, Any]],
    reason: str,
    mosquitto: Mosquitto,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each attempt takes longer than a link needs to settle, as those of ten seconds do in a building."""
    monkeypatch.setattr(link_timers, "SETTLED_AFTER_S", 0.05)
    caplog.set_level(logging.INFO)
    common = {"CONNECTOR_NAME": NAME, "MQTT_BROKER_PORT": str(mosquitto.port), "DATA_DIRECTORY": str(tmp_path)}
    async with device() as port, plain_client(mosquitto.port, f"{NAME}/status") as bus:
        connector, settings = make(port, common)
        entered = counting(connector)
        runtime = Runtime(connector, settings)
        pauses = runtime._link._backoff
        pauses.first_s, pauses.longest_s = 0.001, 0.05
        task = asyncio.create_task(in_service(NAME, runtime.run))
        ready = set()
        try:
            async with asyncio.timeout(WITHIN_S):
                while len(entered) < ATTEMPTS:
                    if entered:
                        ready.add("link" not in health.of(NAME).faults(ready=True))
                    await asyncio.sleep(0.01)
            await bus.until(lambda: reason in (bus.last(f"{NAME}/status") or {"detail": ""})["detail"])
            assert pauses.failures >= ATTEMPTS - 1, "the pauses grow: nothing has answered"
        finally:
            task.cancel()
            await asyncio.wait([task])
        statuses = [seen.json for seen in bus.on(f"{NAME}/status")][:-1]  # the last one says goodbye
    assert {status["state"] for status in statuses} == {"degraded"}
    assert {status["link"] for status in statuses} <= {"connecting", "down", "silent"}
    assert ready == {False}, "/readyz is never 200"
    assert sum(record.getMessage().startswith("link: ") for record in caplog.records) == 1
    others = [record.getMessage() for record in caplog.records if record.name.startswith(("wattbus", "links", "conn"))]
    assert len(others) <= 3, others
