"""The page about adding a connector is run as it stands: its files are written, its commands executed."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.house import listening
from wattbus.mqtt.embedded_broker import Mosquitto
from wattbus.testing.waiting import PATIENCE_S

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "add-a-connector.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"^`(\S+\.py)`\n\n```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))
CONSOLES = re.findall(r"^```console\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)[1:]  # the first one writes them


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A copy of the project with the new connector in it, ahead of the installed one; `wattbus` on the path."""
    for folder in ("connectors", "wattbus", "links"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "docker-compose.yml", "README.md"):
        shutil.copy(ROOT / name, tmp_path)
    commands = tmp_path / "bin"
    commands.mkdir()
    wattbus = commands / "wattbus"
    wattbus.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m wattbus.cli "$@"\n', encoding="utf-8")
    wattbus.chmod(0o755)
    path_variable = f"{commands}:{os.environ['PATH']}"
    made = {"PATH": path_variable, "PYTHONPATH": str(tmp_path), "HOME": str(tmp_path), "LANG": "C.UTF-8"}
    subprocess.run(["wattbus", "new", "thermometer"], cwd=tmp_path, env=made, check=True, capture_output=True)
    return made


def test_the_page_has_the_files_of_a_connector() -> None:
    assert [Path(name).name for name in FILES] == [
        "settings.py",
        "codec.py",
        "connector.py",
        "simulator.py",
        "test_thermometer_conformance.py",
    ]


def test_the_files_are_those_that_are_written(environment: dict[str, str], tmp_path: Path) -> None:
    assert {name: (tmp_path / name).read_text(encoding="utf-8") for name in FILES} == FILES


@pytest.mark.parametrize("console", CONSOLES, ids=["check", "decode"])
async def test_the_commands_print_what_the_page_says(console: str, environment: dict[str, str], tmp_path: Path) -> None:
    command = ""
    expected: dict[str, list[str]] = {}
    for line in console.splitlines():
        if line.startswith("$ "):
            command = line[2:]
            expected[command] = []
        else:
            expected[command].append(line)
    for command, lines in expected.items():
        process = await asyncio.create_subprocess_shell(
            command,
            env=environment,
            cwd=tmp_path,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await asyncio.wait_for(process.communicate(), PATIENCE_S)
        printed = output.decode().splitlines()
        assert all(line in printed for line in lines), f"{command}\n{output.decode()}"


async def test_simulator_and_connector_work_together(
    environment: dict[str, str], tmp_path: Path, mosquitto: Mosquitto
) -> None:
    simulator = await asyncio.create_subprocess_exec(
        "wattbus", "simulate", "thermometer", env=environment, cwd=tmp_path, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert simulator.stdout is not None
    said = (await asyncio.wait_for(simulator.stdout.readline(), PATIENCE_S)).decode()
    port = re.search(r":(\d+);", said)
    assert port, said
    variables = {
        **environment,
        "CONNECTOR_NAME": "hall",
        "THERMOMETER_HOST": "127.0.0.1",
        "THERMOMETER_PORT": port[1],
        "MQTT_BROKER_PORT": str(mosquitto.port),
    }
    probe = await asyncio.create_subprocess_exec(
        "wattbus", "check", "thermometer", "--probe", env=variables, cwd=tmp_path, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    output, _ = await asyncio.wait_for(probe.communicate(), PATIENCE_S)
    assert probe.returncode == 0 and b"21.5" in output, output.decode()

    connector = await asyncio.create_subprocess_exec("wattbus", "run", "thermometer", env=variables, cwd=tmp_path)
    async with listening(mosquitto.port) as listener:
        await listener.until(lambda: {"hall/messages/temperature/value", "hall/datapoints"} <= listener.last.keys())
        assert listener.last["hall/messages/temperature/value"]["value"] == 21.5
        assert {"temperature", "humidity", "led"} == {entry["key"] for entry in listener.last["hall/datapoints"]}
        await listener.client.publish("hall/messages/led-set/value", '{"value": true, "timestamp": 1700000000000}', 1)
        await listener.until(lambda: "hall/messages/led-set/result" in listener.last)
        assert listener.last["hall/messages/led-set/result"]["outcome"] == "applied"
    for process in (connector, simulator):
        process.terminate()
        await asyncio.wait_for(process.wait(), PATIENCE_S)
