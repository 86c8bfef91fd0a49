"""Compact frames: the values alone, their format named by a signature (EN 13757-3:2018 annex G)."""

from __future__ import annotations

from connectors.im871a.telegram.crc import crc16
from connectors.im871a.telegram.layout import compile_header
from connectors.im871a.telegram.model import Damaged, SeenFormat
from connectors.im871a.telegram.records import IDLE_FILLER, Content, LayoutOf, data_at, header_at
from wattbus.errors import DecodeError

SIGNATURE_LENGTH = 2
COMPACT_HEADER = 4  # format signature, CRC of the full frame's records


def signature(record_format: bytes) -> int:
    """The number that names a record format: the CRC of its DIFs and VIFs."""
    return crc16(record_format)


def format_of(content: Content) -> SeenFormat:
    """The format of a full frame's records."""
    record_format = b"".join(coded.header for coded in content.coded)
    return SeenFormat(signature(record_format), record_format)


def format_in_format_frame(data: bytes) -> SeenFormat:
    """The format in a format frame (CI 69, 6A, 6B): length, signature, DIFs and VIFs. Raises Damaged."""
    record_format = data[1 + SIGNATURE_LENGTH :]
    if len(data) < 1 + SIGNATURE_LENGTH or data[0] != len(data) - 1:
        raise Damaged("the length of the format frame is wrong")
    named = int.from_bytes(data[1:3], "little")
    if signature(record_format) != named:
        raise Damaged(f"the format does not fit to its signature {named:04x}")
    return SeenFormat(named, record_format)


def needed_signature(data: bytes) -> int:
    """The signature of the format that a compact frame needs. Raises Damaged."""
    if len(data) < COMPACT_HEADER:
        raise Damaged("the compact frame is too short")
    return int.from_bytes(data[:2], "little")


def read_compact(data: bytes, record_format: bytes, layout_of: LayoutOf = compile_header) -> Content:
    """The records of a compact frame. Raises Damaged when they do not fit to the CRC of the full frame."""
    needed = needed_signature(data)
    if signature(record_format) != needed:
        raise DecodeError(f"the format given has signature {signature(record_format):04x}, needed is {needed:04x}")
    content, full = Content(), bytearray()
    position, at = COMPACT_HEADER, 0
    while at < len(record_format):
        header = header_at(record_format, at)
        at += len(header)
        start = position
        coded, position = data_at(data, position, header, layout_of(header))
        content.coded.append(coded)
        full += header + data[start:position]
    if crc16(bytes(full)) != int.from_bytes(data[2:4], "little"):
        raise Damaged("the CRC of the compact frame is wrong")
    content.unreadable = data[position:].strip(bytes([IDLE_FILLER]))
    return content
