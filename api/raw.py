"""Raw messages, as raw_db keeps them: only to read."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from wattbus.storage import DatabaseAway, RawReader, open_raw_reader

T = TypeVar("T")


class RawMessages:
    """Opens the database when it is first asked for, and again after it failed."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._reader: RawReader | None = None
        self._opening = asyncio.Lock()

    async def once(self, work: Callable[[RawReader], Awaitable[T]]) -> T:
        """Raises DatabaseAway, also while raw_db has not made its database yet."""
        async with self._opening:
            if self._reader is None:
                self._reader = await open_raw_reader(self._url)
            reader = self._reader
        try:
            return await work(reader)
        except DatabaseAway:
            await self.close()
            raise

    async def close(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            await reader.close()
