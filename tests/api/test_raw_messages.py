"""Raw messages over REST: letter by letter as devices said them."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from api.settings import Settings
from tests.api.conftest import Api
from wattbus.storage import RawRecord, RawStore, open_raw_store

MESSAGES = ['{"b.c": 1.0, "a": 1}', "12345678901234567890123", '"ü \\ud83d\\ude00"', "[null, 1e2]", "{}"]


@pytest.fixture
async def raw_db(settings: Settings) -> AsyncIterator[RawStore]:
    """What the service raw_db has written."""
    store = await open_raw_store(settings.raw_url)
    await store.write([RawRecord("meter", 1000 + n, message, "0.1") for n, message in enumerate(MESSAGES)])
    await store.write([RawRecord("other", 1, "1")])
    yield store
    await store.close()


async def text(api: Api, path: str, **parameters: object) -> tuple[str, str]:
    """The body as it came, and the way to the next ones."""
    wanted = {name: str(value) for name, value in parameters.items()}
    async with api.session.get(api.address + path, params=wanted) as answer:
        assert answer.status == 200, await answer.text()
        return await answer.text(), str(answer.links["next"]["url"]) if "next" in answer.links else ""


async def test_raw_messages_come_as_they_were(api: Api, raw_db: RawStore) -> None:
    body, following = await text(api, "/raw_message/", connector="meter")
    entries = [
        f'{{"raw_message": {m}, "timestamp": {1000 + n}, "connector_version": "0.1"}}' for n, m in enumerate(MESSAGES)
    ]
    assert body == "[" + ",\n".join(entries) + "]"
    assert following == ""
    assert await api.get("/raw_message/", connector="nobody") == []
    newest = await api.get("/raw_message", connector="meter", order="desc", timestamp__lt=1003, limit=1)
    assert [entry["timestamp"] for entry in newest] == [1002]


async def test_page_by_page(api: Api, raw_db: RawStore) -> None:
    seen: list[str] = []
    address = f"{api.address}/raw_message/?connector=meter&limit=2"
    while address:
        async with api.session.get(address) as answer:
            seen += [str(entry["timestamp"]) for entry in await answer.json()]
            address = str(answer.links["next"]["url"]) if "next" in answer.links else ""
    assert seen == ["1000", "1001", "1002", "1003", "1004"]
    for after in ("x", "1", "1,x", "1," + "9" * 30):
        assert (await api.ask("GET", "/raw_message/", connector="meter", after=after)).status == 400


async def test_whose_there_are(api: Api, raw_db: RawStore) -> None:
    found = await api.get("/raw_message/connectors/")
    assert [(entry["name"], entry["messages"], entry["first_timestamp"]) for entry in found] == [
        ("meter", 5, 1000),
        ("other", 1, 1),
    ]
