"""How people write down which values a frame has, in emonHub's words."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from connectors.rfm2pi.layout import CODES, PASS_THROUGH, PayloadLayout, Scale

# What emonHub's configurations call a unit, in UCUM.
UCUM = {"C": "Cel", "Wh": "W.h", "kWh": "kW.h", "kwh": "kW.h", "VA": "V.A", "p": "{pulse}", "n": ""}


def listed(value: Any) -> Any:
    """`h,h,L` as emonHub writes it is a list, too; a trailing comma does no harm."""
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return value


def a_code(code: str) -> str:
    if code not in (*CODES, PASS_THROUGH):
        raise ValueError(f"{code!r} is no data code; there are {' '.join(CODES)}, and 0 for finished values")
    return code


def a_name(name: str) -> str:
    if not name.strip() or "__" in name:
        raise ValueError("a name needs at least one character and has no double underscore")
    return name.strip()


def as_text(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("in YAML on, off, yes and no mean true and false: put it in quotes")
    return str(value) if isinstance(value, int | float) else value


def rising(limits: tuple[float | None, float | None]) -> tuple[float | None, float | None]:
    lowest, highest = limits
    if lowest is not None and highest is not None and lowest > highest:
        raise ValueError("limits are the lowest and the highest value")
    return limits


Code = Annotated[str, BeforeValidator(as_text), AfterValidator(a_code)]
Name = Annotated[str, BeforeValidator(as_text), AfterValidator(a_name)]
Unit = Annotated[str, BeforeValidator(as_text), AfterValidator(lambda unit: UCUM.get(unit, unit))]
Factor = Annotated[float, Field(allow_inf_nan=False)]
Limits = Annotated[tuple[Factor | None, Factor | None], AfterValidator(rising)]


class ValuesConfig(BaseModel):
    """How values lie in a frame."""

    model_config = ConfigDict(extra="forbid")

    datacode: Code | None = None
    datacodes: Annotated[tuple[Code, ...], BeforeValidator(listed)] | None = None
    scale: Factor | None = None
    scales: Annotated[tuple[Factor, ...], BeforeValidator(listed)] | None = None
    names: Annotated[tuple[Name, ...], BeforeValidator(listed)] = ()
    units: Annotated[tuple[Unit, ...], BeforeValidator(listed)] = ()
    whitening: bool = False
    limits: dict[Name, Limits] = {}
    counters: Annotated[tuple[Name, ...], BeforeValidator(listed)] = ()

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.datacode and self.datacodes:
            raise ValueError("datacode (one for all values) and datacodes (one for each) are both given")
        if self.scale is not None and self.scales:
            raise ValueError("scale (one for all values) and scales (one for each) are both given")
        if 0.0 in (self.scale, *(self.scales or ())):
            raise ValueError("a scale of 0 makes every value 0")
        if self.datacodes and PASS_THROUGH in self.datacodes:
            raise ValueError("0 can only be the datacode of all values")
        if len(set(self.names)) < len(self.names):
            raise ValueError(f"names: {_twice(self.names)} twice")
        if "rssi" in self.names:
            raise ValueError("names: rssi is the name of the signal strength")
        if count := len(self.datacodes or ()):
            for what, given in (("scales", self.scales or ()), ("names", self.names), ("units", self.units)):
                if len(given) > count:
                    raise ValueError(f"{count} datacodes, but {len(given)} {what}")
        self._each_value_has_its_name()
        return self

    def _each_value_has_its_name(self) -> None:
        """A value without a name is called by its number, so that no other one may be called like that."""
        for index, name in enumerate(self.names):
            if name.isdecimal() and name != str(index + 1):
                raise ValueError(f"names: value {index + 1} cannot be called {name}: that is the name of another one")
        count = len(self.datacodes) if self.datacodes else None
        for name in (*self.limits, *self.counters):
            is_number = name.isdecimal() and len(self.names) < int(name) <= (count or int(name))
            if name not in self.names and not is_number:
                raise ValueError(f"limits, counters: no value is called {name!r}")

    def _factors(self) -> tuple[float, ...]:
        """One for all values, or one for each: emonHub takes 1 for those that are missing at the end."""
        if self.scale is not None:
            return (self.scale,)
        given = self.scales or ()
        missing = len(self.datacodes or ()) - len(given)
        return given if len(given) < 2 or missing <= 0 else given + (1.0,) * missing

    def layout(self) -> PayloadLayout:
        return PayloadLayout(
            codes=self.datacodes or (self.datacode or "h",),
            repeats=not self.datacodes,
            scales=_scales(self._factors()),
            names=self.names,
            units=self.units,
            whitening=self.whitening,
            limits=dict(self.limits),
            counters=frozenset(self.counters),
        )


def _scales(factors: tuple[float, ...]) -> tuple[Scale, ...]:
    scales = tuple(Scale.of(int(factor) if factor.is_integer() else factor) for factor in factors)
    return () if all(scale.is_one for scale in scales) else scales


def _twice(names: tuple[str, ...]) -> str:
    return next(name for name in names if names.count(name) > 1)
