"""Writing and reading whole series, for the tests of stores."""

from __future__ import annotations

from typing import Any

from wattbus.storage import Batch, ReadingValues, Span, Store, StoredDatapoint, StoredValue, TopicValue, Written

NOW = 1_700_000_000_000  # ms
MINUTE = 60_000
LATER = NOW + 10 * MINUTE  # the clock when a merge has taken everything


def reading(timestamp_ms: int, **values: Any) -> ReadingValues:
    return ReadingValues("meter", timestamp_ms, values)


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
