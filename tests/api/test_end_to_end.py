"""The house as processes: what is sent over REST moves the room, and history holds it."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.api.conftest import eventually, now_ms
from tests.e2e.house import SETPOINT, TEMPERATURE, House
from tests.support.ports import free_port


class Client:
    """Asks the API over HTTP; no answer counts as none yet."""

    def __init__(self, address: str, session: aiohttp.ClientSession) -> None:
        self._address = address
        self._session = session

    async def get(self, path: str, **parameters: Any) -> Any:
        with contextlib.suppress(aiohttp.ClientConnectionError):
            async with self._session.get(self._address + path, params=parameters) as answer:
                return await answer.json() if answer.status == 200 else None
        return None

    async def post(self, path: str, body: Any) -> tuple[int, Any]:
        async with self._session.post(self._address + path, json=body) as answer:
            return answer.status, await answer.json()

    async def id_of(self, key: str) -> int:
        found = await eventually(lambda: self.get("/datapoint/", key_in_connector=key), key)
        return int(found[0]["id"])


@contextlib.asynccontextmanager
async def house_with_api(folder: Path) -> AsyncIterator[Client]:
    port = free_port()
    house = House(folder)
    variables = {"MQTT_BROKER_PORT": str(house.broker.port), "API_PORT": str(port), "API_PAGE": "FALSE"}
    api = house.process("api", variables)
    async with house.running(), aiohttp.ClientSession() as session:
        await api.start()
        try:
            yield Client(f"http://127.0.0.1:{port}", session)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{api.log[-3000:]}\n{house.tell()}") from None
        finally:
            code = await api.stop()
        assert code == 0, api.log


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[Client]:
    async with house_with_api(tmp_path) as client:
        yield client


async def test_a_command_moves_the_room(client: Client) -> None:
    temperature, setpoint = await client.id_of(TEMPERATURE), await client.id_of(SETPOINT)

    async def degrees() -> Any:
        last = await client.get("/datapoint/last_value/", datapoint__id__in=temperature)
        return last and last["msgs_by_datapoint_id"].get(str(temperature))

    before = (await eventually(degrees, "a temperature"))["value"]
    target = 16.0 if before > 20 else 28.0
    status, answer = await client.post(f"/datapoint/{setpoint}/value/", {"value": target, "timestamp": now_ms()})
    assert (status, answer["outcome"]) == (200, "applied"), answer

    async def moved() -> bool:
        return bool(abs((await degrees())["value"] - before) > 0.5)

    await eventually(moved, f"the room moves from {before} towards {target}")

    async def recorded() -> Any:
        values = await client.get(f"/datapoint/{temperature}/value/", order="desc", limit=1)
        return values and abs(values[0]["value"] - before) > 0.5

    await eventually(recorded, "history has it")
    averages = await client.get(f"/datapoint/{temperature}/value/", interval="1 second", aggregate="avg")
    assert averages
    assert await client.get("/readyz") == {"ok": True, "faults": {}}
