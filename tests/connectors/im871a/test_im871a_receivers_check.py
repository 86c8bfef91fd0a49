"""`wattbus check im871a --probe` and `wattbus simulate im871a`, for each receiver."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

from connectors.im871a.settings import Settings
from connectors.im871a.simulated_air import EXAMPLE_KEY, EXAMPLE_METER
from connectors.im871a.simulator import simulate
from wattbus.mqtt.embedded_broker import free_port
from wattbus.settings import load
from wattbus.testing.link import WITHIN_S

RECEIVERS = {"im871a": "C+T", "iu891a": "C+T", "amb8465": "C+T", "cul": "T1", "lines": "C+T"}


@pytest.mark.parametrize("receiver", RECEIVERS)
async def test_check_finds_what_the_simulated_receiver_plays(receiver: str, tmp_path: Path) -> None:
    variables = {
        "CONNECTOR_NAME": "wmbus",
        "DATA_DIRECTORY": str(tmp_path),
        "IM871A_RECEIVER": receiver,
        "IM871A_LINK_MODE": RECEIVERS[receiver],
        "IM871A_PORT": str(tmp_path / "receiver"),
        "IM871A_METERS": f'{{"{EXAMPLE_METER}": "{EXAMPLE_KEY.hex()}"}}',
        "IM871A_SIMULATE_INTERVAL_SECONDS": "0.2",
    }
    port, started = free_port(), asyncio.Event()
    playing = asyncio.create_task(
        simulate(load(Settings, variables), port=port, started=lambda path, port: started.set())
    )
    if receiver == "lines":
        variables["IM871A_LINES_FROM"] = f"tcp://127.0.0.1:{port}"
    try:
        await started.wait()
        done = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "wattbus.cli", "check", "im871a", "--probe", "--timeout", str(WITHIN_S),
            env={**os.environ, **variables}, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        said, faults = await done.communicate()
    finally:
        playing.cancel()
        await asyncio.wait([playing])
    assert done.returncode == 0, faults.decode()
    assert f"{EXAMPLE_METER}__energy_kwh" in said.decode()
