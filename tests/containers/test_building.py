"""The demo building, as `docker compose up` brings it up from a fresh clone.

All of these share one building, and some of them break it for a while: so they run in one process, one after another
(`--dist loadfile`, where there are several). Without an engine they are skipped, and say so.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import pytest

from tests.api.page.browsing import CHROMIUM, browser_running, expect, person
from tests.containers.engine import PREFIX, ROOT, Building, run
from tests.containers.test_materials import check
from tests.grafana.queries import interpolated, panel_queries, variable_queries

SETPOINT, AS_THE_DEVICE_HAS_IT = "write_register__1__1", "read_holding_registers__1__1"
COUNTED = "read_input_registers__1__16"
OURS = ("history", "raw-db", "controller", "api", "demo-device", "heatpump")


def asked(building: Building, path: str, body: Any = None, headers: dict[str, str] | None = None) -> tuple[int, Any]:
    """Status and content of an answer of the API."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(
        building.page + path, data, {"Content-Type": "application/json", **(headers or {})}
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            text = answer.read().decode()
            return answer.status, json.loads(text) if "json" in answer.headers["Content-Type"] else text
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def id_of(building: Building, key: str, kind: str) -> int:
    _, listed = asked(building, "/datapoint/")
    [found] = [one["id"] for one in listed if one["key_in_connector"] == key and one["type"] == kind]
    return int(found)


def count(building: Building, query: str) -> int:
    return int(building.sql(query)[0][0])


STORED = (
    f"SELECT count(*) FROM history JOIN datapoints ON datapoint = id WHERE connector = 'heatpump' AND key = '{COUNTED}'"
)


# -- it runs ----------------------------------------------------------------------------------------------------------


def test_everything_is_healthy(building: Building, services: list[str]) -> None:
    states = {name: container["State"] for name, container in building.containers().items()}
    assert states.keys() == set(services)
    for name, state in states.items():
        if name in ("setup", "database-setup"):
            assert (state["Status"], state["ExitCode"]) == ("exited", 0)
        else:
            assert state["Health"]["Status"] == "healthy", f"{name}: {state['Health']['Log'][-1:]}"


async def test_the_page_from_the_image(building: Building) -> None:
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine: the page of the image was not tested")
    async with browser_running() as browser, person(browser, building.page) as someone:
        page = await someone.open("/")
        await expect(page.locator('[data-connector="heatpump"]')).to_contain_text("Online")
        await someone.open(f"/view/{id_of(building, SETPOINT, 'actuator')}")
        await expect(page.locator("[data-role=plan] .wb-plot canvas").first).to_be_visible()


def test_rest_and_its_reference(building: Building) -> None:
    status, listed = asked(building, "/datapoint/?connector__name=heatpump")
    assert status == 200 and len(listed) == 6
    assert asked(building, "/docs")[0] == 200
    assert asked(building, "/datapoint/", headers={"Host": "wattbus.example"})[0] == 403


def test_a_command_reaches_the_device_and_is_kept(building: Building) -> None:
    wanted = 18.5
    actuator = id_of(building, SETPOINT, "actuator")
    status, answer = asked(building, f"/datapoint/{actuator}/value/", {"value": wanted, "timestamp": now_ms()})
    assert (status, answer["outcome"]) == (200, "applied")
    sensor = id_of(building, AS_THE_DEVICE_HAS_IT, "sensor")

    def is_followed() -> bool:
        return bool(asked(building, f"/datapoint/{sensor}/")[1]["last"]["value"]["value"] == wanted)

    building.until(is_followed, "the device has the new setpoint")
    kept = f"SELECT outcome, value FROM outcomes WHERE datapoint = {actuator} ORDER BY time DESC LIMIT 1"
    building.until(lambda: building.sql(kept) == [["applied", str(wanted)]], "the outcome is in the database")


def test_a_setpoint_moves_the_room(building: Building) -> None:
    """REST → API → broker → controller → connector → device, with the pair that the demo begins with."""
    want(building, 23.5)
    sensor = id_of(building, AS_THE_DEVICE_HAS_IT, "sensor")
    newest = f"SELECT number FROM history WHERE datapoint = {sensor} ORDER BY time DESC LIMIT 1"
    building.until(lambda: building.sql(newest) == [["23.5"]], "the controller has commanded the setpoint")


def want(building: Building, setpoint: float) -> None:
    """Say what is wanted of the room, and wait until history has it."""
    actuator, timestamp = id_of(building, SETPOINT, "actuator"), now_ms()
    item = {"from_timestamp": None, "to_timestamp": None, "preferred_value": setpoint}
    status, answer = asked(building, f"/datapoint/{actuator}/setpoint/", {"setpoint": [item], "timestamp": timestamp})
    assert status == 201, answer
    kept = f"SELECT count(*) FROM setpoints WHERE datapoint = {actuator} AND time = {timestamp}"
    building.until(lambda: count(building, kept) == 1, "the setpoint is in the database")


def test_history_and_raw_messages_are_in_postgresql(building: Building) -> None:
    building.until(lambda: count(building, STORED) > 3, "values in the database")
    raw = "SELECT count(*) FROM raw_messages JOIN raw_connectors ON raw_messages.connector = raw_connectors.id"
    building.until(lambda: count(building, raw) > 3, "raw messages in the database")
    assert len(asked(building, "/raw_message/?connector=heatpump")[1]) > 3


def now_ms() -> int:
    return time.time_ns() // 1_000_000


# -- who may come in --------------------------------------------------------------------------------------------------


def test_mosquitto_sub_with_the_printed_credentials(building: Building, tmp_path: Path) -> None:
    """The line that `docker compose run --rm setup show` prints, but for this test's port."""
    [line] = re.findall(r"^mosquitto_sub .*$", building.credentials(), re.MULTILINE)
    (tmp_path / "ca.crt").write_text(building.compose("run", "--rm", "--no-TTY", "setup", "ca"))
    line = line.replace(" -p 8883 ", f" -p {building.ports['MQTT_TLS_PORT']} ")
    done = run("sh", "-c", f"{line} -C 60 -W 30", cwd=tmp_path, timeout=60)
    assert "heatpump/values" in done.stdout, done.stdout


def test_nobody_comes_in_without_a_password(building: Building) -> None:
    port = str(building.ports["MQTT_PORT"])
    for options in ([], ["-u", "heatpump"], ["-u", "heatpump", "-P", "guessed"]):
        done = run(
            "mosquitto_sub", "-h", "127.0.0.1", "-p", port, *options, "-t", "#", "-C", "1", "-W", "5", check=False
        )
        assert done.returncode == 5 and "not authorised" in done.stderr, done


def test_nobody_publishes_below_anothers_name(building: Building) -> None:
    """For every user that there is, but the person who may do everything."""
    register = building.compose("run", "--rm", "--no-TTY", "--entrypoint", "cat", "setup", "/secrets/users.json")
    users = {name: facts["role"] for name, facts in json.loads(register).items() if facts["role"] != "admin"}
    assert {"history", "raw-db", "controller", "api", "heatpump", "modbus-tcp", "reader", "operator"} <= users.keys()
    with listening(building, "stranger/#") as arrived:
        for name, role in users.items():
            who = signed_in(building, name)
            for below in ("values", "status", "raw_message_to_db", "datapoints", "heartbeat", "messages/a/result"):
                assert not may_publish(building, who, f"stranger/{below}"), f"{name} ({role}): {below}"
            commands = role in ("controller", "api", "operator")
            assert may_publish(building, who, "stranger/messages/a-set/value") == commands, f"{name} ({role})"
            own = role in ("connector", "history", "raw-db", "controller", "api")
            assert may_publish(building, who, f"{name}/attempt") == own, f"{name} ({role})"
        assert may_publish(building, signed_in(building, "admin"), "stranger/end")
        assert set(up_to("stranger/end", arrived)) == {"stranger/messages/a-set/value"}


@contextlib.contextmanager
def listening(building: Building, topics: str) -> Iterator[IO[str]]:
    """The topics of what arrives, a line each, as somebody who may read everything sees them."""
    there = ["-h", "127.0.0.1", "-p", str(building.ports["MQTT_PORT"]), *signed_in(building, "admin")]
    wanted = ["-t", topics, "-t", "admin/begin", "-F", "%t", "-q", "1", "-W", "300"]
    command = ["mosquitto_sub", "-V", "5", *there, *wanted]
    assert may_publish(building, signed_in(building, "admin"), "admin/begin", "-r")
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "admin/begin\n"  # retained: so the subscription stands
            yield process.stdout
        finally:
            process.terminate()


def up_to(topic: str, arrived: IO[str]) -> Iterator[str]:
    for line in arrived:
        if line.strip() == topic:
            return
        yield line.strip()
    raise AssertionError(f"{topic} did not come")


def signed_in(building: Building, user: str) -> list[str]:
    return ["-u", user, "-P", building.mqtt_password(user)]


def may_publish(building: Building, who: list[str], topic: str, *options: str) -> bool:
    """Whether the broker takes a message; with MQTT 5 it says so (reason code 135 when not)."""
    there = ["-h", "127.0.0.1", "-p", str(building.ports["MQTT_PORT"]), *who]
    done = run("mosquitto_pub", "-V", "5", *there, "-q", "1", "-t", topic, "-m", "{}", *options, check=False)
    refused = "Not authorized" in done.stderr
    assert refused or (done.returncode, done.stderr) == (0, ""), done
    return not refused


def test_ports_are_on_the_loopback_address(building: Building) -> None:
    bindings = [
        binding["HostIp"]
        for container in building.containers().values()
        for ports in container["NetworkSettings"]["Ports"].values()
        for binding in ports or ()
    ]
    assert len(bindings) >= 3 and set(bindings) == {"127.0.0.1"}


def test_only_this_machine_may_ask_the_api(building: Building) -> None:
    """Not the other containers, and not who comes from the network to the container's own address."""
    asking = """
import sys, urllib.request as u, urllib.error as e
try: print(u.urlopen(u.Request("http://api:8080/datapoint/", headers={"Host": "localhost"}), timeout=10).status)
except e.HTTPError as error: print(error.code)
"""
    assert building.inside("history", "python", "-c", asking).strip() == "403"
    networks = building.containers()["api"]["NetworkSettings"]["Networks"].values()
    [(inside, gateway)] = [(one["IPAddress"], one["Gateway"]) for one in networks if one["Gateway"]]
    answers = {}
    for source in (gateway, own_address()):
        with contextlib.suppress(OSError):  # some engines do not let the host in at all
            connection = http.client.HTTPConnection(inside, 8080, timeout=10, source_address=(source, 0))
            connection.request("GET", "/datapoint/", headers={"Host": "localhost"})
            answers[source] = connection.getresponse().status
            connection.close()
    assert answers.pop(gateway, 200) == 200
    assert set(answers.values()) <= {403}


def own_address() -> str:
    """An address of this machine that is none of the engine's."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing
        except OSError:
            return "127.0.0.1"
        return str(probe.getsockname()[0])


def test_a_service_reaches_what_it_needs_only(building: Building) -> None:
    attempt = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 5)"
    building.inside("heatpump", "python", "-c", attempt, "broker", "1883")
    with pytest.raises(AssertionError, match=r"name resolution|not known"):
        building.inside("heatpump", "python", "-c", attempt, "database", "5432")


@pytest.mark.parametrize("service", OURS)
def test_a_container_can_do_little(building: Building, service: str) -> None:
    status = dict(
        line.split(":\t") for line in building.inside(service, "cat", "/proc/1/status").splitlines() if ":\t" in line
    )
    assert int(status["Uid"].split()[0]) == 10001
    assert int(status["CapEff"], 16) == int(status["CapBnd"], 16) == 0
    assert status["NoNewPrivs"] == "1"
    with pytest.raises(AssertionError, match="Read-only file system"):
        building.inside(service, "touch", "/here")
    building.inside(service, "touch", "/data/here", "/tmp/here")
    building.inside(service, "rm", "/data/here", "/tmp/here")


def test_a_container_sees_its_own_secrets_only(building: Building) -> None:
    def secrets(service: str) -> set[str]:
        return set(building.inside(service, "find", "/run/secrets", "-type", "f", "-printf", "%P\n").split())

    mqtt = {"wattbus/mqtt_username", "wattbus/mqtt_password", "wattbus/ca.crt"}
    assert secrets("heatpump") == secrets("controller") == mqtt
    assert secrets("history") == secrets("raw-db") == secrets("api") == mqtt | {"wattbus/database_url"}
    names = {
        service: building.inside(service, "cat", "/run/secrets/wattbus/mqtt_username").strip()
        for service in OURS
        if service != "demo-device"
    }
    assert names == {service: service for service in names}


def test_the_readers_role_only_reads(building: Building) -> None:
    for query in (
        "DELETE FROM sessions",
        "CREATE TABLE mine (a int)",
        "SET default_transaction_read_only = off; DELETE FROM sessions",
    ):
        with pytest.raises(AssertionError, match=r"read-only transaction|permission denied"):
            building.sql(query)
    with pytest.raises(AssertionError, match="permission denied"):
        building.sql("CREATE ROLE mine", role="wattbus")


def test_the_databases_encoding_takes_every_text(building: Building) -> None:
    assert building.sql("SHOW server_encoding") == [["UTF8"]]


# -- Grafana ----------------------------------------------------------------------------------------------------------


def test_every_query_of_the_dashboards(building: Building) -> None:
    """With the role that Grafana has. What needs a fault to show something is asked, too, and may be empty."""
    want(building, 22.5)
    outcomes = "SELECT count(*) FROM outcomes WHERE outcome = 'applied'"
    building.until(lambda: count(building, outcomes) > 0, "a command was confirmed")
    to_ms = now_ms()
    ids = {
        kind: [int(row[0]) for row in building.sql(f"SELECT id FROM datapoints WHERE type = '{kind}'")]
        for kind in ("sensor", "actuator")
    }
    chosen = {
        "connector": ["heatpump"],
        "datapoint": ids["sensor"],
        "actuator": ids["actuator"],
        "sensor": ids["sensor"],
    }
    empty = {
        str(query)
        for query in [*panel_queries(), *variable_queries()]
        if not building.sql(interpolated(query.text, chosen, to_ms - 3_600_000, to_ms))
    }
    assert empty <= {
        "completeness: What is missing A",
        "completeness: Values that are not good A",
        "control: Setpoint, schedule and value C",  # nobody has planned anything
    }


# -- it comes back, and nothing is lost -------------------------------------------------------------------------------


def nothing_is_missing(building: Building) -> None:
    """History has every number that the connector has given, and a row for each."""
    incomplete = (
        "SELECT connector, session, upto, missing, dropped FROM sessions "
        "WHERE connector = 'heatpump' AND (missing <> '[]' OR dropped <> '[]')"
    )
    numbered = "SELECT sum(upto) FROM sessions WHERE connector = 'heatpump'"
    building.until(lambda: building.sql(incomplete) == [], "history has what was missing")
    rows, numbers = building.sql(f"SELECT ({STORED}), ({numbered})")[0]  # at one moment
    assert rows == numbers


def further(building: Building, readings: int) -> None:
    """Wait until that many readings more are in the database."""
    goal = count(building, STORED) + readings
    building.until(lambda: count(building, STORED) >= goal, f"{readings} further readings")


@pytest.mark.parametrize(
    "service", ["broker", "database", "history", "raw-db", "controller", "api", "heatpump", "demo-device"]
)
def test_a_killed_container_comes_back_and_no_reading_is_lost(building: Building, service: str) -> None:
    further(building, 2)
    building.kill(service)
    building.until(lambda: building.healthy(service), f"{service} is healthy again")
    further(building, 5)
    nothing_is_missing(building)
    for other in OURS:
        building.until(lambda other=other: building.healthy(other), f"{other} is healthy")  # type: ignore[misc]


def test_an_outage_of_broker_and_database_costs_time_and_no_reading(building: Building) -> None:
    further(building, 2)
    building.compose("stop", "database", "broker")
    time.sleep(10)  # the outage itself: ten polls that go nowhere
    building.compose("start", "broker", "database")
    further(building, 15)
    nothing_is_missing(building)
    gaps = (
        "SELECT count(*) FROM (SELECT time - lag(time) OVER (ORDER BY time) AS pause FROM history JOIN datapoints "
        f"ON datapoint = id WHERE key = '{COUNTED}' AND time > {now_ms() - 30_000}) AS pauses WHERE pause > 5000"
    )
    assert count(building, gaps) == 0  # what was read during the outage is there, with its own time


def test_a_backup_brings_everything_back(building: Building) -> None:
    """The commands of docs/containers.md. The connector goes on meanwhile, and keeps what it reads."""
    writers = ["history", "raw-db", "api"]
    building.compose("stop", *writers)
    before = building.sql(f"SELECT ({STORED}), (SELECT count(*) FROM raw_messages), (SELECT count(*) FROM outcomes)")
    backup = building.database("backup")
    building.sql("TRUNCATE history, outcomes, raw_messages, sessions", role="wattbus")
    assert count(building, STORED) == 0
    building.database("restore", backup)
    assert (
        building.sql(f"SELECT ({STORED}), (SELECT count(*) FROM raw_messages), (SELECT count(*) FROM outcomes)")
        == before
    )
    building.compose("start", *writers)
    further(building, 5)
    nothing_is_missing(building)


def test_grafana_comes_back(building: Building, services: list[str]) -> None:
    if "grafana" not in services:
        pytest.skip("the image of Grafana cannot be had")
    building.kill("grafana")
    building.until(lambda: building.healthy("grafana"), "grafana is healthy again")


def test_everything_ends_in_order(building: Building) -> None:
    """Nobody has to be killed, which would be exit code 137."""
    building.compose("stop")
    codes = {name: container["State"]["ExitCode"] for name, container in building.containers().items()}
    building.compose("start")
    assert {name: code for name, code in codes.items() if code not in (0, 143)} == {}
    recovered = building.compose("logs", "--no-log-prefix", "--tail", "30", "database")
    assert "database system was shut down at" in recovered.rpartition("starting PostgreSQL")[2]


def test_down_and_up_keeps_secrets_and_data(building: Building, services: list[str]) -> None:
    before, stored = building.credentials(), count(building, STORED)
    building.down()
    building.up(services)
    assert building.credentials() == before
    further(building, 3)
    assert count(building, STORED) > stored
    nothing_is_missing(building)


def test_a_building_without_the_demo(building: Building, services: list[str]) -> None:
    building.up(services, DEMO="0", CONTROLLED_DATAPOINTS="[]")
    try:
        assert building.containers().keys() == set(services) - {"heatpump", "demo-device"}
        assert all(building.healthy(name) for name in ("broker", "database", "history", "raw-db", "controller", "api"))
    finally:
        building.up(services)


# -- a building of one's own ------------------------------------------------------------------------------------------

STANZAS = re.findall(r"^```yaml\n(.*?)^```$", (ROOT / "docs/containers.md").read_text(), re.MULTILINE | re.DOTALL)
SETTINGS = """
CONNECTOR_NAME={name}
POLL_SECONDS=1
MODBUS_MASTER_IP=demo-device
MODBUS_MASTER_PORT=5020
MODBUS_CONFIG='{{"read_input_registers": [{{"address": 10, "count": 2, "unit": 1, "datatypes": ">f"}}]}}'
# From a copied example; compose knows better.
MQTT_BROKER_HOST=127.0.0.1
DATA_DIRECTORY=data
"""


def test_two_connectors_of_one_kind_as_the_page_says(building: Building) -> None:
    """Added while the building runs: their users are made, and the broker learns of them."""
    [stanza] = [text for text in STANZAS if "modbus-tcp-garage" in text]
    files = {
        "docker-compose.override.yml": stanza,
        "connectors/modbus_tcp/.env": SETTINGS.format(name="cellar"),
        "connectors/modbus_tcp/garage.env": SETTINGS.format(name="garage"),
    }
    added = ["modbus-tcp", "modbus-tcp-garage"]
    with building.changed(files):
        try:
            building.up(added)
            for service, name in zip(added, ("cellar", "garage"), strict=True):
                user = building.inside(service, "cat", "/run/secrets/wattbus/mqtt_username")
                assert user.strip() == name
                stored = f"SELECT count(*) FROM history JOIN datapoints ON datapoint = id WHERE connector = '{name}'"
                building.until(lambda query=stored: count(building, query) > 2, f"values of {name}")  # type: ignore[misc]
        finally:
            building.compose("rm", "--stop", "--force", "--volumes", *added)


@pytest.mark.parametrize("stanza", STANZAS)
def test_compose_understands_what_the_page_says(building: Building, stanza: str) -> None:
    files = {"docker-compose.override.yml": stanza, "connectors/modbus_tcp/garage.env": SETTINGS.format(name="garage")}
    with building.changed(files):
        building.compose("--profile", "*", "config", "--quiet")


# -- images -----------------------------------------------------------------------------------------------------------


def test_an_image_holds_its_own_dependencies_only(building: Building) -> None:
    def packages(service: str) -> set[str]:
        there = building.inside(service, "sh", "-c", "ls /venv/lib/python3*/site-packages").split()
        return {name for name in there if not name.endswith(".dist-info")}

    assert {"pymodbus", "wattbus", "links", "connectors"} <= packages("heatpump")
    assert not packages("heatpump") & {"sqlalchemy", "nicegui", "fastapi", "history", "api", "controller", "setuptools"}
    assert not packages("controller") & {"sqlalchemy", "pymodbus", "links", "connectors", "history", "api"}
    with pytest.raises(AssertionError):
        building.inside("heatpump", "sh", "-c", "command -v gcc cc make")


def test_the_build_script_makes_an_image_that_runs(building: Building) -> None:
    options = ["--skip-tests", "--prefix", PREFIX, "--tag", "script", "demo-device"]
    network = ["--", "--network", "host"] if (building.folder / "network.json").exists() else []
    run(building.folder / "build_docker_image.sh", *options, *network, timeout=600)
    said = run("docker", "run", "--rm", f"{PREFIX}/demo_device:script", "check", "demo_device", check=False)
    assert "demo_device: the settings are right" in said.stderr
    bill = json.loads((building.folder / "build/sbom/demo_device.cdx.json").read_text(encoding="utf-8"))
    check(bill)
    assert {"wattbus", "orjson", "python", "libc6"} <= {part["name"] for part in bill["components"]}
