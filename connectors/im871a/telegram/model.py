"""What a telegram says, as data; and the ways in which one can refuse to say it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from wattbus.connector import Quantity, Scalar
from wattbus.errors import DecodeError

Function = Literal["instantaneous", "maximum", "minimum", "error"]
# Registers that only rise, and the extensions that leave them so.
COUNTED = frozenset({"energy", "reactive_energy", "apparent_energy", "volume", "mass"})
STILL_COUNTED = frozenset(
    {"forward", "backward", "absolute", "l1", "l2", "l3", "quadrant_1", "quadrant_2", "quadrant_3", "quadrant_4"}
)
Security = Literal["none", "ell_ctr", "mode_5", "mode_7", "mode_10", "other"]


class Damaged(DecodeError):  # noqa: N818 - says what happened to the telegram
    """Bits were lost on the way: a link CRC, a length or a message authentication code does not fit."""


class KeyNeeded(DecodeError):  # noqa: N818
    """The telegram is encrypted and no key was given."""


class WrongKey(DecodeError):  # noqa: N818
    """The telegram arrived whole, but this key does not open it."""


class FormatUnknown(DecodeError):  # noqa: N818
    """A compact frame whose format was not seen yet: a full frame of this meter will show it."""

    def __init__(self, signature: int) -> None:
        super().__init__(f"compact frame of format {signature:04x}, which is not known yet: wait for a full frame")
        self.signature = signature


@dataclass(frozen=True, slots=True)
class Header:
    """Who speaks, as far as it can be read without a key.

    `id` is eight digits as printed on the meter (hexadecimal digits where a meter breaks the rule), `manufacturer`
    three letters (`KAM`), `version` and `device_type` the bytes of the address (EN 13757-7 section 7.5), `medium` the
    device type in words. Where a radio module speaks for a meter (long transport header), these are the meter's, and
    `sender_id` is the module's; otherwise both ids are equal.

    `access_number` counts telegrams (None where the telegram has none, or hides it). `security` says how the content
    is protected: extended link layer (AES-CTR), transport layer modes 5, 7 and 10, `other` for what cannot be opened
    here. `ci` is the first CI field behind the address.
    """

    manufacturer: str
    id: str
    version: int
    device_type: int
    medium: str
    sender_id: str
    control: int
    ci: int
    access_number: int | None
    status: int | None
    security: Security

    @property
    def encrypted(self) -> bool:
        """Whether the content is encrypted in any way."""
        return self.security != "none"

    @property
    def needs_key(self) -> bool:
        """Whether a key opens it: encrypted, in a way that is known here."""
        return self.security not in ("none", "other")


@dataclass(frozen=True, slots=True)
class Record:
    """One data record (EN 13757-3 section 6).

    `quantity` is a name in lower case with underscores (`energy`, `volume_flow`), `unit` UCUM (`kW.h`, empty where
    there is none). `value` is None where the meter says that it has none (invalid, not available). `storage`,
    `tariff` and `subunit` are the numbers of the DIF and its extensions; `qualifiers` what the VIF extensions add
    (`backward`, `l1`), in their order. `name` is the record's part of a datapoint's key, `description` says the same
    in words. `standard` is False where the coding is the manufacturer's own: then the value is the data as hexadecimal
    text, unless a meter's data file knows better. `raw` is the whole record as hexadecimal text, empty for the
    elements of a profile. `has_value` is False for records that announce no data at all.
    """

    name: str
    quantity: str
    unit: str
    value: Scalar
    function: Function
    storage: int
    tariff: int
    subunit: int
    qualifiers: tuple[str, ...]
    standard: bool
    raw: str
    description: str = ""
    has_value: bool = True

    @property
    def counts(self) -> bool:
        """Whether this is a register that only rises: the present one, not a value of an earlier period."""
        return (
            self.quantity in COUNTED
            and self.standard
            and self.function == "instantaneous"
            and not self.storage
            and STILL_COUNTED.issuperset(self.qualifiers)
        )


@dataclass(frozen=True, slots=True)
class Telegram:
    """A decoded telegram.

    `fields`: the part of the datapoint's key behind `<meter id>__` → value with unit (UCUM) and description; the names
    are `<quantity>[_backward…][_max][_tariff_n][_unit_n][_storage_n]_<unit>`. `status` holds the names of the bits
    that are set, empty when all is well. `manufacturer_data` is the manufacturer's own tail as hexadecimal text.
    `meter` names the data file (`connectors/im871a/meters`) that was used, empty if none. `counters` are the names of
    those fields that only rise. `unreadable` is what stands behind the last record that could be read, and every record
    that could not, as hexadecimal text; it is a field, too.
    """

    header: Header
    records: tuple[Record, ...]
    status: tuple[str, ...]
    fields: Mapping[str, Quantity]
    manufacturer_data: str = ""
    meter: str = ""
    counters: frozenset[str] = frozenset()
    unreadable: str = ""


@dataclass(frozen=True, slots=True)
class SeenFormat:
    """The record format of a telegram (EN 13757-3 annex G, compact frames).

    A full frame shows it: `record_format` is the string of its DIFs and VIFs, and `signature` names it. A compact
    frame has only the signature (`record_format` is None): it can be read with a format of that signature.
    """

    signature: int
    record_format: bytes | None
