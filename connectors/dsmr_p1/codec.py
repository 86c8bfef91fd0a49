"""Telegrams to readings. Pure, given the settings.

A telegram is text: `/` and the meter's identification, an empty line, lines of an OBIS code with its values, and `!`
with a CRC from DSMR 4 on. A raw message is `{"telegram": text, "received": ms}`, also with `"times": {code: ms}` where
the connector had to find out when something was measured; `{"frame": hexadecimal digits, "received": ms}` is an
encrypted telegram that could not be opened when it came, `{"damaged": text, "reason": text, "received": ms}` one that
is not believed. (So who passes telegrams on finds whole ones under `telegram`, and nothing else.)
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from connectors.dsmr_p1.cipher import CannotOpen, Keys, decrypt_frame
from connectors.dsmr_p1.crc import crc16
from connectors.dsmr_p1.lines import Mbus, Plain, Timed, Values, reader
from connectors.dsmr_p1.media import MEDIA, UNKNOWN_MEDIUM, Medium
from connectors.dsmr_p1.profiles import PROFILES, Profile, detect
from connectors.dsmr_p1.timestamps import Reference, reference, when
from wattbus.connector import Quantity, Reading
from wattbus.errors import DecodeError
from wattbus.jsontext import JsonValue

DEVICE = "meter"  # all datapoints belong to it: see Link.unit

MOST_LINES = 1000  # of a telegram in recorded text; a meter's have some forty

_END = re.compile(r"!([0-9A-Fa-f]{0,4})\x00?\s*$")
_HEX_FRAME = re.compile(r"(?:[0-9A-Fa-f]{2}\s*)+")


@dataclass(frozen=True, slots=True)
class Options:
    """What the settings say about decoding: see `settings.py`."""

    profile: str = "auto"
    meter_clock: str = "auto"
    keys: Keys | None = None


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
    text, received, times = _taken_apart(raw, options)
    telegram = parse(text, options.profile)
    return list(_readings(telegram, moment(telegram, received, options), times))


def moment(telegram: Telegram, received: int | None, options: Options) -> Reference:
    """The time of a telegram."""
    return reference(telegram.clock, received, telegram.profile, options.meter_clock)


def _taken_apart(raw: JsonValue, options: Options) -> tuple[str, int | None, Mapping[str, int]]:
    """Text, time of reception, learnt times."""
    if isinstance(raw, str):
        raw = {"frame" if _HEX_FRAME.fullmatch(raw) else "telegram": raw}
    if not isinstance(raw, Mapping):
        raise DecodeError("a raw message is an object")
    received, times = raw.get("received"), raw.get("times", {})
    if not isinstance(received, int | None) or isinstance(received, bool):
        raise DecodeError("received: expected milliseconds")
    if not isinstance(times, Mapping) or not all(type(ms) is int for ms in times.values()):
        raise DecodeError("times: expected an object of milliseconds")
    if isinstance(text := raw.get("telegram"), str):
        return text, received, times
    if isinstance(frame := raw.get("frame"), str):
        return _opened(frame, options.keys), received, times
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


def parse(text: str, profile: str = "auto") -> Telegram:
    """What a telegram says. Raises DecodeError when it is none, or its CRC is wrong."""
    text = text.strip(" \t\r\n\x00")
    checked(text)
    if "\n(" in text:  # values in a line of their own belong to the line before
        text = text.replace("\r\n(", "(").replace("\n(", "(")
    first, *lines = text.split("\n")
    meaning = detect(text) if profile == "auto" else PROFILES[profile]
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
        else:
            telegram.clock = telegram.clock or said.time  # type: ignore[union-attr]
    for said in telegram.mbus:
        if said.name == "device_type" and isinstance(said.quantity.value, int):
            telegram.media.setdefault(said.channel, MEDIA.get(said.quantity.value, UNKNOWN_MEDIUM))
    return telegram


def checked(text: str) -> None:
    """Raises DecodeError when this is no whole telegram, or its CRC is not the one it prints."""
    end = _END.search(text)
    if not text.startswith("/") or end is None:
        raise DecodeError(f"not a telegram, which begins with / and ends with !: {text!r:.40}")
    if not end[1]:
        return
    try:
        body = text[: end.start() + 1].encode("ascii")
    except UnicodeEncodeError:
        raise DecodeError("there is something else than ASCII in the telegram") from None
    printed = int(end[1], 16)  # also where leading zeros are missing
    found = crc16(body)
    if found != printed and (b"\r" in body or crc16(body.replace(b"\n", b"\r\n")) != printed):
        raise DecodeError(f"the telegram says that its CRC is {printed:04X}, but it is {found:04X}")


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
    for line in lines:
        plain = line.strip("\r\n")
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


def _is_middle(line: str, telegram: list[str]) -> bool:
    """Whether a `/` in this line belongs to a value: then a bracket stands before it."""
    return bool(telegram) and "(" in line[: line.find("/")]


def _raw(lines: list[str]) -> JsonValue:
    return {"telegram": "\r\n".join(lines) + "\r\n"}
