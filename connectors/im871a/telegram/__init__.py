"""Wireless and wired M-Bus telegrams: from bytes and a key to named quantities. Pure: no clock, no I/O, no logging.

A *frame* here is what the iM871A hands over: it starts with the L field and has no link layer CRCs (`2c 44 2d 2c …`,
L counts the bytes that follow). Frames with CRCs (format A or B) go through `strip_crcs` first, wired ones through
`decode_wired`. Everything raises `DecodeError` and nothing else, whatever the bytes: `Damaged`, `KeyNeeded`,
`WrongKey` where one of these is the reason.

    header = read_header(frame)                      # cheap, no key: look-up, filters, unknown meters
    telegram = decode(frame, key, format_learnt)     # all of it
    {f"{telegram.header.id}__{name}": quantity for name, quantity in telegram.fields.items()}

**Compact frames** carry values only. Their format comes from a full frame of the same meter (or model), so what was
learnt has to travel in the raw message beside the frame:

    opened = decrypt_frame(frame, key)                          # decrypted once for both
    seen = opened.seen_format()
    if seen is None: ...                                     # an ordinary telegram
    elif seen.record_format is not None:                     # a full frame: remember it
        formats[seen.signature] = seen.record_format
    elif seen.signature in formats:                          # a compact one: store the format with it
        raw["format"] = formats[seen.signature].hex()
    telegram = opened.telegram(formats.get(seen.signature))

`decode` knows a few public formats by itself (Kamstrup OmniPower, Multical 21, …) and checks a given format against the
signature and, with the values, against the compact frame's own CRC.

**Keys.** With a key an encrypted telegram is decrypted, never taken as it stands; an unencrypted one of a meter that
has a key is decoded all the same: compare `header.encrypted` when that matters. `accept_plain=True` is for telegrams
that somebody has decrypted before (published examples, some gateways): without a key, a content that passes its own
check as it stands (`2F 2F`, payload CRC) is read. Not for the air: one foreign telegram in 65,536 passes by chance.
"""

from __future__ import annotations

from connectors.im871a.telegram import compact, decoding, frames
from connectors.im871a.telegram.decoding import Opened
from connectors.im871a.telegram.frames import CONTROL_FIELDS
from connectors.im871a.telegram.model import (
    Damaged,
    FormatUnknown,
    Function,
    Header,
    KeyNeeded,
    Record,
    Security,
    SeenFormat,
    Telegram,
    WrongKey,
)


def read_header(frame: bytes) -> Header:
    """The header of a frame without link CRCs. Raises DecodeError (Damaged for a wrong length)."""
    return decoding.read_header(frame)


def read_link_header(frame: bytes) -> Header:
    """What the link layer says, of a frame for which `read_header` raises. `security` is "other". Raises Damaged."""
    return decoding.read_link_header(frame)


def decrypt_frame(frame: bytes, key: bytes | None = None, *, accept_plain: bool = False) -> Opened:
    """A frame without link CRCs, decrypted: ask it for its `seen_format()` and its `telegram()`. Raises as `decode`."""
    return decoding.decrypt_frame(frame, key, accept_plain=accept_plain)


def decode(
    frame: bytes, key: bytes | None = None, format_learnt: bytes | None = None, *, accept_plain: bool = False
) -> Telegram:
    """The telegram in a frame without link CRCs.

    `key`: 16 bytes, or None. `format_learnt`: the record format for a compact frame, as `seen_format` gave it.
    Raises KeyNeeded, WrongKey, Damaged, or DecodeError for everything else that makes no sense.
    """
    return decrypt_frame(frame, key, accept_plain=accept_plain).telegram(format_learnt)


def strip_format_a(data: bytes) -> bytes:
    """A frame of format A (EN 13757-4 section 12.3) without its CRCs. Raises Damaged."""
    return frames.strip_format_a(data)


def strip_format_b(data: bytes) -> bytes:
    """A frame of format B (EN 13757-4 section 12.4) without its CRCs, L corrected to match. Raises Damaged."""
    return frames.strip_format_b(data)


def strip_crcs(data: bytes) -> bytes:
    """A frame without link CRCs, from one of format A, format B, or one that has none any more. Raises Damaged."""
    return frames.strip_crcs(data)


def format_signature(record_format: bytes) -> int:
    """The number under which compact frames name this record format."""
    return compact.signature(record_format)


def length_of_format_a(length_field: int) -> int:
    """All bytes of a frame of format A with this L."""
    return frames.length_of_format_a(length_field)


def with_crcs_format_a(frame: bytes) -> bytes:
    """A frame without link CRCs as one of format A: for simulators."""
    return frames.with_crcs_format_a(frame)


def split_frames(data: bytes) -> list[bytes]:
    """The frames in bytes that hold several, one behind the other; `[data]` where they do not come out even."""
    return frames.split_frames(data)


def mend_length(data: bytes) -> bytes:
    """A frame without link CRCs whose length and L differ by that of CRCs, made to fit; others as they are."""
    return frames.mend_length(data)


def decode_wired(data: bytes, key: bytes | None = None, *, accept_plain: bool = False) -> Telegram:
    """The telegram in a wired M-Bus long frame, `68 L L 68 C A CI … checksum 16` (EN 13757-2). Raises as `decode`."""
    return decoding.decode_wired(data, key, accept_plain=accept_plain)


def parse_hex(text: str) -> bytes:
    """Bytes from the hexadecimal spellings of people and programs.

    Upper or lower case, with blanks, `_`, `|`, `:`, `-`, `#`, commas, dots or `0x` between bytes. Raises DecodeError.
    """
    return frames.parse_hex(text)


__all__ = [
    "CONTROL_FIELDS", "Damaged", "FormatUnknown", "Function", "Header", "KeyNeeded", "Opened", "Record", "Security",
    "SeenFormat", "Telegram", "WrongKey", "decode", "decode_wired", "decrypt_frame", "format_signature",
    "length_of_format_a", "mend_length", "parse_hex", "read_header", "read_link_header", "split_frames",
    "strip_crcs", "strip_format_a", "strip_format_b", "with_crcs_format_a",
]  # fmt: skip
