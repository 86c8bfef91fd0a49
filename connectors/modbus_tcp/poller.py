"""Polling one unit: its ranges, their repetitions, and when the unit counts as away."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from links.modbus_errors import ModbusError
from links.modbus_ranges import Range, ReadResult, UnitReader, Words
from wattbus.clock import Clock
from wattbus.connector import Link
from wattbus.jsontext import JsonValue
from wattbus.polling import PollClock
from wattbus.retry import Breaker


@dataclass(frozen=True, slots=True)
class PollRules:
    """How often and how patiently a unit is polled; times in seconds."""

    poll_seconds: float
    max_retries: int
    retry_wait_seconds: float


class UnitPoller:
    """Reads all ranges of one unit at every grid point, those with an own interval when they are due.

    A range that failed is asked for again after the retry wait, or at the next grid point when that comes first, so
    that the other values keep their pace. After `max_retries` attempts it is reported, and from then on asked for once
    per poll. When a unit answers nothing in `max_retries` attempts its breaker opens: one request per backoff.

    A unit that answers and gives no value at all is away, too, with the reason: at once when it never gave one, else
    after `max_retries` attempts. One that never gave a value and is silent is said to be away at once; its breaker has
    the time of any other. `gone` is called whenever a unit turns away, and with each attempt after.
    """

    def __init__(
        self,
        reader: UnitReader,
        link: Link,
        rules: PollRules,
        clock: Clock,
        session: Callable[[], AbstractAsyncContextManager[None]],
        gone: Callable[[], None],
    ) -> None:
        self.name = str(reader.unit)
        # One lost packet is not a lost unit, even when nothing is to be repeated.
        self.breaker = Breaker(max(2, rules.max_retries), clock=clock)
        self.fault = ""  # why no value comes, "" when some do, or when it is not known yet
        self._reader = reader
        self._link = link
        self._rules = rules
        self._clock = clock
        self._session = session
        self._gone = gone
        self._has_given_values = self._said_early = False
        self._in_vain = 0  # attempts in a row in which it answered and gave no value
        self._probes = 0
        self._attempts: Counter[Range] = Counter()
        self._working: set[Range] = set()
        self._reported: dict[Range, str] = {}
        intervals = {one.every_s or rules.poll_seconds for one in reader.ranges}
        self._tick_s = min(intervals)
        self._due_at = dict.fromkeys(intervals, -math.inf)

    async def run(self) -> None:
        """Poll for ever. Raises LinkDown."""
        async for _ in PollClock(self._tick_s, self._clock):
            next_poll = self._clock.monotonic() + self._tick_s
            if not self.breaker.allows():
                continue
            was_away = self.breaker.is_open
            if was_away and not await self._answers_again():
                continue
            await self._read(self._due(everything=was_away), is_there=was_away)
            await self._repeat_until(next_poll)

    def _due(self, *, everything: bool) -> list[Range]:
        now = self._clock.monotonic()
        due = {every_s for every_s, at in self._due_at.items() if everything or now >= at - self._tick_s / 2}
        self._due_at |= {every_s: now + every_s for every_s in due}
        return [one for one in self._reader.ranges if (one.every_s or self._rules.poll_seconds) in due]

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

    async def _read(self, ranges: Sequence[Range], *, is_there: bool = False) -> None:
        async with self._session():
            result = await self._reader.read(ranges, is_there=is_there)
        self._note_unit(result)
        self._note_ranges(ranges, result)
        if result.words:
            self._link.connected()
            self._link.emit(raw_message(self._reader.unit, result.words))

    def _note_ranges(self, asked: Sequence[Range], result: ReadResult) -> None:
        # What was asked for may have come in parts, or as a whole again.
        answered = {*result.words, *result.failures}
        self._working = {one for one in self._working if not _overlaps(one, asked)} | set(result.words)
        for one in [one for one in self._attempts if one not in result.failures and _overlaps(one, asked)]:
            del self._attempts[one]
        for one in [one for one in self._reported if one not in result.failures and _overlaps(one, asked)]:
            del self._reported[one]
            self._link.unit(self._range_name(one), up=True)
        for one, error in result.failures.items():
            self._attempts[one] += 1
            is_due = self._attempts[one] >= self._rules.max_retries and not self.fault and result.alive
            if one in answered and is_due and self._reported.get(one) != str(error):
                self._reported[one] = str(error)
                self._link.unit(self._range_name(one), up=False, reason=str(error))

    def _range_name(self, one: Range) -> str:
        return f"{self.name} {one.method} {one.address}" + (f"…{one.end - 1}" if one.count > 1 else "")

    def _note_unit(self, result: ReadResult) -> None:
        if result.words:
            self.breaker.succeeded()
            self._in_vain = 0
            if self.fault or not self._has_given_values:  # or said to be away by the process before
                self._has_given_values, self.fault = True, ""
                self._link.unit(self.name, up=True)
            return
        if result.alive:
            self.breaker.succeeded()
            self._in_vain += 1
            others_work = any(one not in result.failures for one in self._working)
            is_away = not others_work and (not self._has_given_values or self._in_vain >= self._rules.max_retries)
        else:
            is_away = self.breaker.failed() or self.breaker.is_open
            if not is_away and not self._has_given_values and not self._said_early:
                self._said_early = True
                self._link.unit(self.name, up=False, reason=_reason(result.failures))
        if is_away:
            self._turn_away(_reason(result.failures))

    def _turn_away(self, reason: str) -> None:
        self.withdraw_reports()  # the unit's reason says it all
        is_news, self.fault = reason != self.fault, reason
        self._gone()  # when nobody is left the link is down, and not each of them
        if is_news:
            self._link.unit(self.name, up=False, reason=reason)

    def withdraw_reports(self) -> None:
        """Of no single range it is said any more that it cannot be read."""
        for one in self._reported:
            self._link.unit(self._range_name(one), up=True)
        self._reported.clear()


def _overlaps(one: Range, others: Sequence[Range]) -> bool:
    return any(one.method == other.method and one.address < other.end and other.address < one.end for other in others)


def _reason(failures: Mapping[Range, ModbusError]) -> str:
    """Which ranges fail, and why: the first two reasons in full."""
    reasons = list(dict.fromkeys(str(error) for error in failures.values()))
    return "; ".join(reasons[:2]) + (f"; and {len(reasons) - 2} more" if len(reasons) > 2 else "")


def raw_message(unit: int, words: dict[Range, Words]) -> JsonValue:
    """What is emitted: `{"unit": 1, "read_coils": {"<first address>": [true, …]}}`."""
    message: dict[str, JsonValue] = {"unit": unit}
    for one, values in words.items():
        message.setdefault(one.method, {})[str(one.address)] = values
    return message
