"""What the tests of this connector share: a stick on a pseudo-terminal, and telegrams of a meter with a known key."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from connectors.im871a import stick as stick_module
from connectors.im871a.connector import Im871a, create
from connectors.im871a.settings import Settings
from connectors.im871a.simulator import EXAMPLE_KEY, EXAMPLE_METER, SimulatedStick
from links.serial_pty import PseudoTerminal
from wattbus.clock import SYSTEM_CLOCK, Clock
from wattbus.settings import load

METERS = {EXAMPLE_METER: {"key": EXAMPLE_KEY.hex(), "name": "main meter"}}


@pytest.fixture(autouse=True)
def an_impatient_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """The simulated stick answers at once and settles at once."""
    monkeypatch.setattr(stick_module, "ANSWER_S", 0.3)
    monkeypatch.setattr(stick_module, "SETTLE_S", 0.01)


def settings_for(port: str | Path = "/dev/ttyUSB0", **variables: Any) -> Settings:
    given = {name: value if isinstance(value, str) else json.dumps(value) for name, value in variables.items()}
    return load(Settings, {"CONNECTOR_NAME": "meters", "IM871A_PORT": str(port), **given})


def connector_for(port: str | Path = "/dev/ttyUSB0", clock: Clock = SYSTEM_CLOCK, **variables: Any) -> Im871a:
    settings = settings_for(port, **variables)
    return create(settings) if clock is SYSTEM_CLOCK else Im871a(settings, clock)


@contextlib.asynccontextmanager
async def stick_on(terminal: PseudoTerminal, **manners: Any) -> AsyncIterator[SimulatedStick]:
    """A stick at the far end."""
    stick = SimulatedStick(terminal.write, **manners)

    async def listen() -> None:
        async for data in terminal.chunks():
            stick.hears(data)

    task = asyncio.create_task(listen())
    try:
        yield stick
    finally:
        task.cancel()
        await asyncio.wait([task])
