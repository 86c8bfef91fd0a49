"""Raw messages: what every store of them promises, whichever database is behind it, alone and beside history."""

from __future__ import annotations

import asyncio

import pytest

from tests.wattbus.storage.series import DAY, NOW, everything, opened, raw_records, readings
from wattbus.storage import (
    DatabaseAway,
    RawConnector,
    RawRecord,
    RawStore,
    Retention,
    Span,
    Store,
    Written,
    open_raw_reader,
    open_raw_store,
    open_store,
    raw_retention,
)

# -- writing and reading ----------------------------------------------------------------------------------------------


async def test_pages_give_each_message_once_also_within_one_millisecond(raw_store: RawStore) -> None:
    written = [RawRecord("m", NOW + n // 7, str(n)) for n in range(100)]
    await raw_store.write(written[50:])
    await raw_store.write(written[:50])  # late
    await raw_store.write([RawRecord("other", NOW, "0")])
    for page in (1, 3, 1000):
        forth = await everything(raw_store, "m", page, newest_first=False)
        assert [m.timestamp_ms for m in forth] == [record.timestamp_ms for record in written]
        assert {m.message for m in forth} == {record.message for record in written}
        assert await everything(raw_store, "m", page, newest_first=True) == forth[::-1]


async def test_messages_of_one_millisecond_keep_the_order_in_which_they_came(raw_store: RawStore) -> None:
    texts = [str(n) for n in (5, 3, 9, 1)]
    await raw_store.write([RawRecord("m", NOW, text) for text in texts[:3]])
    await raw_store.write([RawRecord("m", NOW, text) for text in texts])
    assert [m.message for m in await raw_store.messages("m")] == texts


async def test_a_span_begins_with_its_start_and_ends_before_its_end(raw_store: RawStore) -> None:
    await raw_store.write(raw_records(NOW, 10))
    found = await raw_store.messages("m", Span(NOW + 2000, NOW + 5000))
    assert [m.timestamp_ms - NOW for m in found] == [2000, 3000, 4000]
    assert await raw_store.messages("m", Span(NOW + 2000, NOW + 5000), after=found[1].cursor) == found[2:]
    assert await raw_store.messages("nobody") == []


async def test_connectors_are_listed_with_what_they_have(raw_store: RawStore) -> None:
    assert await raw_store.connectors() == []
    assert await raw_store.oldest_ms() is None
    assert await raw_store.write([]) == Written()
    assert await raw_store.write(raw_records(NOW, 5) + raw_records(NOW, 3, connector="a")) == Written(rows=8)
    again = [*raw_records(NOW, 5), RawRecord("m", NOW + 5000, "5")]
    assert await raw_store.write(again) == Written(rows=1, redelivered=5)
    a, m = await raw_store.connectors()
    assert a == RawConnector("a", 3, NOW, NOW + 2000, a.bytes_used)
    assert (m.messages, m.first_ms, m.last_ms) == (6, NOW, NOW + 5000)
    assert await raw_store.write(again) == Written(redelivered=6)
    assert await raw_store.connectors() == [a, m]
    assert await raw_store.oldest_ms() == NOW


async def test_the_same_twice_in_one_batch_is_one(raw_store: RawStore) -> None:
    record = RawRecord("m", NOW, "1", "0.1.0")
    assert await raw_store.write([record, record]) == Written(rows=1, redelivered=1)
    assert [known.messages for known in await raw_store.connectors()] == [1]


TEXTS = [
    '{"b": 1, "a": 1.0, "a": 1}',
    '"\\u0000 \\ud800 \\" naïve ☀ \U0001f600"',
    "1" * 5000,
    " [ 1 ,\t2 ]\r\n",
    '"' + "x" * 300_000 + '"',
    '""',
]


async def test_every_text_comes_back_byte_for_byte(raw_store: RawStore) -> None:
    records = [RawRecord("m", NOW + at, text, f"0.{at}") for at, text in enumerate(TEXTS)]
    assert await raw_store.write(records) == Written(rows=len(TEXTS))
    assert await raw_store.write(records) == Written(redelivered=len(TEXTS))
    found = await raw_store.messages("m")
    assert [(m.message, m.connector_version) for m in found] == [(r.message, r.connector_version) for r in records]


async def test_a_version_with_a_nul_character_costs_nothing(raw_store: RawStore) -> None:
    await raw_store.write([RawRecord("m", NOW, "1", "1.0\0")])
    assert [m.connector_version for m in await raw_store.messages("m")] == ["1.0␀"]


async def test_writers_of_the_same_connectors_at_once(database_url: str) -> None:
    patient = {"busy_s": 30.0}
    async with (
        opened(open_raw_store(database_url, **patient)) as one,
        opened(open_raw_store(database_url, **patient)) as other,
    ):
        batches = [raw_records(NOW + n, 20) + raw_records(NOW + n, 20, connector="a") for n in range(20)]
        written = await asyncio.gather(
            *(one.write(batch) for batch in batches), *(other.write(batch[::-1]) for batch in batches)
        )
        assert sum(w.rows for w in written) == sum(w.redelivered for w in written) == 800
        assert [known.messages for known in await other.connectors()] == [400, 400]


# -- reading what somebody else writes --------------------------------------------------------------------------------


async def test_a_reader_sees_what_is_written_after_it_was_opened(raw_store: RawStore, database_url: str) -> None:
    await raw_store.write(raw_records(NOW, 5))
    async with opened(open_raw_reader(database_url)) as reader:
        assert len(await reader.messages("m")) == 5
        await raw_store.write(raw_records(NOW + DAY, 1))
        assert len(await reader.messages("m")) == 6
        assert await reader.connectors() == await raw_store.connectors()


async def test_a_reader_says_what_it_misses(empty_url: str) -> None:
    with pytest.raises(DatabaseAway):
        await open_raw_reader(empty_url)


# -- retention --------------------------------------------------------------------------------------------------------


async def test_what_is_too_old_goes(raw_store: RawStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(raw_retention, "ROWS_PER_STEP", 7)
    gone = raw_records(NOW - 3 * DAY, 21, connector="gone")
    await raw_store.write(raw_records(NOW - 3 * DAY, 50) + gone + raw_records(NOW, 20))
    removed = await raw_store.retain(Retention(oldest_days=2, most_bytes=None), NOW)
    assert (removed.by_age, removed.by_size) == (71, 0)
    [left] = await raw_store.connectors()
    assert (left.connector, left.messages, left.first_ms) == ("m", 20, NOW)
    assert removed.bytes_used == await raw_store.bytes_used() == left.bytes_used
    assert (await raw_store.retain(Retention(oldest_days=None, most_bytes=None), NOW + 9 * DAY)).by_age == 0


async def test_of_too_much_the_oldest_of_all_connectors_go(raw_store: RawStore) -> None:
    for day in range(10):
        for connector in ("a", "b"):
            await raw_store.write(raw_records(NOW + day * DAY, 1000, connector=connector, size=500))
    await raw_store.write([RawRecord("rare", 5, "1"), RawRecord("future", NOW + 3650 * DAY, "1")])
    most = await raw_store.bytes_used() // 2
    removed = await raw_store.retain(Retention(oldest_days=None, most_bytes=most), NOW)
    assert most * 0.8 < removed.bytes_used <= most
    found = {known.connector: known for known in await raw_store.connectors()}
    assert found.keys() == {"a", "b", "future"}
    assert abs(found["a"].first_ms - found["b"].first_ms) < DAY
    assert found["a"].last_ms == NOW + 9 * DAY + 999_000
    assert (await raw_store.retain(Retention(oldest_days=None, most_bytes=most), NOW)).by_size == 0


# -- beside history ---------------------------------------------------------------------------------------------------


async def test_raw_messages_do_not_cost_history_its_values_in_a_shared_database(
    raw_store: RawStore, store: Store
) -> None:
    await store.write(readings(NOW, 1000))
    alone = await store.bytes_used()
    await raw_store.write(raw_records(NOW, 5000, size=500))
    most = alone + await raw_store.bytes_used() // 5  # they are counted with an error
    assert (await store.retain(Retention(oldest_days=None, most_bytes=most), NOW)).by_size == 0
    removed = await raw_store.retain(Retention(oldest_days=1, most_bytes=None), NOW + 9 * DAY)
    assert (removed.by_age, removed.bytes_used) == (5000, 0)
    assert len(await store.values(1)) == 1000


async def test_history_opened_first_leaves_room_for_raw_messages(database_url: str) -> None:
    async with opened(open_store(database_url)), opened(open_raw_reader(database_url)) as reader:
        assert await reader.connectors() == []
