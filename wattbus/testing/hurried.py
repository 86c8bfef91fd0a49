"""An event loop whose waits are short: for connectors that wait by themselves, with `asyncio.timeout` and `sleep`.

Whenever nobody in this process has anything to do, time jumps towards the next moment that somebody waits for. Sockets,
pseudo-terminals and threads are real, so both ends of a line have to live in this loop; waits take a hundredth of
their time, and the bounds of a test are those that people would set: seconds, minutes.
"""

from __future__ import annotations

import asyncio
import selectors
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from wattbus.clock import SystemClock

T = TypeVar("T")
GRACE_S = 0.002  # of real time, in which what is under way in the operating system arrives
JUMP_S = 0.25  # at most after each of them


class HurriedLoop(asyncio.SelectorEventLoop):
    """Its `time()` runs ahead. `faults` has what asyncio would only have logged: exceptions nobody looked at."""

    def __init__(self) -> None:
        self.ahead_s = 0.0
        self.threads_at_work = 0
        self.faults: list[str] = []
        super().__init__(_HurriedSelector(self))
        self.set_exception_handler(self._note)

    def time(self) -> float:
        return super().time() + self.ahead_s

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, func: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        """While a thread works, time passes as usual."""
        future: asyncio.Future[Any] = super().run_in_executor(executor, func, *args)
        self.threads_at_work += 1
        future.add_done_callback(self._thread_is_done)
        return future

    def _thread_is_done(self, _: asyncio.Future[Any]) -> None:
        self.threads_at_work -= 1

    def _note(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        self.faults.append(f"{context['message']}: {error!r}" if error else str(context["message"]))


class _HurriedSelector(selectors.DefaultSelector):
    def __init__(self, loop: HurriedLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None or timeout <= GRACE_S or self._loop.threads_at_work:
            return super().select(timeout)
        events = super().select(GRACE_S)
        if not events:
            self._loop.ahead_s += min(timeout - GRACE_S, JUMP_S)
        return events


def run_hurried(main: Coroutine[Any, Any, T]) -> T:
    """Run this in a hurried loop of its own; the machine's clock as connectors know it runs ahead with it.

    Raises AssertionError when the loop has something to say about exceptions that nobody looked at.
    """
    loop = HurriedLoop()
    with _clock_of(loop), asyncio.Runner(loop_factory=lambda: loop) as runner:
        result = runner.run(main)
    assert not loop.faults, loop.faults
    return result


@contextmanager
def _clock_of(loop: HurriedLoop) -> Iterator[None]:
    def now_ms(_: SystemClock) -> int:
        return time.time_ns() // 1_000_000 + round(loop.ahead_s * 1000)

    def monotonic(_: SystemClock) -> float:
        return loop.time()

    usual = {name: getattr(SystemClock, name) for name in ("now_ms", "monotonic")}
    try:
        for ours in (now_ms, monotonic):
            setattr(SystemClock, ours.__name__, ours)
        yield
    finally:
        for name, method in usual.items():
            setattr(SystemClock, name, method)
