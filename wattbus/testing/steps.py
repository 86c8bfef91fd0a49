"""A coroutine that is cancelled at a chosen step: when it, or a task that it has started, waits for the k-th time."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Coroutine
from typing import Any

_STEPS: contextvars.ContextVar[Steps | None] = contextvars.ContextVar("steps", default=None)


class Steps:
    """Counts the waits of a task and of all that it starts; cancels the task at wait number `cancel_at` (0: never)."""

    def __init__(self, cancel_at: int = 0) -> None:
        self.waits = 0
        self.task: asyncio.Task[Any] | None = None
        self._cancel_at = cancel_at

    def start(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Its task."""
        loop = asyncio.get_running_loop()
        loop.set_task_factory(_counted_task)
        token = _STEPS.set(self)
        try:
            self.task = loop.create_task(coroutine)
            return self.task
        finally:
            _STEPS.reset(token)

    def waits_again(self) -> None:
        """One of its tasks waits."""
        self.waits += 1
        if self.waits == self._cancel_at and self.task is not None:
            self.task.cancel()


class _Counted(Coroutine[Any, Any, Any]):
    """A coroutine, and somebody who counts its waits."""

    def __init__(self, inner: Coroutine[Any, Any, Any], steps: Steps) -> None:
        self._inner = inner
        self._steps = steps

    def send(self, value: Any) -> Any:
        waits_for = self._inner.send(value)
        self._steps.waits_again()
        return waits_for

    def throw(self, *error: Any) -> Any:
        waits_for = self._inner.throw(*error)
        self._steps.waits_again()
        return waits_for

    def close(self) -> None:
        self._inner.close()

    def __await__(self) -> Any:
        return self._inner.__await__()


def _counted_task(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> asyncio.Task[Any]:
    steps = _STEPS.get()
    if steps is not None and asyncio.iscoroutine(coroutine):
        coroutine = _Counted(coroutine, steps)
    return asyncio.Task(coroutine, loop=loop, **options)
