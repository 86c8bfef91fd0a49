"""Real parts for every test: a Mosquitto on a free port, folders that vanish."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from wattbus.mqtt.embedded_broker import Mosquitto
from wattbus.settings import BrokerSettings


@pytest.fixture
async def mosquitto(tmp_path: Path) -> AsyncIterator[Mosquitto]:
    """A broker as the suite ships it, without state on disk."""
    broker = Mosquitto(configuration_directory=tmp_path / "mosquitto")
    await broker.start()
    yield broker
    await broker.stop()


@pytest.fixture
def broker_settings(mosquitto: Mosquitto) -> BrokerSettings:
    return BrokerSettings(mqtt_broker_host=mosquitto.host, mqtt_broker_port=mosquitto.port)
