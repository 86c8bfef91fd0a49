"""Keeping a connector's run() going, in virtual time."""

from __future__ import annotations

import asyncio

import pytest

from tests.wattbus.runtime.supervised_link import ScriptedPermit, Supervised, lines, log, supervised
from wattbus import metrics
from wattbus.errors import ConfigError, LinkDown
from wattbus.testing.waiting import PATIENCE_S

__all__ = ["log"]


def bugs() -> float:
    return metrics.REGISTRY.get_sample_value("wattbus_bugs_total", {"service": "c", "task": "run"}) or 0.0


async def test_a_link_that_goes_is_entered_again(log: pytest.LogCaptureFixture) -> None:
    async with supervised() as link:
        await link.hears("hello")
        assert link.states == [("online", "")]
        await link.passes(60)
        for outage in range(1, 6):
            await link.hears(LinkDown("no answer"))
            assert not link.supervisor.entered
            assert link.left == outage, "nothing is heard of anybody now"
            await link.passes(60)
            await link.hears("back")
            await link.passes(60)
        assert link.connector.entered == 6
        assert link.emitted == ["hello", *["back"] * 5]
    assert lines(log) == ["link: no answer", "link: over"] * 5


async def test_attempts_that_fail_at_once_get_rarer(log: pytest.LogCaptureFixture) -> None:
    async with supervised() as link:
        for _ in range(10):
            link.connector.tell(LinkDown("no route"))
        await link.passes(1000)
        pauses = [pause for pause in link.clock.slept if pause != 1.0]
        assert 0.5 <= pauses[0] <= 1
        assert 30 <= pauses[9] <= 60
        assert link.now == ("degraded", "no route"), "it runs now, and nobody has answered yet"
        await link.hears("back")
        assert link.states == [("degraded", "no route"), ("online", "")]
    assert lines(log) == ["link: no route", "link: over"]


async def test_a_link_that_speaks_and_breaks_at_once_is_no_hot_loop() -> None:
    async with supervised() as link:
        for number in range(200):
            link.connector.tell(number)
            link.connector.tell(LinkDown("again") if number % 2 else KeyError("a bug"))
        await link.passes(600)
        assert link.connector.entered < 30


async def test_a_bug_is_counted_and_run_is_started_again(caplog: pytest.LogCaptureFixture) -> None:
    before = bugs()
    async with supervised() as link:
        await link.hears(ZeroDivisionError("oops"))
        assert link.supervisor.failing, "no heartbeat now"
        assert link.now[1] == "a bug in the connector: ZeroDivisionError: oops"
        await link.passes(2)
        assert not link.supervisor.failing
        assert link.connector.entered == 2
        await link.hears(None)  # run() returns
        assert "ended without being told to" in link.now[1]
        await link.passes(60)
        link.connector.tell(asyncio.CancelledError())  # something inside was cancelled
        await link.passes(60)
        assert link.connector.entered == 4
    assert bugs() == before + 3
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.parametrize(
    ("error", "detail"),
    [
        (ExceptionGroup("g", [LinkDown("a"), ExceptionGroup("h", [LinkDown("b")])]), "a"),
        (ExceptionGroup("g", [LinkDown("a"), KeyError("b")]), "a bug in the connector: KeyError: 'b'"),
        (LinkDown(), "the device is away"),
        (LinkDown("x" * 70_000), "x" * 500),
    ],
)
async def test_of_several_failures_the_worst_counts(error: Exception, detail: str) -> None:
    async with supervised() as link:
        await link.hears(error)
        assert link.now[1] == detail


async def test_wrong_settings_end_it() -> None:
    link = Supervised()
    link.connector.tell(ExceptionGroup("g", [KeyError("b"), ExceptionGroup("h", [ConfigError("PORT: …")])]))
    with pytest.raises(ConfigError, match="PORT"):
        async with asyncio.timeout(PATIENCE_S):
            await link.supervisor.run()


async def test_a_run_that_does_not_end_is_stuck() -> None:
    """A library has swallowed the cancellation: nothing in this process will end it."""
    async with supervised(shortest_interval_s=6) as link:
        deaf, release = asyncio.Event(), asyncio.Event()

        async def run(_: object) -> None:
            while not release.is_set():
                try:
                    await release.wait()
                except asyncio.CancelledError:
                    deaf.set()

        link.connector.run = run  # type: ignore[method-assign, assignment]
        link.connector.tell(LinkDown("entered again"))
        await link.passes(70)
        assert deaf.is_set(), "it did not answer, and was told to end"
        assert link.supervisor.stuck == ""
        await link.passes(120)
        assert link.supervisor.stuck.startswith("run() was told to end 12")
        release.set()
        await link.passes(10)
        assert link.supervisor.stuck == ""


# -- a name that another process has


async def test_a_process_without_its_name_leaves_the_device_alone(log: pytest.LogCaptureFixture) -> None:
    permit = ScriptedPermit()
    async with supervised(permit=permit) as link:
        await link.passes(600)
        assert link.connector.entered == 0
        permit.give()
        await link.hears("hello")
        assert (link.connector.entered, link.now) == (1, ("online", ""))


async def test_a_process_that_loses_its_name_leaves_the_device(log: pytest.LogCaptureFixture) -> None:
    """Both were started while the broker was away, so both have polled."""
    permit = ScriptedPermit()
    permit.give()
    async with supervised(permit=permit) as link:
        await link.hears("hello")
        permit.take("the name c is taken by process 7")
        await link.passes(600)
        assert not link.connector.running.is_set()
        assert (link.connector.entered, link.left) == (1, 1)
        assert link.now == ("degraded", "the name c is taken by process 7")
        permit.give()
        await link.hears("hello again")
        assert (link.connector.entered, link.now) == (2, ("online", ""))
    assert lines(log) == [], "the link was not down; who took the name was logged where that was found out"
