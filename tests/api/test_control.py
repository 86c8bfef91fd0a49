"""Controllers and what they control: edited over REST, told on the bus."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from api.settings import Settings
from tests.api.conftest import Api, connected, eventually, running
from tests.support.connector import ScriptedConnector
from wattbus.connector import Datapoint
from wattbus.testing.mqtt import PlainClient

TOPIC = "python_controller/controlled_datapoints"
SENSOR = Datapoint("temperature")
ACTUATOR = Datapoint("heating", "actuator", data_format="continuous_numeric")
PAIR = {
    "sensor": {"value": "meter/messages/temperature/value"},
    "actuator": {
        "value": "meter/messages/heating-set/value",
        "setpoint": "meter/messages/heating-set/setpoint",
        "schedule": "meter/messages/heating-set/schedule",
    },
}


@pytest.fixture
async def ids(api: Api, settings: Settings) -> AsyncIterator[dict[str, int]]:
    """The ids of a sensor and an actuator."""
    async with connected(settings, ScriptedConnector(SENSOR, ACTUATOR)):
        yield {"sensor": await api.id_of("temperature"), "actuator": await api.id_of("heating", "actuator")}


async def told(client: PlainClient, topic: str, pairs: list[Any]) -> None:
    await client.until(lambda: client.on(topic) and client.on(topic)[-1].json == pairs)


async def test_pairs_are_published_for_the_controller(api: Api, ids: dict[str, int], client: PlainClient) -> None:
    await told(client, TOPIC, [])
    made = await api.post("/controlled_datapoint/", ids)
    assert made.status == 201, made
    assert made.body.items() >= {**ids, "controller": 1, "is_active": True}.items()
    await told(client, TOPIC, [PAIR])
    assert client.on(TOPIC)[-1].retain or client.on(TOPIC)[-1].json == [PAIR]
    path = f"/controlled_datapoint/{made.body['id']}/"
    assert await api.get(path) == made.body
    assert await api.get("/controlled_datapoint") == [made.body]

    changed = await api.put(path, {**ids, "is_active": False})  # the reference publishes it nevertheless
    assert changed.body["is_active"] is False
    await told(client, TOPIC, [])
    await api.put(path, ids)
    await told(client, TOPIC, [PAIR])
    assert (await api.delete(path)).status == 204
    await told(client, TOPIC, [])
    assert (await api.delete(path)).status == 404
    assert (await api.ask("GET", path)).status == 404
    assert (await api.put(path, ids)).status == 404


async def test_pairs_that_make_no_sense_are_refused(api: Api, ids: dict[str, int]) -> None:
    async def fields(body: Any) -> set[str]:
        answer = await api.post("/controlled_datapoint/", body)
        assert answer.status == 400, answer
        return set(answer.body)

    swapped = {"sensor": ids["actuator"], "actuator": ids["sensor"]}
    assert await fields(swapped) == {"sensor"}  # the reference's writer never starts again after this
    assert await fields({**ids, "actuator": ids["sensor"]}) == {"actuator"}
    assert await fields({**ids, "sensor": 4711}) == {"sensor"}
    assert await fields({**ids, "sensor": True}) == {"sensor"}
    assert await fields({"actuator": ids["actuator"]}) == {"sensor"}
    assert await fields({**ids, "controller": 99}) == {"controller"}
    assert await fields({**ids, "controller": [1]}) == {"controller"}
    assert await fields({**ids, "is_active": 1}) == {"is_active"}
    assert await fields([]) == {"non_field_errors"}
    assert (await api.post("/controlled_datapoint/", ids)).status == 201
    assert await fields(ids) == {"actuator"}  # it has one already
    assert len(await api.get("/controlled_datapoint/")) == 1


async def test_controllers_come_and_go(api: Api, ids: dict[str, int], client: PlainClient) -> None:
    made = await api.post("/controller/", {"name": "attic", "topic": "attic/controlled_datapoints"})
    assert made.status == 201
    path = f"/controller/{made.body['id']}/"
    assert [entry["name"] for entry in await api.get("/controller/")] == ["python_controller", "attic"]
    assert (await api.post("/controlled_datapoint/", {**ids, "controller": made.body["id"]})).status == 201
    await told(client, "attic/controlled_datapoints", [PAIR])

    moved = await api.put(path, {"name": "attic", "topic": "roof/controlled_datapoints"})
    assert moved.body["topic"] == "roof/controlled_datapoints"
    await told(client, "roof/controlled_datapoints", [PAIR])
    await told(client, "attic/controlled_datapoints", [])

    for name, topic in (
        ("x", "a/+/b"),
        ("x", "a\x01b"),  # Mosquitto would close the connection, again and again
        ("x", "$SYS/x"),
        ("", "a"),
        ("python_controller", "b"),
        ("x", "roof/controlled_datapoints"),
    ):
        assert (await api.post("/controller/", {"name": name, "topic": topic})).status == 400
    assert (await api.delete(path)).status == 204
    await told(client, "roof/controlled_datapoints", [])
    assert await api.get("/controlled_datapoint/") == []
    for answer in (await api.ask("GET", path), await api.delete(path), await api.put(path, moved.body)):
        assert answer.status == 404


async def test_pairs_survive_a_restart_and_wait_for_their_datapoints(settings: Settings, client: PlainClient) -> None:
    connector = ScriptedConnector(SENSOR, ACTUATOR)
    async with running(settings) as api, connected(settings, connector):
        ids = {"sensor": await api.id_of("temperature"), "actuator": await api.id_of("heating", "actuator")}
        await api.post("/controlled_datapoint/", ids)
        await told(client, TOPIC, [PAIR])
    await client.publish(TOPIC, b"", retain=True)
    client.seen.clear()
    async with running(settings):
        await told(client, TOPIC, [PAIR])


async def test_previews_are_passed_on(api: Api, client: PlainClient) -> None:
    actuator = PAIR["actuator"]["value"]
    preview = {"actuator": actuator, "coming": [{"from_timestamp": 1, "value": 21.5, "reason": "schedule"}]}

    async def previews() -> Any:
        return await api.get("/controller/preview/")

    async def is_there() -> Any:
        return await previews() == {"controller": {actuator: preview}}

    await client.publish(f"controller/preview/{actuator}", b"{", retain=True)  # makes no sense
    await client.publish(f"controller/preview/{actuator}", preview, retain=True)
    await eventually(is_there, "the preview")
    await client.publish(f"controller/preview/{actuator}", b"", retain=True)

    async def is_gone() -> Any:
        return await previews() == {}

    await eventually(is_gone, "it was taken back")
