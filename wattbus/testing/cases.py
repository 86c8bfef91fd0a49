"""The cases of the conformance suite: what a connector does when its device is away, silent, torn off, or late.

Each raises AssertionError, or what the connector should not have raised. They run in a hurried loop; all bounds are
seconds of its time.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

from wattbus.connector import Connector, Scalar
from wattbus.testing.far_ends import BABBLING, SILENT, FarEnd, Medium
from wattbus.testing.leftovers import nothing_left
from wattbus.testing.link import RecordingLink
from wattbus.testing.relay import Relay
from wattbus.testing.steps import Steps
from wattbus.testing.under_test import FAILED, REFUSED, ConnectorUnderTest, link_down

AWAY_WITHIN_S = 60.0  # nobody is there: said within a minute
SILENT_FOR_S = 300.0
BABBLES_FOR_S = 10.0
SPEAKS_WITHIN_S = 60.0  # a simulator, and a connector that has reached it
ENDS_WITHIN_S = 5.0  # when it is cancelled
COMMAND_S = 30.0  # as COMMAND_TIMEOUT_SECONDS
MOST_STEPS = 24  # at which run() is cancelled


@contextlib.asynccontextmanager
async def entered(connector: Connector, link: RecordingLink) -> AsyncIterator[asyncio.Task[None]]:
    """`run()` under way; at the end it is cancelled, and ends in time."""
    running = asyncio.create_task(connector.run(link))
    try:
        yield running
    finally:
        await ended(running)


async def ended(running: asyncio.Task[None]) -> None:
    """Cancel it: it ends promptly, and with nothing but LinkDown if that came first."""
    running.cancel()
    await asyncio.wait([running], timeout=ENDS_WITHIN_S)
    assert running.done(), "it was cancelled, and goes on"
    if not running.cancelled():
        link_down(running.exception())


async def nobody_there(under: ConnectorUnderTest, far_end: FarEnd) -> None:
    """`run()` ends with LinkDown, which says why; a command fails at once, before and after."""
    async with far_end() as address, nothing_left():
        connector, link = under.connector(address), RecordingLink()
        await _cannot_write(connector, under.write)
        async with entered(connector, link) as running:
            await asyncio.wait([running], timeout=AWAY_WITHIN_S)
            assert running.done(), f"nobody is there, and after {AWAY_WITHIN_S:g} s run() still tries"
            link_down(running.exception())
        await _cannot_write(connector, under.write)
    assert not link.is_connected, "nobody has answered"


async def _cannot_write(connector: Connector, write: tuple[str, Scalar, Scalar] | None) -> None:
    with contextlib.suppress(*(FAILED if write else REFUSED)):
        async with asyncio.timeout(COMMAND_S):
            await connector.write(*(write or ("anything", 1, None))[:2])
        raise AssertionError("a command was executed, and nobody is there")


async def silent(under: ConnectorUnderTest, medium: Medium) -> None:
    """Somebody accepts and never answers: that is no answer. LinkDown is right, and so is patience."""
    async with SILENT[medium]() as address, nothing_left():
        connector = under.connector(address)
        link = RecordingLink(connector)
        async with entered(connector, link) as running:
            await asyncio.wait([running], timeout=SILENT_FOR_S)
            if running.done():
                link_down(running.exception())
    assert not link.is_connected, "nobody has answered"
    assert not link.values, link.values


async def nonsense(under: ConnectorUnderTest, medium: Medium) -> None:
    """Whatever comes, it is a LinkDown, or a raw message whose decoding is right or a DecodeError; never a bug."""
    async with BABBLING[medium]() as address, nothing_left():
        connector = under.connector(address)
        async with entered(connector, RecordingLink(connector)) as running:
            await asyncio.wait([running], timeout=BABBLES_FOR_S)
            if running.done():
                link_down(running.exception())


async def torn(under: ConnectorUnderTest, medium: Medium) -> None:
    """A line that breaks is noticed at once, and had again: by the connector itself, or when run() is entered anew."""
    async with nothing_left(), under.simulated(medium) as between:
        connector = under.connector(between.address)
        for politely in (False, True):
            link = RecordingLink(connector)
            async with entered(connector, link) as running:
                await speaks(link, running)
                await between.tear(politely=politely)
                before = len(link.raw)
                await _until(link, lambda: running.done() or len(link.raw) > before, "the line is torn")  # noqa: B023
                if running.done():
                    link_down(running.exception())


async def speaks(link: RecordingLink, running: asyncio.Task[None]) -> None:
    """The simulator is there: the connector says so, and values come."""
    await _until(link, lambda: bool(link.values) or running.done(), "the simulator is there")
    if running.done():
        raise AssertionError(f"the simulator is there, and run() has ended: {link_down(running.exception())}")


async def _until(link: RecordingLink, so: Callable[[], bool], what: str) -> None:
    try:
        async with asyncio.timeout(SPEAKS_WITHIN_S):
            while not so():
                link.changed.clear()
                waiting = asyncio.ensure_future(link.changed.wait())
                await asyncio.wait([waiting], timeout=0.5)
                waiting.cancel()
    except TimeoutError:
        state = f"connected: {link.is_connected}, {len(link.raw)} raw, away: {link.away}, faults: {link.faults[-3:]}"
        raise AssertionError(f"{what}, and within {SPEAKS_WITHIN_S:g} s nothing follows ({state})") from None


async def answers(under: ConnectorUnderTest, medium: Medium) -> None:
    """At its simulator a connector is connected and gives values; a command is executed."""
    async with under.simulated(medium) as between, nothing_left():
        connector = under.connector(between.address)
        link = RecordingLink(connector)
        async with entered(connector, link) as running:
            await speaks(link, running)
            assert not link.faults, link.faults
            if under.write is not None:
                key, *values = under.write
                for value in values:
                    async with asyncio.timeout(COMMAND_S):
                        await connector.write(key, value)


async def late_answer(under: ConnectorUnderTest, medium: Medium) -> None:
    """An answer that comes after its time-out is never taken for the next command's."""
    assert under.write is not None
    key, first, second = under.write
    async with under.simulated(medium) as between, nothing_left():
        connector = under.connector(between.address)
        link = RecordingLink(connector)
        async with entered(connector, link) as running:
            await speaks(link, running)
            between.manner = "hold"
            await _times_out(connector, key, first)
            between.manner = "late"
            if not running.done():
                await _times_out(connector, key, second)


async def _times_out(connector: Connector, key: str, value: Scalar) -> None:
    with contextlib.suppress(*FAILED):
        async with asyncio.timeout(COMMAND_S):
            await connector.write(key, value)
        raise AssertionError(f"write({key!r}, {value!r}) took an answer that was not its own")


async def cancelled_running(under: ConnectorUnderTest, medium: Medium) -> None:
    """`run()` ends promptly wherever it is cancelled, and leaves no task, socket or thread."""
    async with under.simulated(medium) as between:
        every = Steps()
        connector = under.connector(between.address)
        link = RecordingLink(connector)
        running = every.start(connector.run(link))
        await speaks(link, running)
        await ended(running)
        for step in _spread(every.waits):
            async with nothing_left():
                running = Steps(step).start(under.connector(between.address).run(RecordingLink()))
                await asyncio.wait([running], timeout=SPEAKS_WITHIN_S)
                await _was_cancelled(running, f"wait {step} of run()")


async def cancelled_writing(under: ConnectorUnderTest, medium: Medium) -> None:
    """So does `write()`; and the next command is none the worse for it."""
    assert under.write is not None
    key, first, second = under.write
    async with under.simulated(medium) as between, nothing_left():
        connector = under.connector(between.address)
        step, waits = 0, 1
        while step < min(waits, MOST_STEPS):
            step += 1
            link = RecordingLink(connector)
            async with entered(connector, link) as running:
                await speaks(link, running)
                steps = Steps(step)
                writing = steps.start(connector.write(key, first))
                await asyncio.wait([writing], timeout=COMMAND_S)
                await _was_cancelled(writing, f"wait {step} of write()")
                waits = max(waits, steps.waits + (1 if writing.cancelled() else 0))
                with contextlib.suppress(*FAILED):
                    async with asyncio.timeout(COMMAND_S):
                        await connector.write(key, second)


async def _was_cancelled(task: asyncio.Task[None], where: str) -> None:
    if not task.done():
        task.cancel()  # it took another way this time, with fewer waits
        await asyncio.wait([task], timeout=ENDS_WITHIN_S)
    assert task.done(), f"cancelled at {where}, it goes on"
    if not task.cancelled() and (error := task.exception()) is not None:
        link_down(error)


def _spread(number: int) -> list[int]:
    """1, 2, 3, … up to `number`; of many the first half, and some of the others."""
    if number <= MOST_STEPS:
        return list(range(1, number + 1))
    half = MOST_STEPS // 2
    return sorted({*range(1, half + 1), *(half + (number - half) * part // half for part in range(1, half + 1))})


async def raw_messages(under: ConnectorUnderTest, number: int = 5) -> tuple[Relay, list[Any]]:
    """What its simulator says."""
    async with under.simulated(under.media[0]) as between:
        connector = under.connector(between.address)
        link = RecordingLink(connector)
        async with entered(connector, link) as running:
            await speaks(link, running)
            with contextlib.suppress(AssertionError):  # some speak rarely
                await _until(link, lambda: len(link.raw) >= number, "messages")
        return between, link.raw
