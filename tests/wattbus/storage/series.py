"""Writing and reading whole series, for the tests of stores."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable
from typing import Any, TypeVar

from wattbus.storage import (
    Batch,
    RawReader,
    RawRecord,
    ReadingValues,
    Span,
    Store,
    StoredDatapoint,
    StoredRawMessage,
    StoredValue,
    TopicValue,
    Written,
)

NOW = 1_700_000_000_000  # ms
MINUTE = 60_000
DAY = 86_400_000
LATER = NOW + 10 * MINUTE  # the clock when a merge has taken everything

S = TypeVar("S", bound=Any)


def reading(timestamp_ms: int, **values: Any) -> ReadingValues:
    return ReadingValues("meter", timestamp_ms, values)


def readings(start: int, number: int, step: int = 1000, **values: Any) -> Batch:
    return Batch(values=[ReadingValues("m", start + n * step, values or {"a": n, "b": n / 7}) for n in range(number)])


@contextlib.asynccontextmanager
async def opened(opening: Awaitable[S]) -> AsyncIterator[S]:
    """A store that is closed again, whatever happens."""
    store = await opening
    try:
        yield store
    finally:
        await store.close()


async def write(store: Store, *values: ReadingValues | TopicValue) -> Written:
    return await store.write(Batch(values=list(values)))


async def datapoint(store: Store, key: str) -> StoredDatapoint:
    [found] = [known for known in await store.datapoints() if known.key == key]
    return found


async def series(store: Store, key: str, span: Span | None = None) -> list[StoredValue]:
    return await store.values((await datapoint(store, key)).id, span or Span())


async def values_of(store: Store, key: str) -> list[tuple[int, Any]]:
    return [(value.timestamp_ms - NOW, value.value) for value in await series(store, key)]


async def merge(store: Store, now_ms: int = LATER) -> None:
    """A merge is due five minutes after the first look."""
    await store.tidy(now_ms - 5 * MINUTE)
    await store.tidy(now_ms)


def raw_records(start: int, number: int, step: int = 1000, connector: str = "m", size: int = 10) -> list[RawRecord]:
    return [RawRecord(connector, start + n * step, f'"{n:0{size}}"', "0.1.0") for n in range(number)]


async def everything(reader: RawReader, connector: str, page: int, newest_first: bool) -> list[StoredRawMessage]:
    """All raw messages of a connector, by pages."""
    found: list[StoredRawMessage] = []
    while part := await reader.messages(
        connector, at_most=page, newest_first=newest_first, after=found[-1].cursor if found else None
    ):
        found += part
    return found
