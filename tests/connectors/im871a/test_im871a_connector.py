"""Telegrams of meters that are ours, and of others, through a stick on a pseudo-terminal."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from connectors.im871a import hearing
from connectors.im871a.receivers.heard import HeardTelegram
from connectors.im871a.reception import UNREADABLE_TAILS
from connectors.im871a.simulated_air import EXAMPLE_KEY, EXAMPLE_METER, ExampleMeter
from connectors.im871a.simulated_stick import SimulatedStick
from links.serial_pty import PseudoTerminal
from tests.connectors.im871a.conftest import (
    METERS,
    Scene,
    connector_for,
    listening,
    stick_on,
    telegram_in_clear,
    telegrams_heard,
    until_set,
)
from tests.connectors.im871a.telegram_data import driver_tests, reference
from wattbus.errors import CommandRejected, DecodeError
from wattbus.runtime.readings import Plausibility
from wattbus.testing.clock import VirtualClock
from wattbus.testing.link import RecordingLink, entered

ENERGY = f"{EXAMPLE_METER}__energy_kwh"


async def test_a_meter_of_ours_full_and_compact() -> None:
    async with listening(IM871A_METERS=METERS) as scene:
        meter = ExampleMeter()
        for _ in range(9):
            scene.stick.receives(meter.telegram(), rssi=145)
        await scene.link.until(lambda link: len(link.raw) == 9)
        assert scene.link.faults == []
        assert scene.link.values == {
            ENERGY: 1234.65,
            f"{EXAMPLE_METER}__energy_backward_kwh": 0,
            f"{EXAMPLE_METER}__power_w": 2080,
            f"{EXAMPLE_METER}__power_backward_w": 0,
            f"{EXAMPLE_METER}__rssi_dbm": -50.0,
        }
        assert scene.link.units == []


async def test_all_captured_telegrams_come_through_the_line_with_their_values() -> None:
    captured = json.loads(reference("wmbus-omnipower/omnipower_captured.json").read_text())
    good = [one for one in captured["telegrams"] if one["wmbusmeters_json"] and one["im871a_frame"]]
    async with listening(IM871A_METERS={captured["id"]: {"key": captured["key"]}}) as scene:
        for number, one in enumerate(good, 1):
            scene.terminal.write(bytes.fromhex(one["im871a_frame"]))
            await scene.link.until(lambda link, number=number: len(link.raw) == number)
            expected = one["wmbusmeters_json"]
            values = scene.link.values
            assert values[f"{captured['id']}__energy_kwh"] == expected["total_energy_consumption_kwh"]
            assert values[f"{captured['id']}__power_w"] == round(1000 * expected["current_power_consumption_kw"], 6)
    assert len(good) > 20


async def test_stray_bytes_behind_the_records_are_kept_and_counted() -> None:
    """A telegram from a public tracker: 123.529 m³, and two bytes too many."""
    telegram = bytes.fromhex("1a44ae4c4225222068077a55000000041389e20100023b0000de47")
    before = unreadable_tails()
    async with listening(IM871A_METERS={"20222542": {}}) as scene:
        await scene.hears(telegram)
        assert scene.link.values["20222542__volume_m3"] == 123.529
        assert scene.link.values["20222542__unreadable"] == "de47"
        assert scene.link.units == []
    assert unreadable_tails() == before + 1


def unreadable_tails() -> float:
    [metric] = UNREADABLE_TAILS.collect()
    return sum(one.value for one in metric.samples if one.name.endswith("_total"))


async def test_registers_are_announced_as_counters() -> None:
    async with listening(IM871A_METERS=METERS) as scene:
        await scene.hears(ExampleMeter().telegram())
        announced = scene.link.announced
        assert {key: datapoint.counter for key, datapoint in announced.items()} == {
            ENERGY: True,
            f"{EXAMPLE_METER}__energy_backward_kwh": True,
            f"{EXAMPLE_METER}__power_w": False,
            f"{EXAMPLE_METER}__power_backward_w": False,
            f"{EXAMPLE_METER}__rssi_dbm": False,
        }
        energy = announced[ENERGY]
        assert (energy.unit, energy.description, energy.device) == ("kW.h", "main meter: energy", EXAMPLE_METER)
        # What a replay, or another meter with this number, would do.
        plausibility = Plausibility()
        assert plausibility.quality(energy, 100.0, 1) is None
        assert plausibility.quality(energy, 99.0, 2) == "implausible"


async def test_earlier_values_and_extremes_are_no_counters() -> None:
    """A water meter: volume, volume at the due date, and the greatest flow of the month."""
    content = "7a 01 00 0000 0413 10270000 4413 e8030000 426c 2129 12 3b 0500"
    async with listening(IM871A_METERS={"12345678": {}}) as scene:
        await scene.hears(telegram_in_clear("12345678", content, version_and_type="0107"))
        assert {key for key, datapoint in scene.link.announced.items() if datapoint.counter} == {"12345678__volume_m3"}
        assert scene.link.values["12345678__volume_storage_1_m3"] == 1


async def test_a_value_that_was_none_at_first_is_described_when_it_is_one() -> None:
    async with listening(IM871A_METERS={"12345678": {}}) as scene:
        for flow, data_format in (("0080", "unknown"), ("0080", "unknown"), ("0500", "generic_numeric")):
            await scene.hears(telegram_in_clear("12345678", f"78 023b {flow}"))
            assert scene.link.announced["12345678__volume_flow_m3_h"].data_format == data_format


async def test_a_status_is_told_only_by_meters_that_have_one() -> None:
    """Of two kinds of telegrams that a meter sends, one may have a status byte and the other none."""
    with_status = telegram_in_clear("12345678", "7a 01 04 0000 0406 d2040000")
    without = telegram_in_clear("12345678", "78 0406 d2040000")
    async with listening(IM871A_METERS={"12345678": {}}) as scene:
        await scene.hears(with_status, without)
        assert scene.link.values["12345678__status"] == "power_low"
        assert "12345678__status" not in scene.link.readings[1]


async def test_meters_take_no_commands() -> None:
    with pytest.raises(CommandRejected, match="no commands"):
        await connector_for().write("x", 1)


# -- what a compact frame needs ---------------------------------------------------------------------------------------


async def test_a_learnt_format_travels_in_the_raw_message_and_decodes_years_later() -> None:
    """The example of EN 13757-3:2018 annex G.5."""
    full = telegram_in_clear("12345678", "78 02 02 d204 02 15 2e16 02 2a 3423")
    compact = telegram_in_clear("12345678", "79 313b 42a6 d204 2e16 3423")
    async with listening(IM871A_METERS={"12345678": {}}) as scene:
        await scene.hears(compact, full, compact)
        assert len(scene.link.faults) == 1
        assert scene.link.raw[2]["format"] == "02020215022a"
        assert scene.link.readings[1]["12345678__volume_m3"] == 567.8
        replayed = RecordingLink(connector_for(IM871A_METERS={"12345678": {}}))
        replayed.emit(scene.link.raw[2])
        assert replayed.readings == scene.link.readings[1:]


async def test_a_meters_own_content_is_read_though_it_shows_no_format() -> None:
    """Techem's telegrams are none of the standard's records: asking them for their format must not refuse them."""
    tests, _ = driver_tests()
    frame = next(test.frame for test in tests if test.driver == "compact5")
    number = frame[4:8][::-1].hex()
    async with listening(IM871A_METERS={number: {}}) as scene:
        await scene.hears(frame)
        assert scene.link.faults == []
        assert scene.link.units == []
        assert scene.link.values


# -- unconfigured meters ----------------------------------------------------------------------------------------------


async def test_unconfigured_meters_are_told_of_once_and_their_values_never() -> None:
    in_clear = telegram_in_clear("20000003", "7a 01 00 0000 0406 d2040000")
    async with listening() as scene:
        meter = ExampleMeter()
        telegrams = [meter.telegram() for _ in range(3)]
        await scene.hears(*telegrams, ExampleMeter(meter="20000002").telegram(), in_clear)
        assert scene.link.values == {
            "unconfigured_meter__KAM-20000001": "KAM 20000001, version 48, electricity, needs a key",
            "unconfigured_meter__KAM-20000002": "KAM 20000002, version 48, electricity, needs a key",
            "unconfigured_meter__KAM-20000003": "KAM 20000003, version 48, electricity",
        }
        assert "telegram" not in json.dumps(scene.link.raw)


async def test_neighbours_may_be_left_out() -> None:
    async with listening(IM871A_METERS=METERS, IM871A_UNKNOWN_METERS="FALSE") as scene:
        await scene.hears(ExampleMeter(meter="20000002").telegram(), ExampleMeter().telegram())
        assert len(scene.link.raw) == 1
        assert not any("unconfigured" in key for key in scene.link.values)


async def test_who_plays_with_a_transmitter_fills_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(hearing, "MOST_NEIGHBOURS", 5)
    async with listening() as scene:
        await scene.hears(*(ExampleMeter(meter=f"{number:08d}").telegram() for number in range(1, 10)))
        assert len(scene.link.raw) == 5
        assert caplog.text.count("no more of them are announced") == 1


async def test_an_unconfigured_meter_that_is_configured_is_none_any_more() -> None:
    async with listening() as scene:
        meter = ExampleMeter()
        await scene.hears(meter.telegram())
        configure(scene, METERS)
        assert scene.link.values == {f"unconfigured_meter__KAM-{EXAMPLE_METER}": None}
        await scene.hears(meter.telegram())
        assert scene.link.values[ENERGY] == 1234.58
        configure(scene, {})
        assert scene.link.units == [(EXAMPLE_METER, False, "not listened to any more"), (EXAMPLE_METER, True, "")]
        await scene.hears(meter.telegram())
        assert scene.link.values[f"unconfigured_meter__KAM-{EXAMPLE_METER}"].endswith("needs a key")


def configure(scene: Scene, meters: dict[str, Any]) -> None:
    """As a file does that is read again; a second later the connector looks around."""
    scene.connector.meters.replace("file", connector_for(IM871A_METERS=meters)._settings.im871a_meters)
    scene.connector._reception.look_around()


async def test_a_meter_that_went_while_the_stick_was_away_is_told_of_when_it_is_back(tmp_path: Path) -> None:
    connector = connector_for(tmp_path / "stick", IM871A_METERS={EXAMPLE_METER: {}})
    link = RecordingLink(connector)
    async with at_stick(tmp_path / "stick") as stick, entered(connector, link):
        await until_set(stick)
        stick.receives(ExampleMeter().telegram())
        await link.until(lambda link: EXAMPLE_METER in link.away)
    connector.meters.replace("settings", {})
    assert EXAMPLE_METER in link.away
    async with at_stick(tmp_path / "stick"), entered(connector, link):
        await link.until(lambda link: link.away == {})


@contextlib.asynccontextmanager
async def at_stick(path: Path) -> AsyncIterator[SimulatedStick]:
    async with PseudoTerminal(path) as terminal, stick_on(terminal) as stick:
        yield stick


# -- keys that change -------------------------------------------------------------------------------------------------


async def test_a_key_is_changed_while_it_runs() -> None:
    async with listening(IM871A_METERS={EXAMPLE_METER: {"key": "00" * 16}}) as scene:
        meter = ExampleMeter()
        await scene.hears(*(meter.telegram() for _ in range(4)))
        assert scene.link.away == {EXAMPLE_METER: "the key does not open its telegrams"}
        configure(scene, METERS)
        await scene.hears(meter.telegram())
        assert scene.link.away == {}
        assert scene.link.values[ENERGY] == 1234.61


async def test_raw_messages_that_came_before_the_key_are_read_with_it() -> None:
    async with listening(IM871A_METERS={EXAMPLE_METER: {}}) as scene:
        await scene.hears(ExampleMeter().telegram())
        [raw] = scene.link.raw
    for meters, readable in (({}, False), (METERS, True)):
        connector = connector_for(IM871A_METERS=meters)
        if readable:
            [reading] = connector.decode(raw)
            assert reading.values[ENERGY].value == 1234.57
        else:
            with pytest.raises(DecodeError, match="there is no key"):
                connector.decode(raw)


async def test_a_name_is_changed_while_it_runs() -> None:
    async with listening(IM871A_METERS=METERS) as scene:
        meter = ExampleMeter()
        await scene.hears(meter.telegram())
        configure(scene, {EXAMPLE_METER: {"name": "cellar"}})
        await scene.hears(meter.telegram())
        assert scene.link.announced[ENERGY].description == "cellar: energy"
        assert scene.link.values[ENERGY] == 1234.58  # the key is still that of the settings


async def test_no_key_anywhere_but_in_the_registry() -> None:
    key = EXAMPLE_KEY.hex()
    async with listening(IM871A_METERS=METERS) as scene:
        await scene.hears(ExampleMeter().telegram())
        meter = scene.connector.meters.get(EXAMPLE_METER)
        told = f"{scene.link.raw} {scene.link.announced} {scene.link.values} {meter!r} {scene.connector._settings!r}"
        assert key not in told
        assert repr(EXAMPLE_KEY) not in told


# -- bad lines, quiet meters ------------------------------------------------------------------------------------------


async def test_noise_cut_frames_and_wrong_checksums_cost_themselves_only() -> None:
    async with listening(IM871A_METERS=METERS) as scene:
        meter, sent = ExampleMeter(), []
        for number in range(1, 31):
            telegram = meter.telegram()
            scene.stick.faults = {"noise", "cut"} if number % 2 else {"noise", "crc"}
            scene.stick.receives(telegram)
            sent.append(telegram.hex())
            await asyncio.sleep(0.005)  # faster than any radio, slow enough for the terminal's buffer
        scene.stick.faults = set()
        scene.stick.receives(last := meter.telegram())
        await scene.link.until(lambda link: any(raw.get("telegram") == last.hex() for raw in link.raw))
        heard = [raw["telegram"] for raw in scene.link.raw]
        assert set(heard) <= {*sent, last.hex()}
        assert len(heard) >= 20
        assert scene.link.faults == []


async def test_what_is_no_telegram_at_all_is_counted_and_left() -> None:
    before = telegrams_heard("unreadable")
    async with listening() as scene:
        await scene.hears(bytes([3]) + bytes(3), b"\x00")
        assert scene.link.raw == []
    assert telegrams_heard("unreadable") == before + 2


async def test_a_meter_that_is_not_heard_any_more_is_away_and_the_others_are_not() -> None:
    clock, key = VirtualClock(), EXAMPLE_KEY.hex()
    meters = {
        **METERS,
        "20000002": {"key": key},
        "20000003": {"key": key, "silent_seconds": 10_000},
        "20000004": {"key": key, "silent_seconds": 0},
    }
    connector = connector_for(clock=clock, IM871A_METERS=meters)
    reception, link = connector._reception, RecordingLink(connector)

    def away_after(seconds: float) -> list[str]:
        clock.forward(seconds)
        reception.look_around()
        return list(link.away)

    with reception.on(link):
        assert away_after(0) == []
        assert away_after(3599) == []
        reception.take(HeardTelegram(ExampleMeter().telegram()))
        assert away_after(1) == ["20000002"]
        assert link.away["20000002"] == "not heard for 3600 s"
    clock.forward(50_000)  # the stick is away: that is nobody's silence
    with reception.on(link):
        assert away_after(3598) == ["20000002"]
        assert away_after(1) == ["20000002", EXAMPLE_METER]
        assert away_after(2800) == ["20000002", EXAMPLE_METER]
        assert away_after(1) == ["20000002", EXAMPLE_METER, "20000003"]
        assert away_after(1e9) == ["20000002", EXAMPLE_METER, "20000003"]


async def test_a_repeated_telegram_says_that_the_meter_is_there() -> None:
    async with listening(IM871A_METERS={EXAMPLE_METER: {**METERS[EXAMPLE_METER], "silent_seconds": 0.5}}) as scene:
        telegram = ExampleMeter().telegram()
        for _ in range(8):
            await scene.hears(telegram)
            scene.connector._reception.look_around()
            await asyncio.sleep(0.1)
        assert scene.link.units == []
        await scene.link.until(lambda link: link.away == {EXAMPLE_METER: "not heard for 0.5 s"})
