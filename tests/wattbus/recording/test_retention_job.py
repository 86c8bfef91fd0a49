"""The loop that keeps a database within bounds, in virtual time; also when the clock says what cannot be."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.wattbus.storage.series import DAY, opened, readings, series
from wattbus import metrics
from wattbus.recording.database_session import Database
from wattbus.recording.retention_job import Retaining, Subject
from wattbus.service.status_publisher import StatusPublisher
from wattbus.storage import Batch, Retention, SessionState, Store, open_store
from wattbus.testing.clock import START_MS, VirtualClock
from wattbus.testing.waiting import PATIENCE_S

NUMBERS = itertools.count()
YEARS_S = 50 * 365 * 86_400.0
HOUR_S = 3600.0


class Loop:
    """The loop at work on a database, with counters of its own."""

    def __init__(self, url: str, days: float | None = 30, most_bytes: int | None = None) -> None:
        self.clock = VirtualClock()
        self._name = f"test_removed_{next(NUMBERS)}"
        removed, size = metrics.counter(self._name, "Rows.", "reason"), metrics.gauge(f"{self._name}_size", "Bytes.")
        self._database = Database(url, StatusPublisher("test", clock=self.clock), open_store, clock=self.clock)
        subject = Subject("rows", "MOST_BYTES", removed, size)
        self._retaining = Retaining("test", self._database, Retention(days, most_bytes), subject, self.clock)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Loop]:
        task = asyncio.create_task(self._retaining.run())
        await self._settled(1)
        try:
            yield self
        finally:
            task.cancel()
            await asyncio.wait([task])
            await self._database.close()

    async def round(self, times: int = 1) -> None:
        """Time passes until a round is due, and it is done."""
        for _ in range(times):
            pauses = len(self.clock.slept)
            await self.clock.advance(self.clock.slept[-1])
            await self._settled(pauses + 1)

    async def _settled(self, pauses: int) -> None:
        """Until the next round is waited for."""
        async with asyncio.timeout(PATIENCE_S):
            while len(self.clock.slept) < pauses:
                await asyncio.sleep(0.001)

    def removed(self, reason: str = "age") -> int:
        labels = {"service": "test", "reason": reason}
        return int(metrics.REGISTRY.get_sample_value(f"wattbus_{self._name}_total", labels) or 0)


async def fill(store: Store, days: int) -> None:
    """So many days up to now, ten values each."""
    for day in range(days):
        await store.write(readings(START_MS - day * DAY, 10, a=day))


async def left(store: Store) -> int:
    return len(await series(store, "a"))


async def test_what_is_too_old_goes_after_a_minute_and_then_every_five(store: Store, database_url: str) -> None:
    await fill(store, 32)
    async with Loop(database_url).running() as loop:
        assert loop.clock.slept == [60.0]
        await loop.round()
        assert loop.removed() == 20  # of two days, but for the last milliseconds of the 30th
        assert await left(store) == 300
        await loop.round()
        assert loop.clock.slept == [60.0, 300.0, 300.0]
        loop.clock.forward(86_400)
        await loop.round()
        assert loop.removed() == 30


@pytest.mark.parametrize("most_bytes", [None, 1])
async def test_a_clock_years_ahead_costs_nothing_before_a_day_has_passed(
    store: Store, database_url: str, caplog: pytest.LogCaptureFixture, most_bytes: int | None
) -> None:
    await fill(store, 20)
    session = SessionState("m", "0" * 16, 1, (), (), START_MS, START_MS)
    await store.write(Batch(sessions=[session]))
    async with Loop(database_url, most_bytes=most_bytes).running() as loop:
        loop.clock.set_by(YEARS_S)
        await loop.round()
        assert loop.removed() == 0
        assert await store.recent_sessions(0) == [session]
        assert (loop.removed("size") > 0) == (most_bytes is not None)  # that bound needs no clock
        loop.clock.forward(23 * HOUR_S)
        await loop.round()
        assert loop.removed() == 0
        assert caplog.text.count("are too old at once: is this machine's clock right") == 1
        loop.clock.set_by(-YEARS_S)  # somebody asked for the time
        await loop.round()
        loop.clock.forward(23 * HOUR_S)
        await loop.round()
        assert loop.removed() == 0


async def test_what_is_still_due_after_a_day_is_meant(
    store: Store, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A machine that was off for months, or a smaller setting."""
    await fill(store, 30)
    async with Loop(database_url, days=5).running() as loop:
        await loop.round()
        assert loop.removed() == 0 and await left(store) == 300
        loop.clock.forward(24 * HOUR_S)
        await loop.round()
        assert loop.removed() == 300 - 40  # another day has passed
        loop.clock.forward(24 * HOUR_S)
        await loop.round()
        assert loop.removed() == 300 - 30  # as usual from then on
    assert caplog.text.count("too old at once") == 1


async def test_a_row_from_1970_makes_no_years_of_it(
    store: Store, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A device whose clock begins there at each start: it goes, and with it what is due today; nobody is asked."""
    await store.write(readings(0, 1, a=0))
    await fill(store, 31)
    async with Loop(database_url).running() as loop:
        await loop.round()
        assert loop.removed() == 11
    assert "too old at once" not in caplog.text


async def test_a_clock_years_ahead_does_not_cost_the_only_day_that_there_is(store: Store, database_url: str) -> None:
    await fill(store, 1)
    async with Loop(database_url).running() as loop:
        loop.clock.set_by(YEARS_S)
        await loop.round()
        assert loop.removed() == 0


async def test_without_a_bound_nothing_is_asked_and_nothing_goes(store: Store, database_url: str) -> None:
    await fill(store, 5)
    async with Loop(database_url, days=None).running() as loop:
        loop.clock.set_by(YEARS_S)
        loop.clock.forward(48 * HOUR_S)
        await loop.round(3)
        assert loop.removed() == 0


async def test_a_database_that_is_away_is_tried_again(tmp_path: Path) -> None:
    file = tmp_path / "history.db"
    file.write_bytes(b"no database " * 1000)
    async with Loop(f"sqlite:///{file}").running() as loop:
        await loop.round(3)
        file.unlink()
        async with opened(open_store(f"sqlite:///{file}")) as store:
            await store.write(readings(START_MS - 31 * DAY, 10, a=1))
            await loop.round()
        assert loop.removed() == 10
