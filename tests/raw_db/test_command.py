"""`wattbus raw`, as a process beside a raw_db that goes on writing."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from raw_db.settings import Settings
from tests.cli.conftest import completed
from tests.raw_db.conftest import NOW, Client, until_stored


async def test_it_lists_and_prints_while_raw_db_is_running(
    raw_db: asyncio.Task[None], client: Client, settings: Settings, tmp_path: Path
) -> None:
    texts = ['{"a.b": 1.0,\n "a": 1}', "123456789012345678901234567890", '"\\u00e4 ä"', *map(str, range(3, 450))]
    for at, text in enumerate(texts):
        await client.raw(at, text)
    await client.publish("bem/raw_message_to_db", {"raw_message": None, "timestamp": NOW})
    await until_stored(settings, 1, "bem")
    await until_stored(settings, len(texts))
    (tmp_path / ".env").write_text(f"DATA_DIRECTORY={tmp_path}\n")

    listed, printed, few, last, other = await asyncio.gather(
        completed("raw", cwd=tmp_path),
        completed("raw", "meter", cwd=tmp_path),
        completed("raw", "meter", "--from", f"{NOW + 10}", "--to", f"{NOW + 20}", "--limit", "3", cwd=tmp_path),
        completed("raw", "meter", "--last", "300", "--database", tmp_path / "raw.db", cwd=tmp_path / "mosquitto"),
        completed("raw", "bem", "--from", "1970-01-01T00:00:00Z", DATABASE_URL=settings.url, cwd=tmp_path),
    )

    header, bem, meter = (line.split() for line in listed.output)
    assert (header[:2], bem[:2], meter[:2]) == (["CONNECTOR", "MESSAGES"], ["bem", "1"], ["meter", "450"])
    assert meter[3].endswith("Z") and "T" in meter[3]
    envelope = '{{"raw_message": {}, "timestamp": {}, "connector_version": "0.1.0"}}'
    expected = [envelope.format(text.replace("\n", " "), NOW + at) for at, text in enumerate(texts)]
    assert printed.output == expected
    assert few.output == expected[10:13]
    assert last.output == expected[-300:]
    assert [json.loads(line) for line in other.output] == [{"raw_message": None, "timestamp": NOW}]
    assert [command.process.returncode for command in (listed, printed, few, last, other)] == [0] * 5


async def test_it_says_what_is_wrong(
    raw_db: asyncio.Task[None], client: Client, settings: Settings, tmp_path: Path
) -> None:
    await client.raw(0, "1")
    await until_stored(settings, 1)
    nobody, nowhere, wrong, when, both = await asyncio.gather(
        completed("raw", "nobody", "--database", settings.url, cwd=tmp_path),
        completed("raw", DATA_DIRECTORY=str(tmp_path / "nowhere"), cwd=tmp_path),
        completed("raw", DATABASE_URL="mysql://host/db", cwd=tmp_path),
        completed("raw", "meter", "--from", "yesterday", cwd=tmp_path),
        completed("raw", "meter", "--limit", "1", "--last", "1", cwd=tmp_path),
    )
    assert nobody.faults == ["there are no raw messages of nobody (of: meter)"]
    assert nowhere.faults == [f"there is no file {tmp_path}/nowhere/raw.db"]
    assert not (tmp_path / "nowhere").exists()
    assert [fault.partition(";")[0] for fault in wrong.faults] == ["DATABASE_URL: mysql is not supported"]
    assert "yesterday: neither ISO 8601 nor milliseconds" in when.errors[-1]
    assert [command.process.returncode for command in (nobody, nowhere, wrong, when, both)] == [2, 1, 2, 2, 2]
