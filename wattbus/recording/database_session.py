"""The database as a service that writes sees it: it may go away, and what has to be written waits until it is back."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from enum import Enum, auto
from typing import Generic, Protocol, TypeVar

from wattbus.clock import SYSTEM_CLOCK, Clock
from wattbus.errors import ConfigError
from wattbus.retry import Backoff
from wattbus.service import health
from wattbus.service.status_publisher import StatusPublisher
from wattbus.storage.errors import DatabaseAway, DatabaseChanged

CONDITION = "database"


class DatabaseProof(Enum):
    """What it says about the database that some work was done, or was not."""

    NONE = auto()  # nothing: it may have had nothing to do, or needs more room than what people wait for
    READ = auto()  # that it can be read: on a full disk, or locked, it can
    COMMIT = auto()  # that it takes what comes


class Closable(Protocol):
    async def close(self) -> None:
        """Let go of the database."""


S = TypeVar("S", bound=Closable)
T = TypeVar("T")


class Database(Generic[S]):
    """Opens the store when it is first needed and tries everything again, for ever, while it is away.

    The service is `online` only while the database works. What a failed write has begun ends with a write that was
    committed, not with a read.
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
        self._url = url
        self._status_publisher = status_publisher
        self._clock = clock
        self._backoff = backoff or Backoff(first_s=0.5, longest_s=15.0)
        self._opening = opening
        self._store: S | None = None
        self._lock = asyncio.Lock()
        self._faults: dict[DatabaseProof, str] = {DatabaseProof.READ: "the database is not open yet"}
        self._was_open = False
        self._size = ""
        status_publisher.set("degraded", self.fault)
        health.of(status_publisher.service).ready("database", lambda: self.fault)

    @property
    def fault(self) -> str:
        """Why the database does not work, "" when it does."""
        return self._faults.get(DatabaseProof.COMMIT) or self._faults.get(DatabaseProof.READ, "")

    async def until_done(self, work: Callable[[S], Awaitable[T]], proof: DatabaseProof = DatabaseProof.READ) -> T:
        """Do `work`, waiting for the database as long as it takes. Raises ConfigError, BatchRefused."""
        while True:
            try:
                result = await self.once(work, proof)
            except DatabaseAway:
                await self._clock.sleep(self._backoff.next_s())
                continue
            self._backoff.reset()
            return result

    async def once(self, work: Callable[[S], Awaitable[T]], proof: DatabaseProof = DatabaseProof.READ) -> T:
        """Do `work` now. Raises DatabaseAway, too."""
        store: S | None = None
        try:
            store = await self._opened()
            result = await work(store)
        except DatabaseAway as error:
            if isinstance(error, DatabaseChanged):
                await self._open_again(store)
            self._is_away(str(error), proof)
            raise
        self._works(proof)
        return result

    async def _opened(self) -> S:
        async with self._lock:
            if self._store is None:
                try:
                    self._store = await self._opening(self._url)
                except ConfigError as error:
                    if self._was_open:  # it was right once: somebody has changed the database, not the setting
                        raise DatabaseAway(str(error)) from error
                    raise
                self._was_open = True
            return self._store

    async def _open_again(self, store: S | None) -> None:
        """At the next attempt; unless somebody else has done so meanwhile."""
        async with self._lock:
            if store is not None and self._store is store:
                self._store = None
                await store.close()

    def holds(self, used_bytes: int, most_bytes: int | None) -> None:
        """The size of what is stored and its bound, for the status."""
        bound = f" of {most_bytes / 2**20:.0f}" if most_bytes else ""
        self._size = f"{used_bytes / 2**20:.0f}{bound} MiB used"
        if not self.fault:
            self._status_publisher.set("online", self._size)

    def _is_away(self, reason: str, proof: DatabaseProof) -> None:
        if proof is DatabaseProof.NONE:
            return
        self._faults[proof] = f"the database does not work: {reason}"
        self._status_publisher.set("degraded")
        self._status_publisher.conditions.hold(CONDITION, self.fault, ready=True, level=logging.ERROR)

    def _works(self, proof: DatabaseProof) -> None:
        if proof is DatabaseProof.NONE:
            return
        self._faults.pop(DatabaseProof.READ, None)
        if proof is DatabaseProof.COMMIT:
            self._faults.pop(DatabaseProof.COMMIT, None)
        if not self.fault:
            self._status_publisher.conditions.end(CONDITION)
            self._status_publisher.set("online", self._size)

    async def close(self) -> None:
        """Let go of the database; it is opened again when it is needed."""
        store, self._store = self._store, None
        if store is not None:
            await store.close()
