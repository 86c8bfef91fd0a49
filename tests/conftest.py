"""Real parts for every test: a Mosquitto on a free port, folders that vanish; and the loop that it runs in."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import hypothesis
import pytest

from tests.support import ports
from tests.support.fair_loop import FairLoop, monotonic
from wattbus.clock import SystemClock
from wattbus.mqtt import embedded_broker
from wattbus.testing.fixtures import broker_settings, mosquitto  # noqa: F401 - for every test

embedded_broker.free_port = ports.free_port  # for the brokers of this process
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
