"""Keeping a connector's run() going, in virtual time."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator

import pytest

from tests.support.clock import VirtualClock
from tests.support.connector import ScriptedConnector
from tests.support.waiting import PATIENCE_S
from wattbus import metrics
from wattbus.errors import ConfigError, LinkDown
from wattbus.jsontext import JsonValue
from wattbus.runtime.link_supervisor import LinkSupervisor


class Keeping:
    """A link keeper and what it told."""

    def __init__(self, silence_limit_s: float | None = None) -> None:
        self.connector = ScriptedConnector()
        self.clock = VirtualClock()
        self.emitted: list[JsonValue] = []
        self.states: list[tuple[str, str]] = []
        self.keeper = LinkSupervisor(
            "c",
            self.connector,
            self.clock,
            emit=lambda raw, _: self.emitted.append(raw),
            announce=lambda _: None,
            changed=lambda: self.states.append((self.keeper.state, self.keeper.detail)),
            silence_limit_s=lambda: silence_limit_s,
        )


@contextlib.asynccontextmanager
async def keeping(silence_limit_s: float | None = None) -> AsyncIterator[Keeping]:
    kept = Keeping(silence_limit_s)
    task = asyncio.create_task(kept.keeper.run())
    await kept.clock.advance(0)
    try:
        yield kept
    finally:
        task.cancel()
        await asyncio.wait([task])
    assert task.cancelled()
    assert not kept.connector.running.is_set(), "the connector's run() has ended with it"


def bugs() -> float:
    return metrics.REGISTRY.get_sample_value("wattbus_bugs_total", {"service": "c", "task": "run"}) or 0.0


async def test_a_link_that_goes_is_entered_again_and_told_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with keeping() as kept:
        kept.connector.tell("hello")
        await kept.clock.advance(0)
        assert kept.states == [("online", "")]
        for _ in range(5):
            kept.connector.tell(LinkDown("no answer"))
            await kept.clock.advance(0)
            assert not kept.keeper.entered
            await kept.clock.advance(60)
        assert kept.connector.entered == 6
        kept.connector.tell("back")
        await kept.clock.advance(0)
        assert kept.emitted == ["hello", "back"]
    messages = [record.message for record in caplog.records if record.name == "wattbus.runtime.link_supervisor"]
    assert messages.count("the link is down: no answer") == messages.count("the link is up again")


async def test_attempts_that_fail_at_once_are_logged_once_and_get_rarer(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with keeping() as kept:
        for _ in range(10):
            kept.connector.tell(LinkDown("no route"))
        await kept.clock.advance(1000)
        pauses = [pause for pause in kept.clock.slept if pause not in (1.0, 5.0)]
        assert 0.5 <= pauses[0] <= 1
        assert 30 <= pauses[9] <= 60
        assert kept.states == [("degraded", "no route"), ("online", "")]
    assert [record.message for record in caplog.records] == ["the link is down: no route", "the link is up again"]


async def test_a_link_that_speaks_and_breaks_at_once_is_no_hot_loop() -> None:
    async with keeping() as kept:
        for number in range(200):
            kept.connector.tell(number)
            kept.connector.tell(LinkDown("again") if number % 2 else KeyError("a bug"))
        await kept.clock.advance(600)
        assert kept.connector.entered < 30


async def test_a_bug_is_counted_and_run_is_started_again(caplog: pytest.LogCaptureFixture) -> None:
    before = bugs()
    async with keeping() as kept:
        kept.connector.tell(ZeroDivisionError("oops"))
        await kept.clock.advance(0)
        assert kept.keeper.failing, "no heartbeat now"
        assert kept.keeper.detail == "a bug in the connector: ZeroDivisionError: oops"
        await kept.clock.advance(2)
        assert not kept.keeper.failing
        assert kept.connector.entered == 2
        kept.connector.tell(None)  # run() returns
        await kept.clock.advance(0)
        assert "ended without being told to" in kept.keeper.detail
        await kept.clock.advance(60)
        kept.connector.tell(asyncio.CancelledError())  # something inside was cancelled
        await kept.clock.advance(60)
        assert kept.connector.entered == 4
    assert bugs() == before + 3
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.parametrize(
    ("error", "detail"),
    [
        (ExceptionGroup("g", [LinkDown("a"), ExceptionGroup("h", [LinkDown("b")])]), "a"),
        (ExceptionGroup("g", [LinkDown("a"), KeyError("b")]), "a bug in the connector: KeyError: 'b'"),
        (LinkDown(), "the device is away"),
    ],
)
async def test_of_several_failures_the_worst_counts(error: Exception, detail: str) -> None:
    async with keeping() as kept:
        kept.connector.tell(error)
        await kept.clock.advance(0)
        assert kept.keeper.detail == detail


async def test_wrong_settings_end_it() -> None:
    kept = Keeping()
    kept.connector.tell(ExceptionGroup("g", [KeyError("b"), ExceptionGroup("h", [ConfigError("PORT: …")])]))
    with pytest.raises(ConfigError, match="PORT"):
        async with asyncio.timeout(PATIENCE_S):
            await kept.keeper.run()


async def test_why_a_device_is_away_may_change(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with keeping() as kept:
        link = kept.connector.link
        assert link is not None
        kept.connector.tell("hello")
        await kept.clock.advance(0)
        link.unit("2", up=False, reason="it needs a key")
        link.unit("2", up=False, reason="the key is wrong")
        assert kept.states[-1] == ("degraded", "2: the key is wrong")
        assert caplog.text.count("is away") == 1


async def test_one_of_several_devices_comes_and_goes(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with keeping() as kept:
        link = kept.connector.link
        assert link is not None
        kept.connector.tell("hello")
        await kept.clock.advance(0)
        for _ in range(3):
            link.unit("2", up=False, reason="time-out")
        assert kept.keeper.devices_away == {"2": "time-out"}
        link.unit("3", up=False)
        link.unit("2", up=True)
        link.unit("3", up=True)
        link.unit("3", up=True)
        assert kept.states == [
            ("online", ""),
            ("degraded", "2: time-out"),
            ("degraded", "2: time-out; 3: away"),
            ("degraded", "3: away"),
            ("online", ""),
        ]
    assert sum("device 2 is away" in record.message for record in caplog.records) == 1


async def test_a_quiet_link_counts_as_up_after_a_while() -> None:
    async with keeping() as kept:
        await kept.clock.advance(4)
        assert not kept.keeper.is_up
        await kept.clock.advance(2)
        assert kept.keeper.is_up


async def test_a_link_that_stands_and_says_nothing_is_left_and_entered_again() -> None:
    async with keeping(silence_limit_s=60) as kept:
        for _ in range(10):
            kept.connector.tell("hello")
            await kept.clock.advance(50)
        assert kept.connector.entered == 1
        await kept.clock.advance(14)
        assert kept.connector.entered == 2
        assert ("degraded", "silent for 61 s") in kept.states


async def test_a_link_that_stays_silent_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with keeping(silence_limit_s=60.0) as kept:
        kept.connector.tell("hello")
        await kept.clock.advance(3600)
        assert kept.connector.entered > 20, "it is entered again and again"
        assert [record.getMessage() for record in caplog.records] == ["the link is down: silent for 61 s"]
        assert kept.keeper.state == "degraded"
        kept.connector.tell("back")
        await kept.clock.advance(0)
        assert kept.keeper.state == "online"


async def test_a_run_that_does_not_end_is_stuck() -> None:
    """A library has swallowed the cancellation: nothing in this process will end it."""
    async with keeping(silence_limit_s=60) as kept:
        deaf, release = asyncio.Event(), asyncio.Event()

        async def run(_: object) -> None:
            while not release.is_set():
                try:
                    await release.wait()
                except asyncio.CancelledError:
                    deaf.set()

        kept.connector.run = run  # type: ignore[method-assign, assignment]
        kept.connector.tell(LinkDown("entered again"))
        await kept.clock.advance(70)
        assert deaf.is_set(), "it was silent, and was told to end"
        assert kept.keeper.stuck == ""
        await kept.clock.advance(120)
        assert kept.keeper.stuck.startswith("run() was told to end 12")
        release.set()
        await kept.clock.advance(10)
        assert kept.keeper.stuck == ""
