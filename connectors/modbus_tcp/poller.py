"""Polling one unit: its ranges, their repetitions, and when the unit counts as away."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from links.modbus_ranges import Range, ReadResult, UnitReader, Words
from wattbus.clock import Clock
from wattbus.connector import Link
from wattbus.jsontext import JsonValue
from wattbus.polling import PollClock
from wattbus.retry import Breaker

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PollRules:
    """How often and how patiently a unit is polled; times in seconds."""

    poll_seconds: float
    max_retries: int
    retry_wait_seconds: float


class UnitPoller:
    """Reads all ranges of one unit at every grid point.

    A range that failed is asked for again after the retry wait, or at the next grid point when that comes first, so
    that the other values keep their pace. After `max_retries` attempts it is reported, and from then on asked for once
    per poll. When a unit answers nothing in `max_retries` attempts its breaker opens: one request per backoff.
    """

    def __init__(
        self,
        reader: UnitReader,
        link: Link,
        rules: PollRules,
        clock: Clock,
        session: Callable[[], AbstractAsyncContextManager[None]],
        gone: Callable[[str], None],
    ) -> None:
        self.name = str(reader.unit)
        # One lost packet is not a lost unit, even when nothing is to be repeated.
        self.breaker = Breaker(max(2, rules.max_retries), clock=clock)
        self._reader = reader
        self._link = link
        self._rules = rules
        self._clock = clock
        self._session = session
        self._gone = gone
        self._known = False
        self._probes = 0
        self._attempts: Counter[Range] = Counter()
        self._reported: set[Range] = set()

    async def run(self) -> None:
        """Poll for ever. Raises LinkDown."""
        async for _ in PollClock(self._rules.poll_seconds, self._clock):
            next_poll = self._clock.monotonic() + self._rules.poll_seconds
            if not self.breaker.allows():
                continue
            if self.breaker.is_open and not await self._answers_again():
                continue
            await self._read(self._reader.ranges)
            await self._repeat_until(next_poll)

    async def _answers_again(self) -> bool:
        """Ask a unit that was away for one range; another one each time, in case that one is the trouble."""
        probe = self._reader.ranges[self._probes % len(self._reader.ranges)]
        self._probes += 1
        await self._read([probe])
        return not self.breaker.is_open

    async def _repeat_until(self, next_poll: float) -> None:
        while failed := [one for one, attempts in self._attempts.items() if attempts < self._rules.max_retries]:
            if self._clock.monotonic() + self._rules.retry_wait_seconds >= next_poll:
                return
            await self._clock.sleep(self._rules.retry_wait_seconds)
            await self._read(failed)

    async def _read(self, ranges: Sequence[Range]) -> None:
        async with self._session():
            result = await self._reader.read(ranges)
        if result.alive:
            self._link.connected()
        self._note_ranges(result)
        self._note_unit(result)
        if result.words:
            self._link.emit(raw_message(self._reader.unit, result.words))

    def _note_ranges(self, result: ReadResult) -> None:
        for one in result.words:
            del self._attempts[one]
            if one in self._reported:
                self._reported.remove(one)
                log.info("%s %s of unit %s can be read again", one.method, one.address, self.name)
        for one, error in result.failures.items():
            self._attempts[one] += 1
            if self._attempts[one] >= self._rules.max_retries and result.alive and one not in self._reported:
                self._reported.add(one)
                log.warning("%s; skipped until the next poll, and so on until it can be read", error)

    def _note_unit(self, result: ReadResult) -> None:
        if result.alive:
            if self.breaker.succeeded() or not self._known:
                self._known = True
                self._link.unit(self.name, up=True)
        elif self.breaker.failed():
            *_, last = result.failures.values()
            reason = str(last)
            self._gone(reason)
            self._link.unit(self.name, up=False, reason=reason)


def raw_message(unit: int, words: dict[Range, Words]) -> JsonValue:
    """What is emitted: `{"unit": 1, "read_coils": {"<first address>": [true, …]}}`."""
    message: dict[str, JsonValue] = {"unit": unit}
    for one, values in words.items():
        message.setdefault(one.method, {})[str(one.address)] = values
    return message
