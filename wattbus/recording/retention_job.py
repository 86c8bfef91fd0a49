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
from wattbus.recording.database_session import Closable, Database
from wattbus.storage.errors import DatabaseAway
from wattbus.storage.records import Removed, Retention

log = logging.getLogger(__name__)

FIRST_S = 60.0  # a machine without a clock of its own has asked for the time by then
INTERVAL_S = 300.0
DAY_MS = 86_400_000
UNSUSPICIOUS_MS = 2 * DAY_MS  # what is due after a weekend off, or in a service that starts every night
PATIENCE_S = 86_400.0
FOR_EVER_DAYS = 1e6


class Retainable(Closable, Protocol):
    async def retain(self, retention: Retention, now_ms: int) -> Removed: ...

    async def oldest_ms(self) -> int | None: ...


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
        removed = await self._database.once(lambda store: store.retain(retention, now_ms))
        self._tell(removed)

    async def _is_suspicious(self, now_ms: int) -> bool:
        """Whether too much is too old at once, and has not been for a day yet."""
        oldest_days = self._retention.oldest_days
        oldest_ms = await self._database.once(lambda store: store.oldest_ms()) if oldest_days is not None else None
        due_ms = 0 if oldest_days is None or oldest_ms is None else now_ms - oldest_days * DAY_MS - oldest_ms
        if due_ms <= UNSUSPICIOUS_MS:
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
