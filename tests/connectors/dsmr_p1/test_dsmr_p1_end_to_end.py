"""From the meter's cable to the rows of the database: a real broker, a real history, a pseudo-terminal and TCP."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator, Callable
from itertools import islice
from pathlib import Path
from typing import Any

from connectors.dsmr_p1.cipher import encrypt_frame
from connectors.dsmr_p1.connector import create
from connectors.dsmr_p1.simulated_manners import MANNERS
from connectors.dsmr_p1.simulated_meter import SimulatedMeter
from connectors.dsmr_p1.simulator import meters_telegrams, simulate
from history.service import run as run_history
from history.settings import Settings as HistorySettings
from links.serial_pty import PseudoTerminal
from tests.connectors.dsmr_p1.conftest import listening, play, settings_for
from tests.connectors.dsmr_p1.oracle import ms
from tests.connectors.dsmr_p1.test_dsmr_p1_connector import KEYS
from wattbus.clock import SYSTEM_CLOCK
from wattbus.mqtt.embedded_broker import Mosquitto
from wattbus.runtime.connector_runtime import run_connector
from wattbus.testing.mqtt import PlainClient, plain_client
from wattbus.testing.waiting import PATIENCE_S

SOON_S = PATIENCE_S
STORED = (
    "SELECT key, time, number, json_value FROM (SELECT datapoint, time, number, json_value FROM recent UNION ALL"
    " SELECT datapoint, time, number, json_value FROM history) JOIN datapoints ON datapoint = id"
    " WHERE connector = 'meter'"
)


class House:
    """A broker, a history and the connector, and what is in the database."""

    def __init__(self, folder: Path, client: PlainClient) -> None:
        self.client = client
        self._file = folder / "history.db"

    def rows(self, key: str) -> dict[int, Any]:
        """Time → value; fails if a row is there twice."""
        found: dict[int, Any] = {}
        with contextlib.closing(sqlite3.connect(f"file:{self._file}?mode=ro", uri=True)) as database:
            for name, at, number, other in database.execute(STORED):
                if name == key:
                    assert at not in found, f"{key} at {at} is there twice"
                    found[at] = number if other is None else other
        return dict(sorted(found.items()))

    async def until(self, met: Callable[[], Any]) -> None:
        async with asyncio.timeout(SOON_S):
            while not met():
                await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def living(mosquitto: Mosquitto, folder: Path, **variables: str) -> AsyncIterator[House]:
    """History first, then the connector."""
    history = HistorySettings(mqtt_broker_port=mosquitto.port, data_directory=folder, history_receipt_seconds=0.05)
    settings = settings_for(
        MQTT_BROKER_HOST=mosquitto.host,
        MQTT_BROKER_PORT=str(mosquitto.port),
        DATA_DIRECTORY=str(folder / "connector"),
        **variables,
    )
    async with plain_client(mosquitto.port) as client:
        tasks = [asyncio.create_task(run_history(history))]
        await client.message("history/status", state="online")
        tasks.append(asyncio.create_task(run_connector(create(settings), settings)))
        try:
            yield House(folder, client)
            assert not any(task.done() for task in tasks)
        finally:
            for task in tasks:
                task.cancel()
            async with asyncio.timeout(SOON_S):
                await asyncio.wait(tasks)


def now_ms() -> int:
    return SYSTEM_CLOCK.now_ms() // 1000 * 1000


async def test_the_night_of_25_october_2026(mosquitto: Mosquitto, tmp_path: Path) -> None:
    """A Belgian meter, whose gas meter prints no flag: every local moment from 02:00 to 03:00 comes twice."""
    first, last = ms("2026-10-24T23:30:00+00:00"), ms("2026-10-25T02:30:00+00:00")
    meter = SimulatedMeter(MANNERS["belgium"], first)
    texts = list(islice(meters_telegrams(meter, 60.0), (last - first) // 60_000 + 1))
    printed = [text.split("0-0:1.0.0(")[1][:13] for text in texts]
    assert (printed[30], printed[90]) == ("261025020000S", "261025020000W")
    gas_printed = [text.split("0-1:24.2.3(")[1][:12] for text in texts]
    assert gas_printed[30] == gas_printed[90] == "261025020000"
    async with (
        PseudoTerminal(tmp_path / "p1") as terminal,
        living(mosquitto, tmp_path, DSMR_PORT=str(tmp_path / "p1"), DSMR_METER_CLOCK="always") as house,
    ):
        await listening(terminal.write)
        await play(terminal, texts)
        await house.until(lambda: len(house.rows("power_import_kw")) >= len(texts))
        energy, gas = house.rows("energy_import_tariff_1_kwh"), house.rows("gas_1__volume_m3")
        water = house.rows("water_2__volume_m3")
    assert list(energy) == list(range(first, last + 1, 60_000)), "a row a minute, through both hours"
    assert list(gas) == list(range(first, last + 1, 300_000)), "a row per reading, not per telegram"
    assert list(gas.values()) == sorted(gas.values())
    assert len(set(gas.values())) > 30
    assert list(water) == [ms(f"2026-10-2{at}:00:00+00:00") for at in ("4T23", "5T00", "5T01", "5T02")]
    two_oclock, two_oclock_again = ms("2026-10-25T00:00:00+00:00"), ms("2026-10-25T01:00:00+00:00")
    assert energy[two_oclock] < energy[two_oclock_again]
    said = [float(text.split("1-0:1.8.1(")[1][:10]) for text in texts]
    assert [energy[two_oclock], energy[two_oclock_again]] == [said[30], said[90]]


async def test_unplugged_and_back_at_a_pseudo_terminal(mosquitto: Mosquitto, tmp_path: Path) -> None:
    texts = list(islice(meters_telegrams(SimulatedMeter(MANNERS["netherlands 5"], now_ms() - 60_000), 1.0), 40))
    port = tmp_path / "p1"
    async with contextlib.AsyncExitStack() as stack:
        terminal = await stack.enter_async_context(PseudoTerminal(port))
        house = await stack.enter_async_context(living(mosquitto, tmp_path, DSMR_PORT=str(port)))
        await listening(terminal.write)
        await play(terminal, texts[:20])
        await house.client.message("meter/status", state="online")
        await house.until(lambda: len(house.rows("power_import_kw")) == 20)
        terminal.close()
        await house.client.message("meter/status", state="degraded", detail=f"{port}: the device is gone (unplugged?)")
        await house.client.message("meter/messages/power_import_kw/value", quality="offline")
        terminal = await stack.enter_async_context(PseudoTerminal(port))
        await listening(terminal.write)
        await play(terminal, texts[20:])
        await house.until(lambda: len(house.rows("power_import_kw")) == 40)
        await house.until(lambda: house.client.last("meter/status")["state"] == "online")
        assert len(house.rows("gas_1__volume_m3")) <= 2, "the same reading again is no new row"
        assert set(house.rows("equipment_id").values()) == {'"WBT50000000001"'}


async def test_unplugged_and_back_over_tcp(mosquitto: Mosquitto, tmp_path: Path) -> None:
    """Against the simulator as `wattbus simulate` runs it, which goes away and comes back."""
    where: asyncio.Queue[int] = asyncio.Queue()
    playing = settings_for(
        DSMR_SIMULATE_PTY="FALSE", DSMR_SIMULATE_PROFILE="sweden", DSMR_SIMULATE_INTERVAL_SECONDS="1"
    )

    async def simulator(port: int = 0) -> tuple[asyncio.Task[None], int]:
        task = asyncio.create_task(simulate(playing, port=port, started=lambda _, port: where.put_nowait(port)))
        return task, await where.get()

    task, port = await simulator()
    async with living(mosquitto, tmp_path, DSMR_PORT=f"socket://127.0.0.1:{port}") as house:
        await house.until(lambda: len(house.rows("power_import_kw")) >= 2)
        task.cancel()
        await asyncio.wait([task])
        await house.client.message("meter/status", state="degraded")
        before = len(house.rows("power_import_kw"))
        task, _ = await simulator(port)
        await house.until(lambda: len(house.rows("power_import_kw")) >= before + 2)
        rows = house.rows("energy_import_kwh")
    task.cancel()
    await asyncio.wait([task])
    assert all(at % 1000 == 0 for at in rows), "the meter's time, to the second"
    assert abs(max(rows) - SYSTEM_CLOCK.now_ms()) < 10_000, "in standard time, whatever the season"


async def test_a_wrong_key_is_in_the_status(mosquitto: Mosquitto, tmp_path: Path) -> None:
    texts = list(islice(meters_telegrams(SimulatedMeter(MANNERS["luxembourg"], now_ms() - 60_000), 10.0), 4))
    async with (
        PseudoTerminal(tmp_path / "p1") as terminal,
        living(mosquitto, tmp_path, DSMR_PORT=str(tmp_path / "p1"), DSMR_ENCRYPTION_KEY="F" * 32) as house,
    ):
        await listening(terminal.write)
        for number, text in enumerate(texts):
            terminal.write(encrypt_frame(text, KEYS, b"SYSTEMID", number))
        title = b"SYSTEMID".hex()
        detail = f"meter: DSMR_ENCRYPTION_KEY is not the key of this meter (system title {title})"
        await house.client.message("meter/status", state="degraded", detail=detail)
        assert "F" * 32 not in str([seen.payload for seen in house.client.seen])


async def test_an_old_meter_without_a_clock_is_stamped_on_arrival(mosquitto: Mosquitto, tmp_path: Path) -> None:
    texts = list(islice(meters_telegrams(SimulatedMeter(MANNERS["netherlands 3"], now_ms()), 10.0), 5))
    async with (
        PseudoTerminal(tmp_path / "p1") as terminal,
        living(mosquitto, tmp_path, DSMR_PORT=str(tmp_path / "p1"), DSMR_VERSION="3") as house,
    ):
        await listening(terminal.write)
        before = SYSTEM_CLOCK.now_ms()
        await play(terminal, texts)
        await house.until(lambda: len(house.rows("energy_import_tariff_2_kwh")) == 5)
        at = list(house.rows("energy_import_tariff_2_kwh"))
        gas = house.rows("gas_1__volume_m3")
    assert before <= at[0] <= at[-1] <= SYSTEM_CLOCK.now_ms()
    assert 1 <= len(gas) <= 2
    assert all(moment % 3_600_000 == 0 for moment in gas), "the gas meter has its own hour"
