"""`wattbus up` and its service manager: readiness, status, watchdog, stopping; a real process, a real socket."""

from __future__ import annotations

import asyncio
import re
import signal
from itertools import pairwise
from pathlib import Path
from statistics import median

import pytest

from tests.cli.conftest import connector_variables, env_text
from tests.support.ports import free_port
from tests.systemd.service_manager import SOON, listening, started
from wattbus.cli.systemd import Reports
from wattbus.service import health
from wattbus.service.systemd_notify import Notifier

WATCHDOG_S = 1.5
WATCHDOG = {"WATCHDOG_USEC": str(int(WATCHDOG_S * 1e6))}

HANGING = {
    "__init__": '"""Hangs when it is told to."""\n',
    "settings": "from wattbus.settings import ConnectorSettings\nclass Settings(ConnectorSettings):\n    hang: str\n",
    "connector": """
import asyncio, pathlib, time


class Connector:
    def __init__(self, settings):
        self.file = pathlib.Path(settings.hang)

    def datapoints(self):
        return []

    async def run(self, link):
        while True:
            link.emit(1)
            await asyncio.sleep(0.05)
            if self.file.exists():
                wait_for_a_chip_that_is_broken()

    def decode(self, raw):
        return []

    async def write(self, key, value):
        pass


def wait_for_a_chip_that_is_broken():
    time.sleep(600)


create = Connector
""",
}


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A folder with history, a demo device and a connector for it."""
    house = tmp_path / "house"
    house.mkdir()
    port = free_port()
    variables = connector_variables(port)
    del variables["MQTT_BROKER_PORT"]
    (house / "history.env").write_text("")
    (house / "demo_device.env").write_text(f"DEMO_DEVICE_PORT={port}\n")
    (house / "modbus_tcp.meter.env").write_text(env_text(variables))
    return house


async def test_it_is_ready_is_pinged_for_says_how_it_is_and_that_it_stops(house: Path) -> None:
    async with listening() as manager, started(house, manager, **WATCHDOG) as process:
        await manager.until(lambda: manager.status == "3 services, all ready")
        ready = manager.moments("READY")
        assert len(ready) == 1
        await manager.until(lambda: len(manager.moments("WATCHDOG")) >= 8)
        pings = [*ready, *manager.moments("WATCHDOG")]
        # The middle one of the pauses: a single one may be longer where the machine has other work.
        assert median(after - before for before, after in pairwise(pings)) < WATCHDOG_S / 2
        broker = (house / "data" / "broker" / "pid").read_text().strip()
        assert b"NOTIFY_SOCKET" not in Path(f"/proc/{broker}/environ").read_bytes()
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), SOON) == 0
        assert len(manager.moments("STOPPING")) == 1
        assert manager.status == "stopping"
        assert manager.moments("STOPPING")[0] >= manager.moments("WATCHDOG")[-1]
    journal = (house.parent / "journal").read_text()
    logged = [line for line in journal.splitlines() if " the link is " in line or "meter:" in line]
    assert all(re.match(r"<[2-7]>\S+: ", line) for line in logged), journal
    assert not re.search(r"\d\d:\d\d:\d\d", journal), "the journal has a clock of its own"


async def test_a_device_that_is_away_is_told_and_is_no_reason_to_end(house: Path) -> None:
    (house / "demo_device.env").unlink()
    async with listening() as manager, started(house, manager, **WATCHDOG) as process:
        await manager.until(lambda: "not ready: meter (link: " in manager.status)
        await manager.until(lambda: manager.moments("READY"))
        since = len(manager.moments("WATCHDOG"))
        await manager.until(lambda: len(manager.moments("WATCHDOG")) >= since + 3 * 4)  # four intervals
        assert "Connection refused" in manager.status
        assert process.returncode is None
    journal = (house.parent / "journal").read_text()
    assert "<4>meter: link: " in journal


async def test_a_service_that_hangs_stops_the_pings_and_the_journal_shows_where(house: Path, tmp_path: Path) -> None:
    package = tmp_path / "python" / "connectors" / "hanging"
    package.mkdir(parents=True)
    (package.parent / "__init__.py").touch()
    for name, content in HANGING.items():
        (package / f"{name}.py").write_text(content)
    (house / "modbus_tcp.meter.env").unlink()
    (house / "hanging.env").write_text(f"HANG={tmp_path}/now\n")
    async with listening() as manager, started(house, manager, PYTHONPATH=str(package.parents[1]), **WATCHDOG) as up:
        await manager.until(lambda: len(manager.moments("WATCHDOG")) >= 5)
        (tmp_path / "now").touch()
        hung = asyncio.get_running_loop().time()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(2 * WATCHDOG_S):
                await manager.until(lambda: manager.moments("WATCHDOG")[-1] > hung + WATCHDOG_S / 2)
        up.send_signal(signal.SIGABRT)  # what systemd does then
        assert await asyncio.wait_for(up.wait(), SOON) == -signal.SIGABRT
    assert "in wait_for_a_chip_that_is_broken" in (tmp_path / "journal").read_text()


async def test_wrong_settings_are_told_to_the_manager_and_the_journal(house: Path) -> None:
    (house / "common.env").write_text("HTTP_PORT=many\n")
    async with listening() as manager, started(house, manager) as process:
        assert await asyncio.wait_for(process.wait(), SOON) == 2
        await manager.until(lambda: manager.status)
        assert "common.env: HTTP_PORT" in manager.status
        assert not manager.moments("READY")
    lines = (house.parent / "journal").read_text().splitlines()
    assert lines
    assert all(line.startswith("<3>wattbus: common.env: ") for line in lines)


async def test_a_file_that_is_left_out_is_told_to_the_manager(house: Path) -> None:
    (house / "modbus_tcp.meter.env").write_text("POLL_SECONDS=1\n")
    async with listening() as manager, started(house, manager) as process:
        fault = "modbus_tcp.meter.env: MODBUS_MASTER_IP is required"
        await manager.until(lambda: manager.status and fault in manager.status)
        await manager.until(lambda: manager.moments("READY"))
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), SOON) == 0


# -- what is a reason to stop the pings, and what is not --------------------------------------------------------------


async def test_pings_stop_while_a_service_is_stuck_and_for_no_other_fault(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("wattbus.service.health._SERVICES", {})  # other tests have their own services in this process
    faults = {"stuck": "", "alive": "", "ready": "the device is away"}
    health.of("meter").stuck("run", lambda: faults["stuck"])
    health.of("meter").alive("readings", lambda: faults["alive"])
    health.of("meter").ready("link", lambda: faults["ready"])
    async with listening() as manager:
        notifier = Notifier(manager.address, watchdog_s=0.15)
        reporting = asyncio.create_task(Reports(notifier, ["meter"]).run())
        try:
            await _some_pings(manager.moments, manager.until)
            assert manager.status == "1 service; not ready: meter (link: the device is away)"
            faults["alive"] = "failed, waiting to be started again"  # a bug, with which the process lives
            await _some_pings(manager.moments, manager.until)
            faults["stuck"] = "run() was told to end 130 s ago and did not"
            await manager.until(lambda: "was told to end" in manager.status)
            before = len(manager.moments("WATCHDOG"))
            await asyncio.sleep(0.3)
            assert len(manager.moments("WATCHDOG")) - before <= 1, "one may have been on its way"
            faults["stuck"] = ""
            await _some_pings(manager.moments, manager.until)
        finally:
            reporting.cancel()
            await asyncio.wait({reporting})
            health.forget("meter")
            notifier.close()
    assert caplog.text.count("stuck, to be started anew as a whole: meter (run: ") == 1


async def _some_pings(moments, until) -> None:  # type: ignore[no-untyped-def]
    since = len(moments("WATCHDOG"))
    await until(lambda: len(moments("WATCHDOG")) >= since + 3)


async def test_a_broker_that_is_away_does_not_hold_up_the_start_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wattbus.cli.systemd.READY_WITHIN_S", 0.6)
    monkeypatch.setattr("wattbus.service.health._SERVICES", {})
    health.of("meter").ready("broker", lambda: "no connection to the broker")
    async with listening() as manager:
        notifier = Notifier(manager.address)
        begun = asyncio.get_running_loop().time()
        reporting = asyncio.create_task(Reports(notifier, ["meter"]).run())
        try:
            await manager.until(lambda: manager.moments("READY"))
            assert manager.moments("READY")[0] >= begun + 0.5
            await manager.until(lambda: "no connection to the broker" in manager.status)
            assert not manager.moments("WATCHDOG"), "nobody asked for pings"
        finally:
            reporting.cancel()
            await asyncio.wait({reporting})
            health.forget("meter")
            notifier.close()
