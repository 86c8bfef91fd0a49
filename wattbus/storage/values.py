"""A value of any JSON type in columns, and what a table of such rows promises.

A number lies in `number` (double precision), so that databases can compute with it; `is_integer` says that it was
written as an integer, so that 21 comes back as 21 and 21.0 as 21.0. Everything else lies in `json_value` as JSON text:
text, true, false, null, lists, objects, and integers beyond 2^53, which a double would round.
"""

from __future__ import annotations

import json
import math
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple, Protocol

from sqlalchemy import Table
from sqlalchemy.ext.asyncio import AsyncConnection

from wattbus.errors import WattbusError
from wattbus.jsontext import JsonValue, dumps
from wattbus.storage.records import Removed, Retention, Written

LARGEST_EXACT = 2**53


class Unstorable(WattbusError):  # noqa: N818
    """No JSON value: NaN, Infinity, or digits without end."""


class Columns(NamedTuple):
    number: float | None
    is_integer: int
    json_value: str | None


_TRUE, _FALSE, _NULL = (Columns(None, 0, text) for text in ("true", "false", "null"))


def to_columns(value: JsonValue) -> Columns:
    """The columns of a JSON value. Raises Unstorable when it is none."""
    kind = type(value)
    if kind is float:
        if not math.isfinite(value):
            raise Unstorable("NaN and Infinity are no values")
        return Columns(value, 0, None)
    if kind is int and -LARGEST_EXACT <= value <= LARGEST_EXACT:
        return Columns(float(value), 1, None)
    if value is True:
        return _TRUE
    if value is False:
        return _FALSE
    if value is None:
        return _NULL
    return Columns(None, 0, to_text(value))


def from_columns(number: float | None, is_integer: int, json_value: str | None) -> JsonValue:
    """The JSON value that `to_columns` took apart."""
    if number is not None:
        return int(number) if is_integer else number
    return json.loads(json_value) if json_value is not None else None


def to_text(value: JsonValue) -> str:
    """A JSON value as text that every database takes. Raises Unstorable when it is not a JSON value.

    Lone surrogates, which JSON can escape and UTF-8 cannot hold, stay escaped.
    """
    if isinstance(value, list | dict):
        _check_numbers(value)
    try:
        return dumps(value).decode()
    except UnicodeEncodeError:
        return json.dumps(value, allow_nan=False, separators=(",", ":"))
    except (ValueError, TypeError, RecursionError) as error:
        raise Unstorable(str(error)) from None


def storable(text: str) -> str:
    """Text that every database takes: PostgreSQL has no NUL character; its picture ␀ (U+2400) stands for it."""
    return text.replace("\0", "\u2400") if "\0" in text else text


def from_text(text: str) -> JsonValue:
    """The JSON value that `to_text` wrote."""
    return json.loads(text)


def _check_numbers(value: JsonValue) -> None:
    """The fast JSON writer turns NaN into null instead of refusing it."""
    waiting = [value]
    while waiting:
        inner = waiting.pop()
        if isinstance(inner, dict):
            waiting += inner.values()
        elif isinstance(inner, list):
            waiting += inner
        elif isinstance(inner, float) and not math.isfinite(inner):
            raise Unstorable("NaN and Infinity are no values")


# -- rows, and the tables that they lie in ----------------------------------------------------------------------------

Row = tuple[int, int, float | None, int, str | None, str | None]  # what `COLUMNS` says
COLUMNS = ("time", "datapoint", "number", "is_integer", "json_value", "quality")
TAKEN_MS = 50  # how far a value goes from a time that is taken; a device whose clock stands still fills that soon


class ValueTable(Protocol):
    """Where values lie. Its methods work within a writer's transaction."""

    tables: Sequence[Table]  # each value lies in one of them

    async def load(self, connection: AsyncConnection) -> None:
        """Learn what the database says: at the start, and after a rollback."""

    async def insert(self, connection: AsyncConnection, rows: list[Row]) -> Written:
        """Put each row where it belongs. It may change the order of `rows`.

        A row whose key has another value gets the next free millisecond (`TAKEN_MS` at most, then it replaces what is
        there): after a clock was set back, times come again that belong to older values.
        """

    async def replace(self, connection: AsyncConnection, rows: list[Row]) -> Written:
        """Put each row where it belongs, in the place of what its key has."""

    def tidy_is_due(self, now_ms: int) -> bool:
        """Whether `tidy` has something to do at `now_ms`."""

    async def tidy(self, connection: AsyncConnection, now_ms: int) -> None:
        """What a table does now and then: sort, merge, compress."""


async def insert_beside(
    rows: list[Row],
    place: Callable[[list[Row]], Awaitable[tuple[Written, list[Row]]]],
    replace: Callable[[list[Row]], Awaitable[Written]],
) -> Written:
    """What `ValueTable.insert` promises. `place` inserts rows and gives back those whose time has another value."""
    written, waiting = await place(rows)
    for _ in range(TAKEN_MS):
        if not waiting:
            return written
        placed, waiting = await place([(row[0] + 1, *row[1:]) for row in waiting])
        written += Written(conflicts=placed.rows, redelivered=placed.redelivered)
    replaced = await replace(waiting) if waiting else Written()
    return written + Written(conflicts=replaced.rows + replaced.conflicts, redelivered=replaced.redelivered)


class Retainer(Protocol):
    """Keeps what is stored within bounds; see `Store.retain` and its neighbours."""

    async def retain(self, retention: Retention, now_ms: int) -> Removed:
        """As `Store.retain`."""

    async def bytes_used(self) -> int:
        """As `Store.bytes_used`."""

    async def oldest_ms(self, from_ms: int | None = None) -> int | None:
        """As `Store.oldest_ms`."""
