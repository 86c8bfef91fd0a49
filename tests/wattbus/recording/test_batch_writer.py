"""A batch that the database does not take as a whole: what is lost, what is not, and what is said."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from wattbus import metrics
from wattbus.recording.batch_writer import BatchWriter, WriterMetrics
from wattbus.recording.database_session import Database
from wattbus.service.status_publisher import StatusPublisher
from wattbus.storage import BatchRefused, RawRecord, RawStore, StoredRawMessage, Written, open_raw_store
from wattbus.testing.clock import VirtualClock

NUMBERS = itertools.count()
HARMLESS = RawRecord("writer", 0, "0")


class Writing:
    """A writer of raw messages into a real database; `fails` says of a record why it cannot be written."""

    def __init__(self, folder: Path) -> None:
        self.clock = VirtualClock()
        self.publisher = StatusPublisher("writer", clock=self.clock)
        url = f"sqlite:///{folder / 'raw.db'}"
        self.database: Database[RawStore] = Database(url, self.publisher, open_raw_store, clock=self.clock)
        name = f"test_writer_{next(NUMBERS)}"
        measured = WriterMetrics(metrics.counter(name, "Batches."), metrics.histogram(f"{name}_seconds", "Time."))
        self.fails: Callable[[RawRecord], Exception | None] = lambda _: None
        self.writer = BatchWriter[RawStore, RawRecord](
            self.database, self.publisher, self._write, self._rehearse, measured, clock=self.clock
        )
        self.transactions = 0

    async def _write(self, store: RawStore, records: Sequence[RawRecord]) -> Written:
        self.transactions += 1
        for record in records:
            if (error := self.fails(record)) is not None:
                raise error
        return await store.write(records)

    async def _rehearse(self, store: RawStore) -> None:
        if (error := self.fails(HARMLESS)) is not None:
            raise error
        await store.rehearse([HARMLESS])

    async def stored(self) -> list[int]:
        found: list[StoredRawMessage] = await self.database.once(lambda store: store.messages("m"))
        return [int(message.message) for message in found]


@pytest.fixture
async def writing(tmp_path: Path) -> AsyncIterator[Writing]:
    made = Writing(tmp_path)
    yield made
    await made.database.close()


def records(number: int) -> list[RawRecord]:
    return [RawRecord("m", 1000 + n, str(n)) for n in range(number)]


def bugs() -> float:
    return metrics.REGISTRY.get_sample_value("wattbus_bugs_total", {"service": "writer", "task": "write"}) or 0.0


async def test_what_the_database_refuses_is_named_and_costs_itself_in_few_transactions(writing: Writing) -> None:
    writing.fails = lambda record: BatchRefused("too long") if record.message in ("77", "700") else None
    result = await writing.writer.write(records(1000))
    assert [(part.message, reason, fault) for part, reason, fault in result.lost] == [
        ("77", "refused", "too long"),
        ("700", "refused", "too long"),
    ]
    assert result.written.rows == 998
    assert await writing.stored() == [n for n in range(1000) if n not in (77, 700)]
    assert writing.transactions < 50


async def test_a_bug_that_one_record_wakes_is_logged_once_with_its_traceback(
    writing: Writing, caplog: pytest.LogCaptureFixture
) -> None:
    before = bugs()
    writing.fails = lambda record: ZeroDivisionError("a bug") if record.message == "3" else None
    for _ in range(3):
        result = await writing.writer.write(records(8))
        assert [(part.message, reason, fault) for part, reason, fault in result.lost] == [
            ("3", "bug", "ZeroDivisionError: a bug")
        ]
    assert await writing.stored() == [0, 1, 2, 4, 5, 6, 7]
    assert [record.levelno for record in caplog.records if record.exc_info] == [logging.ERROR]
    assert bugs() - before >= 3


async def test_a_record_that_stands_alone_is_judged_by_a_harmless_one(writing: Writing) -> None:
    writing.fails = lambda record: ZeroDivisionError("a bug") if record.message == "0" and record != HARMLESS else None
    result = await writing.writer.write(records(1))
    assert len(result.lost) == 1
    assert writing.clock.slept == []
    assert await writing.database.once(lambda store: store.connectors()) == [], "nothing of the rehearsal stays"


async def test_a_bug_in_what_all_of_them_need_loses_nothing(writing: Writing) -> None:
    writing.fails = lambda _: ZeroDivisionError("a bug")
    task = asyncio.create_task(writing.writer.write(records(5)))
    async with asyncio.timeout(20):
        while len(writing.clock.slept) < 1:
            await asyncio.sleep(0.001)
    assert writing.publisher.state == "degraded"
    assert "nothing can be written: ZeroDivisionError: a bug" in writing.publisher.detail
    writing.fails = lambda _: None
    await writing.clock.advance(writing.clock.slept[-1])
    result = await task
    assert (result.written.rows, result.lost) == (5, [])
    assert "nothing can be written" not in writing.publisher.detail


async def test_a_statement_that_makes_no_sense_is_no_database_that_is_away(writing: Writing) -> None:
    """It was tried again for ever, and said to be an outage."""

    async def nonsense(store: Any) -> Written:
        async def work(connection: Any) -> Written:
            await connection.execute(text("SELECT FROM WHERE"))
            raise AssertionError

        written: Written = await store._engine.write(work)
        return written

    with pytest.raises(Exception, match="syntax error"):
        await writing.writer.commit(nonsense)
    assert (await writing.writer.write(records(1))).written.rows == 1
