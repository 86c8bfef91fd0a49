"""Telegrams of every profile with drawn values and times, decoded by us and by dsmr-parser."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from dsmr_parser import telegram_specifications as specifications
from dsmr_parser.parsers import TelegramParser
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.dsmr_p1.cipher import Keys, encrypt_frame
from connectors.dsmr_p1.codec import Options, decode
from connectors.dsmr_p1.settings import LUXEMBOURGS_AUTHENTICATION_KEY
from connectors.dsmr_p1.simulated_manners import MANNERS
from connectors.dsmr_p1.simulated_meter import SimulatedMeter
from tests.connectors.dsmr_p1.conftest import telegram
from tests.connectors.dsmr_p1.oracle import Comparison

AMSTERDAM = ZoneInfo("Europe/Amsterdam")
NIGHT_OF_2026 = datetime(2026, 10, 24, 23, 30, tzinfo=UTC)
KEYS = Keys(bytes(range(16)), bytes.fromhex(LUXEMBOURGS_AUTHENTICATION_KEY))

# Of the simulated meters, which dsmr-parser never saw, and of recorded ones. What it leaves out of a profile's telegram
# is left out of the text before both decode it.
SPECIFICATIONS: dict[str, tuple[Any, str]] = {
    "netherlands 5": (specifications.V5, ""),
    "netherlands 4": (specifications.V4, r"0-0:17\.0\.0|0-0:96\.3\.10"),
    "netherlands 3": (specifications.V3, ""),
    "belgium": (specifications.BELGIUM_FLUVIUS, ""),
    "luxembourg": (specifications.MSN, r"1-1:31\.4\.0|0-0:96\.13\.2"),
    "sweden": (specifications.SWEDEN, r"1-0:[34]\.7\.0"),
    "hungary": (specifications.EON_HUNGARY, r"0-0:98\.1\.0"),
    "austria": (specifications.SAGEMCOM_T210_D_R, ""),
    "recorded V5": (specifications.V5, ""),
    "recorded V4_2": (specifications.V4, ""),
    "recorded V3": (specifications.V3, ""),
    "recorded V2_2": (specifications.V2_2, ""),
    "recorded FLUVIUS_V171": (specifications.BELGIUM_FLUVIUS, ""),
}
NUMBER = re.compile(r"(?<=\()\d+(?:\.\d+)?(?=\*)")
OWN_TIME = re.compile(r"(?<=\()\d{12}[SW]?(?=\)\([\d.]+\*m3|\)\(00\)\(60\))|(?<=1-0:1\.6\.0\()\d{12}[SW]")
CLOCK = re.compile(r"(?<=0-0:1\.0\.0\()\d{12}[SW](?=\))")


def template(name: str) -> str:
    if name.startswith("recorded "):
        return telegram(name.removeprefix("recorded "))
    return SimulatedMeter(MANNERS[name], 1_770_000_000_000).telegram()


def printed(moment: datetime, flag: bool = True) -> str:
    """As a Dutch meter prints it, by the time zone database."""
    local = moment.astimezone(AMSTERDAM)
    return f"{local:%y%m%d%H%M%S}" + (("S" if local.dst() else "W") if flag else "")


def independent_crc(data: bytes) -> int:
    return int(TelegramParser.crc16(data.decode("ascii")))


@st.composite
def telegrams(draw: st.DrawFn, name: str) -> str:
    """A telegram of this kind with other numbers of the same width, at another time, with its CRC."""
    text = template(name)
    left_out = SPECIFICATIONS[name][1]
    if left_out:
        text = re.sub(rf"(?:{left_out})\(.*\r\n", "", text)
    # Belgian telegrams have past months, which stay as they are.
    first = datetime(2026, 3, 1) if "0-0:98.1.0" in text else datetime(2009, 1, 1)
    clock = draw(st.datetimes(first, datetime(2045, 1, 1)))
    moment = clock.replace(microsecond=0, tzinfo=UTC)
    if draw(st.booleans()):  # the night in which flags matter
        moment = NIGHT_OF_2026 + timedelta(seconds=draw(st.integers(0, 3 * 3600)))
    if name == "sweden" and printed(moment).endswith("S"):
        moment = moment.replace(month=1)  # dsmr-parser does not know that Swedish clocks keep standard time
    text = CLOCK.sub(printed(moment), text)

    def own_time(match: re.Match[str]) -> str:
        own = moment - timedelta(seconds=draw(st.integers(0, 10 * 86_400)))
        has_flag = len(match[0]) == 13
        if not has_flag and "02" in printed(own)[6:8]:
            own -= timedelta(hours=3)  # without a flag the repeated hour has two meanings: see the tests of time
        return printed(own, has_flag)

    def number(match: re.Match[str]) -> str:
        digits = iter(draw(st.text("0123456789", min_size=len(match[0]), max_size=len(match[0]))))
        return "".join(char if char == "." else next(digits) for char in match[0])

    body = NUMBER.sub(number, OWN_TIME.sub(own_time, text)).rpartition("!")[0] + "!"
    has_crc = SPECIFICATIONS[name][0]["checksum_support"]
    return body + (f"{independent_crc(body.encode()):04X}" if has_crc else "") + "\r\n"


@pytest.mark.parametrize("name", SPECIFICATIONS)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_we_agree(name: str, data: st.DataObject) -> None:
    text = data.draw(telegrams(name))
    specification = SPECIFICATIONS[name][0]
    raw: Any = text
    theirs_in, keys = text, {}
    if specification.get("general_global_cipher"):
        frame = encrypt_frame(text, KEYS, b"SYSTEMID", data.draw(st.integers(0, 2**32 - 1)))
        raw, theirs_in = {"frame": frame.hex()}, frame.hex()
        keys = {"encryption_key": KEYS.encryption.hex(), "authentication_key": LUXEMBOURGS_AUTHENTICATION_KEY}
    theirs = json.loads(TelegramParser(specification).parse(theirs_in, throw_ex=True, **keys).to_json())
    assert Comparison(theirs, decode(raw, Options(keys=KEYS))).differences == []
