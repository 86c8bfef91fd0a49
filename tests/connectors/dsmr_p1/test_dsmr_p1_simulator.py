"""The simulated meter: what it says, how it misbehaves, and that the connector lives through all of it."""

from __future__ import annotations

import asyncio
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
from connectors.dsmr_p1.simulator import FAULTS, HANG_UP, SILENCE, meters_telegrams, player, simulate
from tests.connectors.dsmr_p1.conftest import RecordingLink, running, settings_for
from tests.connectors.dsmr_p1.oracle import ms
from tests.connectors.dsmr_p1.test_dsmr_p1_connector import KEY
from wattbus.clock import SYSTEM_CLOCK
from wattbus.errors import ConfigError

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


async def simulated(settings: Settings) -> tuple[asyncio.Task[None], int]:
    where: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(simulate(settings, started=lambda _, port: where.set_result(port)))
    done, _ = await asyncio.wait({task, where}, return_when=asyncio.FIRST_COMPLETED)
    assert where in done, task.exception()
    return task, where.result()


@pytest.mark.parametrize("profile", ["netherlands", "luxembourg"])
@pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault != SILENCE])
async def test_the_connector_lives_through_every_fault(profile: str, fault: str) -> None:
    variables = {"DSMR_SIMULATE_PROFILE": profile, "DSMR_SIMULATE_FAULTS": fault, "DSMR_ENCRYPTION_KEY": KEY}
    settings = settings_for(DSMR_SIMULATE_INTERVAL_SECONDS="0.01", DSMR_SIMULATE_PTY="FALSE", **variables)
    task, port = await simulated(settings)
    connector = create(settings_for(DSMR_PORT=f"socket://127.0.0.1:{port}", **variables))
    link = RecordingLink()
    async with running(connector, link) as run:
        if fault == HANG_UP:
            assert "the far end has closed the connection" in await run.ended()
        else:
            await link.until(lambda: len(link.telegrams) >= 12)
            assert not run.task.done()
    heard = len(link.telegrams)
    async with running(connector, link):
        await link.until(lambda: len(link.telegrams) > heard)
    task.cancel()
    await asyncio.wait([task])
    clocks = [text.split("0-0:1.0.0(")[1][:13] for text in link.telegrams]
    if fault != "clock":
        assert "000101010000W" not in clocks
    for text in link.telegrams:
        decode(text, Options())


async def test_silence_is_noticed() -> None:
    settings = settings_for(
        DSMR_SIMULATE_INTERVAL_SECONDS="0.01",
        DSMR_SIMULATE_PTY="FALSE",
        DSMR_SIMULATE_FAULTS="silence",
        DSMR_TIMEOUT_SECONDS="1.2",
    )
    task, port = await simulated(settings)
    async with running(create(settings_for(DSMR_PORT=f"socket://127.0.0.1:{port}", DSMR_TIMEOUT_SECONDS="1.1"))) as run:
        assert "the meter is silent for 1.1 s" in await run.ended()
    assert len(run.link.telegrams) in (3, 4)  # the first one may come before anybody listens
    task.cancel()
    await asyncio.wait([task])


async def test_it_speaks_at_a_pseudo_terminal_too(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    task, _ = await simulated(settings_for(DSMR_SIMULATE_INTERVAL_SECONDS="0.01"))
    path = next(record.args[0] for record in caplog.records if isinstance(record.args, tuple) and record.args)
    async with running(create(settings_for(DSMR_PORT=str(path)))) as run:
        await run.link.until(lambda: len(run.link.telegrams) >= 3)
    task.cancel()
    await asyncio.wait([task])


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
        ({"DSMR_SIMULATE_FILE": "/dev/null"}, "DSMR_SIMULATE_FILE: there is no telegram in /dev/null"),
    ],
)
async def test_what_cannot_be_played_is_told(variables: dict[str, str], fault: str) -> None:
    with pytest.raises(ConfigError, match=fault):
        await simulate(settings_for(**variables))
