"""Cancellation that cannot get lost."""

from __future__ import annotations

import asyncio


def raise_if_cancelled() -> None:
    """Raise CancelledError if this task was told to end. Call it after awaiting a library that uses `wait_for`.

    Python 3.11's `asyncio.wait_for` drops a cancellation that arrives together with the result (cpython#86296); the
    task would go on for ever, and whoever waits for its end with it. Python 3.12 does not.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
