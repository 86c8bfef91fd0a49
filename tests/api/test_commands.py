"""Commands over REST: the status code says what really happened."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from api.settings import Settings
from tests.api.conftest import SOON_S, Api, connected, eventually, in_background, now_ms, running
from tests.support.connector import ScriptedConnector
from wattbus.connector import Datapoint, Scalar
from wattbus.errors import CommandRejected, LinkDown
from wattbus.mqtt.embedded_broker import Mosquitto
from wattbus.testing.mqtt import PlainClient, plain_client

HEATING = Datapoint("heating", "actuator", data_format="continuous_numeric", min_value=15, max_value=30)
PUMP = Datapoint("pump", "actuator", data_format="bool")
POWER = Datapoint("power", data_format="generic_numeric")


@pytest.fixture
async def connector(api: Api, settings: Settings) -> AsyncIterator[ScriptedConnector]:
    async with connected(settings, ScriptedConnector(HEATING, PUMP, POWER)) as connector:
        await api.datapoint("heating", "actuator")
        yield connector


async def command(api: Api, value: Any, key: str = "heating") -> Any:
    number = await api.id_of(key, "actuator")
    return await api.post(f"/datapoint/{number}/value/", {"value": value, "timestamp": now_ms()})


async def test_applied_is_200_with_the_outcome(api: Api, connector: ScriptedConnector, client: PlainClient) -> None:
    answer = await command(api, "21.5")
    assert answer.status == 200, answer
    assert answer.body.items() >= {"value": 21.5, "outcome": "applied", "detail": ""}.items()
    assert connector.written == [("heating", 21.5)]
    [sent] = client.on("meter/messages/heating-set/value")
    assert sent.json == {"value": 21.5, "timestamp": answer.body["timestamp"], "id": answer.body["id"]}
    assert sent.correlation == answer.body["id"].encode()
    assert not sent.retain
    told = await api.get(f"/datapoint/{await api.id_of('heating', 'actuator')}/")
    assert told["last"]["outcome"]["id"] == answer.body["id"]
    assert told["last"]["value"]["value"] == 21.5


async def test_rejected_by_the_device_is_409(api: Api, connector: ScriptedConnector) -> None:
    async def reject(_: str, value: Scalar) -> None:
        raise CommandRejected("the device is locked")

    connector.on_write = reject
    answer = await command(api, True, "pump")
    assert answer.status == 409
    assert answer.body.items() >= {"value": True, "outcome": "rejected", "detail": "the device is locked"}.items()


async def test_failed_at_the_device_is_502(api: Api, connector: ScriptedConnector) -> None:
    async def fail(_: str, value: Scalar) -> None:
        raise LinkDown("no answer from the device")

    connector.on_write = fail
    answer = await command(api, 20)
    assert answer.status == 502
    assert answer.body.items() >= {"outcome": "failed", "detail": "no answer from the device"}.items()


async def test_unknown_in_time_is_202(api: Api, connector: ScriptedConnector) -> None:
    done = asyncio.Event()

    async def dawdle(_: str, value: Scalar) -> None:
        await done.wait()

    connector.on_write = dawdle
    answer = await command(api, 20)
    assert answer.status == 202
    assert answer.body["outcome"] == "unknown"
    done.set()

    async def told() -> bool:
        last = (await api.get(f"/datapoint/{await api.id_of('heating', 'actuator')}/"))["last"]["outcome"]
        return last is not None and last["id"] == answer.body["id"] and last["outcome"] == "applied"

    await eventually(told, "the outcome, later")


async def test_what_does_not_fit_is_400_and_never_sent(
    api: Api, connector: ScriptedConnector, client: PlainClient
) -> None:
    assert (await command(api, 31)).body == {"value": ["Value is larger than the maximum of this datapoint (30)."]}
    number = await api.id_of("heating", "actuator")
    path = f"/datapoint/{number}/value/"
    for body in (b"", b"{", b"[]", b'{"value": NaN, "timestamp": 1}', b'{"value": 20}', b'"text"', b"\xff"):
        assert (await api.post(path, body)).status == 400, body
    sensor = await api.id_of("power")
    answer = await api.post(f"/datapoint/{sensor}/value/", {"value": 1, "timestamp": now_ms()})
    assert answer.status == 400
    assert answer.body == {"non_field_errors": ["This message can only be written for an actuator datapoint."]}
    assert (await api.post("/datapoint/4711/value/", {"value": 1, "timestamp": now_ms()})).status == 404
    assert connector.written == []
    assert client.on("meter/messages/heating-set/value") == []


async def test_a_datapoint_that_is_switched_off_takes_nothing(api: Api, connector: ScriptedConnector) -> None:
    number = await api.id_of("pump", "actuator")
    await api.put(f"/datapoint/{number}/", {"is_active": False})
    answer = await command(api, True, "pump")
    assert answer.status == 409
    assert "not active" in answer.body["detail"]


async def test_nobody_listens_is_503_and_nothing_waits_at_the_broker(
    api: Api, settings: Settings, client: PlainClient
) -> None:
    async with connected(settings, ScriptedConnector(HEATING)):
        await api.datapoint("heating", "actuator")
    await eventually(lambda: _condition(api, "meter", "offline"), "the connector said goodbye")
    answer = await command(api, 20)
    assert answer.status == 503
    assert answer.body == {"detail": "The connector meter is offline."}

    made = await api.post(
        "/datapoint/", [{"connector": {"name": "ghost"}, "key_in_connector": "x", "type": "actuator"}]
    )
    answer = await api.post(f"/datapoint/{made.body[0]['id']}/value/", {"value": 1, "timestamp": now_ms()})
    assert answer.status == 503
    assert client.on("meter/messages/heating-set/value") == []


async def _condition(api: Api, name: str, wanted: str) -> bool:
    state = api.core.live.connectors.get(name)
    return state is not None and api.core.live.condition(name) == wanted


async def test_without_a_broker_commands_are_503_and_the_rest_goes_on(
    api: Api, connector: ScriptedConnector, mosquitto: Mosquitto
) -> None:
    number = await api.id_of("heating", "actuator")
    await mosquitto.kill()
    await eventually(lambda: _disconnected(api), "the loss is noticed")
    assert (await command(api, 20)).status == 503
    items = [{"from_timestamp": None, "to_timestamp": None, "value": 20}]
    schedule = {"schedule": items, "timestamp": now_ms()}
    assert (await api.post(f"/datapoint/{number}/schedule/", schedule)).status == 503
    assert (await api.ask("GET", "/readyz/")).status == 503
    assert (await api.ask("GET", "/healthz/")).status == 200
    assert len(await api.get("/datapoint/")) == 3
    await mosquitto.start()


async def _disconnected(api: Api) -> bool:
    return not api.core.bus.connected


# -- setpoints and schedules ------------------------------------------------------------------------------------------


async def test_setpoints_and_schedules_are_published_retained(
    api: Api, connector: ScriptedConnector, client: PlainClient, settings: Settings
) -> None:
    number = await api.id_of("heating", "actuator")
    now = now_ms()
    span = {"from_timestamp": None, "to_timestamp": now + 60_000}
    setpoint = {"setpoint": [{**span, "preferred_value": "20.0", "min_value": 19, "max_value": 21}], "timestamp": now}
    schedule = {"schedule": [{**span, "value": 22}], "timestamp": now}
    answer = await api.post(f"/datapoint/{number}/setpoint", setpoint)
    assert answer.status == 201
    wanted = [{**span, "preferred_value": 20.0, "min_value": 19.0, "max_value": 21.0}]
    assert answer.body == {"setpoint": wanted, "timestamp": now}
    assert (await api.post(f"/datapoint/{number}/schedule/", schedule)).body == schedule
    assert await client.message("meter/messages/heating-set/setpoint") == answer.body
    assert await client.message("meter/messages/heating-set/schedule") == schedule

    told = await eventually(lambda: _last(api, "schedule"), "the schedule came back from the broker")
    assert told == {str(number): schedule}
    assert await _last(api, "setpoint") == {str(number): answer.body}

    async with running(settings.model_copy(update={"service_name": "other"})) as other:  # the broker retained them
        assert await eventually(lambda: _last(other, "setpoint")) == {str(number): answer.body}


async def _last(api: Api, kind: str) -> Any:
    return (await api.get(f"/datapoint/last_{kind}/"))["msgs_by_datapoint_id"]


async def test_setpoints_and_schedules_that_do_not_fit(api: Api, connector: ScriptedConnector) -> None:
    number, sensor = await api.id_of("heating", "actuator"), await api.id_of("power")
    item = {"from_timestamp": None, "to_timestamp": None, "preferred_value": 99, "min_value": None, "max_value": None}
    answer = await api.post(f"/datapoint/{number}/setpoint/", {"setpoint": [item], "timestamp": now_ms()})
    assert answer.status == 400
    assert set(answer.body["setpoint"][0]) == {"preferred_value"}
    assert (await api.post(f"/datapoint/{number}/schedule/", {"schedule": None, "timestamp": now_ms()})).status == 400
    assert (await api.post(f"/datapoint/{sensor}/schedule/", {"schedule": [], "timestamp": now_ms()})).status == 400
    assert (await api.post(f"/datapoint/{number}/schedule/", {"schedule": [], "timestamp": now_ms()})).status == 201


# -- a connector of BEMCom's kind -------------------------------------------------------------------------------------


class BemcomConnector:
    """Announces what it has, says nothing until it has a map, then publishes and takes commands: as BEMCom's do."""

    KEYS = ("Channel__P__value__0", "Channel P")

    def __init__(self, client: PlainClient) -> None:
        self.client = client
        self.map: dict[str, dict[str, str]] = {}
        self.commands: list[tuple[str, Any]] = []
        self.got_map = asyncio.Event()

    async def run(self) -> None:
        available = {"sensor": {self.KEYS[0]: 0.122}, "actuator": {self.KEYS[1]: "0.4"}}
        await self.client.publish("old-connector/available_datapoints", available, retain=True)
        while True:
            now = now_ms()
            beat = {"this_heartbeats_timestamp": now, "next_heartbeats_timestamp": now + 5000}
            await self.client.publish("old-connector/heartbeat", beat, qos=0)
            await asyncio.sleep(0.2)

    def take(self, seen: Any) -> None:
        if seen.topic == "old-connector/datapoint_map":
            self.map = json.loads(seen.payload)
            self.got_map.set()
        elif seen.topic in self.map.get("actuator", {}):
            self.commands.append((self.map["actuator"][seen.topic], seen.json["value"]))

    async def publish(self, value: Any, timestamp: int) -> dict[str, Any]:
        message = {"value": value, "timestamp": timestamp}
        await self.client.publish(self.map["sensor"][self.KEYS[0]], message, qos=0, retain=True)
        return message


async def test_a_connector_of_bemcoms_kind(api: Api, history: None, client: PlainClient) -> None:
    bemcom = BemcomConnector(client)
    client.on_message = bemcom.take
    async with in_background("old-connector", bemcom.run()):
        async with asyncio.timeout(SOON_S):
            await bemcom.got_map.wait()
        assert bemcom.map == {
            "sensor": {"Channel__P__value__0": "old-connector/messages/Channel__P__value__0/value"},
            "actuator": {"old-connector/messages/Channel-P-set/value": "Channel P"},
        }
        sensor, actuator = await api.id_of(bemcom.KEYS[0]), await api.id_of(bemcom.KEYS[1], "actuator")

        # Recorded by history under the ids that the API gave, and live.
        now = now_ms()
        recorded = [await bemcom.publish(0.5, now), await bemcom.publish(0.75, now + 1)]

        async def in_history() -> bool:
            return bool(await api.get(f"/datapoint/{sensor}/value/") == recorded)

        await eventually(in_history, "both values in the database")
        live = (await api.get("/datapoint/last_value/"))["msgs_by_datapoint_id"]
        assert live[str(sensor)] == recorded[1]

        # Commanded; it cannot tell the outcome.
        answer = await api.post(f"/datapoint/{actuator}/value/", {"value": 0.6, "timestamp": now_ms()})
        assert answer.status == 202
        assert bemcom.commands == [("Channel P", 0.6)]
        [found] = [entry for entry in await api.get("/connector/") if entry["name"] == "old-connector"]
        assert found["state"] == "online"
        assert not found["describes_itself"]

        # A person switches the sensor off.
        bemcom.got_map.clear()
        await api.put("/connector/old-connector/datapoint_map/", {"actuator": [bemcom.KEYS[1]]})
        async with asyncio.timeout(SOON_S):
            await bemcom.got_map.wait()
        assert bemcom.map["sensor"] == {}


async def test_our_own_connectors_and_known_maps_are_left_alone(
    api: Api, connector: ScriptedConnector, client: PlainClient
) -> None:
    own_map = {"sensor": {"k": "old/messages/k/value"}, "actuator": {}}
    await client.publish("old/datapoint_map", own_map, retain=True)  # what we would say: it needs no repetition
    await client.publish("old/available_datapoints", {"sensor": {"k": 1}, "actuator": {}}, retain=True)
    await client.publish("new/available_datapoints", {"sensor": {"k": 1}, "actuator": {}}, retain=True)
    await client.message("new/datapoint_map")
    assert len(client.on("old/datapoint_map")) == 1
    assert client.on("meter/datapoint_map") == []


async def test_a_broker_that_lost_its_state_is_told_again(
    api: Api, connector: ScriptedConnector, mosquitto: Mosquitto, client: PlainClient, settings: Settings
) -> None:
    number = await api.id_of("power")
    await api.put(f"/datapoint/{number}/", {"is_active": False})
    wanted = await client.message("meter/datapoint_map")
    await mosquitto.kill()
    await eventually(lambda: _disconnected(api))
    await mosquitto.start()

    async with plain_client(mosquitto.port) as again:
        assert await again.message("meter/datapoint_map") == wanted
        assert await again.message("python_controller/controlled_datapoints") == []
