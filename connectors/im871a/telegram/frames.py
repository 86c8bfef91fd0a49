"""Frames as they come: link layer CRCs, wired frames, hexadecimal spellings."""

from __future__ import annotations

import contextlib
import itertools

from connectors.im871a.telegram.crc import crc16
from connectors.im871a.telegram.model import Damaged
from wattbus.errors import DecodeError

CRC_LENGTH = 2
BLOCK_LENGTH = 16
FIRST_BLOCK_A = 10  # L C M M A A A A version type
FIRST_BLOCKS_B = 126  # the first two blocks of format B share one CRC
# C fields of meters: SND-NR, SND-IR, ACC-NR, ACC-DMD, RSP-UD and SND-UD (EN 13757-4 table 27), repeated ones too.
CONTROL_FIELDS = frozenset({0x08, 0x18, 0x28, 0x38, 0x44, 0x46, 0x47, 0x48, 0x53, 0x73})
SHORTEST = 9  # of L: C M M A A A A version type, and nothing behind
LONG_START, STOP = 0x68, 0x16
SEPARATORS = str.maketrans("", "", " \t\r\n_|:-#,.")


def strip_format_a(data: bytes) -> bytes:
    """A frame of format A (EN 13757-4 section 12.3) without its CRCs. Raises Damaged.

    L counts neither itself nor the CRCs: a block of 10 bytes, then blocks of up to 16, each with a CRC.
    """
    if len(data) < 1 + SHORTEST + CRC_LENGTH:
        raise Damaged(f"{len(data)} bytes are too short for a frame of format A")
    plain, position, length = bytearray(), 0, FIRST_BLOCK_A
    missing = data[0] + 1
    while missing:
        length = min(length, missing)
        plain += _checked(data, position, position + length)
        position += length + CRC_LENGTH
        missing -= length
        length = BLOCK_LENGTH
    if position != len(data):
        raise Damaged(f"{len(data)} bytes where format A has {position} (L is {data[0]})")
    return bytes(plain)


def strip_format_b(data: bytes) -> bytes:
    """A frame of format B (EN 13757-4 section 12.4) without its CRCs, L corrected to match. Raises Damaged.

    L counts the CRCs: one behind the first 126 bytes (or the whole frame if it is shorter), one behind the rest.
    """
    if len(data) < 1 + SHORTEST + CRC_LENGTH or data[0] != len(data) - 1:
        raise Damaged(f"{len(data)} bytes do not fit to L = {data[0] if data else 'nothing'} in format B")
    first = min(len(data) - CRC_LENGTH, FIRST_BLOCKS_B)
    plain = bytearray(_checked(data, 0, first))
    rest = first + CRC_LENGTH
    if rest < len(data):
        plain += _checked(data, rest, len(data) - CRC_LENGTH)
    plain[0] = len(plain) - 1
    return bytes(plain)


def _checked(data: bytes, start: int, end: int) -> bytes:
    """The bytes `start:end`, which the CRC behind them must fit."""
    block = data[start:end]
    if end <= start or data[end : end + CRC_LENGTH] != crc16(block).to_bytes(CRC_LENGTH, "big"):
        raise Damaged(f"the link CRC of bytes {start} to {end} is wrong")
    return block


def strip_crcs(data: bytes) -> bytes:
    """A frame without link CRCs, from one of format A, format B, or one that has none any more. Raises Damaged.

    Format A is longer than L says. Between format B and frames without CRCs, which both have the length that L says,
    the CRC decides; so it does for receivers that leave the CRC of format A's last block and count it in L. (By chance
    it decides wrongly once in 30,000 frames: what is known to have no CRCs, like the stick's frames, need not pass
    here.)
    """
    if not data or len(data) != data[0] + 1:
        try:
            return strip_format_a(data)
        except Damaged as fault:
            raise Damaged(_what_is_wrong(data, fault)) from None
    try:
        return strip_format_b(data)
    except Damaged:
        return _without_last_crc(data)


def _what_is_wrong(data: bytes, fault: Damaged) -> str:
    """Why a frame has neither the length that L says nor that of format A. `fault` is what format A says."""
    if not data:
        return "there are no bytes"
    says, with_crcs = data[0] + 1, length_of_format_a(data[0])
    if len(data) == with_crcs:
        return f"{fault} (as long as a frame of format A with L = {data[0]})"
    wrong = f"{len(data)} bytes, but the first one, L = {data[0]}, says {says}, or {with_crcs} with link CRCs"
    if len(data) < says:
        return f"{wrong}: {says - len(data)} are missing"
    return f"{wrong}: {len(data) - says} are left over"


def length_of_format_a(length_field: int) -> int:
    """All bytes of a frame of format A with this L."""
    blocks = 1 + max(0, -(-(length_field + 1 - FIRST_BLOCK_A) // BLOCK_LENGTH))
    return 1 + length_field + CRC_LENGTH * blocks


def with_crcs_format_a(frame: bytes) -> bytes:
    """A frame without link CRCs as one of format A."""
    starts = [0, *range(FIRST_BLOCK_A, len(frame), BLOCK_LENGTH), len(frame)]
    blocks = [frame[start:end] for start, end in itertools.pairwise(starts)]
    return b"".join(block + crc16(block).to_bytes(CRC_LENGTH, "big") for block in blocks)


def split_frames(data: bytes) -> list[bytes]:
    """The frames in bytes that hold several, one behind the other; `[data]` where they do not come out even.

    With or without link CRCs. What is told by lengths alone has to begin like a meter's telegram each time.
    """
    frames, rest = [], data
    while rest:
        frame = _first_frame(rest)
        if frame is None:
            return [data]
        frames.append(frame)
        rest = rest[len(frame) :]
    return frames


def _first_frame(data: bytes) -> bytes | None:
    with_crcs = data[: length_of_format_a(data[0])]
    with contextlib.suppress(Damaged):
        strip_format_a(with_crcs)
        return with_crcs
    plain = data[: data[0] + 1]
    is_plausible = len(plain) == data[0] + 1 > SHORTEST + 1 and plain[1] in CONTROL_FIELDS
    return plain if is_plausible else None


def mend_length(data: bytes) -> bytes:
    """A frame without link CRCs whose length and L differ by that of CRCs, made to fit; others as they are.

    Programs that strip format B often leave an L that counts its CRCs; others leave two bytes behind the frame: the
    last CRC, or that of the line to their receiver. For what people hand in; nothing says that the bytes are right.
    """
    if len(data) <= SHORTEST or data[1] not in CONTROL_FIELDS:
        return data
    says = data[0] + 1
    if len(data) == says + CRC_LENGTH != length_of_format_a(data[0]):
        return data[:says]
    crcs = CRC_LENGTH if says <= FIRST_BLOCKS_B + CRC_LENGTH else 2 * CRC_LENGTH
    return bytes([len(data) - 1]) + data[1:] if len(data) == says - crcs else data


def _without_last_crc(data: bytes) -> bytes:
    end = len(data) - CRC_LENGTH
    if end <= FIRST_BLOCK_A:
        return data
    start = end - ((end - FIRST_BLOCK_A - 1) % BLOCK_LENGTH + 1)
    return bytes([end - 1]) + data[1:end] if data[end:] == crc16(data[start:end]).to_bytes(2, "big") else data


def strip_wired(data: bytes) -> tuple[int, int, bytes]:
    """C, A and what follows them (CI …) of a wired long frame (EN 13757-2, format class FT 1.2). Raises Damaged."""
    if len(data) < 9 or data[0] != LONG_START or data[3] != LONG_START:
        raise Damaged("not a wired long frame: 68 L L 68 C A CI … checksum 16")
    length = data[1]
    if data[2] != length or len(data) != length + 6:
        raise Damaged(f"wired frame: {len(data)} bytes do not fit to L = {length} and {data[2]}")
    if data[-1] != STOP:
        raise Damaged(f"wired frame: stop byte {data[-1]:02x} instead of 16")
    body = data[4:-2]
    if sum(body) & 0xFF != data[-2]:
        raise Damaged(f"wired frame: checksum {data[-2]:02x} instead of {sum(body) & 0xFF:02x}")
    return body[0], body[1], body[2:]


def parse_hex(text: str) -> bytes:
    """Bytes from the hexadecimal spellings of people and programs.

    Upper or lower case, with blanks, `_`, `|`, `:`, `-`, `#`, commas, dots or `0x` between bytes. Raises DecodeError.
    """
    digits = text.replace("0x", " ").replace("0X", " ").translate(SEPARATORS)
    try:
        return bytes.fromhex(digits)
    except ValueError:
        shown = text if len(text) <= 60 else f"{text[:60]}…"
        raise DecodeError(f"not hexadecimal bytes: {shown!r}") from None


def bytes_at(data: bytes, position: int, length: int) -> bytes:
    """A part of a layer. Raises Damaged when the telegram ends before."""
    part = data[position : position + length]
    if len(part) != length:
        raise Damaged(f"the telegram ends in a header: {length} bytes expected at {position}, {len(part)} there")
    return part
