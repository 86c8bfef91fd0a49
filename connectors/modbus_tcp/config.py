"""MODBUS_CONFIG: which registers and coils are read and written. BEMCom's format, with optional keys of ours."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, AliasChoices, BaseModel, ConfigDict, Field, model_validator

from connectors.modbus_tcp.value_rules import (
    LAST_ADDRESS,
    Address,
    BitRules,
    Factor,
    Key,
    ValueRules,
    WholeNumber,
)
from links.modbus_layout import LayoutScalar, RegisterLayout, parse

log = logging.getLogger(__name__)

MOST_REGISTERS = 125
MOST_COILS_WRITTEN = 1968  # Modbus Application Protocol V1.1b3 section 6.11
MOST_REGISTERS_WRITTEN = 123  # section 6.12


def _datatypes(text: str) -> str:
    parse(text)
    return text


Datatypes = Annotated[str, AfterValidator(_datatypes)]
PerAddress = Mapping[Address, Factor]
TextPerAddress = Mapping[Address, str]


class Entry(BaseModel):
    """What every entry has: the first register or coil, and the unit it belongs to."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    address: Address
    unit: int = Field(ge=0, le=255)

    def layout(self, swap_floats: bool) -> RegisterLayout | None:
        """How values lie in the registers; None for coils, which are one value each."""
        return None

    @property
    def words(self) -> int:
        """How many registers or coils the entry covers."""
        raise NotImplementedError

    @model_validator(mode="after")
    def _ends_within_the_device(self) -> Self:
        if self.address + self.words - 1 > LAST_ADDRESS:
            raise ValueError(f"address {self.address} and {self.words} words go beyond address {LAST_ADDRESS}")
        return self


def _only_addresses(name: str, given: Mapping[int, Any], addresses: list[int]) -> None:
    for address in given:
        if address not in addresses:
            known = ", ".join(str(one) for one in addresses[:8]) + (", …" if len(addresses) > 8 else "")
            raise ValueError(f"{name}: {address} is not the address of a value here (values are at {known})")


class ReadEntry(Entry):
    """What every entry of a read method may have: an own poll interval (s), how many words may be read beside it."""

    poll_seconds: float | None = Field(default=None, gt=0)
    gap: int = Field(default=0, ge=0, le=MOST_REGISTERS)


class ReadBits(ReadEntry):
    """An entry of `read_coils` or `read_discrete_inputs`."""

    count: int = Field(ge=1, le=LAST_ADDRESS + 1)
    values: Mapping[Address, BitRules] = {}
    descriptions: TextPerAddress = Field(default={}, validation_alias=AliasChoices("descriptions", "names"))

    @property
    def words(self) -> int:
        return self.count

    @model_validator(mode="after")
    def _describes_own_coils(self) -> Self:
        addresses = list(range(self.address, self.address + self.count))
        _only_addresses("descriptions", self.descriptions, addresses)
        _only_addresses("values", self.values, addresses)
        return self

    def rules(self, address: int) -> BitRules:
        """What is said about this coil."""
        own = self.values.get(address, BitRules())
        return own if own.name else own.model_copy(update={"name": self.descriptions.get(address, "")})


class ReadRegisters(ReadEntry):
    """An entry of `read_holding_registers` or `read_input_registers`."""

    count: int = Field(ge=1, le=LAST_ADDRESS + 1)
    datatypes: Datatypes
    scaling_factors: PerAddress = {}
    word_order: Literal["big", "little"] | None = None
    units: TextPerAddress = {}
    descriptions: TextPerAddress = Field(default={}, validation_alias=AliasChoices("descriptions", "names"))
    values: Mapping[Address, ValueRules] = {}

    def rules(self, address: int) -> ValueRules:
        """What is said about the value at this address, in `values` or in the maps of the whole entry."""
        own = self.values.get(address, ValueRules())
        return own.model_copy(
            update={
                "name": own.name or self.descriptions.get(address, ""),
                "unit": own.unit or self.units.get(address, ""),
                "scaling_factor": own.scaling_factor or self.scaling_factors.get(address),
            }
        )

    def layout(self, swap_floats: bool) -> RegisterLayout:
        return parse(self.datatypes, self.word_order, swap_floats=swap_floats)

    @property
    def words(self) -> int:
        return self.count

    @model_validator(mode="after")
    def _values_fill_the_registers(self) -> Self:
        layout = self.layout(swap_floats=False)
        if layout.count != self.count:
            raise ValueError(
                f"count is {self.count}, and datatypes {self.datatypes!r} take {layout.count} registers: they must "
                "agree (x skips a byte, 2x a register)"
            )
        _check_scaling(self.scaling_factors, layout, self.address)
        addresses = [self.address + one.address for one in layout.fields]
        _only_addresses("units", self.units, addresses)
        _only_addresses("descriptions", self.descriptions, addresses)
        _only_addresses("values", self.values, addresses)
        for one in layout.fields:
            own = self.values.get(self.address + one.address, ValueRules())
            if fault := own.fault_for(one.kind, one.size):
                raise ValueError(f"values, {self.address + one.address}: {fault}")
        return self


def _check_scaling(factors: Mapping[int, float], layout: RegisterLayout, start: int) -> None:
    _only_addresses("scaling_factors", factors, [start + one.address for one in layout.fields])
    for one in layout.fields:
        if start + one.address in factors and one.kind in ("text", "bool"):
            raise ValueError(f"scaling_factors: the value at {start + one.address} is not a number (type {one.code})")


class WriteEntry(Entry):
    """What every entry of a write method may have."""

    key: Key | None = None
    example_value: LayoutScalar = None
    description: str = Field(default="", validation_alias=AliasChoices("description", "name"))
    unit_of_measure: str = ""
    repeat_seconds: float | None = Field(default=None, gt=0)
    repeat_timeout_seconds: float | None = Field(default=None, gt=0)
    min_value: float | None = None
    max_value: float | None = None

    @model_validator(mode="after")
    def _has_a_range(self) -> Self:
        if self.min_value is not None and self.max_value is not None and self.min_value > self.max_value:
            raise ValueError("min_value is above max_value")
        if self.repeat_timeout_seconds is not None and self.repeat_seconds is None:
            raise ValueError("repeat_timeout_seconds: only with repeat_seconds")
        return self


class WriteCoil(WriteEntry):
    """An entry of `write_coil` (function code 5)."""

    @property
    def words(self) -> int:
        return 1


class WriteCoils(WriteEntry):
    """An entry of `write_coils` (function code 15); several coils are one text value, `1 0 1`."""

    count: int = Field(1, ge=1, le=MOST_COILS_WRITTEN)

    @property
    def words(self) -> int:
        return self.count


class WriteRegisters(WriteEntry):
    """An entry of `write_registers` (function code 16); several values are one text value, `21.5 3`."""

    datatypes: Datatypes
    scaling_factor: Factor | None = None
    scaling_factors: PerAddress = {}
    offset: float = Field(default=0.0, allow_inf_nan=False)
    on: WholeNumber | None = None
    off: WholeNumber | None = None
    word_order: Literal["big", "little"] | None = None

    @property
    def is_switch(self) -> bool:
        """Whether it takes true and false, for which `on` and `off` are written."""
        return self.on is not None

    def layout(self, swap_floats: bool) -> RegisterLayout:
        return parse(self.datatypes, self.word_order, swap_floats=swap_floats)

    @property
    def words(self) -> int:
        return parse(self.datatypes).count

    def factor(self, address: int) -> float | None:
        """The scaling factor of the value at this address."""
        return self.scaling_factors.get(address, self.scaling_factor)

    @model_validator(mode="after")
    def _can_be_written(self) -> Self:
        layout = self.layout(swap_floats=False)
        if layout.count > MOST_REGISTERS_WRITTEN:
            raise ValueError(f"{layout.count} registers cannot be written at once: {MOST_REGISTERS_WRITTEN} at most")
        if len(layout.fields) > 1 and any(one.kind == "text" for one in layout.fields):
            raise ValueError(f"datatypes {self.datatypes!r}: a text must be the only value that is written")
        if self.scaling_factor is not None and all(one.kind in ("text", "bool") for one in layout.fields):
            raise ValueError(f"scaling_factor: datatypes {self.datatypes!r} hold no number")
        if (self.on is None) != (self.off is None):
            raise ValueError("on and off: both or none")
        if self.is_switch and (len(layout.fields) > 1 or layout.fields[0].kind != "integer"):
            raise ValueError(f"on, off: datatypes {self.datatypes!r} are not one integer")
        if self.is_switch:
            low, high = layout.fields[0].limits or (0, 0)
            for name, code in {"on": self.on, "off": self.off}.items():
                if not low <= (code or 0) <= high:
                    raise ValueError(f"{name}: {code} does not fit: type {layout.fields[0].code} takes {low} to {high}")
        if self.offset and (len(layout.fields) > 1 or layout.fields[0].kind not in ("integer", "float")):
            raise ValueError(f"offset: datatypes {self.datatypes!r} are not one number")
        _check_scaling(self.scaling_factors, layout, self.address)
        return self


class WriteRegister(WriteRegisters):
    """An entry of `write_register` (function code 6)."""

    @model_validator(mode="after")
    def _is_one_register(self) -> Self:
        if self.words != 1:
            raise ValueError(
                f"datatypes {self.datatypes!r} take {self.words} registers, and write_register writes one: use "
                "write_registers"
            )
        return self


ReadMethod = Literal["read_coils", "read_discrete_inputs", "read_holding_registers", "read_input_registers"]
WriteMethod = Literal["write_coil", "write_coils", "write_register", "write_registers"]
READ_METHODS: tuple[ReadMethod, ...] = (
    "read_coils",
    "read_discrete_inputs",
    "read_holding_registers",
    "read_input_registers",
)
WRITE_METHODS: tuple[WriteMethod, ...] = ("write_coil", "write_coils", "write_register", "write_registers")


def key(method: str, unit: int, address: int) -> str:
    """A datapoint's key, as BEMCom's: `read_input_registers__1__19000`."""
    return f"{method}__{unit}__{address}"


class ModbusConfig(BaseModel):
    """The whole of MODBUS_CONFIG: for each method a list of entries."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    read_coils: tuple[ReadBits, ...] = ()
    read_discrete_inputs: tuple[ReadBits, ...] = ()
    read_holding_registers: tuple[ReadRegisters, ...] = ()
    read_input_registers: tuple[ReadRegisters, ...] = ()
    write_coil: tuple[WriteCoil, ...] = ()
    write_coils: tuple[WriteCoils, ...] = ()
    write_register: tuple[WriteRegister, ...] = ()
    write_registers: tuple[WriteRegisters, ...] = ()

    def reads(self) -> Iterator[tuple[ReadMethod, int, ReadBits | ReadRegisters]]:
        """Method, index in its list, entry."""
        for method in READ_METHODS:
            for index, entry in enumerate(getattr(self, method)):
                yield method, index, entry

    def writes(self) -> Iterator[tuple[WriteMethod, int, WriteCoil | WriteCoils | WriteRegisters]]:
        """Method, index in its list, entry."""
        for method in WRITE_METHODS:
            for index, entry in enumerate(getattr(self, method)):
                yield method, index, entry

    @property
    def is_empty(self) -> bool:
        return not any(True for _ in self.reads()) and not any(True for _ in self.writes())

    @model_validator(mode="before")
    @classmethod
    def _unknown_methods_are_dropped(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            raise ValueError("expected an object that maps methods (read_coils, …) to lists of entries")
        unknown = [str(name) for name in given if name not in cls.model_fields]
        if unknown:
            log.warning("MODBUS_CONFIG: ignored %s; known are %s", ", ".join(unknown), ", ".join(cls.model_fields))
        return {name: value for name, value in given.items() if name in cls.model_fields}

    @model_validator(mode="after")
    def _keys_are_unique(self) -> Self:
        seen: dict[str, str] = {}
        for method, index, entry in [*self.reads(), *self.writes()]:
            path = f"{method}[{index}]"
            for own in _keys(method, entry):
                if own in seen:
                    raise ValueError(f"{path}: the key {own} is already taken by {seen[own]}")
                seen[own] = path
        return self


def key_of(method: str, entry: WriteEntry) -> str:
    """The key of an actuator: its own, or BEMCom's."""
    return entry.key or key(method, entry.unit, entry.address)


def _keys(method: str, entry: Entry) -> Iterator[str]:
    """The keys of an entry, and for reads that of its first register, under which its raw words are filed."""
    layout = entry.layout(swap_floats=False)
    if isinstance(entry, WriteEntry):
        yield key_of(method, entry)
    elif isinstance(entry, ReadBits):
        for address in range(entry.address, entry.address + entry.count):
            yield entry.rules(address).key or key(method, entry.unit, address)
    elif isinstance(entry, ReadRegisters) and layout is not None:
        first = key(method, entry.unit, entry.address)
        keys = list(_value_keys(method, entry, layout))
        yield from keys
        if first not in keys:
            yield first


def _value_keys(method: str, entry: ReadRegisters, layout: RegisterLayout) -> Iterator[str]:
    for one in layout.fields:
        address = entry.address + one.address
        rules = entry.rules(address)
        own = rules.key or key(method, entry.unit, address)
        yield own
        for bit, bit_rules in rules.bits.items():
            yield bit_rules.key or f"{own}__{bit}"
