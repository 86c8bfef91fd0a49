"""The health check of the images, against real health servers."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import pytest

from tests.support.ports import free_port
from wattbus.service import health
from wattbus.service.health import HealthServer
from wattbus.testing.waiting import PATIENCE_S

CHECK = Path(__file__).parents[2] / "containers" / "healthy.py"


async def check(**environment: str) -> tuple[int, str]:
    """Exit code, and what it said."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-I", "-S", CHECK, env=environment, stdout=asyncio.subprocess.PIPE
    )
    said, _ = await asyncio.wait_for(process.communicate(), PATIENCE_S)
    assert process.returncode is not None
    return process.returncode, said.decode().strip()


@pytest.fixture(autouse=True)
def nobody_else() -> None:
    """Other tests of this process have left services behind that nobody runs any more."""
    for service in list(health.services()):
        health.forget(service.service)


@pytest.fixture
async def port() -> int:
    server = HealthServer("127.0.0.1", 0)
    port = await server.start()
    yield port
    await server.stop()


async def test_a_service_that_is_well(port: int) -> None:
    assert await check(HTTP_PORT=str(port)) == (0, '{"ok": true, "faults": {}}')


async def test_a_service_that_is_not_ready_says_why(port: int) -> None:
    health.of("meter").ready("link", lambda: "no answer from the device")
    try:
        code, said = await check(HTTP_PORT=str(port))
    finally:
        health.forget("meter")
    assert code == 1
    assert json.loads(said) == {"ok": False, "faults": {"meter": {"link": "no answer from the device"}}}


async def test_a_long_reason_is_told_as_far_as_docker_keeps_it(port: int) -> None:
    health.of("meter").ready("link", lambda: "x" * 10_000)
    try:
        code, said = await check(HTTP_PORT=str(port))
    finally:
        health.forget("meter")
    assert code == 1 and 3000 < len(said) <= 4096


async def test_nobody_there() -> None:
    code, said = await check(HTTP_PORT=str(free_port()))
    assert (code, said.partition(":")[0]) == (1, "no answer")


async def test_somebody_who_does_not_answer() -> None:
    async def keep_silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with await asyncio.start_server(keep_silent, "127.0.0.1", 0) as server:
        code, said = await check(HTTP_PORT=str(server.sockets[0].getsockname()[1]))
    assert (code, said.partition(":")[0]) == (1, "no answer")


@pytest.mark.parametrize("environment", [{}, {"HTTP_PORT": ""}, {"HTTP_PORT": "x"}])
async def test_without_a_port(environment: dict[str, str]) -> None:
    assert await check(**environment) == (1, "HTTP_PORT is not set: there is no health to ask for")
