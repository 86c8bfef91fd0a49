"""Whether decoding depends on its input alone, and takes time in proportion to it; whether settings are checked."""

from __future__ import annotations

import copy
import time
import types
from collections.abc import Iterator, Mapping
from typing import Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from wattbus.connector import Connector, Reading
from wattbus.errors import ConfigError, DecodeError
from wattbus.flattening import flatten
from wattbus.jsontext import JsonValue, dumps, loads
from wattbus.testing.far_ends import Address
from wattbus.testing.under_test import ConnectorUnderTest, as_text

FEW, MANY = 250, 1000
TIMES_AS_LONG = 10  # for four times as many; quadratic would be sixteen
TOO_SHORT_S = 0.004  # to be judged


def decoded(connector: Connector, raw: JsonValue) -> list[Reading] | str:
    """The readings, or the fault, in a form that can be compared."""
    try:
        return list(connector.decode(raw))
    except DecodeError as error:
        return str(error)


def check_purity(under: ConnectorUnderTest, address: Address, raws: list[Any]) -> None:
    """The same raw message gives the same readings: again, from another instance, after a way through a database."""
    assert raws, "no raw message came"
    connector = under.connector(address)
    first = []
    for raw in raws:
        before = copy.deepcopy(raw)
        first.append(decoded(connector, raw))
        assert raw == before, "decode() has changed its input"
        assert decoded(connector, raw) == first[-1], "decoded twice, it gives other readings"
    for raw, readings in reversed(list(zip(raws, first, strict=True))):
        stored = loads(dumps(raw))
        assert decoded(under.connector(address), stored) == readings, "another instance gives other readings"


def check_proportion(under: ConnectorUnderTest, address: Address) -> None:
    """Four times as many datapoints take about four times as long, not sixteen."""
    few_s, many_s = (min(_seconds(under, address, number) for _ in range(3)) for number in (FEW, MANY))
    assert many_s < max(few_s, TOO_SHORT_S / 4) * TIMES_AS_LONG, (
        f"{MANY} datapoints take {many_s * 1000:.1f} ms, {FEW} take {few_s * 1000:.1f} ms"
    )


def _seconds(under: ConnectorUnderTest, address: Address, number: int) -> float:
    """Of processor time: for the settings, the datapoints, and a message with a value for each."""
    assert under.many is not None
    settings, raw = under.many(number)
    variables = under.variables(address, **settings)
    begun = time.thread_time()
    connector = under.create(under.load(variables))
    known = len(list(connector.datapoints()))
    values = sum(len(flatten(reading).values) for reading in connector.decode(raw))
    taken = time.thread_time() - begun
    assert max(known, values) >= number, f"`many({number})` gives {known} datapoints and {values} values"
    return taken


def check_settings(under: ConnectorUnderTest, address: Address) -> None:
    """What is missing or wrong is a ConfigError that names the variable."""
    right = under.variables(address)
    under.create(under.load(right))
    fields = type(under.load(right)).model_fields
    for name, info in fields.items():
        variable = name.upper()
        if info.is_required() and variable in right:
            _is_refused(under, {key: value for key, value in right.items() if key != variable}, variable)
    for variable, wrong in under.wrong.items():
        for text in wrong:
            _is_refused(under, {**right, variable: text}, variable)
    for name, info in fields.items():
        if name.upper() not in under.free:
            for text in dict.fromkeys(wrong_values(info)):
                _is_refused(under, {**right, name.upper(): text}, name.upper())


def _is_refused(under: ConnectorUnderTest, variables: Mapping[str, str], variable: str) -> None:
    shown = f"{variable}={variables.get(variable, '(missing)')}"
    try:
        under.create(under.load(variables))
    except ConfigError as error:
        assert variable in str(error), f"{shown}: the error does not name the variable: {error}"
    else:
        raise AssertionError(f"{shown} was accepted")


def wrong_values(info: FieldInfo) -> Iterator[str]:
    """Texts that a setting of this type must refuse; none where its type does not show any."""
    kinds = set(_kinds(info.annotation))
    if kinds & {str, Any}:
        return
    yield "no such thing {"
    if kinds & {int, float} and not kinds - {int, float, type(None)}:
        yield from ("nan", "inf", "-inf")
        if float not in kinds:
            yield "1.5"
        for constraint in info.metadata:
            for bound, step in (("ge", -1), ("gt", 0), ("le", 1), ("lt", 0)):
                if (limit := getattr(constraint, bound, None)) is not None:
                    yield as_text(limit + step)


def _kinds(annotation: Any) -> Iterator[Any]:
    """`int | None` → int, NoneType; choices of words are Literal, types of which nothing is known Any."""
    if get_origin(annotation) in (Union, types.UnionType):
        for inner in get_args(annotation):
            yield from _kinds(inner)
    elif get_origin(annotation) is Literal:
        yield Literal
    else:
        yield annotation if annotation in (int, float, bool, str, type(None)) else Any
