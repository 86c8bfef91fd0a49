"""Writing to disk beside the event loop: one thread for the whole process, one job after the other.

A disk may take seconds for what it usually does at once (an SD card that tidies up, a full journal), and the loop must
turn meanwhile. One thread is enough, and keeps the order: what is written, replaced and deleted happens as it was asked
for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from typing import TypeVar

T = TypeVar("T")


@cache
def _thread() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max_workers=1, thread_name_prefix="disk")


def submit(job: Callable[[], T]) -> Future[T]:
    """Have `job` done in the disk's thread. The caller bounds how much it hands over at once."""
    return _thread().submit(job)


async def on_disk(job: Callable[[], T]) -> T:
    """As `submit`, for those who wait for the outcome."""
    return await asyncio.wrap_future(submit(job))
