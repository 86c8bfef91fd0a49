"""Which meters there are and how they are opened, as people and programs write it."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    TypeAdapter,
    ValidationError,
)

from wattbus.errors import ConfigError
from wattbus.structures import parse_structure

_METER = re.compile(r"(?:([A-Za-z]{3})-)?([0-9A-Fa-f]{1,8})")
_KEY = re.compile(r"[0-9A-Fa-f]{32}")
LONGEST_SHOWN = 16  # characters: what is longer may be a key in the wrong place


def shown(text: str) -> str:
    """What was written, for a message; not what may be a key."""
    return repr(text) if len(text) <= LONGEST_SHOWN else f"a text of {len(text)} characters"


def meter_id(text: Any) -> str:
    """`32666857` or `KAM-32666857`, as it is on the meter; leading zeros are added. Raises ValueError."""
    match = _METER.fullmatch(str(text).strip())
    if match is None:
        raise ValueError(f"{shown(str(text))} is no meter: expected its eight digits, or MANUFACTURER-DIGITS")
    manufacturer, number = match.groups()
    number = number.zfill(8).lower()
    return f"{manufacturer.upper()}-{number}" if manufacturer else number


def _hexadecimal_key(secret: SecretStr | None) -> SecretStr | None:
    if secret is None or not secret.get_secret_value().strip():
        return None
    plain = re.sub(r"[\s:_-]", "", secret.get_secret_value())
    if not _KEY.fullmatch(plain):
        wrong = "characters" if len(plain) != 32 else "characters, not all of them such digits"
        raise ValueError(f"a key has 32 hexadecimal digits; this one has {len(plain)} {wrong}")
    return SecretStr(plain.lower())


def _key_as_text(key: Any) -> Any:
    """YAML reads a key of digits alone as a number, and loses its leading zeros."""
    if isinstance(key, int | float):
        raise ValueError("write the key in quotes")
    return key


Key = Annotated[SecretStr | None, BeforeValidator(_key_as_text), AfterValidator(_hexadecimal_key)]


class MeterConfig(BaseModel):
    """One meter: its key (AES-128), what people call it, and when it counts as away (s; None: the setting says)."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    key: Key = None
    name: str = ""
    silent_seconds: Annotated[float, Field(ge=0)] | None = None

    @property
    def key_bytes(self) -> bytes | None:
        return bytes.fromhex(self.key.get_secret_value()) if self.key is not None else None


MeterId = Annotated[str, BeforeValidator(meter_id)]


def _written_as_people_do(meters: Any) -> Any:
    """`{"32666857": "9A25…"}`: a key alone instead of a mapping; nothing at all for a meter without."""
    if not isinstance(meters, dict):
        return meters
    if len({meter_id(name) for name in meters}) < len(meters):
        raise ValueError("a meter is there twice")
    return {meter: _described(given) for meter, given in meters.items()}


def _described(given: Any) -> Any:
    if given is None:
        return {}
    return {"key": given} if isinstance(given, str | int | float) else given


MetersConfig = Annotated[dict[MeterId, MeterConfig], BeforeValidator(_written_as_people_do)]
_METERS: TypeAdapter[dict[str, MeterConfig]] = TypeAdapter(MetersConfig)


def read_meters(text: str) -> dict[str, MeterConfig]:
    """The meters in a file, as JSON or YAML. Raises ValueError, which never holds a key."""
    try:
        given = parse_structure("it", text) if text.strip() else {}
    except ConfigError as error:
        raise ValueError(str(error)) from None
    try:
        return _METERS.validate_python(given)
    except ValidationError as error:
        faults = (f"{'.'.join(map(str, fault['loc'])) or 'meters'}: {fault['msg']}" for fault in error.errors())
        raise ValueError("; ".join(fault.replace("Value error, ", "") for fault in faults)) from None
