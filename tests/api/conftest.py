"""The API on a real Mosquitto with a real SQLite file, asked over real HTTP."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from api.core import Core
from api.service import run
from api.settings import Settings
from history.service import run as run_history
from history.settings import Settings as HistorySettings
from tests.support.connector import ScriptedConnector
from wattbus.clock import SYSTEM_CLOCK
from wattbus.mqtt.embedded_broker import Mosquitto
from wattbus.runtime.connector_runtime import run_connector
from wattbus.service.lifecycle import in_service
from wattbus.settings import ConnectorSettings
from wattbus.testing.mqtt import PlainClient, plain_client
from wattbus.testing.waiting import PATIENCE_S

SOON_S = PATIENCE_S


def now_ms() -> int:
    return SYSTEM_CLOCK.now_ms()


class Answer:
    """A status code and the JSON that came with it."""

    def __init__(self, status: int, body: Any) -> None:
        self.status = status
        self.body = body

    def __repr__(self) -> str:
        return f"{self.status} {self.body}"


class Api:
    """A client of the running API; `core` is what runs."""

    def __init__(self, address: str, core: Core, session: aiohttp.ClientSession) -> None:
        self.address = address
        self.core = core
        self.session = session

    async def ask(self, method: str, path: str, body: Any = None, **parameters: Any) -> Answer:
        given = {"data": body} if isinstance(body, bytes) else {"json": body} if body is not None else {}
        wanted = {name: str(value) for name, value in parameters.items()}
        async with self.session.request(method, self.address + path, params=wanted, **given) as response:
            is_json = response.content_type == "application/json" and response.status != 204
            return Answer(response.status, await response.json() if is_json else await response.text())

    async def is_ready(self) -> bool:
        return (await self.ask("GET", "/readyz")).status == 200 and self.core.directory.loaded

    async def get(self, path: str, **parameters: Any) -> Any:
        """The body of an answer that must be 200."""
        answer = await self.ask("GET", path, **parameters)
        assert answer.status == 200, answer
        return answer.body

    async def post(self, path: str, body: Any = None) -> Answer:
        return await self.ask("POST", path, body)

    async def put(self, path: str, body: Any = None) -> Answer:
        return await self.ask("PUT", path, body)

    async def delete(self, path: str) -> Answer:
        return await self.ask("DELETE", path)

    async def datapoint(self, key: str, kind: str = "sensor") -> dict[str, Any]:
        """Wait until the API lists this datapoint with an id; its object."""

        async def found() -> Any:
            listed = await self.get("/datapoint/", key_in_connector=key, type=kind, is_active="all")
            return listed[0] if listed else None

        datapoint: dict[str, Any] = await eventually(found, f"{kind} {key}")
        return datapoint

    async def id_of(self, key: str, kind: str = "sensor") -> int:
        return int((await self.datapoint(key, kind))["id"])


async def eventually(found: Callable[[], Any], what: str = "") -> Any:
    """Wait until `found()` gives something."""
    try:
        async with asyncio.timeout(SOON_S):
            while not (result := await found()):
                await asyncio.sleep(0.02)
            return result
    except TimeoutError:
        raise AssertionError(f"not within {SOON_S:g} s: {what}") from None


@contextlib.asynccontextmanager
async def in_background(name: str, work: Any) -> AsyncIterator[asyncio.Task[None]]:
    """A service in this process; it must still run at the end, and then end."""
    task = asyncio.create_task(in_service(name, lambda: work), name=name)
    try:
        yield task
        assert not task.done(), task
    finally:
        task.cancel()
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.wait([task])
    with contextlib.suppress(asyncio.CancelledError):
        task.result()


@contextlib.asynccontextmanager
async def running(settings: Settings, ready: bool = True) -> AsyncIterator[Api]:
    """The API, when it has broker and database."""
    started: asyncio.Future[tuple[str, Core]] = asyncio.get_running_loop().create_future()
    work = run(settings, lambda address, core: started.set_result((address, core)))
    async with in_background("api", work) as task:
        either: set[asyncio.Future[Any]] = {started, task}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            task.result()
        address, core = started.result()
        async with aiohttp.ClientSession() as session:
            api = Api(address, core, session)
            if ready:
                await eventually(api.is_ready, "the API is ready")
            yield api


@pytest.fixture
def settings(mosquitto: Mosquitto, tmp_path: Path) -> Settings:
    return Settings(
        mqtt_broker_port=mosquitto.port,
        data_directory=tmp_path / "data",
        api_port=0,
        api_page=False,  # it has tests of its own
        command_wait_seconds=1.0,
    )


@pytest.fixture
async def api(settings: Settings) -> AsyncIterator[Api]:
    async with running(settings) as api:
        yield api


@pytest.fixture
async def history(settings: Settings, api: Api) -> AsyncIterator[None]:
    own = HistorySettings(mqtt_broker_port=settings.mqtt_broker_port, data_directory=settings.data_directory)
    async with in_background("history", run_history(own)):
        await eventually(lambda: _status_of(api, "history"), "history is online")
        yield


async def _status_of(api: Api, service: str) -> bool:
    state = api.core.live.connectors.get(service)
    return state is not None and state.status is not None and state.status.state == "online"


@pytest.fixture
async def client(mosquitto: Mosquitto) -> AsyncIterator[PlainClient]:
    """Somebody with mosquitto_sub and mosquitto_pub."""
    async with plain_client(mosquitto.port) as client:
        yield client


@contextlib.asynccontextmanager
async def connected(
    settings: Settings, connector: ScriptedConnector, name: str = "meter", **more: Any
) -> AsyncIterator[ScriptedConnector]:
    """A connector of ours, run by the runtime, when its device is there."""
    own = ConnectorSettings(
        connector_name=name,
        mqtt_broker_port=settings.mqtt_broker_port,
        data_directory=settings.data_directory,
        heartbeat_seconds=0.2,
        **more,
    )
    async with in_background(name, run_connector(connector, own)):
        async with asyncio.timeout(SOON_S):
            await connector.running.wait()
        yield connector
