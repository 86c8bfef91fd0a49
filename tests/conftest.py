"""Real parts for every test: a Mosquitto on a free port, folders that vanish."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from wattbus.mosquitto import Mosquitto
from wattbus.settings import BrokerSettings

# Browsers and containers take all the machine there is, and a browser starts anew what it loads when a container brings
# a network: those tests follow one another in one worker.
ONE_AFTER_ANOTHER = ("tests/api/page/", "tests/containers/")


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist looks at the marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.nodeid.startswith(ONE_AFTER_ANOTHER):
            item.add_marker(pytest.mark.xdist_group("one after another"))


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
