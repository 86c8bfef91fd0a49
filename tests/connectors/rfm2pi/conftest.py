"""What the tests of this connector share: a board on a pseudo-terminal, and a connector that talks to it."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from connectors.rfm2pi.board import Pace
from connectors.rfm2pi.connector import RadioBoard
from connectors.rfm2pi.settings import Settings
from connectors.rfm2pi.simulator import Firmware, SimulatedBoard
from links.serial_pty import PseudoTerminal
from wattbus.clock import SYSTEM_CLOCK, Clock
from wattbus.settings import load
from wattbus.testing.link import WITHIN_S, Entered, entered

QUICK = Pace(answer_s=0.3, sent_s=0.3, pause_s=0.01)
ROOT = Path(__file__).parents[3]


def reference(path: str) -> Any:
    """A file of the reference data, which is not part of this project."""
    folder = Path(os.environ.get("WATTBUS_REFERENCE_DATA", ROOT.parent / "shared" / "data"))
    file = folder / path
    if not file.exists():
        pytest.skip(f"the reference data is not here: {path}")
    return json.loads(file.read_text()) if file.suffix == ".json" else file.read_text()


def settings_for(port: str | Path = "/dev/ttyAMA0", **variables: Any) -> Settings:
    given = {name: value if isinstance(value, str) else json.dumps(value) for name, value in variables.items()}
    return load(Settings, {"CONNECTOR_NAME": "radio", "RFM2PI_PORT": str(port), **given})


def connector_for(
    port: str | Path = "/dev/ttyAMA0", clock: Clock = SYSTEM_CLOCK, pace: Pace = QUICK, **variables: Any
) -> RadioBoard:
    return RadioBoard(settings_for(port, **variables), clock, pace)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(WITHIN_S):
        while not condition():
            await asyncio.sleep(0.005)


@asynccontextmanager
async def board_on(terminal: PseudoTerminal, firmware: Firmware = "rf12demo") -> AsyncIterator[SimulatedBoard]:
    """A board at the far end."""
    board = SimulatedBoard(terminal.write, firmware)

    async def listen() -> None:
        async for data in terminal.chunks():
            board.hears(data)

    task = asyncio.create_task(listen())
    try:
        yield board
    finally:
        task.cancel()
        await asyncio.wait([task])


@dataclass
class Running(Entered):
    """A connector whose `run` is under way, and the board that it talks to."""

    connector: RadioBoard
    terminal: PseudoTerminal
    board: SimulatedBoard

    async def known(self) -> None:
        """The board has had its time to answer, and is set."""
        await until(lambda: self.connector._board is not None and self.connector._board.known.is_set())

    async def ready(self) -> None:
        """The board has answered, and is set."""
        await self.link.until(lambda link: "board__group" in link.values)
        await self.known()


@asynccontextmanager
async def running(
    path: Path,
    firmware: Firmware = "rf12demo",
    clock: Clock = SYSTEM_CLOCK,
    pace: Pace = QUICK,
    board_is: Mapping[str, Any] | None = None,
    **variables: Any,
) -> AsyncIterator[Running]:
    """A connector at a board, which is as told; the line is open, unless there is no board."""
    async with PseudoTerminal(path) as terminal, board_on(terminal, firmware) as board:
        vars(board).update(board_is or {})
        connector = connector_for(terminal.path, clock, pace, **variables)
        async with entered(connector) as run:
            if "RFM2PI_PLAIN" not in variables:  # else nothing shows from outside that the line is open
                await until(lambda: connector._board is not None)
            yield Running(run.link, run.task, connector, terminal, board)
