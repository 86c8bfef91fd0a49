"""What somebody has left behind: tasks, sockets and other open files, threads."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path

SETTLES_WITHIN_S = 10.0


@contextlib.asynccontextmanager
async def nothing_left() -> AsyncIterator[None]:
    """All that was begun within has ended, or soon does. Raises AssertionError.

    The threads of the loop's own executor wait for more work and do not count.
    """
    tasks, files, threads = asyncio.all_tasks(), _open_files(), set(threading.enumerate())
    yield

    def left() -> list[object]:
        new_tasks = [task for task in asyncio.all_tasks() - tasks if not task.done()]
        new_threads = [thread for thread in set(threading.enumerate()) - threads if "asyncio" not in thread.name]
        new_files = _open_files()
        return [*new_tasks, *new_threads, *([f"{new_files} open files, before: {files}"] if new_files > files else [])]

    assert await _settles(lambda: not left()), f"left behind: {left()}"


async def _settles(so: Callable[[], bool]) -> bool:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(SETTLES_WITHIN_S):
            while not so():  # noqa: ASYNC110 - that a socket is closed is no event
                await asyncio.sleep(0.01)
    return so()


def _open_files() -> int:
    """How many this process has open, sockets and ports included; 0 where the system does not tell."""
    folder = Path("/dev/fd")
    return len(os.listdir(folder)) if folder.is_dir() else 0  # noqa: PTH208 - names, not paths
