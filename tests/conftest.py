"""Real parts for every test: a Mosquitto on a free port, folders that vanish; and the loop that it runs in."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import hypothesis
import pytest

from tests.support.fair_loop import FairLoop, monotonic
from wattbus.clock import SystemClock
from wattbus.mqtt.embedded_broker import Mosquitto
from wattbus.settings import BrokerSettings

pytest_plugins = ["tests.support.schedule"]

# How long an example takes says how busy the machine is.
hypothesis.settings.register_profile("suite", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("suite")


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], FairLoop]]:
    """The loop of every test: its bounds and pauses hold on a busy machine, too."""
    return {"fair": FairLoop}


@pytest.fixture(scope="session", autouse=True)
def _one_time() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SystemClock, "monotonic", lambda _: monotonic())
        yield


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
