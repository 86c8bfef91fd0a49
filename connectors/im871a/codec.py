"""Raw messages of this connector and what they say. Pure, given the meters with their keys.

{"telegram": "2c44…", "rssi": -71.5, "format": "0404…"}     a telegram without link CRCs, starting with its L field;
                                                             the format where a compact frame needs a learnt one
{"unconfigured_meter": {"manufacturer": "KAM", "id": "32666857", …}}
                                                             a meter that is heard and not configured; `like`: which
                                                             of ours has the same number; `known`: it is configured now
{"wired": "68…16"}                                           a wired M-Bus long frame (for `wattbus decode`)
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Protocol

from connectors.im871a import hci
from connectors.im871a.receivers.text import telegrams_in
from connectors.im871a.registry import Meter
from connectors.im871a.telegram import (
    Header,
    Telegram,
    decode_wired,
    decrypt_frame,
    mend_length,
    parse_hex,
    read_header,
    split_frames,
    strip_crcs,
)
from wattbus.connector import Quantity, Reading
from wattbus.errors import DecodeError
from wattbus.jsontext import JsonValue

UNCONFIGURED = ("unconfigured_meter", "stranger")  # the latter in older raw messages


class NotEncrypted(DecodeError):  # noqa: N818
    """A telegram in clear, of a meter whose telegrams should be encrypted."""


class Meters(Protocol):
    """Where a telegram's meter, and with it the key, is found."""

    def find(self, header: Header) -> Meter | None: ...


# -- raw messages -----------------------------------------------------------------------------------------------------


def raw_telegram(telegram: bytes, rssi_dbm: float | None = None, learnt_format: bytes | None = None) -> JsonValue:
    """A telegram as it is kept."""
    raw: dict[str, JsonValue] = {"telegram": telegram.hex()}
    if rssi_dbm is not None:
        raw["rssi"] = rssi_dbm
    if learnt_format is not None:
        raw["format"] = learnt_format.hex()
    return raw


def raw_unconfigured(header: Header, *, like: str = "", known: bool = False) -> JsonValue:
    """What is published of a meter that nobody has configured. `like`: the meter of ours that has the same number."""
    meter: dict[str, JsonValue] = {
        "manufacturer": header.manufacturer,
        "id": header.id,
        "version": header.version,
        "medium": header.medium,
        "needs_key": header.needs_key,
        "security": header.security,
    }
    if like:
        meter["like"] = like
    if known:
        meter["known"] = True
    return {"unconfigured_meter": meter}


def raw_messages(lines: Iterable[str]) -> Iterator[JsonValue]:
    """The raw messages in recorded text, for `wattbus decode`: a telegram per line as hexadecimal digits.

    As the stick sent it (`a5 82 03 …`), with or without link CRCs, or a wired long frame (`68 … 16`). Several telegrams
    in one line become as many raw messages. Raw messages as JSON are taken as they are by the command itself.
    """
    for line in lines:
        text = line.strip()
        if text and not text.startswith("#"):
            for part in _parts(text):
                yield {"hex": part}


def _parts(text: str) -> list[str]:
    """The telegrams in a line, as text; the whole line where it is one, or none that makes sense."""
    try:
        data = parse_hex(text)
    except DecodeError:
        with contextlib.suppress(DecodeError):
            return [one.telegram.hex() for one in telegrams_in(text)]
        return [text]
    if data[:1] == bytes([hci.START]):
        parts = [frame.encode(crc=True) for frame in hci.Frames().feed(data)]
        return [part.hex() for part in parts] if len(parts) > 1 and b"".join(parts) == data else [text]
    parts = split_frames(data)
    return [part.hex() for part in parts] if len(parts) > 1 else [text]


def telegram_of(text: str) -> bytes:
    """The wireless telegram, without link CRCs, in a line as `raw_messages` takes it. Raises DecodeError."""
    raw = _recognized(parse_hex(text))
    if "telegram" not in raw:
        raise DecodeError("a wired frame is not on the air")
    return _bytes(raw, "telegram")


# -- what they say ----------------------------------------------------------------------------------------------------


def decode(raw: JsonValue, meters: Meters) -> list[Reading]:
    """The readings in a raw message. Raises DecodeError."""
    if not isinstance(raw, dict):
        raise DecodeError("a raw message of this connector is an object")
    typed = "hex" in raw  # by a person; published telegrams were often decrypted before
    if typed:
        raw = _recognized(_bytes(raw, "hex"))
    for name in UNCONFIGURED:
        if name in raw:
            return [_unconfigured(raw[name])]
    if "wired" in raw:
        return [reading(decode_wired(_bytes(raw, "wired"), accept_plain=True))]
    telegram = _bytes(raw, "telegram")
    header = read_header(telegram)
    meter = meters.find(header)
    if meter is not None and not typed:
        check_encrypted(meter, header)
    learnt = _bytes(raw, "format") if "format" in raw else None
    opened = decrypt_frame(telegram, meter.key if meter else None, accept_plain=typed)
    rssi = raw.get("rssi")
    return [reading(opened.telegram(learnt), meter, rssi if isinstance(rssi, int | float) else None)]


def check_encrypted(meter: Meter, header: Header) -> None:
    """Raises NotEncrypted for what anybody with a transmitter could have said of a meter that has a key."""
    if meter.key is not None and not header.encrypted:
        raise NotEncrypted(f"{meter.id} has a key, and this telegram is not encrypted: it may be somebody else's")


def reading(telegram: Telegram, meter: Meter | None = None, rssi: float | None = None) -> Reading:
    """What a telegram says, under the keys of datapoints. `rssi`: in dBm."""
    id_ = meter.id if meter else telegram.header.id
    called = f"{meter.name}: " if meter and meter.name else ""
    values = {
        f"{id_}__{field}": Quantity(quantity.value, quantity.unit, called + quantity.description)
        for field, quantity in telegram.fields.items()
    }
    if rssi is not None:
        values[f"{id_}__rssi_dbm"] = Quantity(rssi, "dB[mW]", f"{called}signal strength at the receiver")
    return Reading(values, device=id_)


def _unconfigured(meter: JsonValue) -> Reading:
    if not isinstance(meter, Mapping):
        raise DecodeError("an unconfigured meter is announced by an object")
    try:
        text = "{manufacturer} {id}, version {version}, {medium}".format_map(meter)
    except KeyError as error:
        raise DecodeError(f"the announcement of an unconfigured meter has no {error}") from None
    if meter.get("needs_key"):
        text += ", needs a key"
    elif meter.get("security") not in ("none", None):
        text += ", in a form that cannot be read here"
    if like := meter.get("like"):
        text += f", comes under the same number as the configured {like}"
    name = f"unconfigured_meter__{meter['manufacturer']}-{meter['id']}"
    shown = None if meter.get("known") else text
    return Reading({name: Quantity(shown, "", "a meter that is heard and not configured; empty once it is")})


def _recognized(data: bytes) -> dict[str, JsonValue]:
    """Which kind of frame these bytes are."""
    if data[:1] == bytes([hci.START]):
        frames = hci.Frames().feed(data)
        if len(frames) == 1 and frames[0].is_telegram:
            return {"telegram": frames[0].telegram.hex()}
        if data[0] != len(data) - 1:  # else a telegram with this length
            raise DecodeError("not one telegram of the stick: its CRC is wrong, or it is something else")
    if data[:1] == b"\x68" and len(data) > 5 and data[3:4] == b"\x68" and data[1] == data[2]:
        return {"wired": data.hex()}
    return {"telegram": strip_crcs(mend_length(data)).hex()}


def _bytes(raw: Mapping[str, JsonValue], name: str) -> bytes:
    text = raw.get(name)
    if not isinstance(text, str):
        raise DecodeError(f"a raw message has no {name}")
    return parse_hex(text)
