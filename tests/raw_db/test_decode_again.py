"""A device's raw messages, stored and decoded again, give the values that history has: all of it as processes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
from pathlib import Path
from typing import Any

from raw_db.settings import Settings
from tests.cli.conftest import completed
from tests.e2e.house import COUNTER, MODBUS_CONFIG, SOON, House, Process, until
from tests.raw_db.conftest import playing, stored

POLLS = 40


class RawHouse(House):
    """A house whose connector sends raw messages, with a raw_db in it."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.raw_db = self.process("raw_db", {})

    def process(self, service: str, variables: dict[str, str], *named: str, **more: str) -> Process:
        return super().process(service, {"SEND_RAW_MESSAGE_TO_DB": "TRUE", **variables}, *named, **more)

    def values(self) -> dict[tuple[int, str], float]:
        """(time, key) → value of all that history has of the room."""
        with contextlib.closing(sqlite3.connect(f"file:{self.folder}/data/history.db?mode=ro", uri=True)) as database:
            rows = database.execute(
                "SELECT time, key, number FROM (SELECT time, datapoint, number FROM recent UNION ALL"
                " SELECT time, datapoint, number FROM history) JOIN datapoints ON datapoints.id = datapoint"
                " WHERE connector = 'room' AND type = 'sensor'"
            )
            return {(time, key): number for time, key, number in rows}


async def test_stored_raw_messages_decode_to_what_history_has(tmp_path: Path) -> None:
    house = RawHouse(tmp_path)
    settings = Settings(data_directory=tmp_path / "data")
    await house.broker.start()
    async with playing(house.broker.port) as client:
        await house.raw_db.start()
        await client.until_state("online")  # subscribed before the first raw message
        for process in house.processes:
            await process.start()
        await house.until_stored(POLLS)
        # What was published before history was there comes again a little later.
        await until(lambda: house.counters()[:POLLS] == list(range(1, POLLS + 1)), "the first polls", house.tell)
        await house.connector.stop()
        polls = house.counters()[-1]
        async with asyncio.timeout(SOON):
            await _raw_polls(settings, polls)
        raw = await completed("raw", "room", cwd=tmp_path, DATA_DIRECTORY=str(tmp_path / "data"))
        decoded = await completed(
            "decode",
            "modbus_tcp",
            cwd=tmp_path,
            stdin="\n".join(raw.output),
            CONNECTOR_NAME="room",
            MODBUS_CONFIG=json.dumps(MODBUS_CONFIG),
        )
        for process in [*house.processes, house.raw_db]:
            assert await process.stop() == 0, process.log
    await house.broker.stop()
    again = _by_time(raw.output, decoded.output)
    assert again == house.values()
    assert [again[at] for at in sorted(again) if at[1] == COUNTER] == list(range(1, polls + 1))


async def _raw_polls(settings: Settings, polls: int) -> None:
    while len(await stored(settings, "room")) < polls:
        await asyncio.sleep(0.05)


def _by_time(raw: list[str], decoded: list[str]) -> dict[tuple[int, str], Any]:
    """(time, key) → value, with the time of the raw message that it came from."""
    found = {}
    for envelope, result in zip(raw, decoded, strict=True):
        for key, value in json.loads(result)["values"].items():
            found[json.loads(envelope)["timestamp"], key] = value
    return found
