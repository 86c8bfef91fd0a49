"""A record's header, its DIF and VIF with their extensions, compiled to what is needed to read its data.

Meters repeat their headers in every telegram, so each is compiled once and remembered.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import lru_cache

from connectors.im871a.telegram import datatypes
from connectors.im871a.telegram.datatypes import UNSCALED, Reader, Scale, scale_of
from connectors.im871a.telegram.model import Function
from connectors.im871a.telegram.vif import (
    EXTENSION_FB,
    EXTENSION_FD,
    EXTENSION_FD_FD,
    PRIMARY,
    UNIT_SUFFIX,
    DataType,
    Vif,
)
from connectors.im871a.telegram.vife import COMBINABLE, COMBINABLE_FC, EXTENSION, MANUFACTURER, Profile, Vife

FUNCTIONS: tuple[Function, ...] = ("instantaneous", "maximum", "minimum", "error")
FUNCTION_WORDS = {"instantaneous": "", "maximum": "max", "minimum": "min", "error": "error"}
# EN 13757-3:2018 table 4, data field of the DIF → bytes of data; -1: variable, told by the first byte (LVAR).
LENGTHS = (0, 1, 2, 3, 4, 4, 6, 8, 0, 1, 2, 3, 4, -1, 6)
REAL = 5
FIRST_BCD, LAST_BCD = 9, 14
VARIABLE_LENGTH = -1
TEXT_VIF = 0x7C
VIF_TABLES = {0xFB: EXTENSION_FB, 0xFD: EXTENSION_FD}


@dataclass(frozen=True, slots=True)
class RecordLayout:
    """How to read a record, and what it is. `length` is -1 for data that tell their own length.

    `unit_word` is the unit's part of the name; `field` the data field of the DIF.
    """

    name: str
    quantity: str
    unit: str
    unit_word: str
    function: Function
    storage: int
    tariff: int
    subunit: int
    qualifiers: tuple[str, ...]
    standard: bool
    description: str
    field: int
    length: int
    read: Reader
    data: DataType
    scale: Scale
    profile: Profile

    @property
    def has_value(self) -> bool:
        """Whether there is a value at all: data field 0 and 8 announce a record without data."""
        return self.length != 0


@dataclass(frozen=True, slots=True)
class Meaning:
    """A value information block with all its extensions applied."""

    vif: Vif
    words: tuple[str, ...] = ()
    per: str = ""
    offset_exponent: int | None = None
    profile: Profile = ""


@lru_cache(maxsize=4096)
def compile_header(header: bytes) -> RecordLayout:
    """The layout behind a header that is complete (the last DIF and VIF without extension bit)."""
    dib, vib = split_header(header)
    return compile_layout(dib, meaning(vib))


def split_header(header: bytes) -> tuple[bytes, bytes]:
    """DIF and its extensions; VIF and its extensions."""
    split = 1
    while header[split - 1] & 0x80:
        split += 1
    return header[:split], header[split:]


def compile_layout(dib: bytes, means: Meaning) -> RecordLayout:
    """The layout of a data information block (DIF, DIFEs) and a value information block's meaning."""
    storage, tariff, subunit = dib[0] >> 6 & 1, 0, 0
    for n, dife in enumerate(dib[1:]):
        storage |= (dife & 0x0F) << (1 + 4 * n)
        tariff |= (dife >> 4 & 0x03) << (2 * n)
        subunit |= (dife >> 6 & 0x01) << n
    field, vif = dib[0] & 0x0F, means.vif
    scale = scale_of(vif.exponent, vif.factor, vif.binary_exponent, means.offset_exponent)
    unnamed = RecordLayout(
        name="",
        quantity=vif.quantity,
        unit=vif.unit + means.per,
        unit_word=UNIT_SUFFIX.get(vif.unit, _slug(vif.unit)),
        function=FUNCTIONS[dib[0] >> 4 & 0x03],
        storage=storage,
        tariff=tariff,
        subunit=subunit,
        qualifiers=means.words,
        standard=vif.standard,
        description="",
        field=field,
        length=LENGTHS[field],
        read=_reader(field, vif.data, scale, standard=vif.standard),
        data=vif.data,
        scale=scale,
        profile=means.profile,
    )
    return named(unnamed)


def named(layout: RecordLayout) -> RecordLayout:
    """The layout with name and description made from its parts."""
    words = [
        layout.quantity, *layout.qualifiers, FUNCTION_WORDS[layout.function],
        _numbered("tariff", layout.tariff), _numbered("unit", layout.subunit), _numbered("storage", layout.storage),
    ]  # fmt: skip
    words = [word for word in words if word]
    name = "_".join([*words, layout.unit_word] if layout.unit_word else words)
    return replace(layout, name=name, description=", ".join(word.replace("_", " ") for word in words))


def _numbered(word: str, number: int) -> str:
    return f"{word}_{number}" if number else ""


def _reader(field: int, data: DataType, scale: Scale, *, standard: bool) -> Reader:
    """The reader of fixed length data. What comes with variable length is read by `records.value_of`."""
    length = LENGTHS[field]
    if length <= 0:
        return datatypes.nothing
    if data in ("date", "datetime") and not FIRST_BCD <= field <= LAST_BCD:
        return datatypes.MOMENTS.get(length, datatypes.hexadecimal)
    if data in ("hex", "date", "datetime") or not standard:
        return datatypes.hexadecimal
    if field == REAL:
        return datatypes.real(scale)
    if field >= FIRST_BCD:
        return datatypes.digits if data == "identity" else datatypes.bcd(scale)
    if data == "flags":
        return datatypes.flags
    return datatypes.signed(length, scale) if data == "signed" else datatypes.unsigned(length, scale)


def unscaled_reader(field: int, data: DataType) -> Reader:
    """Reads the number as it is coded."""
    return _reader(field, data, UNSCALED, standard=True)


def meaning(vib: bytes) -> Meaning:
    """What a complete value information block means (EN 13757-3:2018 section 6.4)."""
    vif, rest = _vif(vib)
    means = Meaning(vif)
    while rest and means.vif.standard:
        code = rest[0] & 0x7F
        if code == MANUFACTURER:
            return _manufacturer(means, rest[1:])
        if code == EXTENSION and len(rest) > 1:
            vife, word = COMBINABLE_FC.get(rest[1] & 0x7F), f"extension_fc_{rest[1] & 0x7F:02x}"
            rest = rest[2:]
        else:
            vife, word = COMBINABLE.get(code), f"extension_{code:02x}"
            rest = rest[1:]
        means = _extended(means, vife or Vife(word, known=False))
    return means


def _vif(vib: bytes) -> tuple[Vif, bytes]:
    """The VIF, from the table that its first bytes choose, and the extensions behind it."""
    first = vib[0]
    if first & 0x7F == TEXT_VIF:
        length = vib[1]
        unit = str(datatypes.text(vib[2 : 2 + length]))
        return Vif(_slug(unit) or "text", unit), vib[2 + length :]
    if first & 0x7F == MANUFACTURER:
        return Vif(f"manufacturer_{vib.hex()}", standard=False), b""
    if first in VIF_TABLES and len(vib) > 1:
        table, code, rest = VIF_TABLES[first], vib[1], vib[2:]
        if first == 0xFD and code == 0xFD and rest:
            table, code, rest = EXTENSION_FD_FD, rest[0], rest[1:]
    else:
        table, code, rest = PRIMARY, first, vib[1:]
    vif = table.get(code & 0x7F)
    return (vif, rest) if vif else (Vif(f"reserved_{vib.hex()}", standard=False), b"")


def _manufacturer(means: Meaning, codes: bytes) -> Meaning:
    """The rest of the extensions is the manufacturer's, and so are the data."""
    word = f"manufacturer_{codes.hex()}" if codes else "manufacturer"
    return replace(means, vif=replace(means.vif, unit="", standard=False), words=(*means.words, word))


def _extended(means: Meaning, vife: Vife) -> Meaning:
    vif = means.vif
    if vife.becomes is not None:
        vif = replace(vife.becomes, quantity=vif.quantity)
    else:
        vif = replace(vif, exponent=vif.exponent + vife.exponent, data=vife.data or vif.data)
    if not vife.known:
        vif = replace(vif, unit="", standard=False)
    per = means.per
    if vife.per:
        per += f"/{vife.per}"
    if vife.times:
        per += f".{vife.times}"
    return Meaning(
        vif,
        (*means.words, vife.word) if vife.word else means.words,
        per,
        vife.offset_exponent if vife.offset_exponent is not None else means.offset_exponent,
        vife.profile or means.profile,
    )


def _slug(text: str) -> str:
    """Text as part of a key: lower case letters and digits, the rest as single underscores."""
    return re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")
