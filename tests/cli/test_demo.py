"""`wattbus demo` from the room to the database and back, seen by Mosquitto's own clients."""

from __future__ import annotations

import asyncio
import json
import signal
import sqlite3
import time
from contextlib import closing
from pathlib import Path

from tests.cli.conftest import SOON, completed, publish, watching, wattbus
from wattbus.cli.demo import CONNECTOR, RESULT_TOPIC, SETPOINT_TOPIC

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
    assert len(command.errors) == 3, command.errors


def _stored(database: Path, key: str) -> int:
    rows = "SELECT * FROM recent UNION ALL SELECT * FROM history"
    with closing(sqlite3.connect(database)) as connection:
        [number] = connection.execute(
            f"SELECT count(*) FROM ({rows}) JOIN datapoints ON id = datapoint WHERE connector = ? AND key = ?",
            (CONNECTOR, key),
        ).fetchone()
    return int(number)
