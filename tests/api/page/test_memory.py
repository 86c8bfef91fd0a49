"""Two browsers, and an hour of traffic as fast as it goes: nothing grows, and who leaves is forgotten."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from playwright.async_api import Browser, expect

from tests.api.page.browsing import Person, person
from tests.e2e.house import Process
from tests.support.ports import free_port
from wattbus.mqtt.embedded_broker import Mosquitto
from wattbus.testing.mqtt import PlainClient, plain_client
from wattbus.testing.waiting import PATIENCE_S

pytestmark = pytest.mark.asyncio(loop_scope="package")

DATAPOINTS, SECONDS = 25, 3600
WARM_UP = 900  # seconds of the hour after which everything has its size
MOST_GROWTH = 12 * 2**20  # bytes; one message kept for each value would be ten times that
AT_ONCE = 35  # seconds; their messages fit into the queue that the broker has for one client
CONNECTOR = "load"


class Api:
    """The API as a process of its own, with a broker."""

    def __init__(self, folder: Path) -> None:
        self.broker = Mosquitto(configuration_directory=folder / "mosquitto")
        self.port = free_port()
        variables = {
            "MQTT_BROKER_HOST": self.broker.host,
            "MQTT_BROKER_PORT": str(self.broker.port),
            "API_PORT": str(self.port),
            "DATA_DIRECTORY": str(folder / "data"),
        }
        self.process = Process("api", variables, folder / "api.log")

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def memory(self) -> int:
        """Bytes that are resident."""
        process = self.process._process
        assert process is not None
        pages = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1])
        return pages * 4096

    async def listeners(self) -> float:
        async with aiohttp.ClientSession() as session, session.get(f"{self.address}/metrics/") as answer:
            text = await answer.text()
        [line] = [line for line in text.splitlines() if line.startswith("wattbus_api_listeners{")]
        return float(line.split()[-1])


@contextlib.asynccontextmanager
async def api_running(folder: Path) -> AsyncIterator[Api]:
    api = Api(folder)
    await api.broker.start()
    await api.process.start()
    try:
        async with plain_client(api.broker.port, "nothing") as client:
            await _announce(client)
            await _ready(api)
            yield api
    finally:
        await api.process.stop()
        await api.broker.stop()


async def _announce(client: PlainClient) -> None:
    described = [
        {"key": f"power_{n}", "type": "sensor", "topic": _topic(n), "data_format": "generic_numeric", "unit": "W"}
        for n in range(DATAPOINTS)
    ]
    status = {"state": "online", "timestamp": _now_ms(), "version": "1", "instance": "x", "detail": ""}
    await client.publish(f"{CONNECTOR}/datapoints", described, retain=True)
    await client.publish(f"{CONNECTOR}/status", status, retain=True)


async def _ready(api: Api) -> None:
    async with aiohttp.ClientSession() as session, asyncio.timeout(PATIENCE_S):
        while True:
            with contextlib.suppress(aiohttp.ClientError):
                async with session.get(f"{api.address}/datapoint/") as answer:
                    listed = await answer.json() if answer.status == 200 else []
                if len(listed) == DATAPOINTS and all(entry["id"] for entry in listed):
                    return
            await asyncio.sleep(0.1)


async def test_an_hour_of_traffic_with_two_browsers(browser: Browser, tmp_path: Path) -> None:
    async with api_running(tmp_path) as api:
        alone = await api.listeners()
        async with person(browser, api.address) as one, person(browser, api.address) as other:
            await _open_all(one, other)
            assert await api.listeners() == alone + 2
            await _pass(api, 0, WARM_UP, other)
            warm = api.memory
            await _pass(api, WARM_UP, SECONDS, other)
            grown = api.memory - warm
            assert grown < MOST_GROWTH, f"{grown / 2**20:.1f} MiB in {SECONDS - WARM_UP} s"
        await _until_listeners(api, alone)


async def _open_all(one: Person, other: Person) -> None:
    list_page = await one.open("/datapoints")
    await expect(list_page.get_by_text(f"{DATAPOINTS} datapoints")).to_be_visible()
    view = await other.open("/view/1")
    await expect(view.locator("[data-role=value]")).to_be_visible()
    await expect(view.locator("[data-role=history] canvas")).to_be_visible()


async def _pass(api: Api, begin: int, end: int, watcher: Person) -> None:
    """The values of these seconds, until somebody sees the last of them.

    The API is asked in between whether it has read them: none shall be dropped.
    """
    sender = paho.Client(CallbackAPIVersion.VERSION2)
    sender.connect("127.0.0.1", api.broker.port)
    sender.loop_start()
    async with aiohttp.ClientSession() as session:
        for second in range(begin, end):
            payload = json.dumps({"value": second, "timestamp": _now_ms()})
            for n in range(DATAPOINTS):
                sender.publish(_topic(n), payload)
            if second % AT_ONCE == AT_ONCE - 1:
                while await _last_value(api, session) != second:
                    await asyncio.sleep(0.002)
    sender.loop_stop()
    await expect(watcher.page.locator("[data-role=value]")).to_contain_text(str(end - 1)[-3:])


async def _last_value(api: Api, session: aiohttp.ClientSession) -> object:
    """What the API has of the last datapoint in memory."""
    path = f"{api.address}/datapoint/last_value/"
    async with session.get(path, params={"datapoint__id__in": str(DATAPOINTS)}) as answer:
        found = (await answer.json())["msgs_by_datapoint_id"]
    return found[str(DATAPOINTS)]["value"] if found else None


async def _until_listeners(api: Api, number: float) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while await api.listeners() != number:
            await asyncio.sleep(0.2)


def _topic(n: int) -> str:
    return f"{CONNECTOR}/messages/power_{n}/value"


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
