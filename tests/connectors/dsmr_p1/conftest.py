"""What the tests of this connector share."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from connectors.dsmr_p1.connector import DsmrP1
from connectors.dsmr_p1.settings import Settings
from links.serial_pty import PseudoTerminal
from wattbus import metrics
from wattbus.connector import Datapoint
from wattbus.errors import LinkDown, causes
from wattbus.jsontext import JsonValue, dumps
from wattbus.settings import load

FOLDER = Path(os.environ.get("WATTBUS_REFERENCE_DATA", Path(__file__).parents[4] / "shared" / "data")) / "dsmr"


def reference(name: str) -> Path:
    """A file of the reference data; the test is skipped where there is none."""
    path = FOLDER / name
    if not path.exists():
        pytest.skip(f"there is no {path} (WATTBUS_REFERENCE_DATA)")
    return path


def telegram(name: str) -> str:
    """The text of a reference telegram, its line ends as they were sent."""
    return reference(f"TELEGRAM_{name}.txt").read_bytes().decode("ascii")


@dataclass
class RecordingLink:
    """The runtime's side of the contract, which only remembers."""

    raw: list[Any] = field(default_factory=list)
    announced: dict[str, Datapoint] = field(default_factory=dict)
    units: list[tuple[str, bool, str]] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def emit(self, raw: JsonValue, timestamp_ms: int | None = None) -> None:
        assert timestamp_ms == raw["received"]
        dumps(raw)  # JSON, or it raises
        self.raw.append(raw)
        self.changed.set()

    def announce(self, datapoints: Iterable[Datapoint]) -> None:
        self.announced |= {datapoint.key: datapoint for datapoint in datapoints}

    def unit(self, name: str, up: bool, reason: str = "") -> None:
        if self.units[-1:] != [(name, up, reason)] and (self.units or not up):
            self.units.append((name, up, reason))
        self.changed.set()

    async def until(self, arrived: Callable[[], Any]) -> None:
        """Wait until it is so; a test that waits in vain fails after ten seconds."""
        async with asyncio.timeout(10):
            while not arrived():
                self.changed.clear()
                await self.changed.wait()

    @property
    def telegrams(self) -> list[str]:
        return [raw["telegram"] for raw in self.raw if "telegram" in raw]


@dataclass
class Running:
    """A connector whose `run` is under way."""

    connector: DsmrP1
    link: RecordingLink
    task: asyncio.Task[None]

    async def ended(self) -> str:
        """What `run` said when it ended with LinkDown."""
        async with asyncio.timeout(10):
            await asyncio.wait([self.task])
        error = self.task.exception()
        assert error is not None
        (cause,) = causes(error)
        assert isinstance(cause, LinkDown)
        return str(cause)


def settings_for(**variables: str) -> Settings:
    return load(Settings, {"CONNECTOR_NAME": "meter", "DSMR_TIMEOUT_SECONDS": "5", **variables})


@contextlib.asynccontextmanager
async def running(connector: DsmrP1, link: RecordingLink | None = None) -> AsyncIterator[Running]:
    link = link or RecordingLink()
    task = asyncio.create_task(connector.run(link))
    try:
        yield Running(connector, link, task)
    finally:
        task.cancel()
        await asyncio.wait([task])


async def listening(say: Callable[[bytes], None]) -> None:
    """Make a little noise until the connector hears it: the line is open then."""

    def noise() -> float:
        return metrics.REGISTRY.get_sample_value("wattbus_p1_noise_bytes_total", {"service": "meter"}) or 0.0

    before = noise()
    async with asyncio.timeout(10):
        while noise() == before:
            say(b"\0")
            await asyncio.sleep(0.005)


@pytest.fixture
async def terminal(tmp_path: Path) -> AsyncIterator[PseudoTerminal]:
    """The meter's end of a serial cable; programs open `terminal.path`."""
    async with PseudoTerminal(tmp_path / "meter") as terminal:
        yield terminal
