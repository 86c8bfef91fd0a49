"""What the tests of this connector share."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from connectors.dsmr_p1.connector import DsmrP1
from connectors.dsmr_p1.settings import Settings
from links.serial_pty import PseudoTerminal
from wattbus import metrics
from wattbus.jsontext import JsonValue
from wattbus.settings import load
from wattbus.testing.link import Entered, RecordingLink, entered
from wattbus.testing.waiting import PATIENCE_S

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


class TelegramLink(RecordingLink):
    """The runtime's side of the contract; every raw message says itself when it came."""

    def emit(self, raw: JsonValue, timestamp_ms: int | None = None) -> None:
        assert timestamp_ms == raw["received"]
        super().emit(raw, timestamp_ms)

    @property
    def telegrams(self) -> list[str]:
        return [raw["telegram"] for raw in self.raw if "telegram" in raw]


def settings_for(**variables: str) -> Settings:
    return load(Settings, {"CONNECTOR_NAME": "meter", "DSMR_TIMEOUT_SECONDS": "5", **variables})


def running(connector: DsmrP1, link: TelegramLink | None = None) -> contextlib.AbstractAsyncContextManager[Entered]:
    return entered(connector, link or TelegramLink(connector))


def noise_heard() -> float:
    """Bytes that belonged to no telegram, as the connector counts them."""
    return metrics.REGISTRY.get_sample_value("wattbus_p1_noise_bytes_total", {"service": "meter"}) or 0.0


async def listening(say: Callable[[bytes], None]) -> None:
    """Make a little noise until the connector hears it: the line is open then."""
    before = noise_heard()
    async with asyncio.timeout(PATIENCE_S):
        while noise_heard() == before:
            say(b"\0")
            await asyncio.sleep(0.005)


async def play(terminal: PseudoTerminal, texts: list[str]) -> None:
    """Say telegrams one after another, each when the one before was heard: a pseudo-terminal holds a few of them.

    Behind each is one byte of noise, which tells.
    """
    before = noise_heard()
    for number, text in enumerate(texts, 1):
        terminal.write(text.encode() + b"\0")
        async with asyncio.timeout(PATIENCE_S):
            while noise_heard() < before + number:
                await asyncio.sleep(0.001)
    assert terminal.lost_bytes == 0


@pytest.fixture
async def terminal(tmp_path: Path) -> AsyncIterator[PseudoTerminal]:
    """The meter's end of a serial cable; programs open `terminal.path`."""
    async with PseudoTerminal(tmp_path / "meter") as terminal:
        yield terminal
