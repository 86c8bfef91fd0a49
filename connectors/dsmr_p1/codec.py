"""Telegrams to readings. Pure, given the settings.

A telegram is text: `/` and the meter's identification, an empty line, lines of an OBIS code with its values, and `!`
with a CRC from DSMR 4 on. A raw message is `{"telegram": text, "received": ms}`, also with what the connector had to
find out: `"times": {code: ms}` when something was measured, `"zone_hours": n` what the meter's winter time is ahead of
UTC, `"unverified": true` that only its form speaks for it. `{"frame": hexadecimal digits, "received": ms}` is an
encrypted telegram that could not be opened when it came, `{"damaged": text, "reason": text, "received": ms}` one that
is not believed. (So who passes telegrams on finds whole ones under `telegram`, and nothing else.)
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import NamedTuple

from connectors.dsmr_p1.cipher import CannotOpen, Keys, decrypt_frame
from connectors.dsmr_p1.crc import crc16, right_crc
from connectors.dsmr_p1.framing import ENCODING
from connectors.dsmr_p1.lines import Mbus, Odd, Plain, Timed, Values, reader
from connectors.dsmr_p1.media import MEDIA, UNKNOWN_MEDIUM, Medium
from connectors.dsmr_p1.meter_time import CENTRAL, HOUR_MS, Zone
from connectors.dsmr_p1.profiles import PROFILES, Profile, detect, in_zone
from connectors.dsmr_p1.timestamps import Reference, reference, when
from wattbus.connector import Quantity, Reading
from wattbus.errors import DecodeError
from wattbus.jsontext import JsonValue

DEVICE = "meter"  # all datapoints belong to it: see Link.unit

MOST_LINES = 1000  # of a telegram in recorded text; a meter's have some forty

FALLBACK_ENCODING = ENCODING  # of recorded text that is no UTF-8

_END = re.compile(r"!([0-9A-Fa-f]{0,4})\x00?\s*$")
_GLUED = re.compile(r"^(![0-9A-Fa-f]{0,4}\x00?)(?=/)")
_HEX_FRAME = re.compile(r"(?:[0-9A-Fa-f]{2}\s*)+")


@dataclass(frozen=True, slots=True)
class Options:
    """What the settings say about decoding: see `settings.py`. `zone` None: the connector finds it out."""

    profile: str = "auto"
    meter_clock: str = "auto"
    keys: Keys | None = None
    zone: Zone | None = CENTRAL
    form_is_enough: bool = False


class RawTelegram(NamedTuple):
    """What a raw message holds, taken apart. `zone` None: not known."""

    text: str
    received: int | None
    times: Mapping[str, int]
    zone: Zone | None
    is_unverified: bool


@dataclass(slots=True)
class Telegram:
    """What a telegram says, line by line."""

    identification: str
    profile: Profile
    clock: str = ""
    plain: list[Plain] = field(default_factory=list)
    timed: list[Timed] = field(default_factory=list)
    mbus: list[Mbus] = field(default_factory=list)
    media: dict[int, Medium] = field(default_factory=dict)
    odd: list[str] = field(default_factory=list)  # lines of no known form

    @property
    def version(self) -> str:
        """What the meter says of its standard: `42`, `50`, `50217`; "" before DSMR 4."""
        for said in self.plain:
            for key, quantity in said.values:
                if key == "p1_version":
                    return str(quantity.value)
        return ""

    def mbus_values(self) -> Iterator[tuple[str, Mbus, Quantity]]:
        """Key, line and quantity of what the M-Bus devices say; of two lines with one code the first counts."""
        codes: set[str] = set()
        keys: set[str] = set()
        for line in self.mbus:
            if line.code in codes:
                continue
            codes.add(line.code)
            key, quantity = _named(line, self.media.get(line.channel, UNKNOWN_MEDIUM))
            if key in keys:
                key = line.code  # gas with and without correction for temperature, say
            keys.add(key)
            yield key, line, quantity


@lru_cache(maxsize=256)
def _named(line: Mbus, medium: Medium) -> tuple[str, Quantity]:
    """Key and quantity of what an M-Bus device of this kind says."""
    said = line.quantity
    description = f"{medium.text} on channel {line.channel}: {said.description}"
    return f"{medium.name}_{line.channel}__{line.name}", Quantity(said.value, said.unit, description)


def decode(raw: JsonValue, options: Options) -> list[Reading]:
    """The readings in a raw message, or in a telegram's text. Raises DecodeError.

    Electricity comes first, at the time of the telegram; then what has a time of its own.
    """
    message = _taken_apart(raw, options)
    telegram = parse(message.text, options.profile, message.zone, check=not message.is_unverified)
    now = moment(telegram, message.received, options, zone_is_known=message.zone is not None)
    readings = list(_readings(telegram, now, message.times))
    if message.is_unverified and not _is_right(message.text):
        return [replace(reading, is_unverified=True) for reading in readings]
    return readings


def moment(telegram: Telegram, received: int | None, options: Options, *, zone_is_known: bool = True) -> Reference:
    """The time of a telegram."""
    return reference(telegram.clock, received, telegram.profile, options.meter_clock, zone_is_known=zone_is_known)


def _taken_apart(raw: JsonValue, options: Options) -> RawTelegram:
    if isinstance(raw, str):
        raw = {"frame" if _HEX_FRAME.fullmatch(raw) else "telegram": raw}
    if not isinstance(raw, Mapping):
        raise DecodeError("a raw message is an object")
    received, times = raw.get("received"), raw.get("times", {})
    if not isinstance(received, int | None) or isinstance(received, bool):
        raise DecodeError("received: expected milliseconds")
    if not isinstance(times, Mapping) or not all(type(ms) is int for ms in times.values()):
        raise DecodeError("times: expected an object of milliseconds")
    hours = raw.get("zone_hours")
    if hours is not None and (type(hours) is not int or abs(hours) > 14):
        raise DecodeError("zone_hours: expected a number of hours")
    zone = options.zone if hours is None else Zone(hours * HOUR_MS)
    is_unverified = options.form_is_enough or raw.get("unverified") is True
    if isinstance(text := raw.get("telegram"), str):
        return RawTelegram(text, received, times, zone, is_unverified)
    if isinstance(frame := raw.get("frame"), str):
        return RawTelegram(_opened(frame, options.keys), received, times, zone, is_unverified)
    if "damaged" in raw:
        raise DecodeError(f"damaged telegram: {raw.get('reason', 'no reason given')}")
    raise DecodeError("there is neither a telegram nor a frame in it")


def _opened(frame: str, keys: Keys | None) -> str:
    if keys is None:
        raise DecodeError("the telegram is encrypted, and DSMR_ENCRYPTION_KEY is not set")
    try:
        return decrypt_frame(bytes.fromhex(frame), keys)
    except ValueError:
        raise DecodeError("frame: expected hexadecimal digits") from None
    except CannotOpen as error:
        raise DecodeError(str(error)) from None


def parse(text: str, profile: str = "auto", zone: Zone | None = CENTRAL, *, check: bool = True) -> Telegram:
    """What a telegram says. Raises DecodeError when it is none, or its CRC is wrong (only with `check`)."""
    text = text.strip(" \t\r\n\x00")
    checked(text, crc=check)
    if "\n(" in text:  # values in a line of their own belong to the line before
        text = text.replace("\r\n(", "(").replace("\n(", "(")
    first, *lines = text.split("\n")
    meaning = in_zone(detect(text) if profile == "auto" else PROFILES[profile], zone)
    telegram = Telegram(first[1:].strip(), meaning)
    read = reader(meaning)
    for line in lines:
        said = read(line)
        if said is None:
            continue
        kind = type(said)
        if kind is Plain:
            telegram.plain.append(said)  # type: ignore[arg-type]
        elif kind is Mbus:
            telegram.mbus.append(said)  # type: ignore[arg-type]
        elif kind is Timed:
            telegram.timed.append(said)  # type: ignore[arg-type]
        elif kind is Odd:
            telegram.odd.append(said.text)  # type: ignore[union-attr]
        else:
            telegram.clock = telegram.clock or said.time  # type: ignore[union-attr]
    for said in telegram.mbus:
        if said.name == "device_type" and isinstance(said.quantity.value, int):
            telegram.media.setdefault(said.channel, MEDIA.get(said.quantity.value, UNKNOWN_MEDIUM))
    return telegram


def checked(text: str, *, crc: bool = True) -> None:
    """Raises DecodeError when this is no whole telegram, or (with `crc`) its CRC is not the one it prints."""
    end = _END.search(text)
    if not text.startswith("/") or end is None:
        raise DecodeError(f"not a telegram, which begins with / and ends with !: {text!r:.40}")
    if not end[1] or not crc:
        return
    try:
        body = text[: end.start() + 1].encode(ENCODING)
    except UnicodeEncodeError:
        raise DecodeError("there are characters in the telegram that no byte stands for") from None
    printed = int(end[1], 16)  # also where leading zeros are missing
    if not right_crc(body, printed):
        raise DecodeError(f"the telegram says that its CRC is {printed:04X}, but it is {crc16(body):04X}")


def _is_right(text: str) -> bool:
    """Whether nothing speaks against its CRC; a telegram that prints none is as good as its kind can be."""
    try:
        checked(text.strip(" \t\r\n\x00"))
    except DecodeError:
        return False
    return True


def _readings(telegram: Telegram, now: Reference, times: Mapping[str, int]) -> Iterator[Reading]:
    main: dict[str, Quantity] = {}
    if telegram.identification:
        main["identification"] = Quantity(telegram.identification, "", "how the meter identifies itself")
    for said in telegram.plain:
        for key, quantity in said.values:
            main.setdefault(key, quantity)
    own: list[tuple[int, Values]] = []
    for timed in telegram.timed:
        own_ms = when(timed.code, timed.time, now, times)
        if own_ms is None:
            main |= {key: quantity for key, quantity in timed.values if key not in main}
        else:
            own.append((own_ms, timed.values))
    for key, line, quantity in telegram.mbus_values():
        own_ms = when(line.code, line.time, now, times) if line.time else None
        if own_ms is None:
            main.setdefault(key, quantity)
        else:
            own.append((own_ms, ((key, quantity),)))
    if now.wrong_clock and telegram.clock:
        main["meter_clock"] = Quantity(telegram.clock, "", "what the meter's clock says; it is not believed")
    if main:
        yield Reading(main, now.clock_ms, DEVICE)
    for own_ms, values in own:
        yield Reading(dict(values), own_ms, DEVICE)


def raw_messages(lines: Iterable[str]) -> Iterator[JsonValue]:
    """The raw messages in recorded text, for `wattbus decode`: telegrams, one after another, and frames as digits.

    What stands between them is left out; a telegram that has no end is given as far as it goes, and no further than
    MOST_LINES.
    """
    telegram: list[str] = []
    for plain in _divided(lines):
        start = plain.find("/")
        if telegram and (len(telegram) == MOST_LINES or (start >= 0 and not _is_middle(plain, telegram))):
            yield _raw(telegram)
            telegram = []
        if telegram:
            telegram.append(plain)
        elif start >= 0:
            telegram = [plain[start:]]
        elif _HEX_FRAME.fullmatch(plain) and plain.lower().startswith("db08"):
            yield {"frame": plain}
        if telegram and _END.fullmatch(plain.strip()):
            yield _raw(telegram)
            telegram = []
    if telegram:
        yield _raw(telegram)


def _divided(lines: Iterable[str]) -> Iterator[str]:
    """Lines without their ends; a telegram whose last line end is missing ends where the next one begins."""
    for line in lines:
        plain = line.strip("\r\n")
        if glued := _GLUED.match(plain):
            yield glued[1]
            plain = plain[glued.end() :]
        yield plain


def _is_middle(line: str, telegram: list[str]) -> bool:
    """Whether a `/` in this line belongs to a value: then a bracket stands before it."""
    return bool(telegram) and "(" in line[: line.find("/")]


def _raw(lines: list[str]) -> JsonValue:
    return {"telegram": "\r\n".join(lines) + "\r\n"}
