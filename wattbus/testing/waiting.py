"""How long a test waits for what must come: until it is there. The bound below is for what never comes.

No test asserts that something is quick (`bench/` measures), and none sleeps for luck: two busy cores, or a slow disk,
make everything ten times slower, and it is still right. So there is one bound, which only a hang reaches; a machine
that needs more sets WATTBUS_TEST_PATIENCE_S.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

PATIENCE_S = float(os.environ.get("WATTBUS_TEST_PATIENCE_S", "120"))
LOOK_S = 0.02  # between two looks at what cannot be waited for: another process, a file, a metric


def _nothing() -> str:
    return ""


@asynccontextmanager
async def patience(what: str = "", tell: Callable[[], str] = _nothing) -> AsyncIterator[None]:
    """What is done in here comes to an end. Raises AssertionError with `what` it waited for, and with `tell()`."""
    scope = asyncio.timeout(PATIENCE_S)
    try:
        async with scope:
            yield
    except TimeoutError:
        if not scope.expired():
            raise
        raise AssertionError(f"not within {PATIENCE_S:g} s: {what}\n{tell()}") from None


async def until(holds: Callable[[], object], what: str = "", tell: Callable[[], str] = _nothing) -> None:
    """Wait for an effect that nobody announces. Raises AssertionError as `patience` does."""
    async with patience(what, tell):
        while not holds():  # noqa: ASYNC110 - it has no event
            await asyncio.sleep(LOOK_S)


def wait_until(holds: Callable[[], object], what: str = "", tell: Callable[[], str] = _nothing) -> None:
    """As `until`, where there is no event loop."""
    limit = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < limit, f"not within {PATIENCE_S:g} s: {what}\n{tell()}"
        time.sleep(LOOK_S)
