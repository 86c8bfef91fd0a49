"""What MODBUS_CONFIG may say about one value that is read, beside its type."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

LAST_ADDRESS = 0xFFFF
Address = Annotated[int, Field(ge=0, le=LAST_ADDRESS)]


def _key(text: str) -> str:
    if not text or any(sign in text for sign in "/+#") or not text.isprintable():
        raise ValueError(f"{text!r} cannot be a key: it becomes a topic, so no / + # and not empty")
    return text


def factor(number: float) -> float:
    """The number, when values can be multiplied with it. Raises ValueError."""
    if number == 0 or not math.isfinite(number):
        raise ValueError("a scaling factor is a number other than 0")
    return number


def number_of(given: Any) -> Any:
    """`0x8000` in a text is a number as people write it."""
    if isinstance(given, str) and given.strip().lower().startswith("0x"):
        return int(given, 16)
    return given


Key = Annotated[str, AfterValidator(_key)]
Factor = Annotated[float, AfterValidator(factor)]
Number = Annotated[int | float, BeforeValidator(number_of)]
WholeNumber = Annotated[int, BeforeValidator(number_of)]


class BitRules(BaseModel):
    """One coil, or one bit of a register: a bool of its own. In MODBUS_CONFIG a text alone is its key."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    key: Key | None = None
    name: str = Field(default="", validation_alias=AliasChoices("name", "description"))

    @model_validator(mode="before")
    @classmethod
    def _text_is_the_key(cls, given: Any) -> Any:
        return {"key": given} if isinstance(given, str) else given


class ValueRules(BaseModel):
    """One value of a register range; `limits` and `nothing` make it null, which is not a value."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    key: Key | None = None
    name: str = Field(default="", validation_alias=AliasChoices("name", "description"))
    unit: str = ""
    scaling_factor: Factor | None = None
    offset: float = Field(default=0.0, allow_inf_nan=False)
    scale_register: Address | None = None
    nothing: tuple[Number, ...] = ()
    enumeration: Mapping[WholeNumber, str] = {}
    bits: Mapping[Annotated[int, Field(ge=0, le=63)], BitRules] = {}
    bcd: bool = False
    byte_order: Literal["big", "little"] = "big"
    min_value: float | None = None
    max_value: float | None = None
    counter: bool = False

    @model_validator(mode="after")
    def _has_a_range(self) -> Self:
        if self.min_value is not None and self.max_value is not None and self.min_value > self.max_value:
            raise ValueError("min_value is above max_value")
        return self

    def fault_for(self, kind: str, size: int) -> str:
        """Why these rules do not go with a value of this kind and size (bytes), "" when they do."""
        is_number = kind in ("integer", "float")
        numeric = {
            "scaling_factor": self.scaling_factor is not None,
            "offset": bool(self.offset),
            "scale_register": self.scale_register is not None,
            "min_value": self.min_value is not None,
            "max_value": self.max_value is not None,
            "nothing": bool(self.nothing),
            "counter": self.counter,
        }
        for name, given in numeric.items():
            if given and not is_number:
                return f"{name}: the value is not a number"
        whole = {"enumeration": bool(self.enumeration), "bits": bool(self.bits), "bcd": self.bcd}
        for name, given in whole.items():
            if given and kind != "integer":
                return f"{name}: only for integer types"
        if self.byte_order == "little" and kind != "text":
            return "byte_order: only for texts (s); for numbers write < in datatypes"
        if wrong := [bit for bit in self.bits if bit >= 8 * size]:
            return f"bits: {wrong[0]} is beyond the {8 * size} bits of the value"
        if self.enumeration and (self.scaling_factor or self.offset or self.scale_register is not None):
            return "enumeration: not together with scaling_factor, offset or scale_register"
        return ""
