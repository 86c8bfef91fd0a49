"""The application's bytes to records (EN 13757-3:2018 section 6): one header, one value, until the end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from connectors.im871a.telegram import datatypes
from connectors.im871a.telegram.datatypes import Reader
from connectors.im871a.telegram.layout import VARIABLE_LENGTH, RecordLayout, compile_header
from connectors.im871a.telegram.model import Damaged, Record
from wattbus.connector import Scalar
from wattbus.errors import DecodeError

IDLE_FILLER, PADDING = 0x2F, 0xFF
MANUFACTURER_DATA, MORE_FOLLOW = 0x0F, 0x1F
SPECIAL = 0x0F  # data field of the DIFs that are no record
MOST_EXTENSIONS = 10
LONGEST_NUMBER = 8  # bytes; beyond it a number is shown as hexadecimal text

LayoutOf = Callable[[bytes], RecordLayout]


@dataclass(frozen=True, slots=True)
class Coded:
    """One record before its value is read: layout, header, data (without the length byte of variable data)."""

    layout: RecordLayout
    header: bytes
    data: bytes
    length_code: int = 0  # the first byte of variable data (LVAR)

    @property
    def raw(self) -> bytes:
        """The whole record as it stands in the telegram."""
        variable = self.layout.length == VARIABLE_LENGTH
        return self.header + (bytes([self.length_code]) if variable else b"") + self.data


def record_of(layout: RecordLayout, value: Scalar, raw: bytes) -> Record:
    """The public form of a record."""
    return Record(
        layout.name, layout.quantity, layout.unit, value, layout.function, layout.storage, layout.tariff,
        layout.subunit, layout.qualifiers, layout.standard, raw.hex(), layout.description, layout.has_value,
    )  # fmt: skip


@dataclass(slots=True)
class Content:
    """What the application's bytes hold: records, the manufacturer's own tail, and what no sense could be made of."""

    coded: list[Coded] = field(default_factory=list)
    manufacturer_data: bytes = b""
    more_follow: bool = False
    unreadable: bytes = b""


def read_content(data: bytes, layout_of: LayoutOf = compile_header, *, high_first: bool = False) -> Content:
    """The records in `data`. What stands behind the last one that can be read is kept as `unreadable`.

    Raises DecodeError where not even the first one can be read: Damaged when the data end within it. `layout_of` gives
    the layout of a header. `high_first`: numbers come high byte first (wired meters, CI 76).
    """
    content = Content()
    position, end = 0, len(data)
    while position < end:
        dif = data[position]
        if dif == IDLE_FILLER:
            position += 1
            continue
        try:
            if dif & 0x0F == SPECIAL:
                _tail(data[position:], content)
                break
            header = header_at(data, position)
            layout = layout_of(header)
            coded, after = data_at(data, position + len(header), header, layout, high_first=high_first)
        except DecodeError:
            if not content.coded:
                raise
            content.unreadable = data[position:]  # stray bytes: they cost nothing of what stands before them
            break
        content.coded.append(coded)
        position = after
    return content


def _tail(tail: bytes, content: Content) -> None:
    dif = tail[0]
    if dif == PADDING and not tail.strip(bytes([PADDING])):
        return  # Maddalena EVO 868 fills its telegrams with FF instead of 2F
    if dif not in (MANUFACTURER_DATA, MORE_FOLLOW):
        raise DecodeError(f"DIF {dif:02x} is reserved")
    content.manufacturer_data = tail[1:]
    content.more_follow = dif == MORE_FOLLOW


def header_at(data: bytes, position: int) -> bytes:
    """DIF, DIF extensions, VIF (with its text), VIF extensions from `position` on. Raises DecodeError."""
    try:
        end = _extensions_end(data, position)
        vif = data[end]
        if vif & 0x7F == 0x7C:
            text_end = end + 2 + data[end + 1]
            end = _extensions_end(data, text_end) if vif & 0x80 else text_end
        else:
            end = _extensions_end(data, end)
    except IndexError:
        raise Damaged(f"the records end within a header at byte {position}") from None
    if data[position] & 0x0F == SPECIAL:
        raise DecodeError(f"DIF {data[position]:02x} is no record")
    if end > len(data):
        raise Damaged(f"the records end within a header at byte {position}")
    return data[position:end]


def _extensions_end(data: bytes, position: int) -> int:
    """The position behind the first byte without extension bit."""
    start = position
    while data[position] & 0x80:
        position += 1
        if position - start > MOST_EXTENSIONS:
            raise DecodeError(f"more than {MOST_EXTENSIONS} extensions at byte {start}")
    return position + 1


def data_at(
    data: bytes, position: int, header: bytes, layout: RecordLayout, *, high_first: bool = False
) -> tuple[Coded, int]:
    """The record whose data start at `position`, and the position behind them. Raises Damaged, DecodeError."""
    length, length_code = layout.length, 0
    if length == VARIABLE_LENGTH:
        if position >= len(data):
            raise Damaged("the records end before the length of a value")
        length_code = data[position]
        length = variable_length(length_code)
        position += 1
    part = data[position : position + length]
    if len(part) != length:
        raise Damaged(f"the records end within a value: {length} bytes expected at {position}, {len(part)} there")
    if high_first and layout.length != VARIABLE_LENGTH:
        part = part[::-1]
    return Coded(layout, header, part, length_code), position + length


def variable_length(code: int) -> int:
    """Bytes that follow the first byte of variable length data (LVAR, EN 13757-3:2018 table 5)."""
    if code < 0xC0:
        return code
    if (code & 0xF0 in (0xC0, 0xD0) and code & 0x0F <= 9) or code & 0xF0 == 0xE0:
        return code & 0x0F
    if 0xF0 <= code <= 0xF4:
        return 4 * (code - 0xEC)
    if code in (0xF5, 0xF6):
        return 48 if code == 0xF5 else 64
    raise DecodeError(f"variable length {code:02x} is reserved")


def value_of(coded: Coded) -> Scalar:
    """The record's value."""
    layout = coded.layout
    if layout.length != VARIABLE_LENGTH:
        return layout.read(coded.data)
    return _variable_reader(coded)(coded.data)


def _variable_reader(coded: Coded) -> Reader:
    layout, code, length = coded.layout, coded.length_code, len(coded.data)
    if not layout.standard or layout.data == "hex" or (code >= 0xE0 and length > LONGEST_NUMBER):
        return datatypes.hexadecimal
    if code < 0xC0:
        return datatypes.text
    if code < 0xE0:
        number = datatypes.bcd(layout.scale)
        return number if code < 0xD0 else _negative(number)
    if layout.data in ("date", "datetime"):
        return datatypes.MOMENTS.get(length, datatypes.hexadecimal)
    if not length:
        return datatypes.nothing
    return (datatypes.signed if layout.data == "signed" else datatypes.unsigned)(length, layout.scale)


def _negative(read: Reader) -> Reader:
    def negated(data: bytes) -> Scalar:
        value = read(data)
        return -value if isinstance(value, int | float) else None

    return negated
