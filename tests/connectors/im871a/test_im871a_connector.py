"""The connector at a stick on a pseudo-terminal."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from connectors.im871a import hci
from connectors.im871a.connector import Im871a
from connectors.im871a.simulator import EXAMPLE_METER, ExampleMeter, SimulatedStick
from connectors.im871a.telegram import KeyNeeded, WrongKey
from links.serial_pty import PseudoTerminal
from tests.connectors.im871a.conftest import METERS, connector_for, stick_on
from tests.connectors.im871a.telegram_data import reference
from tests.support.link import WITHIN_S, RecordingLink, entered

WRONG = {EXAMPLE_METER: {"key": "00" * 16}}


async def is_set(stick: SimulatedStick, link_mode: int = 10) -> None:
    """The host has set the stick, and has seen that it took it."""
    async with asyncio.timeout(WITHIN_S):
        while not any(question.message == hci.GET_CONFIGURATION for question in stick.asked):
            await asyncio.sleep(0.01)
    assert stick.configuration["link_mode"] == link_mode
    assert stick.configuration["rssi"]


async def test_a_meter_of_ours_full_and_compact() -> None:
    async with (
        PseudoTerminal() as terminal,
        stick_on(terminal) as stick,
        entered(connector_for(terminal.path, IM871A_METERS=METERS)) as running,
    ):
        await is_set(stick)
        meter = ExampleMeter()
        for _ in range(9):
            stick.receives(meter.telegram(), rssi=145)
        await running.link.until(lambda link: len(link.raw) == 9)
        assert running.link.faults == []
        assert running.link.values[f"{EXAMPLE_METER}__energy_kwh"] == 1234.65
        assert running.link.values[f"{EXAMPLE_METER}__power_w"] == 2080
        assert running.link.values[f"{EXAMPLE_METER}__rssi_dbm"] == -50.0
        assert running.link.values[f"{EXAMPLE_METER}__status"] == "ok"
        assert running.link.away == {}


async def test_all_captured_telegrams_come_through_the_line_with_their_values() -> None:
    captured = json.loads(reference("wmbus-omnipower/omnipower_captured.json").read_text())
    good = [one for one in captured["telegrams"] if one["wmbusmeters_json"] and one["im871a_frame"]]
    meters = {captured["id"]: {"key": captured["key"]}}
    async with (
        PseudoTerminal() as terminal,
        stick_on(terminal) as stick,
        entered(connector_for(terminal.path, IM871A_METERS=meters)) as running,
    ):
        await is_set(stick)
        for number, one in enumerate(good, 1):
            terminal.write(bytes.fromhex(one["im871a_frame"]))
            await running.link.until(lambda link, number=number: len(link.raw) == number)
            values = running.link.values
            expected = one["wmbusmeters_json"]
            assert values[f"{captured['id']}__energy_kwh"] == expected["total_energy_consumption_kwh"]
            assert values[f"{captured['id']}__power_w"] == pytest.approx(
                1000 * expected["current_power_consumption_kw"]
            )
    assert len(good) > 20


async def test_the_firmware_cannot_do_what_is_asked() -> None:
    async with (
        PseudoTerminal() as terminal,
        stick_on(terminal, firmware=0x13),
        entered(connector_for(terminal.path)) as running,
    ):
        assert "set IM871A_LINK_MODE to T1 or C1A" in await running.ended()


async def test_a_stick_that_keeps_its_mode() -> None:
    async with (
        PseudoTerminal() as terminal,
        stick_on(terminal, faults={"stubborn"}),
        entered(connector_for(terminal.path, IM871A_LINK_MODE="T1")) as running,
    ):
        assert "does not take its configuration" in await running.ended()


async def test_something_else_at_the_port() -> None:
    async with PseudoTerminal() as terminal, entered(connector_for(terminal.path)) as running:
        assert "no answer from the stick" in await running.ended()


async def test_pulled_out() -> None:
    async with (
        PseudoTerminal() as terminal,
        stick_on(terminal) as stick,
        entered(connector_for(terminal.path)) as running,
    ):
        await is_set(stick)
        terminal.close()
        assert "gone (unplugged?)" in await running.ended()


@pytest.mark.parametrize(
    ("meters", "fault", "reason"),
    [
        (WRONG, WrongKey, "the key does not open its telegrams"),
        ({EXAMPLE_METER: {}}, KeyNeeded, "its telegrams are encrypted: it needs a key"),
    ],
)
async def test_the_meter_says_what_is_wrong_with_its_key(meters: Any, fault: type, reason: str) -> None:
    async with (
        PseudoTerminal() as terminal,
        stick_on(terminal) as stick,
        entered(connector_for(terminal.path, IM871A_METERS=meters)) as running,
    ):
        await is_set(stick)
        stick.receives(ExampleMeter().telegram())
        await running.link.until(lambda link: bool(link.faults))
        assert isinstance(running.link.faults[0], fault)
        assert running.link.away == {EXAMPLE_METER: reason}
        assert running.link.values == {}


async def test_a_telegram_in_clear_of_a_meter_with_a_key_says_nothing() -> None:
    """Anybody could have sent it."""
    address = ExampleMeter().telegram()[1:10]
    in_clear = address + bytes.fromhex("78 04 04 40420f00")  # 10,000 kWh
    async with (
        PseudoTerminal() as terminal,
        stick_on(terminal) as stick,
        entered(connector_for(terminal.path, IM871A_METERS=METERS)) as running,
    ):
        await is_set(stick)
        stick.receives(bytes([len(in_clear)]) + in_clear)
        await running.link.until(lambda link: bool(link.faults))
        assert "not encrypted" in running.link.away[EXAMPLE_METER]
        assert running.link.values == {}
        stick.receives(ExampleMeter().telegram())
        await running.link.until(lambda link: not link.away)
    async with (
        PseudoTerminal() as terminal,
        stick_on(terminal) as stick,
        entered(connector_for(terminal.path, IM871A_METERS={EXAMPLE_METER: {}})) as running,
    ):
        await is_set(stick)
        stick.receives(bytes([len(in_clear)]) + in_clear)
        await running.link.until(lambda link: link.values.get(f"{EXAMPLE_METER}__energy_kwh") == 10_000)


async def test_a_key_is_changed_while_it_runs(tmp_path: Path) -> None:
    file = tmp_path / "meters.json"
    file.write_text(json.dumps(WRONG))
    async with PseudoTerminal() as terminal, stick_on(terminal) as stick:
        connector = connector_for(terminal.path, IM871A_METERS_FILE=str(file))
        accompany = asyncio.create_task(connector.accompany())
        async with entered(connector) as running:
            await is_set(stick)
            meter = ExampleMeter()
            stick.receives(meter.telegram())
            await running.link.until(lambda link: bool(link.away))
            file.write_text(json.dumps(METERS))
            await until_known(connector, EXAMPLE_METER)
            stick.receives(meter.telegram())
            await running.link.until(lambda link: not link.away)
            assert running.link.values[f"{EXAMPLE_METER}__energy_kwh"] == 1234.58
        accompany.cancel()


async def until_known(connector: Im871a, meter_id: str) -> None:
    async with asyncio.timeout(WITHIN_S):
        while (meter := connector.meters.get(meter_id)) is None or meter.name != "main meter":
            await asyncio.sleep(0.05)


async def test_a_file_that_makes_no_sense_changes_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "meters.yaml"
    file.write_text(f"'{EXAMPLE_METER}': {{key: '{METERS[EXAMPLE_METER]['key']}'}}\n")
    connector = connector_for(IM871A_METERS_FILE=str(file))
    assert connector.meters.ids == [EXAMPLE_METER]
    file.write_text(f"'{EXAMPLE_METER}': {{key: '00'}}\n")
    connector._file.read()
    connector._file.read()
    assert connector.meters.ids == [EXAMPLE_METER]
    assert caplog.text.count("a key has 32 hexadecimal digits") == 1
    file.unlink()
    connector._file.read()
    assert connector.meters.ids == [EXAMPLE_METER]


async def test_strangers_are_told_of_once_and_their_values_never() -> None:
    async with (
        PseudoTerminal() as terminal,
        stick_on(terminal) as stick,
        entered(connector_for(terminal.path)) as running,
    ):
        await is_set(stick)
        meter = ExampleMeter()
        for _ in range(3):
            stick.receives(meter.telegram())
        stick.receives(ExampleMeter(meter="20000002").telegram())
        await running.link.until(lambda link: len(link.raw) == 2)
        assert running.link.values == {
            "stranger__KAM-20000001": "KAM 20000001, version 48, electricity, needs a key",
            "stranger__KAM-20000002": "KAM 20000002, version 48, electricity, needs a key",
        }


async def test_neighbours_may_be_left_out() -> None:
    async with PseudoTerminal() as terminal, stick_on(terminal) as stick:
        connector = connector_for(terminal.path, IM871A_METERS=METERS, IM871A_UNKNOWN_METERS="FALSE")
        async with entered(connector) as running:
            await is_set(stick)
            stick.receives(ExampleMeter(meter="20000002").telegram())
            stick.receives(ExampleMeter().telegram())
            await running.link.until(lambda link: bool(link.raw))
            assert not any("stranger" in key for key in running.link.values)


async def test_a_repeater_says_it_all_again() -> None:
    async with (
        PseudoTerminal() as terminal,
        stick_on(terminal) as stick,
        entered(connector_for(terminal.path, IM871A_METERS=METERS)) as running,
    ):
        await is_set(stick)
        meter = ExampleMeter()
        first, second = meter.telegram(), meter.telegram()
        hopped = first[:11] + bytes([first[11] | 0x10]) + first[12:]
        for telegram in (first, first, hopped, second):
            stick.receives(telegram)
        await running.link.until(lambda link: f"{EXAMPLE_METER}__power_w" in link.values and len(link.raw) >= 2)
        assert len(running.link.raw) == 2


async def test_noise_cut_frames_and_wrong_checksums_cost_themselves_only() -> None:
    async with (
        PseudoTerminal() as terminal,
        stick_on(terminal, faults={"noise", "cut", "crc"}) as stick,
        entered(connector_for(terminal.path, IM871A_METERS=METERS)) as running,
    ):
        await is_set(stick)
        meter, sent = ExampleMeter(), []
        for number in range(1, 31):
            telegram = meter.telegram()
            stick.receives(telegram)
            sent.append(telegram.hex())
            if number % 3 == 0:
                stick.faults = {"noise", "cut"} if number % 2 else {"noise", "crc"}
            await asyncio.sleep(0.005)  # faster than any radio, slow enough for the terminal's buffer
        stick.faults = set()
        stick.receives(last := meter.telegram())
        await running.link.until(lambda link: any(raw["telegram"] == last.hex() for raw in link.raw))
        heard = [raw["telegram"] for raw in running.link.raw]
        assert set(heard) <= {*sent, last.hex()}
        assert len(heard) >= 20
        assert running.link.faults == []


async def test_a_silent_stick_is_opened_again_then_reset_then_reported() -> None:
    async with PseudoTerminal() as terminal, stick_on(terminal, faults={"silence"}) as stick:
        connector = connector_for(terminal.path, IM871A_SILENT_SECONDS="0.2", IM871A_METERS=METERS)
        link = RecordingLink(connector)
        said = []
        for _ in range(3):
            async with entered(connector, link) as running:
                said.append(await running.ended())
            stick.faults = {"silence"}
        assert [
            next(
                part for part in ("opened again and reset", "it is opened again", "did not help") if part in text
            ).replace("did not help", "resetting it did not help")
            for text in said
        ] == ["it is opened again", "opened again and reset", "resetting it did not help"]
        assert stick.resets == 1
        stick.faults = set()
        stick.asked.clear()
        async with entered(connector, link):
            await is_set(stick)
            stick.receives(ExampleMeter().telegram())
            await link.until(lambda link: bool(link.values))


async def test_a_meter_that_is_not_heard_any_more_is_away_and_the_other_is_not() -> None:
    meters = {**METERS, "20000002": METERS[EXAMPLE_METER]}
    async with PseudoTerminal() as terminal, stick_on(terminal) as stick:
        connector = connector_for(terminal.path, IM871A_METERS=meters, IM871A_METER_SILENT_SECONDS="1")
        async with entered(connector) as running:
            await is_set(stick)
            meter = ExampleMeter()

            async def keeps_talking() -> None:
                while True:
                    stick.receives(meter.telegram())
                    await asyncio.sleep(0.1)

            talking = asyncio.create_task(keeps_talking())
            await running.link.until(lambda link: bool(link.away))
            assert running.link.away == {"20000002": "not heard for 1 s"}
            stick.receives(ExampleMeter(meter="20000002").telegram())
            await running.link.until(lambda link: not link.away)
            talking.cancel()
