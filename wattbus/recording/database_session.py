"""The database as a service that writes sees it: it may go away, and what has to be written waits until it is back."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Generic, Protocol, TypeVar

from wattbus.clock import SYSTEM_CLOCK, Clock
from wattbus.retry import Backoff
from wattbus.service import health
from wattbus.service.status_publisher import StatusPublisher
from wattbus.storage.errors import DatabaseAway

log = logging.getLogger(__name__)


class Closable(Protocol):
    async def close(self) -> None:
        """Let go of the database."""


S = TypeVar("S", bound=Closable)
T = TypeVar("T")


class Database(Generic[S]):
    """Opens the store when it is first needed and tries everything again, for ever, while it is away.

    The service is `online` only while the database works.
    """

    def __init__(
        self,
        url: str,
        status_publisher: StatusPublisher,
        opening: Callable[[str], Awaitable[S]],
        *,
        clock: Clock = SYSTEM_CLOCK,
        backoff: Backoff | None = None,
    ) -> None:
        self.fault = "the database is not open yet"
        self._url = url
        self._status_publisher = status_publisher
        self._clock = clock
        self._backoff = backoff or Backoff(first_s=0.5, longest_s=15.0)
        self._opening = opening
        self._store: S | None = None
        self._lock = asyncio.Lock()
        self._told = False
        self._size = ""
        status_publisher.set("degraded", self.fault)
        health.of(status_publisher.service).ready("database", lambda: self.fault)

    async def until_done(self, work: Callable[[S], Awaitable[T]]) -> T:
        """Do `work`, waiting for the database as long as it takes. Raises ConfigError, BatchRefused."""
        while True:
            try:
                result = await self.once(work)
            except DatabaseAway:
                await self._clock.sleep(self._backoff.next_s())
                continue
            self._backoff.reset()
            return result

    async def once(self, work: Callable[[S], Awaitable[T]]) -> T:
        """Do `work` now. Raises DatabaseAway, too."""
        try:
            result = await work(await self._opened())
        except DatabaseAway as error:
            self._is_away(str(error))
            raise
        self._works()
        return result

    async def _opened(self) -> S:
        async with self._lock:
            if self._store is None:
                self._store = await self._opening(self._url)
            return self._store

    def holds(self, used_bytes: int, most_bytes: int | None) -> None:
        """The size of what is stored and its bound, for the status."""
        bound = f" of {most_bytes / 2**20:.0f}" if most_bytes else ""
        self._size = f"{used_bytes / 2**20:.0f}{bound} MiB used"
        if not self.fault:
            self._status_publisher.set("online", self._size)

    def _is_away(self, reason: str) -> None:
        self.fault = f"the database does not work: {reason}"
        self._status_publisher.set("degraded", self.fault)
        if not self._told:
            self._told = True
            log.error("%s; nothing is acknowledged until it does", self.fault)

    def _works(self) -> None:
        if self._told:
            self._told = False
            log.warning("the database works again")
        self.fault = ""
        self._status_publisher.set("online", self._size)

    async def close(self) -> None:
        """Let go of the database; it is opened again when it is needed."""
        store, self._store = self._store, None
        if store is not None:
            await store.close()
