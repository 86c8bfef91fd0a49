"""From a stick on a pseudo-terminal through real processes and a real broker into the database."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from connectors.im871a.simulated_air import EXAMPLE_KEY, EXAMPLE_METER, ExampleMeter
from connectors.im871a.simulated_stick import SimulatedStick
from links.serial_pty import PseudoTerminal
from tests.connectors.im871a.conftest import is_set, stick_on
from tests.connectors.im871a.telegram_data import reference
from tests.e2e.house import until
from tests.support.site import Site, site
from wattbus.mqtt.embedded_broker import Mosquitto
from wattbus.testing.mqtt import plain_client
from wattbus.testing.waiting import PATIENCE_S

KEYS = {EXAMPLE_METER: EXAMPLE_KEY.hex()}


@contextlib.asynccontextmanager
async def house(
    folder: Path, broker: Mosquitto, meters: dict[str, str], **variables: str
) -> AsyncIterator[tuple[Site, Path, Path]]:
    """Connector `wmbus` and history; where the stick belongs, and the file of meters."""
    port, file = folder / "stick", folder / "meters.json"
    file.write_text(json.dumps(meters))
    variables = {"IM871A_PORT": str(port), "IM871A_METERS_FILE": str(file), **variables}
    async with site(folder, broker, "im871a", "wmbus", **variables) as here:
        yield here, port, file


async def until_set(here: Site, stick: SimulatedStick) -> None:
    await until(lambda: is_set(stick), "the stick is set", here.tell)


async def test_the_captured_series_with_the_stick_pulled_out_in_the_middle(
    tmp_path: Path, mosquitto: Mosquitto
) -> None:
    """Byte for byte as a real stick sent it; at the end the raw messages say the same again."""
    captured = json.loads(reference("wmbus-omnipower/omnipower_captured.json").read_text())
    series = [one for one in captured["telegrams"] if one["im871a_frame"]]
    good = [one["wmbusmeters_json"] for one in series if one["wmbusmeters_json"]]
    meter, half = captured["id"], len(series) // 2
    energies = [one["total_energy_consumption_kwh"] for one in good]
    async with (
        house(tmp_path, mosquitto, {meter: captured["key"]}, SEND_RAW_MESSAGE_TO_DB="TRUE") as (here, port, _),
        plain_client(mosquitto.port) as client,
    ):
        async with PseudoTerminal(port) as terminal, stick_on(terminal) as stick:
            await until_set(here, stick)
            for one in series[:half]:
                terminal.write(b"\x00\xa5\x82noise" + bytes.fromhex(one["im871a_frame"]))
            before = sum(one["wmbusmeters_json"] is not None for one in series[:half])
            await here.until_stored(f"{meter}__energy_kwh", energies[:before])
        await here.until_state(client, "degraded", "gone (unplugged?)")
        async with PseudoTerminal(port) as terminal, stick_on(terminal) as stick:
            await until_set(here, stick)
            for one in series[half:]:
                terminal.write(bytes.fromhex(one["im871a_frame"]))
            await here.until_stored(f"{meter}__energy_kwh", energies)
            await here.until_state(client, "online")
        powers = [round(1000 * one["current_power_consumption_kw"], 6) for one in good]
        assert here.stored(f"{meter}__power_w") == powers
        raw = await client.messages("wmbus/raw_message_to_db", len(series))
    assert decoded_again(raw, meter, captured["key"]) == energies


def decoded_again(raw: list[object], meter: str, key: str) -> list[float]:
    """What `wattbus decode` makes of raw messages."""
    lines = "".join(json.dumps(message) + "\n" for message in raw)
    command = [sys.executable, "-m", "wattbus.cli", "decode", "im871a"]
    environment = {**os.environ, "CONNECTOR_NAME": "x", "IM871A_METERS": json.dumps({meter: key})}
    done = subprocess.run(
        command, input=lines, env=environment, capture_output=True, text=True, check=False, timeout=PATIENCE_S
    )
    assert done.returncode == 0, done.stdout
    return [json.loads(line)["values"][f"{meter}__energy_kwh"] for line in done.stdout.splitlines()]


async def test_a_wrong_key_then_the_right_one_then_another_meter(tmp_path: Path, mosquitto: Mosquitto) -> None:
    async with (
        house(tmp_path, mosquitto, {EXAMPLE_METER: "00" * 16}) as (here, port, file),
        plain_client(mosquitto.port) as client,
        PseudoTerminal(port) as terminal,
        stick_on(terminal) as stick,
    ):
        await until_set(here, stick)
        meter = ExampleMeter()
        for _ in range(3):
            stick.receives(meter.telegram())
        await here.until_state(client, "degraded", f"{EXAMPLE_METER}: the key does not open its telegrams")
        file.write_text(json.dumps(KEYS))
        await until(lambda: "has changed: 1 meters in it" in here.connector.log, "read again", here.tell)
        stick.receives(meter.telegram())
        await here.until_stored(f"{EXAMPLE_METER}__energy_kwh", [1234.6])
        await here.until_state(client, "online")
        stick.receives(ExampleMeter("20000002").telegram())
        await client.message("wmbus/messages/unconfigured_meter__KAM-20000002/value")
        assert client.last("wmbus/status")["state"] == "online"
        assert here.connector.log.count("the key does not open") == 1
        assert EXAMPLE_KEY.hex() not in here.connector.log


async def test_a_counter_that_runs_backwards_is_marked(tmp_path: Path, mosquitto: Mosquitto) -> None:
    async with (
        house(tmp_path, mosquitto, KEYS) as (here, port, _),
        plain_client(mosquitto.port) as client,
        PseudoTerminal(port) as terminal,
        stick_on(terminal) as stick,
    ):
        await until_set(here, stick)
        meter = ExampleMeter()
        for energy in (1000, 1001, 10):
            meter._energy_10wh = energy
            stick.receives(meter.telegram())
        await here.until_stored(f"{EXAMPLE_METER}__energy_kwh", [10.01, 10.02, 0.11])
        told = await client.messages(f"wmbus/messages/{EXAMPLE_METER}__energy_kwh/value", 3)
        assert [(one["value"], one.get("quality")) for one in told] == [
            (10.01, None),
            (10.02, None),
            (0.11, "implausible"),
        ]


async def test_a_silent_stick_is_told_of_and_helped(tmp_path: Path, mosquitto: Mosquitto) -> None:
    async with (
        house(tmp_path, mosquitto, KEYS, IM871A_SILENT_SECONDS="0.5") as (here, port, _),
        plain_client(mosquitto.port) as client,
        PseudoTerminal(port) as terminal,
        stick_on(terminal, faults={"silence"}) as stick,
    ):
        await here.until_state(client, "degraded", "is silent")
        await until(lambda: stick.resets > 0, "reset", here.tell)
        stick.faults = set()
        meter = ExampleMeter()
        await until(says(stick, meter, here), "heard", here.tell)
        assert here.stored(f"{EXAMPLE_METER}__power_w")[0] >= 2000


def says(stick: SimulatedStick, meter: ExampleMeter, here: Site) -> Callable[[], bool]:
    """The meter speaks until it is in the database: the line may be between two openings."""

    def heard() -> bool:
        stick.receives(meter.telegram())
        return bool(here.stored(f"{EXAMPLE_METER}__power_w"))

    return heard


async def test_stop_ends_the_process_cleanly(tmp_path: Path, mosquitto: Mosquitto) -> None:
    recalc = {"RECALC_GATEWAY_ID": "7", "RECALC_ALLOW_STOP": "TRUE"}
    async with (
        house(tmp_path, mosquitto, {}, **recalc) as (here, _, _),
        plain_client(mosquitto.port) as client,
    ):
        await client.message("history/status")  # it can end in order from here on
        async with asyncio.timeout(PATIENCE_S):
            while not client.on("v2/7/sensors/answer"):  # until ReCalc's own connection is there
                await client.publish("v2/7/sensors/set", [])
                await asyncio.sleep(0.1)
        await client.publish("STOP", b"")
        await until(lambda: not here.connector.alive, "ended", here.tell)
        assert await here.connector.stop() == 0
        assert "STOP was received" in here.connector.log
        assert "Traceback" not in here.connector.log
        assert client.last("wmbus/status")["state"] == "offline"
