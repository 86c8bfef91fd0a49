"""What the API says no with, below the routes: the page shows the text, REST turns it into a status code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wattbus.errors import WattbusError

Faults = Mapping[str, Any]  # field → texts, or → faults of its items


class Invalid(WattbusError):  # noqa: N818
    """What was sent does not fit; `faults` says which field and why, a list of them for a list of objects."""

    def __init__(self, faults: Faults | list[Any]) -> None:
        super().__init__(_text(faults))
        self.faults = faults


class NotFound(WattbusError):  # noqa: N818
    """There is no such datapoint, connector, value."""

    def __init__(self, detail: str = "Not found.") -> None:
        super().__init__(detail)


class Conflict(WattbusError):  # noqa: N818
    """It cannot be done as things are."""


class Unavailable(WattbusError):  # noqa: N818
    """Broker, connector or database is away: nothing was done; later it may work."""


def fault(field: str, text: str) -> Invalid:
    """One field, one reason."""
    return Invalid({field: [text]})


def _text(faults: Any) -> str:
    """All of it in one line, for people."""
    if isinstance(faults, Mapping):
        return "; ".join(f"{name}: {_text(inner)}" for name, inner in faults.items())
    if isinstance(faults, list):
        return ", ".join(text for inner in faults if (text := _text(inner)))
    return str(faults)
