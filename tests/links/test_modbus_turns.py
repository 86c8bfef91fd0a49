"""Who is next on a line: commands before polls, and a waiter that gave up blocks nobody."""

from __future__ import annotations

import asyncio

from links.modbus_turns import Turns


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_the_urgent_are_next_in_their_order() -> None:
    turns = Turns()
    order: list[str] = []

    async def take(name: str, *, urgent: bool) -> None:
        async with turns.turn(urgent=urgent):
            order.append(name)

    async with asyncio.TaskGroup() as tasks, turns.turn():
        for name in ("poll 1", "poll 2", "command 1", "command 2"):
            tasks.create_task(take(name, urgent=name.startswith("command")))
        await settled()
        assert order == []
    assert order == ["command 1", "command 2", "poll 1", "poll 2"]


async def test_a_waiter_that_is_cancelled_blocks_nobody() -> None:
    turns = Turns()
    taken = asyncio.Event()

    async def take() -> None:
        async with turns.turn():
            taken.set()

    async with turns.turn():
        waiting, following = asyncio.create_task(take()), asyncio.create_task(take())
        await settled()
        waiting.cancel()
        await settled()
    await asyncio.wait_for(following, 5)


async def test_a_waiter_that_is_cancelled_when_its_turn_has_come_hands_it_on() -> None:
    turns = Turns()

    async def take() -> None:
        async with turns.turn():
            pass

    async with turns.turn():
        waiting, following = asyncio.create_task(take()), asyncio.create_task(take())
        await settled()
    waiting.cancel()  # the turn is its own, and it has not run yet
    await asyncio.wait_for(following, 5)
    async with asyncio.timeout(5), turns.turn():
        pass
