"""How long the event loop is held by what gets onto the disk: the controller's state, a full outbox.

    python -m bench.loop_held

Each figure stands beside the time that the disk itself took in the same run.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from controller.control import Control
from controller.orders import ControlOptions
from controller.pairs import Pair, PairDirectory
from controller.state_file import StateFile
from wattbus.clock import SYSTEM_CLOCK
from wattbus.runtime.outbox import Outbox
from wattbus.service.disk import submit

ROUNDS = 7
ITEMS = 96  # of a schedule: a day in quarters of an hour


async def held(work: Callable[[], Awaitable[None]]) -> tuple[float, float]:
    """The longest time (s) for which the loop did not turn meanwhile, and how long the work took."""
    longest, done = 0.0, False

    async def turn() -> None:
        nonlocal longest
        while not done:
            begun = time.perf_counter()
            await asyncio.sleep(0)
            longest = max(longest, time.perf_counter() - begun)

    turning = asyncio.create_task(turn())
    await asyncio.sleep(0)
    begun = time.perf_counter()
    await work()
    took, done = time.perf_counter() - begun, True
    await turning
    return longest, took


async def controller(number: int, folder: Path) -> None:
    """Saving the state of so many pairs, each with a day's schedule."""
    control, pairs = Control(ControlOptions(), SYSTEM_CLOCK), []
    for index in range(number):
        actuator = f"c{index % 50}/messages/a{index}-set/value"
        plans = (actuator.removesuffix("value") + kind for kind in ("setpoint", "schedule"))
        pairs.append(Pair(f"c{index % 50}/messages/s{index}/value", actuator, *plans))
    control.set_pairs({pair.actuator: pair for pair in pairs})
    schedule = [
        {"from_timestamp": 900_000 * item, "to_timestamp": 900_000 * (item + 1), "value": 20 + item % 5}
        for item in range(ITEMS)
    ]
    for pair in pairs:
        control.take(pair.schedule, json.dumps({"schedule": schedule, "timestamp": 1}).encode(), False)
        control.take(pair.sensor, b'{"value":21.5,"timestamp":1}', False)
    file = folder / f"{number}.json"
    state = StateFile(file, "pairs", SYSTEM_CLOCK, lambda fault: None)
    await state.save(control, pairs, PairDirectory([]))
    times = sorted([await held(lambda: state.save(control, pairs, PairDirectory([]))) for _ in range(ROUNDS)])
    longest, took = times[ROUNDS // 2]
    print(
        f"controller, {number:>5} pairs: {file.stat().st_size / 1e6:5.1f} MB in {took * 1000:5.0f} ms, "
        f"the loop was held {longest * 1000:4.0f} ms (median of {ROUNDS})"
    )


async def outbox(number: int, folder: Path) -> None:
    """Readings of 300 bytes into an outbox whose history is away."""
    box = Outbox("0" * 16, folder / "outbox", on_disk=submit, max_bytes=64 * 2**20)
    payload = b"{" + b"x" * 298 + b"}"
    longest = 0.0
    for index in range(number):
        begun = time.perf_counter()
        box.put(index + 1, payload)
        longest = max(longest, time.perf_counter() - begun)
        if index % 200 == 0:
            begun = time.perf_counter()
            box.tick()
            longest = max(longest, time.perf_counter() - begun)
            await asyncio.sleep(0)
    print(f"outbox, {number:,} readings, {box.overflowed:,} fell out: the longest call took {longest * 1000:.1f} ms")


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        for number in (20, 200, 1000):
            await controller(number, Path(folder))
        await outbox(400_000, Path(folder))


if __name__ == "__main__":
    asyncio.run(main())
