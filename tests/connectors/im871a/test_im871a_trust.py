"""Keys that are missing or wrong, others with the number of a meter of ours, telegrams that cannot be read."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from Crypto.Cipher import AES

from connectors.im871a.codec import NotEncrypted
from connectors.im871a.registry import Meter
from connectors.im871a.simulated_air import EXAMPLE_KEY, EXAMPLE_METER, ExampleMeter
from connectors.im871a.telegram import FormatUnknown, KeyNeeded, WrongKey, read_header
from connectors.im871a.telegram.crc import crc16
from connectors.im871a.trust import REFUSALS_OF_KIND, Trust
from tests.connectors.im871a.conftest import METERS, Scene, listening, telegram_in_clear
from wattbus.testing.waiting import PATIENCE_S

WRONG = {EXAMPLE_METER: {"key": "00" * 16}}
ENERGY = f"{EXAMPLE_METER}__energy_kwh"
ANOTHER_MAKER = "b61e"  # GEV
IN_CLEAR = telegram_in_clear(EXAMPLE_METER, "78 04 04 40420f00")  # 10,000 kWh


def telegrams(key: bytes = EXAMPLE_KEY) -> Iterator[bytes]:
    meter = ExampleMeter(key=key)
    while True:
        yield meter.telegram()


async def hears(scene: Scene, count: int, source: Iterator[bytes]) -> None:
    await scene.hears(*(next(source) for _ in range(count)))


@pytest.mark.parametrize(
    ("meters", "fault", "reason", "needed"),
    [
        (WRONG, WrongKey, "the key does not open its telegrams", 3),
        ({EXAMPLE_METER: {}}, KeyNeeded, "its telegrams are encrypted: it needs a key", 1),
    ],
)
async def test_the_meter_says_what_is_wrong_with_its_key(meters: Any, fault: type, reason: str, needed: int) -> None:
    async with listening(IM871A_METERS=meters) as scene:
        source = telegrams()
        await hears(scene, needed - 1, source)
        assert scene.link.away == {}
        await hears(scene, 5, source)
        assert scene.link.units == [(EXAMPLE_METER, False, reason)]
        assert {type(one) for one in scene.link.faults} == {fault}
        assert scene.link.values == {}
        assert len(scene.link.raw) == needed + 4  # kept: the key may come later


async def test_a_damaged_telegram_now_and_then_is_no_wrong_key() -> None:
    async with listening(IM871A_METERS=METERS) as scene:
        source = telegrams()
        for _ in range(5):
            await hears(scene, 1, source)
            for _ in range(2):
                telegram = next(source)
                await scene.hears(telegram[:-1] + bytes([telegram[-1] ^ 1]))
        assert scene.link.units == []
        assert len(scene.link.faults) == 10


async def test_a_telegram_in_clear_of_a_meter_with_a_key_says_nothing() -> None:
    """Anybody could have sent it; and some meters do send one now and then."""
    async with listening(IM871A_METERS=METERS) as scene:
        source = telegrams()
        await hears(scene, 1, source)
        await scene.hears(IN_CLEAR, IN_CLEAR)
        await hears(scene, 1, source)
        await scene.hears(IN_CLEAR, IN_CLEAR)
        assert scene.link.units == []
        assert {type(one) for one in scene.link.faults} == {NotEncrypted}
        assert scene.link.values[ENERGY] < 2000
        await scene.hears(IN_CLEAR)
        assert "not encrypted" in scene.link.away[EXAMPLE_METER]
        await hears(scene, 1, source)
        assert scene.link.away == {}


async def test_a_meter_in_clear_that_needs_no_key() -> None:
    async with listening(IM871A_METERS={EXAMPLE_METER: {}}) as scene:
        await scene.hears(IN_CLEAR)
        assert scene.link.values[ENERGY] == 10_000


async def test_another_makers_meter_with_the_same_number_and_another_key() -> None:
    """A key opens one of them: the other one is an unconfigured meter, told of once, and changes nothing of ours."""
    other = telegram_in_clear(EXAMPLE_METER, "7a 2a 00 1005" + 16 * "aa", maker=ANOTHER_MAKER)
    async with listening(IM871A_METERS=METERS, IM871A_DUPLICATE_SECONDS="0") as scene:
        source = telegrams()
        for _ in range(5):
            await hears(scene, 1, source)
            await scene.hears(other)
        assert scene.link.units == []
        assert scene.link.faults == []
        assert len(scene.link.raw) == 6
        assert scene.link.values[f"unconfigured_meter__GUV-{EXAMPLE_METER}"] == (
            f"GUV {EXAMPLE_METER}, version 48, electricity, needs a key, comes under the same number as the configured "
            f"{EXAMPLE_METER}"
        )


async def test_another_makers_meter_with_the_same_number_and_no_key_at_all() -> None:
    """Who could be read first is the meter: two meters must not share datapoints."""
    other = telegram_in_clear(EXAMPLE_METER, "78 04 04 01000000", maker=ANOTHER_MAKER)
    async with listening(IM871A_METERS={EXAMPLE_METER: {}}) as scene:
        await scene.hears(IN_CLEAR, other, IN_CLEAR, other)
        assert scene.link.values[ENERGY] == 10_000
        assert "comes under the same number" in scene.link.values[f"unconfigured_meter__GUV-{EXAMPLE_METER}"]
    meters = {f"GUV-{EXAMPLE_METER}": {}, f"KAM-{EXAMPLE_METER}": {}}
    async with listening(IM871A_METERS=meters) as scene:
        await scene.hears(IN_CLEAR, other)
        assert scene.link.values == {
            f"KAM-{EXAMPLE_METER}__energy_kwh": 10_000,
            f"GUV-{EXAMPLE_METER}__energy_kwh": 0.01,
            f"KAM-{EXAMPLE_METER}__rssi_dbm": -72.5,
            f"GUV-{EXAMPLE_METER}__rssi_dbm": -72.5,
        }


async def test_an_unconfigured_meter_with_the_number_does_not_hide_that_ours_is_quiet() -> None:
    meters = {EXAMPLE_METER: {**METERS[EXAMPLE_METER], "silent_seconds": 0.3}}
    other = telegram_in_clear(EXAMPLE_METER, "78 04 04 01000000", maker=ANOTHER_MAKER)
    async with listening(IM871A_METERS=meters) as scene:
        await hears(scene, 1, telegrams())
        async with asyncio.timeout(PATIENCE_S):
            while not scene.link.away:
                await scene.hears(other)
        assert scene.link.away == {EXAMPLE_METER: "not heard for 0.3 s"}


async def test_an_unconfigured_meter_with_the_number_may_come_first_when_a_key_decides() -> None:
    other = telegram_in_clear(EXAMPLE_METER, "7a 2a 00 1005" + 16 * "aa", maker=ANOTHER_MAKER)
    async with listening(IM871A_METERS=METERS, IM871A_DUPLICATE_SECONDS="0") as scene:
        await scene.hears(other, other, other)
        assert scene.link.away == {EXAMPLE_METER: "the key does not open its telegrams"}
        await hears(scene, 1, telegrams())
        await scene.hears(other, other, other)
        assert scene.link.away == {}
        assert scene.link.values[ENERGY] == 1234.57


async def test_a_security_that_is_not_known_is_told() -> None:
    mode_13 = telegram_in_clear(EXAMPLE_METER, "7a 2a 00 100d" + 16 * "aa")
    async with listening(IM871A_METERS=METERS, IM871A_DUPLICATE_SECONDS="0") as scene:
        await scene.hears(mode_13, mode_13, mode_13)
        assert scene.link.away == {EXAMPLE_METER: "its telegrams cannot be read: security mode 13 is not supported"}


async def test_a_layer_that_is_not_known_of_ours_and_of_an_unconfigured_meter() -> None:
    """Of an unconfigured one nothing is kept; that it is there is told all the same."""
    ours, other = (telegram_in_clear(number, "55 0102") for number in (EXAMPLE_METER, "20000002"))
    async with listening(IM871A_METERS=METERS) as scene:
        await scene.hears(other, other, other, ours, ours, ours)
        assert scene.link.values == {
            "unconfigured_meter__KAM-20000002": (
                "KAM 20000002, version 48, electricity, in a form that cannot be read here"
            )
        }
        assert len(scene.link.faults) == 3
        assert scene.link.away[EXAMPLE_METER].startswith("its telegrams cannot be read: CI field 55")


def compact_of_unknown_format(number: int) -> bytes:
    """What the example meter would send if its format were not public."""
    record_format = bytes.fromhex("0404 04843C 042B")
    values = b"".join(value.to_bytes(4, "little") for value in (123_456 + number, 0, 2000))
    full = b"\x04\x04" + values[:4] + b"\x04\x84\x3c" + values[4:8] + b"\x04\x2b" + values[8:]
    content = b"\x79" + b"".join(crc16(part).to_bytes(2, "little") for part in (record_format, full)) + values
    content = crc16(content).to_bytes(2, "little") + content
    address = bytes.fromhex("2d2c") + bytes.fromhex(EXAMPLE_METER)[::-1] + bytes.fromhex("3002")
    session = (0x20000000 | number << 4).to_bytes(4, "little")
    cipher = AES.new(EXAMPLE_KEY, AES.MODE_CTR, nonce=b"", initial_value=address + b"\x20" + session + bytes(3))
    body = b"\x44" + address + b"\x8d\x20" + bytes([number]) + session + cipher.encrypt(content)
    return bytes([len(body)]) + body


async def test_short_telegrams_alone_are_told_in_the_end() -> None:
    async with listening(IM871A_METERS=METERS) as scene:
        await scene.hears(*map(compact_of_unknown_format, range(REFUSALS_OF_KIND[FormatUnknown] - 1)))
        assert scene.link.units == []
        await scene.hears(compact_of_unknown_format(100))
        assert "only short telegrams are heard" in scene.link.away[EXAMPLE_METER]
        assert {type(fault) for fault in scene.link.faults} == {FormatUnknown}


def test_another_key_is_another_chance() -> None:
    trust, meter = Trust(), Meter(EXAMPLE_METER, bytes(16), "")
    header = read_header(IN_CLEAR)
    assert [trust.refused(meter, WrongKey("")) for _ in range(2)] == ["", ""]
    trust.forget(EXAMPLE_METER)
    assert trust.refused(meter, WrongKey("")) == ""
    trust.opened(meter, header)
    other = read_header(telegram_in_clear(EXAMPLE_METER, "78", maker=ANOTHER_MAKER))
    assert trust.is_another(meter, other)
    trust.forget(EXAMPLE_METER)
    assert not trust.is_another(meter, other)
