"""Live values over a WebSocket: a snapshot, then changes, and nobody waits for a slow browser."""

from __future__ import annotations

import asyncio
import json
import socket as sockets
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest

from api.settings import Settings
from tests.api.conftest import SOON_S, Api, connected, eventually, now_ms
from tests.support.connector import ScriptedConnector
from wattbus.connector import Datapoint
from wattbus.testing.mqtt import PlainClient

Socket = aiohttp.ClientWebSocketResponse

POWER = Datapoint("power", data_format="generic_numeric")
ENERGY = Datapoint("energy", data_format="generic_numeric")
PUMP = Datapoint("pump", "actuator", data_format="bool")


async def message(socket: Socket, kind: str) -> Any:
    """The next message of this type."""
    async with asyncio.timeout(SOON_S):
        while (received := await socket.receive_json())["type"] != kind:
            pass
    return received


async def change(socket: Socket, fits: Callable[[Any], bool]) -> Any:
    """Wait for a change that fits."""
    while True:
        for told in (await message(socket, "changes"))["changes"]:
            if fits(told):
                return told


async def test_a_snapshot_and_then_what_changes(api: Api, settings: Settings) -> None:
    async with connected(settings, ScriptedConnector(POWER, ENERGY, PUMP)) as connector:
        number = await api.id_of("power")
        connector.read({"power": 1.0, "energy": 1})
        await eventually(lambda: _has_value(api, "meter/messages/power/value"))
        async with api.session.ws_connect(f"{api.address}/ws") as socket:
            await socket.send_json({"type": "subscribe"})
            snapshot = await message(socket, "snapshot")
            [power] = [entry for entry in snapshot["datapoints"] if entry["key_in_connector"] == "power"]
            assert power.items() >= {"id": number, "connector": "meter", "type": "sensor", "outcome": None}.items()
            assert power["value"]["value"] == 1.0
            assert [entry["name"] for entry in snapshot["connectors"]] == ["meter"]

            connector.read({"power": 2.5})
            told = await change(socket, lambda told: told["kind"] == "value" and told["id"] == number)
            assert told["value"]["value"] == 2.5
            command = {"value": True, "timestamp": now_ms()}
            answer = await api.post(f"/datapoint/{await api.id_of('pump', 'actuator')}/value/", command)
            told = await change(socket, lambda told: told["kind"] == "outcome")
            assert told["outcome"]["id"] == answer.body["id"]
            await change(socket, lambda told: told["kind"] == "connector" and told["connector"]["name"] == "meter")


async def _has_value(api: Api, topic: str) -> bool:
    return topic in api.core.live.states and api.core.live.states[topic].value is not None


async def test_filters(api: Api, settings: Settings, client: PlainClient) -> None:
    async with connected(settings, ScriptedConnector(POWER, ENERGY)) as connector:
        number = await api.id_of("power")
        await api.id_of("energy")
        async with api.session.ws_connect(f"{api.address}/ws") as socket:
            await socket.send_json({"type": "subscribe", "datapoints": [number], "kinds": ["value"]})
            snapshot = await message(socket, "snapshot")
            assert [entry["id"] for entry in snapshot["datapoints"]] == [number]
            connector.read({"energy": 7})
            connector.read({"power": 7})
            told = (await message(socket, "changes"))["changes"]
            assert {(entry["kind"], entry["id"]) for entry in told} == {("value", number)}

            await socket.send_json({"type": "subscribe", "connectors": ["other"], "kinds": ["value", "logs"]})
            assert (await message(socket, "snapshot"))["datapoints"] == []
            log = {"timestamp": 1, "msg": "hello", "emitter": None, "level": 20}
            await client.publish("other/logs", log, qos=0)
            assert (await change(socket, lambda told: told["kind"] == "logs"))["logs"] == [log]


NONSENSE = (
    "{",
    "[]",
    '{"type": "dance"}',
    '{"type": "subscribe", "datapoints": "all"}',
    '{"type": "subscribe", "kinds": ["weather"]}',
    '{"type": "subscribe", "datapoints": [[1]]}',
)


async def test_pings_and_nonsense(api: Api) -> None:
    async with api.session.ws_connect(f"{api.address}/ws") as socket:
        await socket.send_json({"type": "ping"})
        assert await message(socket, "pong") == {"type": "pong"}
        for nonsense in NONSENSE:
            await socket.send_str(nonsense)
            assert (await message(socket, "error"))["detail"]
        await socket.send_json({"type": "subscribe"})
        assert (await message(socket, "snapshot"))["datapoints"] == []


async def test_a_browser_that_reads_nothing_holds_up_nobody(api: Api, client: PlainClient) -> None:
    keys = [f"k{number}" for number in range(200)]
    available = {"sensor": dict.fromkeys(keys, "x"), "actuator": {}}
    await client.publish("old/available_datapoints", available, retain=True)
    await api.id_of(keys[-1])
    slow = await _deaf_browser(api)
    try:
        async with api.session.ws_connect(f"{api.address}/ws") as quick:
            await quick.send_json({"type": "subscribe", "kinds": ["value"]})
            await message(quick, "snapshot")
            for turn in range(20):  # 16 MB: more than the sockets between us hold
                text = f"{turn:05}" + "x" * 4096
                for key in keys:
                    await client.publish(f"old/messages/{key}/value", {"value": text, "timestamp": turn}, qos=0)
                await change(quick, _is_value(keys[-1], turn))
        assert (await api.ask("GET", "/healthz")).status == 200
        deaf = max(len(subscription._pending) for subscription in api.core.changes._subscriptions)
        assert 0 < deaf <= len(keys) + 2  # the newest of each, however often it changed
    finally:
        slow.close()


def _is_value(key: str, timestamp: int) -> Callable[[Any], bool]:
    return lambda told: (told["key_in_connector"], told["value"]["timestamp"]) == (key, timestamp)


async def _deaf_browser(api: Api) -> sockets.socket:
    """Subscribes over a raw socket and never reads again."""
    host, _, port = api.address.removeprefix("http://").partition(":")
    slow = sockets.socket()
    slow.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 4096)
    slow.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(slow, (host, int(port)))
    lines = [
        "GET /ws HTTP/1.1", f"Host: {host}", "Upgrade: websocket", "Connection: Upgrade",
        "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "", "",
    ]  # fmt: skip
    await loop.sock_sendall(slow, "\r\n".join(lines).encode())
    await loop.sock_recv(slow, 1024)
    text = json.dumps({"type": "subscribe", "kinds": ["value"]}).encode()
    await loop.sock_sendall(slow, bytes([0x81, 0x80 | len(text), 0, 0, 0, 0]) + text)
    await eventually(lambda: _listens(api), "the deaf browser is subscribed")
    return slow


async def _listens(api: Api) -> bool:
    return api.core.changes.listeners >= 4  # three parts of the core follow changes


async def test_pages_of_others_are_kept_out(api: Api) -> None:
    for headers in ({"Origin": "https://evil.example"}, {"Host": "evil.example"}, {"Origin": "null"}):
        async with api.session.get(f"{api.address}/datapoint/", headers=headers) as response:
            assert response.status == 403
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await api.session.ws_connect(f"{api.address}/ws", headers=headers)
    port = api.address.rpartition(":")[2]
    for origin in (f"http://localhost:{port}", f"http://127.0.0.1:{port}"):
        async with api.session.get(f"{api.address}/datapoint/", headers={"Origin": origin}) as response:
            assert response.status == 200


async def test_it_ends_at_once_though_browsers_are_connected(api: Api) -> None:
    socket = await api.session.ws_connect(f"{api.address}/ws")
    await socket.send_json({"type": "subscribe"})
    await message(socket, "snapshot")  # the fixture ends the API with this socket open
