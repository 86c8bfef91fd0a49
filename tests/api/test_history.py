"""History over REST: spans, limits, intervals, corrections."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from api import history, parameters
from api.errors import Invalid
from api.settings import Settings
from tests.api.conftest import Api, eventually, now_ms, running
from wattbus.storage import Span
from wattbus.testing.mqtt import PlainClient

MINUTE = 60_000
START = now_ms() // 86_400_000 * 86_400_000 - 86_400_000  # a midnight, so that all intervals begin there
VALUES = [{"value": float(n), "timestamp": START + n * MINUTE} for n in range(60)]


def of(key: str, kind: str = "sensor", **more: Any) -> dict[str, Any]:
    return {"connector": {"name": "meter"}, "key_in_connector": key, "type": kind, **more}


@pytest.fixture
async def sensor(api: Api) -> AsyncIterator[str]:
    """The path of the values of a datapoint that has an hour of them."""
    made = await api.post("/datapoint/", [of("power", data_format="generic_numeric")])
    path = f"/datapoint/{made.body[0]['id']}/value/"
    answer = await api.put(path, VALUES)
    assert (answer.status, answer.body) == (200, {"msgs_created": 60, "msgs_updated": 0})
    yield path


async def times(api: Api, path: str, **parameters: Any) -> list[int]:
    """Which minutes came."""
    return [(entry["timestamp"] - START) // MINUTE for entry in await api.get(path, **parameters)]


async def test_spans_limits_and_order(api: Api, sensor: str) -> None:
    assert await api.get(sensor) == VALUES
    ten = START + 10 * MINUTE
    assert await times(api, sensor, timestamp__lt=ten) == list(range(10))
    assert await times(api, sensor, timestamp__lte=ten) == list(range(11))
    assert await times(api, sensor, timestamp__gte=ten, limit=2) == [10, 11]
    assert await times(api, sensor, timestamp__gt=ten, limit=2) == [11, 12]
    assert await times(api, sensor, timestamp__gt=ten, timestamp__gte=ten, timestamp__lte=ten) == []
    assert await times(api, sensor, order="desc", limit=3) == [59, 58, 57]
    assert await times(api, sensor, limit=0) == []
    for name, value in {"timestamp__lt": "now", "limit": -1, "order": "up", "timestamp__gte": 2**60}.items():
        assert (await api.ask("GET", sensor, **{name: value})).status == 400


async def test_intervals(api: Api, sensor: str) -> None:
    quarter = {"interval": "15 minutes"}
    averages = await api.get(sensor, **quarter)
    assert averages == [{"value": 7.0 + 15 * n, "timestamp": START + 15 * n * MINUTE} for n in range(4)]

    async def of_quarters(aggregate: str) -> list[Any]:
        return [entry["value"] for entry in await api.get(sensor, **quarter, aggregate=aggregate)]

    assert await of_quarters("min") == [0, 15, 30, 45]
    assert await of_quarters("max") == [14, 29, 44, 59]
    assert await of_quarters("last") == [14, 29, 44, 59]
    assert await of_quarters("count") == [15, 15, 15, 15]
    assert await api.get(sensor, interval="PT15M") == averages
    assert await times(api, sensor, interval="30 min", order="desc", limit=1) == [30]
    assert await times(api, sensor, interval="1 hour", timestamp__gte=START + 10 * MINUTE) == [0]
    for nonsense in ("", "soon", "0 minutes", "-5 minutes", "15", "P", "PT", "15 lightyears", "9" * 40 + " days"):
        answer = await api.ask("GET", sensor, interval=nonsense)
        assert (answer.status, list(answer.body)) == (400, ["interval"]), nonsense
    assert (await api.ask("GET", sensor, **quarter, aggregate="median")).status == 400


@pytest.mark.parametrize("interval", [{}, {"interval": "1 minute"}])
async def test_what_is_too_much_for_one_answer_is_said_also_by_interval(
    api: Api, sensor: str, monkeypatch: pytest.MonkeyPatch, interval: dict[str, str]
) -> None:
    monkeypatch.setattr(history, "MOST_ROWS", 59)
    answer = await api.ask("GET", sensor, **interval)
    assert (answer.status, list(answer.body)) == (400, ["limit"])
    assert await times(api, sensor, **interval, order="desc", limit=60) == list(range(60))[::-1]
    monkeypatch.setattr(history, "MOST_ROWS", 60)
    assert len(await times(api, sensor, **interval)) == 60
    assert await times(api, sensor, **interval, aggregate="last", order="desc", limit=2) == [59, 58]


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("15 minutes", 900_000),
        ("1 hour 30 min", 5_400_000),
        ("90s", 90_000),
        ("1 day", 86_400_000),
        ("2days", 172_800_000),
        ("0.5 seconds", 500),
        ("1 Week", 604_800_000),
        ("250 ms", 250),
        ("PT15M", 900_000),
        ("P1D", 86_400_000),
        ("P1DT12H", 129_600_000),
        ("pt0.5s", 500),
    ],
)
def test_how_an_interval_is_written(text: str, ms: int) -> None:
    assert parameters.interval_ms(text) == ms


def test_spans_are_half_open() -> None:
    assert parameters.span() == Span()
    assert parameters.span(gte=5, gt=5, lte=9, lt=9) == Span(6, 9)
    assert parameters.span(lte=9) == Span(None, 10)
    with pytest.raises(Invalid):
        parameters.ids("id__in", "1;2")


async def test_values_are_put_right_and_taken_out(api: Api, sensor: str) -> None:
    changed = [{"value": value, "timestamp": START + step} for value, step in (("99.5", 0), (1, 1), (2, 1))]
    assert (await api.put(sensor, changed)).body == {"msgs_created": 1, "msgs_updated": 1}
    first = await api.get(sensor, timestamp__lte=START + 1)
    assert first == [{"value": 99.5, "timestamp": START}, {"value": 2, "timestamp": START + 1}]
    assert (await api.put(sensor, [])).body == {"msgs_created": 0, "msgs_updated": 0}
    assert (await api.delete(f"{sensor}{START + 1}/")).status == 204
    assert (await api.delete(f"{sensor}{START + 1}/")).status == 404
    assert (await api.delete(f"{sensor}{2**70}/")).status == 404
    wrong = await api.put(sensor, [VALUES[0], {"value": True, "timestamp": START}, 5])
    assert wrong.status == 400
    assert [set(faults) for faults in wrong.body] == [set(), {"value"}, {"non_field_errors"}]
    assert (await api.put(sensor, {})).status == 400
    assert (await api.put("/datapoint/4711/value/", [])).status == 404


async def test_setpoints_and_schedules_of_a_backup(api: Api) -> None:
    made = await api.post("/datapoint/", [of("heating", "actuator", data_format="generic_numeric")])
    for kind, value in (("setpoint", "preferred_value"), ("schedule", "value")):
        path = f"/datapoint/{made.body[0]['id']}/{kind}/"
        item = {"from_timestamp": None, "to_timestamp": START, value: 20}
        messages = [{kind: [item], "timestamp": START}, {kind: [], "timestamp": START + 5}]
        assert (await api.put(path, messages)).body == {"msgs_created": 2, "msgs_updated": 0}
        assert (await api.put(path, messages[:1])).body == {"msgs_created": 0, "msgs_updated": 1}
        assert await api.get(path) == messages
        assert await api.get(path, order="desc", limit=1) == messages[1:]
        assert await api.get(path, timestamp__gt=START) == messages[1:]
        assert (await api.delete(f"{path}{START}")).status == 204
        assert await api.get(path) == messages[1:]


async def test_what_is_recorded_comes_back(api: Api, history: None, client: PlainClient) -> None:
    topic = "meter/messages/power/value"
    now = now_ms()
    values = [21, 21.5, "text", True, None, 2**70]
    for step, value in enumerate(values):
        await client.publish(topic, {"value": value, "timestamp": now + step}, retain=True)
    await client.publish(topic, {"value": 1, "timestamp": now + 6, "quality": "stale"}, retain=True)
    number = await api.id_of("power")  # nobody announced it: history made it

    async def recorded() -> Any:
        found = await api.get(f"/datapoint/{number}/value/")
        return found if len(found) == 7 else None

    found = await eventually(recorded, "all values")
    assert [entry["value"] for entry in found] == [*values, 1]
    assert found[-1] == {"value": 1, "timestamp": now + 6, "quality": "stale"}
    last = await api.get("/datapoint/last_value/", datapoint__id__in=number, timestamp__lt=now + 2)
    assert last["msgs_by_datapoint_id"] == {str(number): {"value": 21.5, "timestamp": now + 1}}
    assert (await api.get("/datapoint/last_value/", datapoint__id__in="4711"))["msgs_by_datapoint_id"] == {}


async def test_while_the_database_is_away_the_live_part_works(
    settings: Settings, client: PlainClient, tmp_path: Path
) -> None:
    place = tmp_path / "database"
    place.mkdir()
    (place / "history.db").mkdir()  # no file can be opened there
    away = settings.model_copy(update={"database_url": f"sqlite:///{place / 'history.db'}"})
    async with running(away, ready=False) as api:
        await client.publish("old/available_datapoints", {"sensor": {"k": 1}, "actuator": {}}, retain=True)
        await client.publish("old/messages/k/value", {"value": 5, "timestamp": now_ms()}, retain=True)
        await eventually(lambda: _live(api), "the live model")
        for path in ("/datapoint/", "/datapoint/1/", "/datapoint/1/value/", "/datapoint/last_value/", "/controller/"):
            assert (await api.ask("GET", path)).status == 503, path
        assert (await api.ask("GET", "/readyz/")).status == 503
        assert (await api.get("/connector/"))[0]["name"] == "old"
        assert (await api.post("/datapoint/", [of("x")])).status == 503
        (place / "history.db").rmdir()  # it comes back
        await eventually(api.is_ready, "the database is back")
        assert await api.id_of("k") == 1
        await asyncio.sleep(0)


async def _live(api: Api) -> bool:
    return "old" in api.core.directory.datapoints.by_connector and "old/messages/k/value" in api.core.live.states
