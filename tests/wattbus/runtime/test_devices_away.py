"""Which of several devices are away: in the log, in the status, and whole."""

from __future__ import annotations

import pytest

from tests.wattbus.runtime.supervised_link import lines, log, supervised
from wattbus.runtime.devices_away import DevicesAway
from wattbus.testing.clock import START_MS, VirtualClock

__all__ = ["log"]


async def test_why_a_device_is_away_may_change(log: pytest.LogCaptureFixture) -> None:
    async with supervised() as link:
        await link.hears("hello")
        link.supervisor.unit("2", up=False, reason="it needs a key")
        link.supervisor.unit("2", up=False, reason="the key is wrong")
        assert link.now == ("degraded", "2: the key is wrong")
    assert lines(log) == ["device 2 is away: it needs a key"]


async def test_one_of_several_devices_comes_and_goes(log: pytest.LogCaptureFixture) -> None:
    async with supervised() as link:
        await link.hears("hello")
        for _ in range(3):
            link.supervisor.unit("2", up=False, reason="time-out")
        assert "2" in link.supervisor.devices_away
        link.supervisor.unit("3", up=False)
        link.supervisor.unit("2", up=True)
        link.supervisor.unit("3", up=True)
        link.supervisor.unit("3", up=True)
        assert link.states == [
            ("online", ""),
            ("degraded", "2: time-out"),
            ("degraded", "2: time-out; 3: away"),
            ("degraded", "3: away"),
            ("online", ""),
        ]
        assert link.devices_left == ["2", "3"], "each once"
        assert link.supervisor.fault == "", "the link itself is well"
    assert lines(log) == [
        "device 2 is away: time-out",
        "device 3 is away: no reason given",
        "device 2 is back",
        "device 3 is back",
    ]


def test_the_status_stays_short_and_the_whole_list_is_there() -> None:
    clock = VirtualClock()
    devices = DevicesAway(clock)
    for number in range(1000):
        devices.went(f"d{number}", "no answer within 3 s")
        clock.forward(0.001)
    assert devices.summary == (
        "1000 devices are away: d0: no answer within 3 s; d1: no answer within 3 s; d2: no answer within 3 s; "
        "and 997 more"
    )
    everybody = devices.all()
    assert len(everybody) == 1000
    assert (everybody["d999"].reason, everybody["d999"].since_ms) == ("no answer within 3 s", START_MS + 999)


def test_a_reason_that_is_another_one_is_not_hidden_by_many() -> None:
    devices = DevicesAway(VirtualClock())
    for number in range(20):
        devices.went(f"d{number}", "its key is wrong" if number == 13 else "time-out")
    assert devices.summary == "20 devices are away: d0: time-out; d13: its key is wrong; d1: time-out; and 17 more"


def test_endless_reasons_are_cut() -> None:
    devices = DevicesAway(VirtualClock())
    for number in range(5):
        devices.went(f"d{number}", "x" * 70_000)
    assert len(devices.summary) < 1000


def test_a_thousand_at_once_are_twenty_lines_and_a_sum(log: pytest.LogCaptureFixture) -> None:
    clock = VirtualClock()
    devices = DevicesAway(clock)
    for number in range(1000):
        devices.went(f"d{number}", "time-out")
    for number in range(600):
        devices.came_back(f"d{number}")
    devices.log_the_rest()
    assert len(lines(log)) == 20
    clock.forward(60)
    devices.log_the_rest()
    devices.log_the_rest()
    assert lines(log)[20:] == ["in the last minute 980 more devices went away and 600 came back; 400 are away now"]
    devices.went("d0", "time-out")
    assert lines(log)[21:] == ["device d0 is away: time-out"]
