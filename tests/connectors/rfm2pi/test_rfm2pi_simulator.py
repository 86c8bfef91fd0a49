"""The simulator: a board on a pseudo-terminal and on TCP, for the connector, for people, for picocom."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import serial

from connectors.rfm2pi.simulator import SimulatedBoard, simulate, simulated_nodes
from tests.connectors.rfm2pi.conftest import connector_for, settings_for
from tests.support.ports import free_port
from wattbus.testing.link import WITHIN_S, entered


@contextlib.asynccontextmanager
async def simulated(path: str, port: int = 0, **variables: Any) -> AsyncIterator[list[tuple[str, int]]]:
    where: list[tuple[str, int]] = []
    ready = asyncio.Event()

    def started(host: str, own_port: int) -> None:
        where.append((host, own_port))
        if len(where) == 1 + bool(port):
            ready.set()

    settings = settings_for(path, **variables)
    task = asyncio.create_task(simulate(settings, "127.0.0.1", port, started, interval_s=0.02))
    async with asyncio.timeout(WITHIN_S):
        await ready.wait()
    try:
        yield where
    finally:
        task.cancel()
        await asyncio.wait([task])


async def test_connector_and_simulator_with_the_same_settings(tmp_path: Path) -> None:
    path = str(tmp_path / "radio")
    nodes = {"5": {"name": "emonpi", "decoder": "emonpi"}}
    async with simulated(path, RFM2PI_NODES=nodes) as where:
        assert where == [(path, 0)]
        async with entered(connector_for(path, RFM2PI_NODES=nodes, RFM2PI_GROUP="210")) as run:
            await run.link.until(lambda link: link.values.get("board__group") == 210 and "emonpi__vrms" in link.values)
        assert run.link.values["emonpi__rssi"] == -45
        assert run.link.faults == []
    assert not Path(path).exists(), "it takes its link away"


async def test_over_tcp_too(tmp_path: Path) -> None:
    port = free_port()
    async with simulated(str(tmp_path / "radio"), port) as where:
        assert where[1] == ("127.0.0.1", port)
        async with entered(connector_for(f"socket://127.0.0.1:{port}", RFM2PI_GROUP="33")) as run:
            await run.link.until(lambda link: link.values.get("board__group") == 33 and "8__1" in link.values)


def test_its_values_are_plausible_and_fit_whatever_is_described() -> None:
    nodes = {
        "5": {"name": "emonpi", "decoder": "emonpi"},
        "23": {"name": "hall", "decoder": "emonth2"},
        "7": {"datacodes": "b,B,?", "units": "W,V,p", "scale": 0.1},
    }
    settings = settings_for(RFM2PI_NODES=nodes)
    last = 0
    for second in range(0, 100_000, 1000):
        decoded = {node.number: node.layout.decode(node.frame(second)) for node in simulated_nodes(settings)}
        hall = dict(zip(settings.nodes[23].rx.names, decoded[23], strict=True))
        assert 16 <= hall["temperature"] <= 24 and 40 <= hall["humidity"] <= 60 and 2.7 <= hall["battery"] <= 2.9
        assert 225 <= decoded[5][3] <= 235
        assert hall["pulsecount"] >= last
        last = hall["pulsecount"]
        assert len(decoded[7]) == 3
    assert last > 0


async def test_it_leaves_dev_alone() -> None:
    async with simulated("/dev/ttyAMA0") as where:
        assert where[0][0].startswith("/dev/pts/")
        assert not Path("/dev/ttyAMA0").is_symlink()


async def test_pyserial_sees_what_a_real_board_says(tmp_path: Path) -> None:
    """An independent program at the port: the dialogue that emonHub's log shows."""
    async with simulated(str(tmp_path / "radio")) as where:

        def ask() -> list[bytes]:
            with serial.Serial(where[0][0], 38400, timeout=2) as port:
                said: list[bytes] = []
                for _ in range(5):  # what comes while the port is being opened may be thrown away
                    port.write(b"210g4b5i1qv00,16,02,00,s")
                    while line := port.readline():
                        said.append(line.rstrip(b"\r\n"))
                        if said[-1] == b" -> 4 b":
                            return said
                return said

        said = await asyncio.get_running_loop().run_in_executor(None, ask)
        assert b"[RF12demo.14] E i5 g210 @ 433 MHz q1" in said
        assert b"> 0,16,2,0,0s" in said


@pytest.mark.parametrize(
    ("command", "attribute", "value"), [("33g", "group", 33), ("9b", "frequency", 915), ("40i", "base_id", 8)]
)
def test_settings_are_taken_as_by_rf12demo(command: str, attribute: str, value: int) -> None:
    board = SimulatedBoard(lambda _: None)
    board.hears(command.encode())
    assert getattr(board, attribute) == value
