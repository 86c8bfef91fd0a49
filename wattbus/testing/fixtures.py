"""Fixtures for pytest: `from wattbus.testing.fixtures import *` in a conftest.py, or name this module in `-p`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from wattbus.mqtt.embedded_broker import Mosquitto
from wattbus.settings import BrokerSettings
from wattbus.testing.clock import VirtualClock

__all__ = ["broker_settings", "mosquitto", "virtual_clock"]


@pytest.fixture
async def mosquitto(tmp_path: Path) -> AsyncIterator[Mosquitto]:
    """A broker as the suite ships it, without state on disk (needs pytest-asyncio, and mosquitto on the PATH)."""
    broker = Mosquitto(configuration_directory=tmp_path / "mosquitto")
    await broker.start()
    yield broker
    await broker.stop()


@pytest.fixture
def broker_settings(mosquitto: Mosquitto) -> BrokerSettings:
    """How to reach it."""
    return BrokerSettings(mqtt_broker_host=mosquitto.host, mqtt_broker_port=mosquitto.port)


@pytest.fixture
def virtual_clock() -> VirtualClock:
    """A clock that moves only when the test says so."""
    return VirtualClock()
