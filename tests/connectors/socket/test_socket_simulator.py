"""The connector meets its own simulator, in every format, framing and direction."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable

import pytest

from connectors.socket import simulator
from connectors.socket.simulator import simulate
from tests.connectors.socket.conftest import running, settings_for


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulator, "EVERY_S", 0.05)


async def ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task])


@pytest.mark.parametrize(
    ("parse_as", "framing"),
    [
        *itertools.product(["JSON", "YAML", "VALUES", "NUMBERS", "PAIRS"], ["auto", "length", "pause"]),
        *itertools.product(["JSON", "VALUES", "NUMBERS", "PAIRS"], ["line"]),
        ("YAML", "yaml"),
    ],
)
async def test_a_client_of_the_simulated_server(parse_as: str, framing: str) -> None:
    variables = {"PARSE_AS": parse_as, "SOCKET_FRAMING": framing, "SOCKET_PAUSE_SECONDS": "0.02"}
    where: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    started: Callable[[str, int], None] = lambda _host, port: where.set_result(port)  # noqa: E731
    settings = settings_for(SERVER_IP="127.0.0.1", SERVER_PORT="1", **variables)
    task = asyncio.create_task(simulate(settings, started=started))
    async with running(SERVER_IP="127.0.0.1", SERVER_PORT=str(await where), **variables) as client:
        values = await client.link.until_values(3)
    await ended(task)
    keys = {"VALUES": ["14__1", "14__2"], "NUMBERS": ["1", "2"], "PAIRS": ["counter", "temp"]}.get(
        parse_as, ["device_1__counter", "device_1__temp"]
    )
    assert [sorted(each) for each in values[:3]] == [keys] * 3
    # On a busy machine two messages come without a pause between them: then they are refused, never mixed.
    assert client.link.reasons == [] or framing == "pause"


@pytest.mark.parametrize("mode", ["listener", "udp"])
@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"PARSE_AS": "JSON"},
        {
            "LISTEN_APIKEY": "0123456789",
            "VALUES_TIMESTAMPED": "TRUE",
            "VALUES_TARGETED": "TRUE",
            "VALUES_NODE_OFFSET": "10",
            "SOCKET_NODES": '{"20": {"name": "attic"}}',
        },
    ],
)
async def test_a_simulated_device_sends_to_the_listener(mode: str, variables: dict[str, str]) -> None:
    async with running(SOCKET_MODE=mode, **variables) as run:
        settings = settings_for(SOCKET_MODE=mode, LISTEN_PORT=str(run.port), **variables)
        task = asyncio.create_task(simulate(settings))
        values = await run.link.until_values(2)
        await ended(task)
    node = {0: "14", 1: "device_1"}.get(len(variables), "attic")
    assert all(key.startswith(f"{node}__") for key in values[0])
    assert run.link.reasons == []


async def test_a_listener_that_is_not_there_yet_is_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    async with running() as run:
        port = run.port
    task = asyncio.create_task(simulate(settings_for(LISTEN_PORT=str(port))))
    while "message 1 was not sent" not in caplog.text:
        await asyncio.sleep(0.01)
    async with running(LISTEN_PORT=str(port)) as run:
        await run.link.until_values(1)
    await ended(task)
