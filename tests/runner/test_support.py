"""What the other tests stand on: the loop whose time is fair, the bound, the ports."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.ports import free_port
from wattbus.clock import SYSTEM_CLOCK
from wattbus.testing import waiting

ROOT = Path(__file__).parents[2]


async def test_a_bound_is_not_passed_while_others_have_the_processor() -> None:
    async with asyncio.timeout(0.05):
        time.sleep(0.1)  # noqa: ASYNC251  # as if the process had not been run
        await asyncio.sleep(0.01)


async def test_a_bound_is_passed_by_idle_time() -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await asyncio.Event().wait()


async def test_a_loop_that_is_never_idle_has_time_too() -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            while True:
                await asyncio.sleep(0)


async def test_what_is_there_already_was_not_waited_for() -> None:
    """The answer of a peer in this process came while somebody else had the processor."""
    answered = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        time.sleep(0.1)  # noqa: ASYNC251
        writer.write(b"21.5\n")
        writer.close()
        answered.set()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        async with asyncio.timeout(0.05):
            writer.write(b"?\n")
            assert await reader.readline() == b"21.5\n"
        writer.close()
        await answered.wait()


async def test_time_is_never_ahead_of_the_machines_and_the_clock_follows_it() -> None:
    loop, began = asyncio.get_running_loop(), time.monotonic()
    start = loop.time()
    for _ in range(5):
        await asyncio.sleep(0.01)
    assert 0.05 <= loop.time() - start <= time.monotonic() - began
    assert SYSTEM_CLOCK.monotonic() == pytest.approx(loop.time(), abs=0.01)


async def test_what_never_comes_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "PATIENCE_S", 0.05)
    with pytest.raises(AssertionError, match=r"^not within 0\.05 s: a second moon\nthere is one$"):
        await waiting.until(lambda: False, "a second moon", lambda: "there is one")
    with pytest.raises(AssertionError, match="a third"):
        waiting.wait_until(lambda: False, "a third")


async def test_a_time_out_of_what_is_tested_is_not_taken_for_the_bound() -> None:
    with pytest.raises(TimeoutError, match="the device"):
        async with waiting.patience("it answers"):
            raise TimeoutError("the device")


def test_no_port_is_given_to_two_processes() -> None:
    ours = {free_port() for _ in range(50)}
    program = "from tests.support.ports import free_port; print(*(free_port() for _ in range(50)))"
    other = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    theirs = {int(port) for port in other.stdout.split()}
    assert len(theirs) == len(ours) == 50
    assert not theirs & ours
