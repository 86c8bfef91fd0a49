"""From a stick on a pseudo-terminal through real processes and a real broker into the database."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from connectors.im871a import hci
from connectors.im871a.simulator import EXAMPLE_KEY, EXAMPLE_METER, ExampleMeter, SimulatedStick
from links.serial_pty import PseudoTerminal
from tests.connectors.im871a.conftest import stick_on
from tests.connectors.im871a.telegram_data import reference
from tests.e2e.house import STORED, Process, until
from tests.support.mqtt import plain_client
from wattbus.mosquitto import Mosquitto


class Site:
    """Broker, connector `wmbus` and history as their own processes."""

    def __init__(self, folder: Path, broker: Mosquitto, **variables: str) -> None:
        self.folder = folder
        self.port_path = folder / "stick"
        self.meters_file = folder / "meters.json"
        common = {
            "MQTT_BROKER_HOST": broker.host,
            "MQTT_BROKER_PORT": str(broker.port),
            "DATA_DIRECTORY": str(folder / "data"),
        }
        own = {
            "CONNECTOR_NAME": "wmbus",
            "IM871A_PORT": str(self.port_path),
            "IM871A_METERS_FILE": str(self.meters_file),
        }
        self.connector = Process("im871a", {**common, **own, **variables}, folder / "im871a.log")
        self.history = Process("history", common, folder / "history.log")

    def tell(self) -> str:
        return self.connector.log[-3000:] + self.history.log[-3000:]

    def stored(self, key: str) -> list[Any]:
        path = self.folder / "data" / "history.db"
        if not path.exists():
            return []
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
            try:
                return [row[0] for row in database.execute(STORED, {"connector": "wmbus", "key": key})]
            except sqlite3.OperationalError:
                return []  # not migrated yet

    async def until_stored(self, key: str, values: list[Any]) -> None:
        await until(lambda: self.stored(key) == values, f"{len(values)} values of {key}", self.tell)

    async def until_set(self, stick: SimulatedStick) -> None:
        await until(lambda: any(q.message == hci.GET_CONFIGURATION for q in stick.asked), "the stick is set", self.tell)


@contextlib.asynccontextmanager
async def site(folder: Path, broker: Mosquitto, meters: dict[str, str], **variables: str) -> AsyncIterator[Site]:
    here = Site(folder, broker, **variables)
    here.meters_file.write_text(json.dumps(meters))
    await here.history.start()
    await here.connector.start()
    try:
        yield here
    finally:
        await here.connector.stop()
        await here.history.stop()


async def test_the_captured_series_with_the_stick_pulled_out_in_the_middle(
    tmp_path: Path, mosquitto: Mosquitto
) -> None:
    captured = json.loads(reference("wmbus-omnipower/omnipower_captured.json").read_text())
    series = [one for one in captured["telegrams"] if one["im871a_frame"]]
    good = [one["wmbusmeters_json"] for one in series if one["wmbusmeters_json"]]
    meter, half = captured["id"], len(series) // 2
    async with (
        site(tmp_path, mosquitto, {meter: captured["key"]}) as here,
        plain_client(mosquitto.port) as client,
    ):
        async with PseudoTerminal(here.port_path) as terminal, stick_on(terminal) as stick:
            await here.until_set(stick)
            for one in series[:half]:
                terminal.write(b"\x00\xa5\x82noise" + bytes.fromhex(one["im871a_frame"]))
            before = [one["wmbusmeters_json"] for one in series[:half] if one["wmbusmeters_json"]]
            await client.until(
                lambda: (
                    (last := client.last(f"wmbus/messages/{meter}__energy_kwh/value"))
                    and last["value"] == before[-1]["total_energy_consumption_kwh"]
                    and last["sequence"] == len(before)
                )
            )
        await client.until(lambda: "gone (unplugged?)" in client.last("wmbus/status")["detail"])
        assert client.last("wmbus/status")["state"] == "degraded"
        async with PseudoTerminal(here.port_path) as terminal, stick_on(terminal) as stick:
            await here.until_set(stick)
            for one in series[half:]:
                terminal.write(bytes.fromhex(one["im871a_frame"]))
            await here.until_stored(f"{meter}__energy_kwh", [one["total_energy_consumption_kwh"] for one in good])
        assert here.stored(f"{meter}__power_w") == [
            round(1000 * one["current_power_consumption_kw"], 6) for one in good
        ]


async def test_a_wrong_key_then_the_right_one_then_another_meter(tmp_path: Path, mosquitto: Mosquitto) -> None:
    key = f"{EXAMPLE_METER}__energy_kwh"
    async with (
        site(tmp_path, mosquitto, {EXAMPLE_METER: "00" * 16}) as here,
        plain_client(mosquitto.port) as client,
        PseudoTerminal(here.port_path) as terminal,
        stick_on(terminal) as stick,
    ):
        await here.until_set(stick)
        meter = ExampleMeter()
        stick.receives(meter.telegram())
        await client.until(lambda: "does not open" in client.last("wmbus/status")["detail"])
        here.meters_file.write_text(json.dumps({EXAMPLE_METER: EXAMPLE_KEY.hex()}))
        await until(lambda: "1 meters are listened to now" in here.connector.log, "read again", here.tell)
        stick.receives(meter.telegram())
        await here.until_stored(key, [1234.58])
        stick.receives(ExampleMeter("20000002").telegram())
        await client.until(lambda: bool(client.last("wmbus/messages/stranger__KAM-20000002/value")))
        assert client.last("wmbus/status")["state"] == "online"


async def test_a_silent_stick_is_told_of_and_helped(tmp_path: Path, mosquitto: Mosquitto) -> None:
    meters = {EXAMPLE_METER: EXAMPLE_KEY.hex()}
    async with (
        site(tmp_path, mosquitto, meters, IM871A_SILENT_SECONDS="0.5") as here,
        plain_client(mosquitto.port) as client,
        PseudoTerminal(here.port_path) as terminal,
        stick_on(terminal, faults={"silence"}) as stick,
    ):
        await client.until(lambda: "is silent" in (client.last("wmbus/status") or {"detail": ""})["detail"])
        await until(lambda: stick.resets > 0, "reset", here.tell)
        stick.faults = set()
        meter = ExampleMeter()
        stick.asked.clear()
        await here.until_set(stick)
        stick.receives(meter.telegram())
        await until(lambda: here.stored(f"{EXAMPLE_METER}__power_w") == [2000], "heard", here.tell)


async def test_stop_ends_the_process_cleanly(tmp_path: Path, mosquitto: Mosquitto) -> None:
    recalc = {"RECALC_GATEWAY_ID": "7", "RECALC_ALLOW_STOP": "TRUE"}
    async with site(tmp_path, mosquitto, {}, **recalc) as here, plain_client(mosquitto.port) as client:
        await client.message("wmbus/status")
        await client.publish("v2/7/sensors/set", [])
        await client.message("v2/7/sensors/answer")
        await client.publish("STOP", b"")
        await until(lambda: not here.connector.alive, "ended", here.tell)
        assert await here.connector.stop() == 0
        assert "STOP was received" in here.connector.log
        assert "Traceback" not in here.connector.log
        assert client.last("wmbus/status")["state"] == "offline"
