"""A silent line in virtual time: opened again, then reset, at this pace until something is heard."""

import asyncio
import logging

import pytest

from links.serial_silence import SilenceWatch
from wattbus.errors import LinkDown, LinkSilent
from wattbus.testing.clock import VirtualClock


class Board:
    """Counts its resets."""

    def __init__(self) -> None:
        self.resets = 0

    async def reset(self) -> None:
        self.resets += 1


async def one_entry(watch: SilenceWatch, clock: VirtualClock, board: Board | None, heard_after_s: float = 0.0) -> str:
    """What a connector's run() does, until the watch barks: the text, and "" when it did not within 60 s."""
    await watch.opened(board.reset if board else None)
    guard = asyncio.ensure_future(watch.guard())
    if heard_after_s:
        await clock.advance(heard_after_s)
        watch.fed()
    await clock.advance(60.0)
    if not guard.done():
        guard.cancel()
        return ""
    with pytest.raises(LinkSilent) as caught:
        await guard
    return str(caught.value)


async def test_reopen_then_reset_then_report(caplog: pytest.LogCaptureFixture) -> None:
    clock, board = VirtualClock(), Board()
    watch = SilenceWatch(60.0, clock, what="/dev/ttyUSB0")
    with caplog.at_level(logging.DEBUG):
        assert await one_entry(watch, clock, board) == "/dev/ttyUSB0 is silent for 60 s; it is opened again"
        assert board.resets == 0
        assert "still silent" in await one_entry(watch, clock, board)
        assert board.resets == 0
        third = await one_entry(watch, clock, board)
        assert board.resets == 1
        assert "was never heard since 2023-11-1" in third  # the virtual clock begins there
        assert "opening it again and resetting it did not help" in third
        for _ in range(5):
            assert await one_entry(watch, clock, board) == third
    assert board.resets == 6, "escalation goes on"
    assert caplog.records == [], "the link's supervisor logs the outage, once"


async def test_what_is_heard_begins_anew() -> None:
    clock, board = VirtualClock(), Board()
    watch = SilenceWatch(60.0, clock, what="the board")
    for _ in range(3):
        await one_entry(watch, clock, board)
    assert watch.is_silent
    assert await one_entry(watch, clock, board, heard_after_s=30.0) != ""
    assert board.resets == 2
    assert "is still silent" in await one_entry(watch, clock, board)
    assert board.resets == 2, "the first reopening after a sign of life does not reset"


async def test_it_names_the_last_sign_of_life() -> None:
    clock = VirtualClock()
    watch = SilenceWatch(60.0, clock, what="the board")
    await one_entry(watch, clock, None, heard_after_s=10.0)
    await one_entry(watch, clock, None)
    text = await one_entry(watch, clock, None)
    assert "the board is silent since 2023-11-1" in text
    assert "opening it again did not help" in text, "a board without a reset was not reset"


async def test_a_line_that_is_fed_is_left_alone() -> None:
    clock = VirtualClock()
    watch = SilenceWatch(60.0, clock)
    await watch.opened()
    guard = asyncio.ensure_future(watch.guard())
    for _ in range(100):
        await clock.advance(59.0)
        watch.fed()
    assert not guard.done()
    await clock.advance(60.0)
    assert isinstance(guard.exception(), LinkDown)


async def test_a_line_without_anything_to_reset_with_was_not_reset() -> None:
    clock = VirtualClock()
    watch = SilenceWatch(60.0, clock)

    async def nothing_there() -> bool:
        return False

    for _ in range(3):
        await watch.opened(nothing_there)
        guard = asyncio.ensure_future(watch.guard())
        await clock.advance(60.0)
    assert str(guard.exception()).endswith("; opening it again did not help")


async def test_time_while_the_line_was_away_does_not_count() -> None:
    clock = VirtualClock()
    watch = SilenceWatch(60.0, clock)
    watch.fed()
    clock.forward(3600.0)
    await watch.opened()
    guard = asyncio.ensure_future(watch.guard())
    await clock.advance(59.0)
    assert not guard.done()
    await clock.advance(2.0)
    assert guard.exception() is not None


async def test_without_a_limit_it_never_barks() -> None:
    clock = VirtualClock()
    guard = asyncio.ensure_future(SilenceWatch(None, clock).guard())
    await clock.advance(1e6)
    assert not guard.done()
    guard.cancel()


async def test_a_reset_that_fails_is_tried_again_at_the_next_opening() -> None:
    clock, board = VirtualClock(), Board()
    watch = SilenceWatch(60.0, clock)
    await one_entry(watch, clock, board)
    await one_entry(watch, clock, board)

    async def torn() -> None:
        raise LinkDown("gone")

    with pytest.raises(LinkDown, match="gone"):
        await watch.opened(torn)
    await one_entry(watch, clock, board)
    assert board.resets == 1
