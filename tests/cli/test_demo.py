"""`wattbus demo` from the room to the database and back, seen by Mosquitto's own clients."""

from __future__ import annotations

import asyncio
import json
import signal
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import aiohttp

from tests.cli.conftest import SOON, completed, publish, watching, wattbus
from tests.support.ports import free_port
from wattbus.cli.demo import API_FILE, CONNECTOR, RESULT_TOPIC, SETPOINT_TOPIC

TEMPERATURE = f"{CONNECTOR}/messages/read_input_registers__1__1/value"
SETPOINT = f"{CONNECTOR}/messages/read_holding_registers__1__1/value"


async def test_a_command_moves_the_room_and_the_values_are_kept(tmp_path: Path) -> None:
    given = ("--directory", "d", "--time-factor", "600", "--poll-seconds", "0.2", "--for", "60")
    async with wattbus("demo", *given, cwd=tmp_path) as demo:
        port = int((await demo.line("broker:")).split()[1].rsplit(":", 1)[1])
        assert await demo.line(f"mosquitto_sub -h 127.0.0.1 -p {port} -v -t '#'")
        assert await demo.line(f"datapoints --port {port}")
        assert await demo.line(f"-t {SETPOINT_TOPIC}")
        async with watching(port, "#") as bus:
            before = (await bus.message(TEMPERATURE))["value"]
            command = {"value": 16.0, "timestamp": time.time_ns() // 1_000_000, "id": "try"}
            await publish(port, SETPOINT_TOPIC, json.dumps(command))
            result = await bus.message(RESULT_TOPIC)
            assert (result["outcome"], result["value"], result["id"]) == ("applied", 16.0, "try")
            await bus.message(SETPOINT, lambda message: message["value"] == 16.0)
            await bus.message(TEMPERATURE, lambda message: message["value"] < before - 0.5)
            receipt = await bus.message(f"history/receipts/{CONNECTOR}", lambda receipt: receipt["upto"] >= 5)
            assert receipt["missing"] == []
        assert await demo.terminated(signal.SIGINT) == 0
    assert _stored(tmp_path / "d" / "data" / "history.db", "read_input_registers__1__1") >= 5


async def test_a_setpoint_through_rest_moves_the_room_and_everything_is_kept(tmp_path: Path) -> None:
    _with_a_page_of_its_own(tmp_path / "d")
    given = ("--directory", "d", "--time-factor", "600", "--poll-seconds", "0.2", "--for", "60")
    async with wattbus("demo", *given, cwd=tmp_path) as demo:
        port = int((await demo.line("broker:")).split()[1].rsplit(":", 1)[1])
        page = (await demo.line("The page:")).split()[2].rstrip("/")
        async with watching(port, "#") as bus, aiohttp.ClientSession() as browser:
            before = (await bus.message(TEMPERATURE))["value"]
            await bus.message(f"{CONNECTOR}/datapoints")
            await bus.message(f"controller/preview/{SETPOINT_TOPIC}")
            actuator = await _actuator(browser, page)
            wanted = {
                "from_timestamp": None,
                "to_timestamp": None,
                "preferred_value": 16,
                "min_value": 15,
                "max_value": 17,
            }
            body = {"setpoint": [wanted], "timestamp": time.time_ns() // 1_000_000}
            async with browser.post(f"{page}/datapoint/{actuator}/setpoint/", json=body) as answer:
                assert answer.status == 201, await answer.text()
            result = await bus.message(RESULT_TOPIC)
            assert (result["outcome"], result["value"]) == ("applied", 16)
            await bus.message(TEMPERATURE, lambda message: message["value"] < before - 0.5)
            async with browser.get(f"{page}/") as answer:
                assert answer.status == 200 and "Wattbus" in await answer.text()
        assert await demo.terminated(signal.SIGINT) == 0
    with closing(sqlite3.connect(tmp_path / "d" / "data" / "history.db")) as history:
        assert history.execute("SELECT outcome, value FROM outcomes").fetchall() == [("applied", "16")]
        assert len(history.execute("SELECT items FROM setpoints").fetchall()) == 1
    with closing(sqlite3.connect(tmp_path / "d" / "data" / "raw.db")) as raw:
        assert raw.execute("SELECT count(*) FROM raw_messages").fetchone()[0] >= 5


def _with_a_page_of_its_own(directory: Path) -> None:
    """The demo takes the port of its last time. Else demos that start at once all find the usual one free, and all but
    one talk to the page of another.
    """
    directory.mkdir()
    (directory / API_FILE).write_text(f"API_PORT={free_port()}\n")


async def _actuator(browser: aiohttp.ClientSession, page: str) -> int:
    """The id of the setpoint's datapoint, once it is in the database."""
    async with asyncio.timeout(SOON):
        while True:
            async with browser.get(f"{page}/datapoint/?type=actuator") as answer:
                found = await answer.json() if answer.status == 200 else []
            if found and found[0]["id"] is not None:
                return int(found[0]["id"])
            await asyncio.sleep(0.1)


async def test_ends_by_itself_and_starts_again_in_the_same_place(tmp_path: Path) -> None:
    async with asyncio.timeout(SOON):
        first = await completed("demo", "--directory", "d", "--for", "0.5", cwd=tmp_path)
        second = await completed("demo", "--directory", "d", "--for", "0.5", cwd=tmp_path)
    assert (first.process.returncode, second.process.returncode) == (0, 0)
    tried = [[line for line in run.output if "-p " in line and "mosquitto" in line] for run in (first, second)]
    assert tried[0] == tried[1] != [], "what people typed yesterday works today"


async def test_a_second_one_in_the_same_folder_changes_nothing(tmp_path: Path) -> None:
    async with wattbus("demo", "--directory", "d", cwd=tmp_path) as first:
        await first.line("Ctrl-C ends it")
        before = {file.name: file.read_text() for file in (tmp_path / "d").glob("*.env")}
        second = await completed("demo", "--directory", "d", "--for", "0.5", cwd=tmp_path)
        assert second.process.returncode == 2
        assert f"is in use by the running process {first.process.pid}" in second.faults[0]
        assert before == {file.name: file.read_text() for file in (tmp_path / "d").glob("*.env")}
        assert await first.terminated() == 0


async def test_its_files_pass_the_check(tmp_path: Path) -> None:
    await completed("demo", "--directory", "d", "--for", "0.1", cwd=tmp_path)
    command = await completed("check", "--directory", "d", cwd=tmp_path)
    assert command.process.returncode == 0
    assert len(command.errors) == 6, command.errors


def _stored(database: Path, key: str) -> int:
    rows = "SELECT * FROM recent UNION ALL SELECT * FROM history"
    with closing(sqlite3.connect(database)) as connection:
        [number] = connection.execute(
            f"SELECT count(*) FROM ({rows}) JOIN datapoints ON id = datapoint WHERE connector = ? AND key = ?",
            (CONNECTOR, key),
        ).fetchone()
    return int(number)
