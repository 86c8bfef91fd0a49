"""What comes in batches goes into the database, and what it will not take costs itself alone.

A batch that fails is halved until the parts that fail stand alone. A part that the database refuses is lost, and named.
So is one that wakes a bug of ours, when others were written meanwhile or a harmless one can be: then it is the data.
When nothing at all can be written the bug is in what all of them need: the batch is held, and tried again for ever.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import prometheus_client

from wattbus import metrics
from wattbus.clock import SYSTEM_CLOCK, Clock
from wattbus.errors import ConfigError
from wattbus.recording.database_session import Closable, Database, DatabaseProof
from wattbus.retry import Backoff
from wattbus.service.status_publisher import StatusPublisher
from wattbus.storage import BatchRefused, Written

log = logging.getLogger(__name__)

CONDITION = "bug"
MOST_KINDS_OF_BUGS = 100  # whose traceback was logged

S = TypeVar("S", bound=Closable)
P = TypeVar("P")


@dataclass(frozen=True, slots=True)
class WriterMetrics:
    """Where transactions are counted and timed, by service."""

    batches: prometheus_client.Counter
    seconds: prometheus_client.Histogram


@dataclass(slots=True)
class WriteResult(Generic[P]):
    """What became of the parts: `lost` ones with the reason, "refused" or "bug", and what there is to say."""

    written: Written = field(default_factory=Written)
    lost: list[tuple[P, str, str]] = field(default_factory=list)
    commits: int = 0

    @property
    def is_all_bugs(self) -> bool:
        return self.commits == 0 and bool(self.lost) and all(reason == "bug" for _, reason, _ in self.lost)


class BatchWriter(Generic[S, P]):
    """Writes parts (records, messages) into a database. `write` puts some of them into a store, in one transaction.

    `rehearse` writes something harmless and takes it back. `split` gives the parts of a part, itself when it has none.
    """

    def __init__(
        self,
        database: Database[S],
        status_publisher: StatusPublisher,
        write: Callable[[S, Sequence[P]], Awaitable[Written]],
        rehearse: Callable[[S], Awaitable[None]],
        measured: WriterMetrics,
        split: Callable[[P], Sequence[P]] = lambda part: [part],
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._database = database
        self._publisher = status_publisher
        self._service = status_publisher.service
        self._write = write
        self._rehearse = rehearse
        self._measured = measured
        self._split = split
        self._clock = clock
        self._backoff = Backoff()
        self._seen: Counter[str] = Counter()

    async def commit(self, work: Callable[[S], Awaitable[Written]]) -> Written:
        """Do `work`, one transaction, when the database works. Raises BatchRefused, ConfigError, and bugs of ours."""
        started = self._clock.monotonic()
        written = await self._database.until_done(work, DatabaseProof.COMMIT)
        self._measured.seconds.labels(self._service).observe(self._clock.monotonic() - started)
        self._measured.batches.labels(self._service).inc()
        return written

    async def write(self, parts: Sequence[P]) -> WriteResult[P]:
        """Write all of them; when this returns they are there, but for what is lost. Raises ConfigError."""
        self._backoff.reset()
        while True:
            result: WriteResult[P] = WriteResult()
            await self._try(parts, result)
            if not result.is_all_bugs or await self._harmless_can_be_written():
                self._publisher.report_fault(CONDITION, "")
                return result
            self._publisher.report_fault(CONDITION, f"nothing can be written: {result.lost[0][2]}", ready=False)
            await self._clock.sleep(self._backoff.next_s())

    async def _try(self, parts: Sequence[P], result: WriteResult[P]) -> None:
        if not parts:
            return
        try:
            result.written += await self.commit(lambda store: self._write(store, parts))
            result.commits += 1
            return
        except ConfigError:
            raise
        except BatchRefused as error:
            reason, fault = "refused", str(error)
        except Exception as error:  # noqa: BLE001 - a bug of ours must cost no more than what wakes it
            reason, fault = "bug", self.note_bug(error)
        smaller = parts if len(parts) > 1 else self._split(parts[0])
        if len(smaller) == 1:
            result.lost.append((parts[0], reason, fault))
            return
        middle = len(smaller) // 2
        await self._try(smaller[:middle], result)
        await self._try(smaller[middle:], result)

    async def _harmless_can_be_written(self) -> bool:
        try:
            await self._database.until_done(self._rehearse, DatabaseProof.NONE)
        except Exception as error:  # noqa: BLE001
            self.note_bug(error)
            return False
        return True

    def note_bug(self, error: Exception) -> str:
        """Count a bug, log each kind of them once with its traceback; what it says."""
        fault = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no reason given'}"
        metrics.BUGS.labels(self._service, "write").inc()
        if fault not in self._seen and len(self._seen) < MOST_KINDS_OF_BUGS:
            log.error("a bug: a batch cannot be written, its parts are tried by themselves", exc_info=error)
            self._seen[fault] += 1
        return fault
