"""From time to time what is too old or too much is removed: the loop that history and raw_db share.

A machine whose clock is years ahead, or a setting that lost a digit, would make everything too old at once. So a round
that would remove more than two days' worth by age waits a day and says so; when it is still due then, it is meant.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import Generic, Protocol, TypeVar

from prometheus_client import Counter, Gauge

from wattbus.clock import SYSTEM_CLOCK, Clock
from wattbus.recording.database_session import Closable, Database, DatabaseProof
from wattbus.storage.errors import DatabaseAway
from wattbus.storage.records import Removed, Retention

log = logging.getLogger(__name__)

FIRST_S = 60.0  # a machine without a clock of its own has asked for the time by then
INTERVAL_S = 300.0
DAY_MS = 86_400_000
UNSUSPICIOUS_DAYS = 2  # what is due after a weekend off, or in a service that starts every night
PATIENCE_S = 86_400.0
FOR_EVER_DAYS = 1e6


class Retainable(Closable, Protocol):
    async def retain(self, retention: Retention, now_ms: int) -> Removed:
        """Remove what is beyond the bounds at `now_ms`; what was removed."""

    async def oldest_ms(self, from_ms: int | None = None) -> int | None:
        """The time of the oldest row (ms), None when there is none."""


S = TypeVar("S", bound=Retainable)


@dataclass(frozen=True, slots=True)
class Subject:
    """What is kept within bounds: how people call it, the setting of the bound in bytes, and where it is counted."""

    rows: str
    bytes_setting: str
    removed: Counter  # by service and reason
    size: Gauge  # by service


class Retaining(Generic[S]):
    """Removes what is beyond `retention`, for ever."""

    def __init__(
        self,
        service: str,
        database: Database[S],
        retention: Retention,
        subject: Subject,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._service = service
        self._database = database
        self._retention = retention
        self._subject = subject
        self._clock = clock
        self._waiting_since: float | None = None

    async def run(self) -> None:
        """Keep to the bounds, for ever."""
        await self._clock.sleep(FIRST_S)
        while True:
            try:
                await self._round()
            except DatabaseAway as error:
                log.debug("retention has to wait: %s", error)  # who writes tells
            await self._clock.sleep(INTERVAL_S)

    async def _round(self) -> None:
        now_ms = self._clock.now_ms()
        retention = self._retention
        if await self._is_suspicious(now_ms):
            retention = replace(retention, oldest_days=None, sessions_days=FOR_EVER_DAYS)
        removed = await self._database.once(lambda store: store.retain(retention, now_ms), DatabaseProof.NONE)
        self._tell(removed)

    async def _is_suspicious(self, now_ms: int) -> bool:
        """Whether too much is too old at once, and has not been for a day yet."""
        due_ms = await self._due_beyond_doubt(now_ms)
        if not due_ms:
            self._waiting_since = None
            return False
        now_s = self._clock.monotonic()
        if self._waiting_since is None:
            self._waiting_since = now_s
            log.warning(
                "%s of %.0f days are too old at once: is this machine's clock right, and the setting? "
                "They are removed in a day",
                self._subject.rows,
                due_ms / DAY_MS,
            )
        return now_s - self._waiting_since < PATIENCE_S

    async def _due_beyond_doubt(self, now_ms: int) -> int:
        """How much time lies between the oldest row and what is just too old, when it is more than usual; else 0 (ms).

        Days that have rows are counted: one row from 1970, of a device without a clock, makes no years of them. When
        all that there is would go, the clock is in doubt all the same.
        """
        if self._retention.oldest_days is None:
            return 0
        cutoff = now_ms - int(self._retention.oldest_days * DAY_MS)
        oldest_ms = await self._oldest_ms(None)
        if oldest_ms is None or cutoff - oldest_ms <= UNSUSPICIOUS_DAYS * DAY_MS:
            return 0
        days = 0
        next_ms: int | None = oldest_ms
        while next_ms is not None and next_ms < cutoff and days <= UNSUSPICIOUS_DAYS:
            days += 1
            next_ms = await self._oldest_ms(next_ms + DAY_MS)
        return cutoff - oldest_ms if days > UNSUSPICIOUS_DAYS or next_ms is None else 0

    async def _oldest_ms(self, from_ms: int | None) -> int | None:
        return await self._database.once(lambda store: store.oldest_ms(from_ms))

    def _tell(self, removed: Removed) -> None:
        self._subject.removed.labels(self._service, "age").inc(removed.by_age)
        self._subject.removed.labels(self._service, "size").inc(removed.by_size)
        self._subject.size.labels(self._service).set(removed.bytes_used)
        self._database.holds(removed.bytes_used, self._retention.most_bytes)
        if removed.by_age:
            days = self._retention.oldest_days or 0
            log.info("removed %d %s older than %g days", removed.by_age, self._subject.rows, days)
        if removed.by_size:
            setting = self._subject.bytes_setting
            log.warning("removed the %d oldest %s: %s is reached", removed.by_size, self._subject.rows, setting)
