"""The connector on a pseudo-terminal and on TCP: what it makes of what it hears, and of silence."""

from __future__ import annotations

import asyncio
import logging
import re
from itertools import islice
from typing import Any

import pytest

from connectors.dsmr_p1 import meter_time
from connectors.dsmr_p1.cipher import Keys, encrypt_frame
from connectors.dsmr_p1.clock_zone import STEADY
from connectors.dsmr_p1.connector import DAMAGED_TO_TELL, DsmrP1, create
from connectors.dsmr_p1.line_settings import FAST, SLOW, Modes, serial_port
from connectors.dsmr_p1.memory import GAPS
from connectors.dsmr_p1.meter_time import HOUR_MS
from connectors.dsmr_p1.settings import LUXEMBOURGS_AUTHENTICATION_KEY
from connectors.dsmr_p1.simulated_manners import MANNERS
from connectors.dsmr_p1.simulated_meter import SimulatedMeter, signed
from connectors.dsmr_p1.simulator import meters_telegrams, with_clock
from links.serial_pty import PseudoTerminal
from tests.connectors.dsmr_p1.conftest import TelegramLink, listening, play, running, settings_for, telegram
from tests.connectors.dsmr_p1.oracle import ms
from wattbus.clock import SYSTEM_CLOCK
from wattbus.connector import Datapoint
from wattbus.errors import CommandRejected, LinkSilent, causes
from wattbus.testing.clock import VirtualClock
from wattbus.testing.link import Entered

KEY = "000102030405060708090A0B0C0D0E0F"
KEYS = Keys(bytes.fromhex(KEY), bytes.fromhex(LUXEMBOURGS_AUTHENTICATION_KEY))


def now_ms() -> int:
    return SYSTEM_CLOCK.now_ms() // 1000 * 1000


def telegrams(name: str, number: int, step_s: float = 1.0, start_ms: int | None = None) -> list[str]:
    start_ms = now_ms() - 3_600_000 if start_ms is None else start_ms
    return list(islice(meters_telegrams(SimulatedMeter(MANNERS[name], start_ms), step_s), number))


async def say(terminal: PseudoTerminal, run: Entered, text: str | bytes, expected: int) -> None:
    """Say it when the connector listens, and wait for so many raw messages."""
    if not run.link.raw:
        await listening(terminal.write)
    terminal.write(text if isinstance(text, bytes) else text.encode())
    await run.link.until(lambda _: len(run.link.raw) >= expected)


async def opened(terminal: PseudoTerminal, baudrate: int = 115_200) -> None:
    """Wait until the connector listens, at this rate."""
    await listening(terminal.write)
    assert terminal.baudrate == baudrate


# -- hearing -----------------------------------------------------------------------------------------------------------


async def test_every_telegram_becomes_a_raw_message_with_its_text(terminal: PseudoTerminal) -> None:
    texts = telegrams("netherlands 5", 3)
    async with running(create(settings_for(DSMR_PORT=terminal.path))) as run:
        before = SYSTEM_CLOCK.now_ms()
        await say(terminal, run, "noise" + "".join(texts), 3)
        assert run.link.telegrams == texts
        assert all(before <= raw["received"] <= SYSTEM_CLOCK.now_ms() for raw in run.link.raw)
        assert set(run.link.raw[0]) == {"telegram", "received"}
    assert list(create(settings_for()).datapoints()) == []


async def test_a_telegram_in_shreds_over_tcp() -> None:
    text = telegrams("belgium", 1)[0]

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for byte in text.encode():
            writer.write(bytes((byte,)))
            await writer.drain()
            await asyncio.sleep(0)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with running(create(settings_for(DSMR_PORT=f"socket://127.0.0.1:{port}"))) as run:
            assert "the far end has closed the connection" in await run.ended()
    assert run.link.telegrams == [text]


async def test_datapoints_are_announced_with_their_intervals_and_counters(terminal: PseudoTerminal) -> None:
    async with running(create(settings_for(DSMR_PORT=terminal.path, DSMR_METER_CLOCK="always"))) as run:
        await say(terminal, run, telegram("V5"), 1)
    announced = run.link.announced
    assert announced["energy_import_tariff_1_kwh"] == Datapoint(
        "energy_import_tariff_1_kwh",
        data_format="generic_numeric",
        unit="kW.h",
        description="energy taken from the grid, tariff 1 (low) (1-0:1.8.1)",
        example_value=4.426,
        expected_interval_s=1.0,
        device="meter",
        counter=True,
    )
    assert announced["gas_1__volume_m3"].expected_interval_s == 3600.0
    assert announced["gas_1__volume_m3"].counter
    assert announced["equipment_id"].data_format == "generic_text"
    assert not announced["power_import_kw"].counter
    assert announced.keys() >= run.link.values.keys() - {"identification"}
    assert len(run.link.values) > 30


async def test_a_telegram_without_crc_waits_for_the_second_and_keeps_its_time(terminal: PseudoTerminal) -> None:
    texts = telegrams("netherlands 3", 3)
    async with running(create(settings_for(DSMR_PORT=terminal.path, DSMR_VERSION="2.2"))) as run:
        await opened(terminal, 9600)
        parity = b"".join(bytes((byte | (byte.bit_count() % 2) << 7,)) for byte in texts[0].encode())
        terminal.write(parity)
        await asyncio.sleep(0.05)
        assert run.link.raw == []
        await say(terminal, run, texts[1], 2)
        await say(terminal, run, texts[2], 3)
    assert run.link.telegrams == texts
    first, second, _ = (raw["received"] for raw in run.link.raw)
    assert second - first >= 45


async def test_a_telegram_that_still_waits_at_the_end_is_kept(terminal: PseudoTerminal) -> None:
    """Not believed, but there: whoever has the raw messages misses nothing."""
    first, second = telegrams("netherlands 3", 2)
    connector = create(settings_for(DSMR_PORT=terminal.path, DSMR_VERSION="3", DSMR_TIMEOUT_SECONDS="1.5"))
    async with running(connector) as run:
        await opened(terminal, 9600)
        terminal.write(first.encode())
        assert "the meter is silent" in await run.ended()
        assert run.link.raw == [], "the line may come back, and the next telegram decide"
    async with running(connector, run.link):
        await opened(terminal, 9600)
        await say(terminal, run, second, 2)
        terminal.write(second.replace("0-0:96.14", "0-0:96.15").encode())
        await listening(terminal.write)
    assert run.link.telegrams == [first, second]
    assert [raw["reason"] for raw in run.link.raw[2:]] == ["no telegram came after it that has its form"]
    assert "0-0:96.15" in run.link.raw[2]["damaged"]


async def test_damaged_telegrams_are_kept_and_told(terminal: PseudoTerminal) -> None:
    good = telegram("V5")
    broken = good.replace("0.244", "0.245")
    async with running(create(settings_for(DSMR_PORT=terminal.path))) as run:
        await say(terminal, run, good + broken * (DAMAGED_TO_TELL - 1), DAMAGED_TO_TELL)
        assert run.link.units == []
        await say(terminal, run, broken, DAMAGED_TO_TELL + 1)
        await run.link.until(lambda _: run.link.units)
        await say(terminal, run, good, DAMAGED_TO_TELL + 2)
    assert run.link.units == [
        ("meter", False, f"the last {DAMAGED_TO_TELL} telegrams were damaged: its CRC is wrong"),
        ("meter", True, ""),
    ]
    assert run.link.raw[1]["damaged"] == broken
    assert run.link.telegrams == [good, good]


async def test_a_wrong_clock_is_told_once(terminal: PseudoTerminal, caplog: pytest.LogCaptureFixture) -> None:
    right = telegrams("netherlands 5", 1)[0]
    wrong = with_clock(right, "000101010000W")
    with caplog.at_level(logging.INFO):
        async with running(create(settings_for(DSMR_PORT=terminal.path))) as run:
            await say(terminal, run, wrong + wrong + right, 3)
    assert [record.getMessage() for record in caplog.records if "meter's clock" in record.getMessage()] == [
        "the meter's clock says 000101010000W: its values get the time of reception instead",
        "the meter's clock is right again",
    ]
    # The gas meter's reading did not change: it was made when it was first seen.
    assert run.link.raw[0]["times"] == run.link.raw[1]["times"] == {"0-1:24.2.1": run.link.raw[0]["received"]}


async def test_what_is_not_well_while_values_come_is_told_beside_them(terminal: PseudoTerminal) -> None:
    """Damage between good telegrams, a line of no known form, a clock of another zone: no datapoint turns offline."""
    now = now_ms()
    good = [with_clock(telegram("V5"), meter_time.printed(now + number * 1000 + HOUR_MS)) for number in range(12)]
    odd = good[0].replace("1-0:1.7.0(", "1-0:1.7.0[")
    odd = signed(odd[: odd.rindex("!") + 1])
    async with running(create(settings_for(DSMR_PORT=terminal.path))) as run:
        await say(terminal, run, odd, 1)
        for number, text in enumerate(good[1:], 1):
            await say(terminal, run, text + text.replace("0.244", "0.245"), 1 + 2 * number)
    told = {name: reason for name, up, reason in run.link.units if not up}
    assert told.keys() == {"lines", "clock", "damage"}, "the meter is not away"
    assert told["lines"] == "1 line of no known form left out: '1-0:1.7.0[00.244*kW)'"
    assert told["clock"].startswith("the meter's clock is steadily 1 h ahead of the time of reception")
    assert re.fullmatch(r"\d+ of the last \d+ telegrams were damaged: its CRC is wrong", told["damage"])


async def test_another_zone_is_found_when_asked_for(terminal: PseudoTerminal) -> None:
    now = now_ms()
    texts = [with_clock(telegram("V5"), meter_time.printed(now + HOUR_MS)) for _ in range(STEADY + 1)]
    async with running(create(settings_for(DSMR_PORT=terminal.path, DSMR_TIME_ZONE="auto"))) as run:
        await say(terminal, run, "".join(texts), STEADY + 1)
    assert [raw.get("zone_hours") for raw in run.link.raw] == [None] * (STEADY - 1) + [2, 2]
    stamps = [next(iter(run.link.connector.decode(raw))).timestamp_ms for raw in run.link.raw]
    assert stamps == [None] * (STEADY - 1) + [now, now]
    assert run.link.away == {}


async def test_a_crc_that_nobody_knows(terminal: PseudoTerminal) -> None:
    texts = [f"{text[: text.rindex('!') + 1]}1234\r\n" for text in telegrams("netherlands 5", 3)]
    async with running(create(settings_for(DSMR_PORT=terminal.path, DSMR_CRC="form"))) as run:
        await say(terminal, run, "".join(texts), 3)
    assert [raw["telegram"] for raw in run.link.raw] == texts
    assert all(raw["unverified"] for raw in run.link.raw)
    assert run.link.values["power_import_kw"] is not None


async def test_thinning_keeps_the_days_last(terminal: PseudoTerminal) -> None:
    start = ms("2026-10-26T19:50:00+00:00")  # ten minutes before nine in the evening there
    texts = telegrams("netherlands 5", 250, step_s=60.0, start_ms=start)
    variables = {"DSMR_INTERVAL_SECONDS": "3600", "DSMR_METER_CLOCK": "always"}
    async with running(create(settings_for(DSMR_PORT=terminal.path, **variables))) as run:
        await opened(terminal)
        await play(terminal, [*texts, telegram("V5").replace("0.244", "0.245")])
        await run.link.until(lambda _: "damaged" in run.link.raw[-1])  # so all before has been heard
    clocks = [text.split("0-0:1.0.0(")[1][:10] for text in run.link.telegrams]
    assert clocks == [
        "2610262050", "2610262100", "2610262200", "2610262300", "2610262359", "2610270000", "2610270059",
    ]  # fmt: skip  # the last one is what was held back when the line was closed
    assert run.link.announced["power_import_kw"].expected_interval_s == 3600.0


# -- encrypted ---------------------------------------------------------------------------------------------------------


def sealed(texts: list[str], first: int = 1) -> list[bytes]:
    return [encrypt_frame(text, KEYS, b"SYSTEMID", first + number) for number, text in enumerate(texts)]


async def test_an_encrypted_meter(terminal: PseudoTerminal) -> None:
    texts = telegrams("luxembourg", 4, step_s=10.0)
    frames = sealed(texts)
    async with running(create(settings_for(DSMR_PORT=terminal.path, DSMR_ENCRYPTION_KEY=KEY))) as run:
        await say(
            terminal, run, b"noise" + frames[0] + frames[1][:200] + frames[1] + frames[1] + frames[0] + frames[2], 3
        )
        await say(terminal, run, frames[3], 4)
    assert run.link.telegrams == texts, "the text, and each telegram once"
    assert KEY.lower() not in str(run.link.raw).lower()
    assert run.link.units == []


@pytest.mark.parametrize(
    ("variables", "reason"),
    [
        ({}, "sends encrypted telegrams, and DSMR_ENCRYPTION_KEY is not set"),
        ({"DSMR_ENCRYPTION_KEY": "F" * 32}, "DSMR_ENCRYPTION_KEY is not the key of this meter"),
        ({"DSMR_ENCRYPTION_KEY": KEY, "DSMR_AUTHENTICATION_KEY": "F" * 32}, "DSMR_AUTHENTICATION_KEY is not this"),
    ],
)
async def test_a_wrong_key_is_told_and_nothing_is_lost(
    terminal: PseudoTerminal, variables: dict[str, str], reason: str
) -> None:
    texts = telegrams("austria", 4, step_s=10.0)
    async with running(create(settings_for(DSMR_PORT=terminal.path, **variables))) as run:
        await say(terminal, run, b"".join(sealed(texts)), 4)
        await run.link.until(lambda _: run.link.units)
    assert [(name, up) for name, up, _ in run.link.units] == [("meter", False)]
    assert reason in run.link.units[0][2]
    with_the_key = create(settings_for(DSMR_ENCRYPTION_KEY=KEY))
    later = [next(iter(with_the_key.decode(raw))).values["energy_import_wh"].value for raw in run.link.raw]
    assert later == [next(iter(with_the_key.decode(text))).values["energy_import_wh"].value for text in texts]


# -- silence, and how the line is set ----------------------------------------------------------------------------------


async def test_silence_ends_it_and_says_what_came(terminal: PseudoTerminal) -> None:
    async with running(create(settings_for(DSMR_PORT=terminal.path, DSMR_TIMEOUT_SECONDS="1.1"))) as run:
        assert "the meter is silent for 1.1 s; it is opened again (nothing came at 115200" in await run.ended()
    async with running(create(settings_for(DSMR_PORT=terminal.path, DSMR_TIMEOUT_SECONDS="1.1"))) as run:
        await opened(terminal)
        terminal.write(b"\x80\xf8" * 50)
        reason = await run.ended()
        assert re.search(r"\(1\d\d bytes came at 115200 bit/s \(DSMR 4 and 5\), and no telegram in them\)", reason)
        assert not run.link.is_connected, "a meter answers with a telegram"
        assert isinstance(causes(run.task.exception() or Exception())[0], LinkSilent)


async def test_the_time_that_a_line_was_away_is_no_slow_meter(terminal: PseudoTerminal) -> None:
    clock = VirtualClock()
    connector = DsmrP1(settings_for(DSMR_PORT=terminal.path, DSMR_METER_CLOCK="never"), clock)
    link = TelegramLink(connector)
    text = telegrams("netherlands 5", 1)[0]
    for _ in range(2 * GAPS):
        async with running(connector, link):
            await listening(terminal.write)
            await play(terminal, [text])
        await clock.advance(500.0)
    assert len(link.telegrams) == 2 * GAPS
    assert link.is_connected
    assert link.announced["power_import_kw"].expected_interval_s == 1.0


async def test_an_old_meter_is_found_by_trying(terminal: PseudoTerminal) -> None:
    connector = create(settings_for(DSMR_PORT=terminal.path, DSMR_TIMEOUT_SECONDS="2"))
    async with running(connector) as run:
        await opened(terminal, 115_200)
        await run.ended()
    texts = telegrams("netherlands 3", 2)
    async with running(connector) as run:
        await opened(terminal, 9600)
        await say(terminal, run, texts[0] + texts[1], 2)
    async with running(connector) as run:
        await opened(terminal, 9600)
        await say(terminal, run, texts[1], 1)


async def test_unplugging_ends_it(terminal: PseudoTerminal) -> None:
    connector = create(settings_for(DSMR_PORT=terminal.path))
    async with running(connector) as run:
        await say(terminal, run, telegram("V5"), 1)
        terminal.close()
        assert "unplugged" in await run.ended()
    async with running(connector) as run:
        assert "no such device" in await run.ended()


@pytest.mark.parametrize(
    ("url", "version", "tried"),
    [
        ("/dev/ttyUSB0", "auto", [FAST, SLOW, FAST, SLOW]),
        ("rfc2217://host:1", "auto", [FAST, SLOW, FAST, SLOW]),
        ("socket://host:1", "auto", [FAST, FAST, FAST, FAST]),
        ("/dev/ttyUSB0", "2", [SLOW, SLOW, SLOW, SLOW]),
        ("/dev/ttyUSB0", "3", [SLOW, SLOW, SLOW, SLOW]),
        ("/dev/ttyUSB0", "4", [FAST, FAST, FAST, FAST]),
        ("/dev/ttyUSB0", "5", [FAST, FAST, FAST, FAST]),
    ],
)
def test_which_way_is_tried(url: str, version: str, tried: list[Any]) -> None:
    modes = Modes(url, version)
    found = []
    for _ in tried:
        found.append(modes.current)
        modes.silent()
    assert found == tried


def test_the_way_that_worked_is_remembered() -> None:
    modes = Modes("/dev/ttyUSB0", "auto")
    modes.silent()
    assert modes.current is SLOW
    modes.heard()
    tried = []
    for _ in range(7):
        modes.silent()
        tried.append(modes.current)
    assert tried == [SLOW, SLOW, FAST, SLOW, SLOW, FAST, SLOW]


def test_how_the_port_is_opened() -> None:
    port = serial_port("/dev/ttyUSB0", SLOW, xonxoff=True, data_request=False)
    assert (port.baudrate, port.bytesize, port.parity) == (9600, 8, "N"), "the eighth bit is the parity: see framing.py"
    assert (port.xonxoff, port.rts) == (True, False)


async def test_a_meter_takes_no_commands() -> None:
    with pytest.raises(CommandRejected, match="takes no commands"):
        await create(settings_for()).write("power_import_kw", 1)
