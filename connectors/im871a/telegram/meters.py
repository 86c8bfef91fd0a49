"""What the standard does not say about a meter: the data files in `connectors/im871a/meters`, one per kind of meter.

A data file gives a name, tells which meters it is about, and then any of: what the manufacturer's own VIFs mean
(`records`), better names (`names`), the words for status and error bits (`status`, `flags`), what fixed bytes of the
manufacturer's tail mean (`tail`), or of a record of its own (`blocks`), record formats of compact frames (`formats`);
and the telegrams that prove it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from connectors.im871a.telegram import compact
from connectors.im871a.telegram.datatypes import scale_of, unsigned
from connectors.im871a.telegram.layout import Meaning, RecordLayout, compile_header, compile_layout, named, split_header
from connectors.im871a.telegram.records import Coded
from connectors.im871a.telegram.vif import UNIT_SUFFIX, DataType, Vif
from wattbus.connector import Quantity

FOLDER = Path(__file__).parent.parent / "meters"


def _bytes(text: Any) -> Any:
    return bytes.fromhex(text) if isinstance(text, str) else text


Hex = Annotated[bytes, BeforeValidator(_bytes)]


class Part(BaseModel):
    """Base of all that stands in a data file."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Detection(Part):
    """Which meters: manufacturer letters, and versions and device types if they matter."""

    manufacturer: str = Field(pattern=r"^[A-Z]{3}$")
    versions: tuple[int, ...] = ()
    device_types: tuple[int, ...] = ()

    def fits(self, manufacturer: str, version: int, device_type: int) -> bool:
        return (
            self.manufacturer == manufacturer
            and (not self.versions or version in self.versions)
            and (not self.device_types or device_type in self.device_types)
        )


class MeterVif(Part):
    """What a value information block means with this kind of meter, for one subunit or for all.

    `vib` is VIF and extensions as in the telegram. With `subunit` it holds for that subunit alone, and the subunit's
    number is left out of the name.
    """

    vib: Hex
    subunit: int | None = None
    quantity: str = Field(pattern=r"^[a-z0-9_]+$")
    qualifiers: tuple[str, ...] = ()
    unit: str = ""
    exponent: int = 0
    data: DataType = "signed"

    def meaning(self) -> Meaning:
        return Meaning(Vif(self.quantity, self.unit, self.exponent, data=self.data), self.qualifiers)


class TailField(Part):
    """A number at a fixed place of the manufacturer's tail: `first` byte, counted from 0, and number of bytes."""

    first: int = Field(ge=0)
    length: int = Field(ge=1, le=8)
    quantity: str = Field(pattern=r"^[a-z0-9_]+$")
    unit: str = ""
    exponent: int = 0
    high_first: bool = False


class BlockPart(Part):
    """A value inside of a block, told as a record of the standard: where it starts, its DIF, and its VIF.

    Without `vib` the VIF is the byte of the block at `vif_at`.
    """

    first: int = Field(ge=0)
    dib: Hex
    vib: Hex = b""


class Block(Part):
    """A record of the manufacturer's own that holds several values at fixed places.

    `begins` is what the block must begin with, `.` for any digit; `vifs` which VIFs may stand at `vif_at`. Others are
    not read.
    """

    vib: Hex
    begins: str = Field(pattern=r"^[0-9a-f.]+$")
    vif_at: int = Field(ge=0)
    vifs: tuple[int, ...]
    parts: tuple[BlockPart, ...]

    def fits(self, vib: bytes, data: bytes) -> bool:
        return (
            vib == self.vib
            and re.match(self.begins, data.hex()) is not None
            and len(data) > self.vif_at
            and data[self.vif_at] in self.vifs
        )


class Proof(Part):
    """A telegram and fields that it must give. `source` says where it is from."""

    source: str
    telegram: Hex
    key: Hex | None = None
    decrypted: bool = False
    fields: Mapping[str, str | int | float | bool | None]


class MeterFile(Part):
    """A data file.

    `content: manufacturer` says that these meters use the CI field of records for something of their own. `names`
    gives better names to fields. `status` names the manufacturer's bits (5 to 7) of the status byte, `flags` the bits
    of fields; a bit named "" is none that has to do with the meter's health.
    """

    name: str
    description: str
    detection: tuple[Detection, ...]
    content: Literal["records", "manufacturer"] = "records"
    records: tuple[MeterVif, ...] = ()
    names: Mapping[str, str] = {}
    status: Mapping[int, str] = {}
    flags: Mapping[str, Mapping[int, str]] = {}
    tail: tuple[TailField, ...] = ()
    blocks: tuple[Block, ...] = ()
    formats: tuple[Hex, ...] = ()
    telegrams: tuple[Proof, ...] = Field(min_length=1)


class Meter:
    """A data file at work: gives layouts for headers, names for fields, words for bits."""

    def __init__(self, file: MeterFile) -> None:
        self.file = file
        self.name = file.name
        self._vifs = {(one.vib, one.subunit): one for one in file.records}
        self._layout_of = lru_cache(maxsize=1024)(self._compile)

    def layout_of(self, header: bytes) -> RecordLayout:
        """The layout of a record's header; the file's own meaning goes first."""
        return self._layout_of(header)

    def _compile(self, header: bytes) -> RecordLayout:
        standard = compile_header(header)
        dib, vib = split_header(header)
        own = self._vifs.get((vib, standard.subunit)) or self._vifs.get((vib, None))
        if own is None:
            return standard
        layout = compile_layout(dib, own.meaning())
        return layout if own.subunit is None else named(replace(layout, subunit=0))

    def unfolded(self, all_coded: Iterable[Coded]) -> Iterator[Coded]:
        """The records, and behind each block what it holds; values that it is too short for are left out."""
        for coded in all_coded:
            yield coded
            for block in self.file.blocks:
                if block.fits(split_header(coded.header)[1], coded.data):
                    yield from self._in_block(block, coded.data)

    def _in_block(self, block: Block, data: bytes) -> Iterator[Coded]:
        for part in block.parts:
            header = part.dib + (part.vib or data[block.vif_at : block.vif_at + 1])
            layout = self.layout_of(header)
            value = data[part.first : part.first + layout.length]
            if len(value) == layout.length:
                yield Coded(layout, header, value)

    def field_name(self, name: str) -> str:
        """The field's name, which the data file may have replaced."""
        return self.file.names.get(name, name)

    def status_word(self, word: str) -> str:
        """The manufacturer's meaning of `status_bit_5` … `status_bit_7`."""
        return self.file.status.get(int(word[-1]), word) if word.startswith("status_bit_") else word

    def has_flags(self, name: str) -> bool:
        """Whether the bits of this field are the meter's health."""
        return name in self.file.flags

    def flag_words(self, name: str, value: int) -> tuple[str, ...]:
        """The words for the bits of a field of flags; bits that the file does not know appear as `<field>_bit_<n>`."""
        known = self.file.flags[name]
        words = (known.get(bit, f"{name}_bit_{bit}") for bit in range(value.bit_length()) if value >> bit & 1)
        return tuple(word for word in words if word)

    def tail_fields(self, tail: bytes) -> Iterator[tuple[str, Quantity]]:
        """The numbers at fixed places of the manufacturer's tail; those that it is too short for are left out."""
        for part in self.file.tail:
            data = tail[part.first : part.first + part.length]
            if len(data) == part.length:
                read = unsigned(part.length, scale_of(part.exponent))
                value = read(data[::-1] if part.high_first else data)
                suffix = UNIT_SUFFIX.get(part.unit, "")
                name = f"{part.quantity}_{suffix}" if suffix else part.quantity
                yield name, Quantity(value, part.unit, part.quantity.replace("_", " "))


@lru_cache(maxsize=1)
def all_meters() -> tuple[Meter, ...]:
    """All data files, in alphabetical order."""
    files = (yaml.safe_load(path.read_text(encoding="utf-8")) for path in sorted(FOLDER.glob("*.yaml")))
    return tuple(Meter(MeterFile.model_validate(file)) for file in files)


@lru_cache(maxsize=4096)
def meter_for(manufacturer: str, version: int, device_type: int) -> Meter | None:
    """The data file for a meter, if there is one; of several the first."""
    for meter in all_meters():
        if any(detection.fits(manufacturer, version, device_type) for detection in meter.file.detection):
            return meter
    return None


@lru_cache(maxsize=1)
def known_formats() -> Mapping[int, bytes]:
    """The record formats in the data files, by signature."""
    return {compact.signature(one): one for meter in all_meters() for one in meter.file.formats}
