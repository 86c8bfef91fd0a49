"""Datapoints: discovered, listed, filtered, edited, chosen; ids that stay."""

from __future__ import annotations

from typing import Any

from api.settings import Settings
from tests.api.conftest import Answer, Api, connected, eventually, running
from tests.support.connector import ScriptedConnector
from wattbus.connector import Datapoint
from wattbus.testing.mqtt import PlainClient

TEMPERATURE = Datapoint("temperature", unit="Cel", data_format="generic_numeric", description="Room")
HUMIDITY = Datapoint("humidity", unit="%", data_format="generic_numeric")
HEATING = Datapoint("heating", "actuator", data_format="continuous_numeric", unit="Cel", min_value=15, max_value=30)


def names(listed: Any) -> set[str]:
    return {entry["key_in_connector"] for entry in listed}


async def test_datapoints_of_a_connector_are_found_and_described(api: Api, settings: Settings) -> None:
    async with connected(settings, ScriptedConnector(TEMPERATURE, HEATING)):
        found = await api.datapoint("heating", "actuator")
    assert (
        found.items()
        >= {
            "connector": {"name": "meter"},
            "key_in_connector": "heating",
            "type": "actuator",
            "data_format": "continuous_numeric",
            "short_name": None,
            "description": "",
            "min_value": 15.0,
            "max_value": 30.0,
            "allowed_values": None,
            "unit": "Cel",
            "is_active": True,
            "topic": "meter/messages/heating-set/value",
        }.items()
    )


async def test_ids_are_the_same_after_a_restart_and_for_history(settings: Settings, client: PlainClient) -> None:
    connector = ScriptedConnector(TEMPERATURE, HUMIDITY)
    async with running(settings) as api, connected(settings, connector):
        before = {key: await api.id_of(key) for key in ("temperature", "humidity")}
    async with running(settings) as api:
        assert {key: await api.id_of(key) for key in ("temperature", "humidity")} == before
        stored = await api.core.database.once(lambda store: store.history.datapoints())
    assert {row.key: row.id for row in stored} == before


async def test_filters_of_the_reference(api: Api, settings: Settings) -> None:
    async with connected(settings, ScriptedConnector(TEMPERATURE, HUMIDITY, HEATING)):
        number = await api.id_of("temperature")
        await api.id_of("heating", "actuator")
        await api.id_of("humidity")
        assert (await api.put(f"/datapoint/{number}/", {"short_name": "T_room"})).status == 200
        assert names(await api.get("/datapoint/", id__in=f"{number},77")) == {"temperature"}
        assert names(await api.get("/datapoint", type="actuator")) == {"heating"}
        assert names(await api.get("/datapoint/", unit="Cel")) == {"temperature", "heating"}
        assert names(await api.get("/datapoint/", unit__icontains="cE")) == {"temperature", "heating"}
        assert names(await api.get("/datapoint/", short_name="T_room")) == {"temperature"}
        assert names(await api.get("/datapoint/", short_name__icontains="t_R")) == {"temperature"}
        assert names(await api.get("/datapoint/", description__icontains="ROOM")) == {"temperature"}
        assert names(await api.get("/datapoint/", data_format="continuous_numeric")) == {"heating"}
        assert names(await api.get("/datapoint/", connector__name="meter")) == {"temperature", "humidity", "heating"}
        assert names(await api.get("/datapoint/", connector__name__icontains="other")) == set()
        assert names(await api.get("/datapoint/", key_in_connector__icontains="MID")) == {"humidity"}
        assert (await api.ask("GET", "/datapoint/", id__in="1,x")).status == 400


async def test_edits_rule_over_announcements_and_survive_a_restart(settings: Settings) -> None:
    edit = {"short_name": "T", "unit": "°C", "description": "living room", "max_value": 25, "min_value": None}
    connector = ScriptedConnector(HEATING)
    async with running(settings) as api, connected(settings, connector):
        number = await api.id_of("heating", "actuator")
        changed = await api.put(f"/datapoint/{number}/", edit)
        assert changed.status == 200
        assert changed.body.items() >= {**edit, "max_value": 25.0, "data_format": "continuous_numeric"}.items()
    async with running(settings) as api:
        found = await eventually(lambda: api.get("/datapoint/", short_name="T"), "the edited datapoint")
        assert found[0].items() >= {"id": number, "unit": "°C", "max_value": 25.0, "min_value": None}.items()


async def refused(api: Api, number: int, **edit: Any) -> Any:
    answer = await api.put(f"/datapoint/{number}/", edit)
    assert answer.status == 400, answer
    return answer.body


async def test_edits_that_make_no_sense_are_refused(api: Api, settings: Settings) -> None:
    async with connected(settings, ScriptedConnector(TEMPERATURE, HUMIDITY)):
        number, other = await api.id_of("temperature"), await api.id_of("humidity")
        assert (await api.put(f"/datapoint/{other}/", {"short_name": "H"})).status == 200
        assert await refused(api, number, short_name="H") == {
            "short_name": ["datapoint with this short name already exists."]
        }
        assert set(await refused(api, number, data_format="float", unit=None)) == {"data_format", "unit"}
        assert set(await refused(api, number, allowed_values="[1, 2]")) == {"allowed_values"}  # the reference: 500
        assert set(await refused(api, number, allowed_values=[[1]])) == {"allowed_values"}
        assert set(await refused(api, number, min_value=3, max_value=2)) == {"min_value"}
        assert set(await refused(api, number, is_active="yes")) == {"is_active"}
        for body in (b"[1]", b"{", b'{"min_value": NaN}', b'{"min_value": 1e400}', b""):
            assert (await api.put(f"/datapoint/{number}/", body)).status == 400
        assert (await api.put("/datapoint/4711/", {})).status == 404
        assert (await api.ask("GET", "/datapoint/4711/")).body == {"detail": "Not found."}
        assert (await api.datapoint("temperature"))["unit"] == "Cel"


def of(connector: str, key: str, **more: Any) -> dict[str, Any]:
    return {"connector": {"name": connector}, "key_in_connector": key, **more}


async def test_a_backup_makes_datapoints_and_changes_them_all_or_nothing(api: Api) -> None:
    new = [of("old-meter", "p", type="sensor", unit="W", short_name="P"), of("old-meter", "p", type="actuator")]
    broken = [*new, of("old-meter", "q", type="sensor", data_format="nonsense"), {}]
    answer = await api.post("/datapoint/", broken)
    assert answer.status == 400
    assert answer.body[:2] == [{}, {}]
    assert set(answer.body[2]) == {"data_format"}
    assert await api.get("/datapoint/") == []

    made = await api.post("/datapoint/", new)
    assert made.status == 201
    assert [(entry["type"], entry["unit"], entry["short_name"]) for entry in made.body] == [
        ("sensor", "W", "P"),
        ("actuator", "", None),
    ]
    assert (await api.post("/datapoint/", new[:1])).status == 400  # there already

    both = await api.put("/datapoint/", [of("old-meter", "p", unit="kW")])
    assert both.body == [{"type": ["There is a sensor and an actuator with this key: say which."]}]
    changed = await api.put("/datapoint/", [of("old-meter", "p", type="sensor", unit="kW")])
    assert changed.body[0]["unit"] == "kW"
    assert (await api.put("/datapoint/", [of("nobody", "p", type="sensor")])).body == [
        {"connector": ["There is no connector nobody."]}
    ]
    assert (await api.put("/datapoint/", {})).status == 400


async def test_short_names_may_be_swapped(api: Api) -> None:
    await api.post("/datapoint/", [of("m", k, type="sensor", short_name=k) for k in ("a", "b")])
    swapped = [of("m", "a", short_name="b"), of("m", "b", short_name="a")]
    answer: Answer = await api.put("/datapoint/", swapped)
    assert [entry["short_name"] for entry in answer.body] == ["b", "a"]


async def test_what_a_person_switches_off_is_not_published(api: Api, settings: Settings, client: PlainClient) -> None:
    async with connected(settings, ScriptedConnector(TEMPERATURE, HUMIDITY, HEATING)) as connector:
        number = await api.id_of("humidity")
        assert client.last("meter/datapoint_map") is None  # ours need none
        assert (await api.put(f"/datapoint/{number}/", {"is_active": False})).status == 200
        assert await client.message("meter/datapoint_map") == {
            "sensor": {"temperature": "meter/messages/temperature/value"},
            "actuator": {"meter/messages/heating-set/value": "heating"},
        }
        assert names(await api.get("/datapoint/")) == {"temperature", "heating"}
        assert names(await api.get("/datapoint/", is_active="false")) == {"humidity"}
        connector.read({"temperature": 21.0, "humidity": 40})
        await client.message("meter/messages/temperature/value", value=21.0)

        everything = await api.delete("/connector/meter/datapoint_map/")
        assert everything.status == 204
        await client.until(lambda: client.on("meter/datapoint_map")[-1].payload == b"")
        connector.read({"temperature": 21.5, "humidity": 41})
        await client.message("meter/messages/humidity/value", value=41)


async def test_a_map_can_be_chosen(api: Api, settings: Settings, client: PlainClient) -> None:
    async with connected(settings, ScriptedConnector(TEMPERATURE, HUMIDITY, HEATING)):
        await api.id_of("heating", "actuator")
        path = "/connector/meter/datapoint_map/"
        everything = await api.get(path)
        assert set(everything["sensor"]) == {"temperature", "humidity"}
        chosen = await api.put(path, {"sensor": ["temperature"], "actuator": everything["actuator"]})
        assert chosen.status == 200
        assert chosen.body == {**everything, "sensor": {"temperature": "meter/messages/temperature/value"}}
        assert await client.message("meter/datapoint_map") == chosen.body
        assert (await api.put(path, {"sensor": ["pressure"]})).status == 400
        assert (await api.put(path, {"sensor": {"humidity": "meter/messages/7/value"}})).status == 400
        assert (await api.put(path, [])).status == 400
        assert (await api.ask("GET", "/connector/nobody/datapoint_map/")).status == 404
