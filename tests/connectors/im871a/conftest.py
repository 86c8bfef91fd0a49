"""What the tests of this connector share: a stick on a pseudo-terminal, and telegrams of a meter with a known key."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from connectors.im871a import hci, management
from connectors.im871a import stick as stick_module
from connectors.im871a.connector import Im871a, create
from connectors.im871a.reception import TELEGRAMS
from connectors.im871a.settings import Settings
from connectors.im871a.simulated_air import EXAMPLE_KEY, EXAMPLE_METER
from connectors.im871a.simulated_stick import SimulatedStick
from links.serial_pty import PseudoTerminal
from wattbus.clock import SYSTEM_CLOCK, Clock
from wattbus.settings import load
from wattbus.testing.link import WITHIN_S, Entered, RecordingLink, entered

METERS = {EXAMPLE_METER: {"key": EXAMPLE_KEY.hex(), "name": "main meter"}}


@pytest.fixture(autouse=True)
def an_impatient_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """The simulated stick answers at once and settles at once."""
    monkeypatch.setattr(stick_module, "ANSWER_S", 0.3)
    monkeypatch.setattr(stick_module, "SETTLE_S", 0.01)


@pytest.fixture(autouse=True)
def a_folder_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("WATTBUS_TEST_DATA_DIRECTORY", str(tmp_path))


def settings_for(port: str | Path = "/dev/ttyUSB0", **variables: Any) -> Settings:
    given = {name: value if isinstance(value, str) else json.dumps(value) for name, value in variables.items()}
    folder = os.environ["WATTBUS_TEST_DATA_DIRECTORY"]
    always = {"CONNECTOR_NAME": "meters", "IM871A_PORT": str(port), "DATA_DIRECTORY": folder}
    return load(Settings, {**always, **given})


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


def is_set(stick: SimulatedStick, link_mode: str = "C+T") -> bool:
    """Whether the host has set the stick, and has seen that it took it."""
    right = stick.configuration["link_mode"] == management.LINK_MODES[link_mode] and stick.configuration["rssi"] == 1
    return right and bool(stick.asked) and stick.asked[-1].message == hci.GET_CONFIGURATION


async def until_set(stick: SimulatedStick, link_mode: str = "C+T") -> None:
    async with asyncio.timeout(WITHIN_S):
        while not is_set(stick, link_mode):
            await asyncio.sleep(0.01)


@dataclass
class Scene:
    """A connector that listens to a stick."""

    terminal: PseudoTerminal
    stick: SimulatedStick
    connector: Im871a
    link: RecordingLink
    running: Entered

    async def hears(self, *telegrams: bytes) -> None:
        """These come in over the radio; returns when the connector has taken all of them."""
        await hear(self.stick, *telegrams)


async def hear(stick: SimulatedStick, *telegrams: bytes) -> None:
    """These come in over the radio of a stick at a connector in this process, which takes all of them."""
    before = telegrams_heard()
    for telegram in telegrams:
        stick.receives(telegram)
    async with asyncio.timeout(WITHIN_S):
        while telegrams_heard() < before + len(telegrams):
            await asyncio.sleep(0.005)


def telegrams_heard(of: str = "") -> float:
    """How many telegrams connectors in this process have taken so far, by the metric."""
    [metric] = TELEGRAMS.collect()
    return sum(one.value for one in metric.samples if one.name.endswith("_total") and of in ("", one.labels["of"]))


@contextlib.asynccontextmanager
async def listening(clock: Clock = SYSTEM_CLOCK, **variables: Any) -> AsyncIterator[Scene]:
    """A stick on a pseudo-terminal, and a connector that has set it."""
    async with PseudoTerminal() as terminal, stick_on(terminal) as stick:
        connector = connector_for(terminal.path, clock, **variables)
        link = RecordingLink(connector)
        async with entered(connector, link) as running:
            await until_set(stick)
            yield Scene(terminal, stick, connector, link, running)


def telegram_in_clear(number: str, content: str, *, maker: str = "2d2c", version_and_type: str = "3002") -> bytes:
    """A telegram that is not encrypted; `content` from the CI field on, in hexadecimal digits."""
    body = bytes.fromhex(f"44 {maker}") + bytes.fromhex(number)[::-1] + bytes.fromhex(version_and_type + content)
    return bytes([len(body)]) + body
