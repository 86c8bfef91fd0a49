"""Several histories in one installation: who records whom, and what an earlier process left at the broker."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from history.neighbours import Neighbours
from history.settings import Settings
from tests.history.conftest import Client, running, stored
from wattbus import metrics
from wattbus.mqtt.client import MqttClient
from wattbus.mqtt.embedded_broker import Mosquitto
from wattbus.mqtt.packets import IncomingMessage, Outgoing
from wattbus.service.status_publisher import StatusPublisher
from wattbus.settings import BrokerSettings
from wattbus.testing.mqtt import PlainClient, plain_client
from wattbus.testing.waiting import PATIENCE_S

SOON = PATIENCE_S


@pytest.fixture
async def plain(mosquitto: Mosquitto) -> AsyncIterator[PlainClient]:
    async with plain_client(mosquitto.port) as client:
        yield client


def named(settings: Settings, name: str, *connectors: str) -> Settings:
    folder = settings.data_directory / name
    return settings.model_copy(
        update={"service_name": name, "history_connectors": list(connectors), "data_directory": folder}
    )


# -- who records whom -------------------------------------------------------------------------------------------------


async def test_histories_with_lists_of_their_own_have_nothing_to_complain_of(
    settings: Settings, client: Client, plain: PlainClient, tmp_path: Path
) -> None:
    async with running(named(settings, "history", "a")), running(named(settings, "history-2", "b", "c")):
        await plain.message("history/status", state="online", records=["a"], recording=True)
        await plain.message("history-2/status", state="online", records=["b", "c"], recording=True)
        for connector in ("a", "b", "c"):
            await client.reading(1, connector=connector, x=1)
            await client.until_receipt(connector, 1)
    states = {seen.json["state"] for name in ("history", "history-2") for seen in plain.on(f"{name}/status")}
    assert states == {"online", "offline", "degraded"}  # degraded: until their database is open
    assert all("records" not in seen.json["detail"] for seen in plain.on("history/status"))
    kept = {name: [c for c in "abc" if stored(tmp_path / name, c)] for name in ("history", "history-2")}
    assert kept == {"history": ["a"], "history-2": ["b", "c"]}


async def test_both_of_two_that_record_the_same_say_so_and_go_on(
    settings: Settings, client: Client, plain: PlainClient, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(named(settings, "history", "a", "b")):
        async with running(named(settings, "history-2", "b", "c")):
            for name, other in (("history", "history-2"), ("history-2", "history")):
                fault = f"{other} records b, too"
                await plain.message(f"{name}/status", state="degraded", detail=fault, recording=True)
            await client.reading(1, connector="b", x=1)
            await client.until_receipt("b", 1)
        await plain.until(lambda: plain.last("history/status")["state"] == "online")
    assert stored(tmp_path / "history", "b") == stored(tmp_path / "history-2", "b") == {"x": {1: 1.0}}
    assert caplog.text.count("history-2 records b, too: give each history a list of its own") == 1


STATUS = {"state": "online", "timestamp": 1, "instance": "i"}


@pytest.mark.parametrize(
    ("ours", "name", "theirs", "fault"),
    [
        ([], "history-2", {"records": []}, "history-2 records all connectors, too"),
        ([], "history-2", {"records": ["b", "a"]}, "history-2 records a, b, too"),
        (["a"], "history-2", {"records": []}, "history-2 records a, too"),
        (["a"], "history-2", {"records": ["b"]}, ""),
        (["a"], "history-2", {"records": ["a"], "state": "offline"}, ""),
        (["a"], "history-2", {}, ""),  # no history
        (["a"], "history", {}, "history records a, too"),  # an older one
        (["a"], "ours", {"records": ["a"]}, ""),
        ([f"c{n:02}" for n in range(12)], "history", {}, f"history records {', '.join(f'c{n:02}' for n in range(10))} "
         "and 2 more, too"),
    ],
)  # fmt: skip
def test_what_two_have_in_common(ours: list[str], name: str, theirs: dict[str, Any], fault: str) -> None:
    status_publisher = StatusPublisher("ours", records=ours)
    take = telling(Neighbours(status_publisher, ours), name)
    take({**STATUS, **theirs})
    assert (status_publisher.state, status_publisher.detail) == ("degraded" if fault else "online", fault)
    take(None)  # its status is cleared
    assert status_publisher.state == "online"


def test_nonsense_is_somebody_elses_trouble() -> None:
    status_publisher = StatusPublisher("ours", records=[])
    take = telling(Neighbours(status_publisher, []), "history-2")
    take({**STATUS, "records": []})
    take({"records": "no status"})
    assert status_publisher.state == "degraded"


def telling(neighbours: Neighbours, name: str) -> Callable[[Any], None]:
    bus = MqttClient(BrokerSettings(), "x")

    def take(status: Any) -> None:
        payload = b"" if status is None else json.dumps(status).encode()
        neighbours.take(IncomingMessage(f"{name}/status", payload, 1, False, False, None, None, None, bus, 0, 0))

    return take


# -- what an earlier process left at the broker -----------------------------------------------------------------------


async def test_a_list_that_became_shorter_leaves_the_rest_to_others(settings: Settings, client: Client) -> None:
    async with running(named(settings, "history", "a", "b")):
        await client.until_state("online")
    await client.until_state("offline")
    await client.reading(1, connector="b", x=1)  # waits at the broker, for a list that has it no more
    async with running(named(settings, "history", "a")):
        await client.until_state("online")
        await _until_nobody_hears(client, "b/values")
        await client.reading(1, connector="a", x=1)
        await client.until_receipt("a", 1)
    assert stored(settings.data_directory / "history", "b") == {}


async def test_a_list_instead_of_everybody_ends_the_subscription_to_everybody(
    settings: Settings, client: Client
) -> None:
    async with running(named(settings, "history")):
        await client.until_state("online")
    await client.until_state("offline")
    async with running(named(settings, "history", "a")):
        await client.until_state("online")
        await _until_nobody_hears(client, "b/values")
        assert not await _nobody_hears(client, "a/values")


async def test_everybody_instead_of_a_list_delivers_nothing_twice(settings: Settings, client: Client) -> None:
    async with running(named(settings, "history", "a")):
        await client.until_state("online")
        await client.reading(1, connector="a", x=1)
        await client.until_receipt("a", 1)
    await client.until_state("offline")
    async with running(named(settings, "history")), asyncio.timeout(SOON):
        await client.until_state("online")
        number, twice = 1, True
        while twice:  # until the old subscription is left
            number, before = number + 1, _redelivered()
            await client.reading(number, connector="a", x=number)
            await client.until_receipt("a", number)
            number += 1
            await client.reading(number, connector="a", x=number)
            await client.until_receipt("a", number)  # what came twice before it was written, too
            twice = _redelivered() > before


def _redelivered() -> float:
    return metrics.REGISTRY.get_sample_value("wattbus_history_redelivered_total", {"service": "history"}) or 0.0


async def _nobody_hears(client: Client, topic: str) -> bool:
    published = await client.bus.publish(Outgoing(topic, b"{}"))
    return published.reached_nobody


async def _until_nobody_hears(client: Client, topic: str) -> None:
    async with asyncio.timeout(SOON):
        while not await _nobody_hears(client, topic):
            await asyncio.sleep(0.02)
