"""Several processes of one kind: writers that share the work, and newcomers whose name is taken."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.e2e.house import COUNTER, SOON, House, Listener, Process, listening, until
from tests.support.ports import free_port
from tests.support.postgres import postgres_server, postgres_url  # noqa: F401

IMPATIENT = (
    "from wattbus.service import name_lock; name_lock.LOOK_AGAIN_S = 1.0"  # once a minute is too rare for a test
)


# -- histories --------------------------------------------------------------------------------------------------------


class TwoRooms(House):
    """A house with a second room and its connector `hall`, and a history for each of the two."""

    def __init__(self, folder: Path, **database: Any) -> None:
        super().__init__(folder, **database)
        port = free_port()
        self.second_device = self.process("demo_device", {"DEMO_DEVICE_PORT": str(port)}, "second_device")
        self.second_connector = self.connector_to(port, "hall")
        self.history = self.history_of("history", "room")
        self.second_history = self.history_of("history-2", "hall")

    def history_of(self, name: str, *connectors: str) -> Process:
        return self.process("history", {"SERVICE_NAME": name, "HISTORY_CONNECTORS": ",".join(connectors)}, name)

    @property
    def processes(self) -> list[Process]:
        return [*super().processes, self.second_device, self.second_connector, self.second_history]

    def counters_of_the_hall(self) -> list[int]:
        return [int(value) for value in self.stored("hall", COUNTER)]

    async def until_both_have(self, polls: int) -> None:
        """Wait for that many further polls of each room."""
        room, hall = len(self.counters()), len(self.counters_of_the_hall())
        for counters, number in ((self.counters, room), (self.counters_of_the_hall, hall)):
            await until(lambda of=counters, n=number: len(of()) >= n + polls, "polls of both", self.tell)  # type: ignore[misc]


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> dict[str, Any]:
    """What a house must know of its database."""
    if request.param == "sqlite":
        return {}
    url, server = request.getfixturevalue("postgres_url"), request.getfixturevalue("postgres_server")
    return {"database_url": url, "ask": lambda query: server.execute(query, url).splitlines()}


async def test_two_histories_share_the_connectors_and_one_database(tmp_path: Path, database: dict[str, Any]) -> None:
    """Each is killed once; the other goes on, and nothing is missing of either room."""
    async with TwoRooms(tmp_path, **database).running() as house, listening(house.broker.port, "+/status") as listener:
        assert isinstance(house, TwoRooms)
        await house.until_both_have(polls=20)
        for history in (house.history, house.second_history):
            await history.kill()
            await house.polled(times=10)
            await history.start()
            await house.until_both_have(polls=20)
        await house.nothing_is_missing()
        hall = house.counters_of_the_hall()
        last = hall[-1]
        await until(
            lambda: set(range(1, last + 1)) <= set(house.counters_of_the_hall()), "every poll of the hall", house.tell
        )
        hall = house.counters_of_the_hall()
        assert len(hall) == len(set(hall)), "a poll is there twice"
        told = {(topic, tuple(status["records"])) for topic, status in listener.all if topic.startswith("history")}
        assert told == {("history/status", ("room",)), ("history-2/status", ("hall",))}
        assert not any("too" in status["detail"] for _, status in listener.all)


async def test_a_history_of_another_name_is_waited_for(tmp_path: Path) -> None:
    """There is none called `history`, and it is away when the connector comes: nothing is released all the same."""
    house = House(tmp_path)
    house.history = house.process("history", {"SERVICE_NAME": "archive"}, "archive")
    house.connector = house.connector_to(house.device_port, HISTORY_GRACE_SECONDS="0.2")
    await house.broker.start()
    async with listening(house.broker.port, "+/status") as listener:
        await house.history.start()
        await listener.until(lambda: _state(listener, "archive") == "online")
        await house.history.stop()
        await listener.until(lambda: _state(listener, "archive") == "offline")
        await house.device.start()
        await house.connector.start()
        await listener.until(lambda: _state(listener, "room") == "online")
        await house.polled(times=30)
    await house.broker.kill()  # what it had queued for the archive is gone
    await house.broker.start()
    await house.history.start()
    await house.nothing_is_missing()
    for process in reversed(house.processes):
        assert await process.stop() == 0
    await house.broker.stop()


def _state(listener: Listener, service: str) -> str:
    return str((listener.last.get(f"{service}/status") or {}).get("state"))


# -- a name that is taken ---------------------------------------------------------------------------------------------


NAMES = {"modbus_tcp": "room", "history": "history", "raw_db": "raw-db", "controller": "controller", "api": "api"}


class Pairs(House):
    """A house with one process of every kind, and another one of each with the same name."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, poll_seconds=0.1)
        others = {kind: self._process(kind, {}) for kind in ("raw_db", "controller", "api")}
        self.first: dict[str, Process] = {"modbus_tcp": self.connector, "history": self.history, **others}
        elsewhere = {"DATA_DIRECTORY": str(folder / "elsewhere"), "HTTP_PORT": "0"}
        self.second = {kind: self._process(kind, elsewhere, "second-", IMPATIENT) for kind in NAMES}

    def _process(self, kind: str, more: dict[str, str], prefix: str = "", before: str = "") -> Process:
        variables = self.connector._variables if kind == "modbus_tcp" else {}
        if kind == "api":
            variables = {"API_PORT": str(free_port()), "API_PAGE": "FALSE"}
        return self.process(kind, {**variables, **more}, f"{prefix}{kind}", before)

    @property
    def processes(self) -> list[Process]:
        return [self.device, *self.first.values()]


@contextlib.asynccontextmanager
async def started(processes: dict[str, Process]) -> AsyncIterator[None]:
    for process in processes.values():
        await process.start()
    try:
        yield
    finally:
        for process in processes.values():
            await process.stop()


async def faults_of(process: Process) -> dict[str, Any]:
    """What `/readyz` of a process says is not well."""
    found = re.search(r"health on (http://\S+)", process.log)
    assert found, process.log
    async with aiohttp.ClientSession() as session, session.get(f"{found[1]}/readyz") as answer:
        faults: dict[str, Any] = (await answer.json())["faults"]
        return faults


async def test_of_every_kind_a_second_process_waits_says_so_and_takes_over_when_the_first_goes(tmp_path: Path) -> None:
    async with Pairs(tmp_path).running() as house, listening(house.broker.port, "+/status") as listener:
        assert isinstance(house, Pairs)
        names = NAMES.values()
        await until(lambda: all(_state(listener, name) == "online" for name in names), "all are there", house.tell)
        instances = {name: listener.last[f"{name}/status"]["instance"] for name in names}
        told_before = len(listener.all)
        async with started(house.second):
            for kind, process in house.second.items():
                name = NAMES[kind]
                taken = f"the name {name} is taken: another service runs under it (process {house.first[kind].pid} on "
                await until(lambda log=process, taken=taken: taken in log.log, taken, lambda log=process: log.log)  # type: ignore[misc]
                assert "is taken by process" in (await faults_of(process))[name]["name"]
            await house.further(polls=30)  # some looks at the door, one a second
            for kind, process in house.first.items():
                assert process.log.count("wants to run under the name") == 1, process.log
                assert house.second[kind].log.count("is taken: another") == 1
            since = listener.all[told_before:]
            disturbed = [
                (topic, status)
                for topic, status in since
                if status["state"] == "offline" or status["instance"] != instances[topic.split("/")[0]]
            ]
            assert not disturbed, "the first ones were not left in peace"

            await house.connector.kill()
            for kind in ("history", "raw_db", "controller", "api"):
                assert await house.first[kind].stop() == 0
            await until(
                lambda: all(
                    listener.last[f"{name}/status"]["instance"] != instances[name]
                    and _state(listener, name) == "online"
                    for name in names
                ),
                "the second ones take over",
                lambda: "\n".join(process.log[-2000:] for process in house.second.values()),
            )
            for kind, process in house.second.items():
                assert "name" not in (await faults_of(process)).get(NAMES[kind], {})
        house.first = {}  # they have ended


# -- two APIs ---------------------------------------------------------------------------------------------------------


class Rest:
    """Asks one API over HTTP."""

    def __init__(self, port: int, session: aiohttp.ClientSession) -> None:
        self._address = f"http://127.0.0.1:{port}"
        self._session = session

    async def ask(self, method: str, path: str, body: Any = None, **parameters: Any) -> Any:
        given = {"json": body} if body is not None else {}
        async with self._session.request(method, self._address + path, params=parameters, **given) as answer:
            assert answer.status < 300, await answer.text()
            return await answer.json() if answer.status != 204 else None

    async def until(self, path: str, holds: Any, **parameters: Any) -> Any:
        """Ask until the answer holds."""
        answer = None
        async with asyncio.timeout(SOON):
            while True:
                with contextlib.suppress(aiohttp.ClientConnectionError, AssertionError):
                    answer = await self.ask("GET", path, **parameters)
                    if holds(answer):
                        return answer
                await asyncio.sleep(0.1)


@contextlib.asynccontextmanager
async def two_apis(house: House) -> AsyncIterator[tuple[Rest, Rest]]:
    ports = [free_port(), free_port()]
    apis = {
        name: house.process("api", {"SERVICE_NAME": name, "API_PORT": str(port), "API_PAGE": "FALSE"}, name)
        for name, port in zip(("api", "api-2"), ports, strict=True)
    }
    async with started(apis), aiohttp.ClientSession() as session:
        one, other = (Rest(port, session) for port in ports)
        try:
            yield one, other
        except (AssertionError, TimeoutError) as error:
            logs = "\n".join(process.log[-3000:] for process in apis.values())
            raise AssertionError(f"{error}\n{logs}\n{house.tell()}") from error


@pytest.fixture
async def house(tmp_path: Path, database: dict[str, Any]) -> AsyncIterator[House]:
    async with House(tmp_path, poll_seconds=0.1, **database).running() as house:
        yield house


async def test_a_second_api_serves_beside_the_first(house: House) -> None:
    async with two_apis(house) as (one, other), listening(house.broker.port) as listener:
        [setpoint] = await one.until("/datapoint/", lambda found: len(found) == 1, type="actuator")
        assert await other.until("/datapoint/", lambda found: found, type="actuator") == [setpoint]
        path = f"/datapoint/{setpoint['id']}/"
        [sensor] = await one.until("/datapoint/", lambda found: found, type="sensor", key_in_connector=COUNTER)

        # Values as they come, on both.
        for api in (one, other):
            begun = await _last_value(api, sensor["id"])
            await api.until("/datapoint/last_value/", lambda last, b=begun: _value_of(last, sensor["id"]) > b + 3)

        # What is edited on one is seen on the other; neither undoes what the other one did.
        await one.ask("PUT", path, {"description": "Setpoint of the parlour", "short_name": "parlour"})
        await other.until(path, lambda found: found["short_name"] == "parlour")
        await other.ask("PUT", path, {"unit": "Cel"})
        edited = await one.until(path, lambda found: found["unit"] == "Cel")
        assert (edited["description"], edited["short_name"]) == ("Setpoint of the parlour", "parlour")

        # Commands through both, at the same time: each is told the outcome of its own.
        bodies = [{"value": value, "timestamp": 1_700_000_000_000} for value in (19.0, 20.0)]
        outcomes = await asyncio.gather(
            *(api.ask("POST", f"{path}value/", body) for api, body in zip((one, other), bodies, strict=True))
        )
        assert [(outcome["value"], outcome["outcome"]) for outcome in outcomes] == [
            (19.0, "applied"),
            (20.0, "applied"),
        ]

        # The map that was chosen on one stays, whoever publishes it again.
        await one.ask("PUT", "/connector/room/datapoint_map/", {"sensor": [COUNTER], "actuator": [SETPOINT_KEY]})
        wanted = {"sensor": {COUNTER: f"room/messages/{COUNTER}/value"}, "actuator": {setpoint_topic(): SETPOINT_KEY}}
        await listener.until(lambda: listener.last.get("room/datapoint_map") == wanted)
        await other.until("/connector/room/datapoint_map/", lambda found: found == wanted)
        await house.broker.kill()  # and forgets what it retained
        await house.broker.start()
    async with two_apis(house), listening(house.broker.port) as listener:
        await listener.until(lambda: listener.last.get("room/datapoint_map") == wanted)
        await listener.until(lambda: "room/messages/" + COUNTER + "/value" in listener.last)
        assert all(message == wanted for topic, message in listener.all if topic == "room/datapoint_map")


SETPOINT_KEY = "write_register__1__1"
PAIRS = "python_controller/controlled_datapoints"


def setpoint_topic() -> str:
    return f"room/messages/{SETPOINT_KEY}-set/value"


async def test_pairs_that_one_api_was_told_are_not_undone_by_the_other(house: House) -> None:
    async with two_apis(house) as (one, other), listening(house.broker.port, PAIRS) as listener:
        [setpoint] = await one.until("/datapoint/", lambda found: found, type="actuator")
        [sensor] = await one.until("/datapoint/", lambda found: found, type="sensor", key_in_connector=COUNTER)
        await other.until("/controlled_datapoint/", lambda found: found == [])
        pair = {"sensor": sensor["id"], "actuator": setpoint["id"]}
        made = await one.ask("POST", "/controlled_datapoint/", pair)
        await listener.until(lambda: bool(listener.last.get(PAIRS)))
        await house.broker.kill()
        await house.broker.start()
        async with listening(house.broker.port, PAIRS) as after:
            await after.until(lambda: len(after.all) >= 2)  # both have told it anew
            assert all(message and message[0]["actuator"]["value"] == setpoint_topic() for _, message in after.all)
            assert await other.ask("GET", "/controlled_datapoint/") == [made]
            await other.ask("DELETE", f"/controlled_datapoint/{made['id']}/")
            await after.until(lambda: after.last[PAIRS] == [])


async def _last_value(api: Rest, number: int) -> int:
    last = await api.until("/datapoint/last_value/", lambda found: _value_of(found, number) > 0)
    return _value_of(last, number)


def _value_of(last: Any, number: int) -> int:
    return int((last["msgs_by_datapoint_id"].get(str(number)) or {"value": 0})["value"])
