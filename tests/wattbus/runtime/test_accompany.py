"""Work of a connector that goes on beside run(), also while the device is away."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.support.connector import ScriptedConnector
from tests.wattbus.runtime.one_connector import ROOM, SOON, running, settings_for
from wattbus import metrics
from wattbus.errors import ConfigError, LinkDown
from wattbus.mqtt.embedded_broker import Mosquitto
from wattbus.runtime.connector_runtime import run_connector
from wattbus.service import health
from wattbus.testing.clock import VirtualClock
from wattbus.testing.mqtt import plain_client


class Accompanied(ScriptedConnector):
    """Counts how often `accompany()` was entered; `fault` is what it raises the first time."""

    def __init__(self, fault: Exception | None = None) -> None:
        super().__init__(ROOM)
        self.accompanied = 0
        self.left = 0
        self.fault = fault

    async def accompany(self) -> None:
        self.accompanied += 1
        fault, self.fault = self.fault, None
        if fault is not None:
            raise fault
        try:
            await asyncio.Event().wait()
        finally:
            self.left += 1


async def test_it_is_entered_once_and_stays_while_the_device_is_away(mosquitto: Mosquitto, tmp_path: Path) -> None:
    clock, connector = VirtualClock(), Accompanied()
    async with running(connector, settings_for(mosquitto, tmp_path), clock), plain_client(mosquitto.port) as client:
        for entered in (1, 2, 3):
            await asyncio.wait_for(connector.running.wait(), SOON)
            assert connector.entered == entered
            connector.tell(LinkDown("it is night"))
            await client.message("meter/status", detail="it is night")
            assert (connector.accompanied, connector.left) == (1, 0)
            await clock.advance(60)
    assert (connector.accompanied, connector.left) == (1, 1)


async def test_a_bug_in_it_is_told_and_counted_and_it_is_started_again(
    mosquitto: Mosquitto, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock, connector = VirtualClock(), Accompanied(ZeroDivisionError("of all things"))
    async with running(connector, settings_for(mosquitto, tmp_path), clock):
        assert connector.accompanied == 1
        assert "company" in health.of("meter").faults(ready=False)
        await clock.advance(2)
        assert (connector.accompanied, connector.entered) == (2, 1)
        assert not health.of("meter").faults(ready=False)
    labels = {"service": "meter", "task": "company"}
    assert metrics.REGISTRY.get_sample_value("wattbus_bugs_total", labels) == 1
    assert "ZeroDivisionError: of all things" in caplog.text


async def test_wrong_settings_that_it_finds_end_the_connector(mosquitto: Mosquitto, tmp_path: Path) -> None:
    connector = Accompanied(ConfigError("RECALC_HOST: there is no such host"))
    with pytest.raises(ConfigError, match="RECALC_HOST"):
        await asyncio.wait_for(run_connector(connector, settings_for(mosquitto, tmp_path)), SOON)
