"""The simulated meter: what it says, how it misbehaves, and that the connector lives through all of it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from itertools import islice
from pathlib import Path

import pytest

from connectors.dsmr_p1 import codec
from connectors.dsmr_p1.codec import Options, decode
from connectors.dsmr_p1.connector import create
from connectors.dsmr_p1.profiles import PROFILES
from connectors.dsmr_p1.settings import Settings
from connectors.dsmr_p1.simulated_manners import MANNERS
from connectors.dsmr_p1.simulated_meter import SimulatedMeter
from connectors.dsmr_p1.simulator import (
    EVERY_NTH,
    FAULTS,
    HANG_UP,
    SILENCE,
    Audience,
    meters_telegrams,
    player,
    simulate,
)
from tests.connectors.dsmr_p1.conftest import TelegramLink, running, settings_for
from tests.connectors.dsmr_p1.oracle import ms
from tests.connectors.dsmr_p1.test_dsmr_p1_connector import KEY
from wattbus.clock import SYSTEM_CLOCK
from wattbus.errors import ConfigError
from wattbus.testing.waiting import PATIENCE_S

EVENING = ms("2026-07-01T18:00:00+00:00")


@pytest.mark.parametrize("name", MANNERS)
def test_every_meter_says_what_its_profile_knows_and_goes_on(name: str) -> None:
    texts = list(islice(meters_telegrams(SimulatedMeter(MANNERS[name], EVENING), 3600.0), 3))
    readings = [
        decode({"telegram": text, "received": EVENING + n * 3_600_000}, Options()) for n, text in enumerate(texts)
    ]
    assert codec.parse(texts[0]).profile is PROFILES[name.split()[0]]
    keys = [key for one in readings[0] for key in one.values]
    assert [key for key in keys if ":" in key] == []
    counter = next(
        key for key in ("energy_import_tariff_2_kwh", "energy_import_kwh", "energy_import_wh") if key in keys
    )
    energies = [one[0].values[counter].value for one in readings]
    assert energies == sorted(set(energies))
    if readings[0][0].timestamp_ms is not None:
        assert [one[0].timestamp_ms for one in readings] == [EVENING + n * 3_600_000 for n in range(3)]


@contextlib.asynccontextmanager
async def simulated(settings: Settings) -> AsyncIterator[int]:
    """A simulator that plays; gives its TCP port."""
    where: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(simulate(settings, started=lambda _, port: where.set_result(port)))
    try:
        done, _ = await asyncio.wait({task, where}, return_when=asyncio.FIRST_COMPLETED)
        assert where in done, task.exception()
        yield where.result()
        assert not task.done(), "it plays for ever"
    finally:
        task.cancel()
        await asyncio.wait([task])


@pytest.mark.parametrize("profile", ["netherlands", "luxembourg"])
@pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault != SILENCE])
async def test_the_connector_lives_through_every_fault(profile: str, fault: str) -> None:
    variables = {"DSMR_SIMULATE_PROFILE": profile, "DSMR_SIMULATE_FAULTS": fault, "DSMR_ENCRYPTION_KEY": KEY}
    settings = settings_for(DSMR_SIMULATE_INTERVAL_SECONDS="0.01", DSMR_SIMULATE_PTY="FALSE", **variables)
    async with simulated(settings) as port:
        connector = create(settings_for(DSMR_PORT=f"socket://127.0.0.1:{port}", **variables))
        link = TelegramLink(connector)
        async with running(connector, link) as run:
            if fault == HANG_UP:
                assert "the far end has closed the connection" in await run.ended()
            else:
                await link.until(lambda _: len(link.telegrams) >= 12)
                assert not run.task.done()
        heard = len(link.telegrams)
        async with running(connector, link):
            await link.until(lambda _: len(link.telegrams) > heard)
    clocks = [text.split("0-0:1.0.0(")[1][:13] for text in link.telegrams]
    if fault != "clock":
        assert "000101010000W" not in clocks
    for text in link.telegrams:
        decode(text, Options())


async def test_silence_is_noticed() -> None:
    settings = settings_for(
        DSMR_SIMULATE_INTERVAL_SECONDS="0.1",
        DSMR_SIMULATE_PTY="FALSE",
        DSMR_SIMULATE_FAULTS="silence",
        DSMR_TIMEOUT_SECONDS="1.2",
    )
    async with simulated(settings) as port:
        connector = create(settings_for(DSMR_PORT=f"socket://127.0.0.1:{port}", DSMR_TIMEOUT_SECONDS="1.1"))
        async with running(connector) as run:
            assert "the meter is silent for 1.1 s" in await run.ended()
    assert 1 <= len(run.link.telegrams) <= EVERY_NTH - 1, "the first ones may come before anybody listens"


async def test_it_speaks_at_a_pseudo_terminal_too(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    async with simulated(settings_for(DSMR_SIMULATE_INTERVAL_SECONDS="0.01")):
        path = next(record.args[0] for record in caplog.records if isinstance(record.args, tuple) and record.args)
        async with running(create(settings_for(DSMR_PORT=str(path)))) as run:
            await run.link.until(lambda _: len(run.link.telegrams) >= 3)


def test_a_file_is_played_with_the_present_time(tmp_path: Path) -> None:
    file = tmp_path / "telegrams.txt"
    meter = SimulatedMeter(MANNERS["netherlands 5"], EVENING)
    file.write_text(meter.telegram() + "noise\n" + meter.telegram())
    playing, _ = player(settings_for(DSMR_SIMULATE_FILE=str(file)))
    data, fault = playing.turn()
    raw = {"telegram": data.decode(), "received": SYSTEM_CLOCK.now_ms()}
    main, gas = decode(raw, Options())
    assert fault == ""
    assert main.timestamp_ms is not None
    assert abs(main.timestamp_ms - raw["received"]) < 2000
    assert gas.timestamp_ms == main.timestamp_ms // 3_600_000 * 3_600_000


def test_a_file_of_an_old_meter_keeps_its_notation(tmp_path: Path) -> None:
    file = tmp_path / "telegrams.txt"
    file.write_text(SimulatedMeter(MANNERS["netherlands 3"], EVENING).telegram() + "/XXX5 half\n1-0:1.7.0(1*kW)\n")
    playing, _ = player(settings_for(DSMR_SIMULATE_FILE=str(file)))
    for _ in range(2):
        raw = {"telegram": playing.turn()[0].decode(), "received": SYSTEM_CLOCK.now_ms()}
        main, gas = decode(raw, Options())
        assert main.timestamp_ms is None
        assert gas.timestamp_ms is not None
        assert 0 <= SYSTEM_CLOCK.now_ms() - gas.timestamp_ms < 2 * 3_600_000


async def test_a_listener_that_does_not_listen_is_cut_off(caplog: pytest.LogCaptureFixture) -> None:
    """And from then on nothing is said to him, nor about him."""
    audience = Audience(None)
    async with await asyncio.start_server(audience.serve, "127.0.0.1", 0) as server:
        _, writer = await asyncio.open_connection(*server.sockets[0].getsockname()[:2], limit=1024)
        async with asyncio.timeout(PATIENCE_S):
            while audience.listeners == 0:
                await asyncio.sleep(0.001)
            while audience.listeners == 1:
                audience.say(b"x" * 65_536)
                await asyncio.sleep(0)
        for _ in range(20):
            audience.say(b"x")
        writer.close()
    assert caplog.records == []


def test_the_clock_can_be_started_anywhere() -> None:
    playing, _ = player(settings_for(DSMR_SIMULATE_START="261025025959S", DSMR_SIMULATE_INTERVAL_SECONDS="1"))
    clocks = [playing.turn()[0].decode().split("0-0:1.0.0(")[1][:13] for _ in range(3)]
    assert clocks == ["261025025959S", "261025020000W", "261025020001W"]


@pytest.mark.parametrize(
    ("variables", "fault"),
    [
        ({"DSMR_SIMULATE_FAULTS": "noise mischief"}, "DSMR_SIMULATE_FAULTS: mischief is not known"),
        ({"DSMR_SIMULATE_START": "yesterday"}, "DSMR_SIMULATE_START: expected a time as a meter prints it"),
        ({"DSMR_SIMULATE_PROFILE": "austria"}, "DSMR_ENCRYPTION_KEY: this simulated meter encrypts"),
        ({"DSMR_SIMULATE_FILE": "/nowhere"}, "DSMR_SIMULATE_FILE: cannot read /nowhere"),
        ({"DSMR_SIMULATE_FILE": "/dev/zero"}, "DSMR_SIMULATE_FILE: /dev/zero is no file"),
        ({"DSMR_SIMULATE_FILE": __file__}, "DSMR_SIMULATE_FILE: there is no telegram in"),
    ],
)
async def test_what_cannot_be_played_is_told(variables: dict[str, str], fault: str) -> None:
    with pytest.raises(ConfigError, match=fault):
        await simulate(settings_for(**variables))
