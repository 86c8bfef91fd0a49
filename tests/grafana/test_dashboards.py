"""The dashboards: every query against the real schema, filled by the real history; and what Grafana needs of the files.

Grafana itself is not run here.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from history.settings import Settings
from tests.grafana.queries import (
    DASHBOARDS,
    Query,
    dashboards,
    interpolated,
    panel_queries,
    references,
    variable_queries,
)
from tests.history.conftest import NOW, SESSION, Client, playing, running
from tests.support.postgres import PostgresServer, postgres_server, postgres_url  # noqa: F401
from wattbus.mqtt.embedded_broker import Mosquitto

PROVISIONING = DASHBOARDS.parent / "provisioning"
DAY_MS = 86_400_000
FROM, TO = NOW - 60_000, NOW + 2 * DAY_MS  # values are of yesterday, history heard them today
ACTUATOR = "meter/messages/heat-set"
every_query = pytest.mark.parametrize("query", panel_queries(), ids=str)


# -- a day in the life of two connectors ------------------------------------------------------------------------------


async def fill(client: Client) -> None:
    """Readings of every kind, one with a fault, a gap, a loss; a setpoint, a schedule, commands."""
    described = [
        {"key": "heat", "type": "actuator", "topic": f"{ACTUATOR}/value"},
        *({"key": key, "type": "sensor", "topic": f"meter/messages/{key}/value"} for key in ("power", "text", "on")),
    ]
    await client.publish("meter/datapoints", described, retain=True)
    for sequence in (1, 2, 3, 6, 7):  # 4 and 5 are on their way
        await client.reading(sequence, power=100 * sequence, text="it's", on=sequence % 2 == 0)
    await client.reading(0, dropped=[(8, 9)])
    stale = {"session": SESSION, "sequence": 1, "timestamp": NOW, "values": {"co2": 400}, "quality": {"co2": "stale"}}
    await client.publish("air/values", stale)
    item = {"from_timestamp": None, "to_timestamp": NOW + 600_000, "preferred_value": 20, "min_value": 18}
    later = {"from_timestamp": NOW + 600_000, "to_timestamp": None, "preferred_value": 21, "max_value": 23}
    await client.publish(f"{ACTUATOR}/setpoint", {"setpoint": [item, later], "timestamp": NOW})
    other = {"from_timestamp": None, "to_timestamp": None, "preferred_value": 15}
    await client.publish(f"{ACTUATOR}/setpoint", {"setpoint": [other], "timestamp": NOW + 1_200_000})
    planned = {"from_timestamp": NOW, "to_timestamp": NOW + 300_000, "value": 19.5}
    await client.publish(f"{ACTUATOR}/schedule", {"schedule": [planned], "timestamp": NOW})
    for number, outcome in enumerate(("applied", "rejected", "failed", "expired")):
        command = {"id": None, "value": 19.5, "command_timestamp": NOW, "timestamp": NOW + number, "detail": "why"}
        await client.publish(f"{ACTUATOR}/result", {**command, "outcome": outcome})
    await client.until_receipt("air", 1)
    await client.until_receipt("meter", 9, missing=[(4, 5)])


@dataclass
class Filled:
    """A database that history wrote."""

    server: PostgresServer
    url: str

    def rows(self, statement: str) -> list[list[str]]:
        return [line.split("|") for line in self.server.execute(statement, self.url).splitlines()]

    def of(self, query: Query, **chosen: Any) -> list[list[str]]:
        """What a query gives with everything chosen, or these."""
        values: dict[str, Any] = {
            "connector": ["air", "meter"],
            "datapoint": self.ids("sensor"),
            "actuator": self.ids("actuator"),
            "sensor": self.ids("sensor", "power"),
            **chosen,
        }
        return self.rows(interpolated(query.text, values, FROM, TO))

    def ids(self, kind: str, key: str = "%") -> list[int]:
        found = self.rows(f"SELECT id FROM datapoints WHERE type = '{kind}' AND key LIKE '{key}' ORDER BY id")
        return [int(row[0]) for row in found]


@contextlib.asynccontextmanager
async def recording(mosquitto: Mosquitto, url: str, folder: Path) -> AsyncIterator[Client]:
    settings = Settings(
        mqtt_broker_port=mosquitto.port, database_url=url, data_directory=folder, history_receipt_seconds=0.05
    )
    async with playing(mosquitto.port) as client, running(settings):
        await client.until_state("online")
        yield client


@pytest.fixture
async def filled(
    mosquitto: Mosquitto,
    postgres_server: PostgresServer,  # noqa: F811
    postgres_url: str,  # noqa: F811
    tmp_path: Path,
) -> Filled:
    async with recording(mosquitto, postgres_url, tmp_path) as client:
        await fill(client)
    return Filled(postgres_server, postgres_url)


async def test_every_query_finds_something(filled: Filled) -> None:
    """All of them on one database: filling it takes longer than asking."""
    empty = [str(query) for query in panel_queries() if not filled.of(query)]
    assert empty == []


async def test_variables_offer_what_there_is(filled: Filled) -> None:
    offered = {str(query): filled.of(query) for query in variable_queries()}
    assert offered["building: connector"] == [["air"], ["meter"]]
    assert [row[0] for row in offered["building: datapoint"]] == ["air/co2", "meter/on", "meter/power", "meter/text"]
    assert [row[0] for row in offered["control: actuator"]] == ["meter/heat"]
    assert [row[1] for row in offered["control: actuator"]] == [str(identity) for identity in filled.ids("actuator")]


def named(name: str) -> Query:
    [query] = [query for query in panel_queries() if str(query) == name]
    return query


async def test_newest_values_are_those_that_were_written(filled: Filled) -> None:
    found = {tuple(row[:4]) for row in filled.of(named("building: Newest values A"))}
    assert found == {
        ("air", "co2", "400", "stale"),
        ("meter", "on", "false", "good"),
        ("meter", "power", "700", "good"),
        ("meter", "text", '"it\'s"', "good"),
    }


async def test_one_connector_can_be_chosen(filled: Filled) -> None:
    found = filled.of(named("building: Newest values A"), connector=["air"])
    assert [row[0] for row in found] == ["air"]


async def test_values_are_means_of_intervals(filled: Filled) -> None:
    found = filled.of(named("building: Values A"), datapoint=filled.ids("sensor", "power"))
    assert [(row[1], float(row[2])) for row in found] == [("meter/power", pytest.approx(380.0))]  # all in one second


async def test_a_setpoint_is_drawn_as_it_was_given_at_each_time(filled: Filled) -> None:
    """The first from its time on, the second item from its beginning, until another setpoint took their place."""
    query = named("control: Setpoint, schedule and value B")
    drawn = interpolated(query.text, {"actuator": filled.ids("actuator")}, FROM, NOW + 3_600_000)
    since = f"round(extract(epoch FROM time) * 1000) - {NOW}"
    statement = f'SELECT {since}, setpoint, "setpoint min", "setpoint max" FROM ({drawn}) AS drawn'
    assert filled.rows(statement) == [
        ["0", "20", "18", ""],
        ["599999", "20", "18", ""],
        ["600000", "", "", ""],
        ["600000", "21", "", "23"],
        ["1199999", "21", "", "23"],
        ["1200000", "", "", ""],
        ["1200000", "15", "", ""],
        ["3599999", "15", "", ""],
        ["3600000", "", "", ""],
    ]


async def test_what_is_missing_is_counted(filled: Filled) -> None:
    connectors = {row[0]: row[2:] for row in filled.of(named("completeness: Connectors A"))}
    assert connectors == {"air": ["1", "0", "0", "1"], "meter": ["9", "2", "2", "1"]}
    assert filled.of(named("building: Readings missing A")) == [["2"]]
    ranges = [row[2:5] for row in filled.of(named("completeness: What is missing A"))]
    assert ranges == [["4", "5", "missing"], ["8", "9", "reported lost"]]


async def test_outcomes_of_commands(filled: Filled) -> None:
    found = filled.of(named("control: Commands A"))
    assert [row[1:] for row in found] == [
        ["meter", "heat", "19.5", outcome, "why"] for outcome in ("expired", "failed", "rejected", "applied")
    ]


async def test_a_new_installation_gives_no_errors(
    mosquitto: Mosquitto,
    postgres_server: PostgresServer,  # noqa: F811
    postgres_url: str,  # noqa: F811
    tmp_path: Path,
) -> None:
    """There is nothing to choose from yet: Grafana puts nothing in the place of variables."""
    async with recording(mosquitto, postgres_url, tmp_path):
        pass
    fresh = Filled(postgres_server, postgres_url)
    for query in [*panel_queries(), *variable_queries()]:
        fresh.of(query, connector=[], datapoint=[], actuator=[], sensor=[])


# -- the files --------------------------------------------------------------------------------------------------------


@every_query
def test_a_query_is_bounded_in_time_or_looks_at_the_newest_only(query: Query) -> None:
    if re.search(r"FROM history\b", query.text):
        bounded = "BETWEEN ${__from} AND ${__to}" in query.text
        assert bounded or "ORDER BY time DESC LIMIT 1" in query.text


@pytest.mark.parametrize("name", dashboards())
def test_a_dashboard_is_whole(name: str) -> None:
    board = dashboards()[name]
    assert board["uid"] == f"wattbus-{name}" and "wattbus" in board["tags"]
    defined = {variable["name"] for variable in board["templating"]["list"]}
    used = {one for query in [*panel_queries(), *variable_queries()] if query.dashboard == name
            for one in references(query.text)}  # fmt: skip
    assert used == defined
    ids = [panel["id"] for panel in board["panels"]]
    assert len(ids) == len(set(ids))
    squares = [
        (x, y)
        for panel in board["panels"]
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(squares) == len(set(squares)) and max(x for x, _ in squares) < 24


def test_panels_ask_the_provisioned_source() -> None:
    provisioned = yaml.safe_load((PROVISIONING / "datasources/wattbus.yaml").read_text())["datasources"]
    sources = {(source["type"], source["uid"]) for source in provisioned}
    boards = list(dashboards().values())
    asked = [panel["datasource"] for board in boards for panel in board["panels"]]
    asked += [target["datasource"] for board in boards for panel in board["panels"] for target in panel["targets"]]
    asked += [variable["datasource"] for board in boards for variable in board["templating"]["list"]]
    assert (
        {(source["type"], source["uid"]) for source in asked}
        == sources
        == {("grafana-postgresql-datasource", "wattbus")}
    )


def test_the_password_of_the_source_is_in_a_file() -> None:
    [source] = yaml.safe_load((PROVISIONING / "datasources/wattbus.yaml").read_text())["datasources"]
    assert source["secureJsonData"] == {"password": "$__file{/run/secrets/grafana/database_password}"}
    assert (source["user"], source["jsonData"]["database"]) == ("wattbus_reader", "wattbus")


def test_dashboards_are_where_grafana_is_told_to_look() -> None:
    compose = yaml.safe_load((DASHBOARDS.parents[1] / "docker-compose.yml").read_text())
    volumes = dict(volume.split(":")[:2][::-1] for volume in compose["services"]["grafana"]["volumes"][1:3])
    [provider] = yaml.safe_load((PROVISIONING / "dashboards/wattbus.yaml").read_text())["providers"]
    assert volumes[provider["options"]["path"]] == "./grafana/dashboards"
    home = compose["services"]["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert (DASHBOARDS / Path(home).name).is_file()
