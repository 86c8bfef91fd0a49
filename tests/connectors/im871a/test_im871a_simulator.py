"""The simulated stick as `wattbus simulate im871a` runs it: what it plays, when, and how it misbehaves."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from connectors.im871a.simulated_air import EXAMPLE_KEY, EXAMPLE_METER, ExampleMeter, Played, file_telegrams, read_file
from connectors.im871a.simulator import simulate
from connectors.im871a.telegram import decode
from tests.connectors.im871a.conftest import METERS, connector_for, settings_for
from tests.connectors.im871a.telegram_data import reference
from tests.support.ports import free_port
from wattbus.errors import ConfigError
from wattbus.testing.link import entered
from wattbus.testing.waiting import PATIENCE_S


@contextlib.asynccontextmanager
async def simulated(port: str | Path = "usb://10c4:ea60", tcp: int = 0, **variables: Any) -> AsyncIterator[list[Any]]:
    """It runs; where it can be reached."""
    settings = settings_for(port, **{"IM871A_SIMULATE_INTERVAL_SECONDS": "0.02", **variables})
    places: list[Any] = []
    task = asyncio.create_task(simulate(settings, "127.0.0.1", tcp, lambda *place: places.append(place)))
    async with asyncio.timeout(PATIENCE_S):
        while len(places) < (2 if tcp else 1) and not task.done():
            await asyncio.sleep(0.01)
    if task.done():
        task.result()
    try:
        yield places
    finally:
        task.cancel()
        await asyncio.wait([task])


async def test_its_meter_is_heard_over_the_pseudo_terminal_and_over_tcp(tmp_path: Path) -> None:
    port = free_port()
    async with simulated(tmp_path / "stick", port) as [(path, _), (host, tcp)]:
        assert path == str(tmp_path / "stick")
        assert (host, tcp) == ("127.0.0.1", port)
        for url in (path, f"socket://{host}:{tcp}"):
            async with entered(connector_for(url, IM871A_METERS=METERS)) as running:
                await running.link.until(lambda link: len(link.readings) > 9)
                energies = [values[f"{EXAMPLE_METER}__energy_kwh"] for values in running.link.readings]
                assert energies == sorted(set(energies))
                assert running.link.faults == []


async def test_a_file_is_played_over_and_over(tmp_path: Path) -> None:
    file = tmp_path / "telegrams.txt"
    file.write_text(ExampleMeter().telegram().hex(" "))
    async with simulated(IM871A_SIMULATE_FILE=str(file)) as [(path, _)]:
        variables = {"IM871A_METERS": METERS, "IM871A_DUPLICATE_SECONDS": "0"}
        async with entered(connector_for(path, **variables)) as running:
            await running.link.until(lambda link: len(link.readings) > 2)
            assert {values[f"{EXAMPLE_METER}__energy_kwh"] for values in running.link.readings} == {1234.57}


async def test_faults_on_request() -> None:
    async with (
        simulated(IM871A_SIMULATE_FAULTS="stubborn") as [(path, _)],
        entered(connector_for(path, IM871A_LINK_MODE="C1A")) as running,
    ):
        assert "does not take its configuration" in await running.ended()
    with pytest.raises(ConfigError, match="IM871A_SIMULATE_FAULTS: lazy is not known; there are noise"):
        async with simulated(IM871A_SIMULATE_FAULTS="noise lazy"):
            pass


def test_a_file_tells_when(tmp_path: Path) -> None:
    file = tmp_path / "telegrams.txt"
    first, second = ExampleMeter().telegram(), ExampleMeter("20000002").telegram()
    file.write_text(f"# two meters\n{first.hex(' ')}\n\n12.5 {second.hex()}\n")
    assert read_file(file, 8.0) == [Played(8.0, first), Played(12.5, second)]


def test_a_file_of_what_a_real_stick_said(tmp_path: Path) -> None:
    captured = json.loads(reference("wmbus-omnipower/omnipower_captured.json").read_text())["telegrams"]
    frames = [one for one in captured if one["im871a_frame"]]
    file = tmp_path / "telegrams.txt"
    file.write_text("\n".join(one["im871a_frame"] for one in frames))
    assert [played.telegram.hex() for played in read_file(file, 1.0)] == [one["telegram"] for one in frames]


async def test_it_waits_as_the_file_says() -> None:
    playing = file_telegrams([Played(0.0, b"1"), Played(0.1, b"2")])
    clock = asyncio.get_running_loop().time
    start, moments = clock(), []
    async for telegram in playing:
        moments.append((telegram, clock() - start))
        if len(moments) == 4:
            break
    assert [telegram for telegram, _ in moments] == [b"1", b"2", b"1", b"2"]
    assert [later - earlier > 0.09 for (_, earlier), (_, later) in itertools.pairwise(moments)] == [True, False, True]


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ("", "there is no telegram"),
        ("zz", "line 1: not hexadecimal"),
        ("# x\n2744", "line 2"),
        ("-1 2744", "line 1: expected 0 to 86400 s"),
        ("nan 2744", "line 1: expected 0 to 86400 s"),
        ("68 03 03 68 08 01 72 7b 16", "line 1: a wired frame is not on the air"),
    ],
)
def test_a_file_that_makes_no_sense(content: str, fault: str, tmp_path: Path) -> None:
    file = tmp_path / "telegrams.txt"
    file.write_text(content)
    with pytest.raises(ConfigError, match=f"IM871A_SIMULATE_FILE: .*{fault}"):
        read_file(file, 1.0)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="IM871A_SIMULATE_FILE: cannot read"):
        read_file(tmp_path / "none", 1.0)


def test_its_meter_sends_one_long_telegram_and_seven_short_ones() -> None:
    meter = ExampleMeter()
    telegrams = [meter.telegram() for _ in range(9)]
    lengths = [len(telegram) for telegram in telegrams]
    assert lengths == [max(lengths), *7 * [min(lengths)], max(lengths)]
    assert len({decode(telegram, EXAMPLE_KEY).fields["energy_kwh"].value for telegram in telegrams}) == 9
