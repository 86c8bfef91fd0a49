"""Talking to a device once, changing nothing: the first reading of a connector."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from wattbus.connector import Connector, Datapoint, Scalar
from wattbus.errors import ConfigError, DecodeError, LinkDown, causes
from wattbus.flattening import flatten
from wattbus.jsontext import JsonValue


class _CollectingLink:
    """The runtime's side of the contract, which decodes until something made sense."""

    def __init__(self, connector: Connector) -> None:
        self.found: asyncio.Future[dict[str, Scalar]] = asyncio.get_running_loop().create_future()
        self.has_answered = False
        self.reasons: dict[str, str] = {}
        self.units = {datapoint.key: datapoint.unit for datapoint in connector.datapoints()}
        self.nobody_left: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._connector = connector
        self._devices = {one.device for one in connector.datapoints() if one.type == "sensor"}
        self._away: set[str] = set()

    def connected(self) -> None:
        self.has_answered = True

    def emit(self, raw: JsonValue, timestamp_ms: int | None = None) -> None:
        try:
            readings = [flatten(reading) for reading in self._connector.decode(raw)]
        except DecodeError as error:
            self.reasons["decoding"] = str(error)
            return
        values = {key: value for reading in readings for key, value in reading.values.items()}
        for reading in readings:
            self.units |= {sensor.key: sensor.unit for sensor in reading.sensors if sensor.unit}
        if values and not self.found.done():
            self.found.set_result(values)

    def announce(self, datapoints: Iterable[Datapoint]) -> None:
        self.units |= {datapoint.key: datapoint.unit for datapoint in datapoints}

    def unit(self, name: str, up: bool, reason: str = "") -> None:
        if up:
            self.reasons.pop(f"device {name}", None)
            self._away.discard(name)
        else:
            self.reasons[f"device {name}"] = reason or "away"
            self._away.add(name)
            if self._devices <= self._away and not self.nobody_left.done():
                self.nobody_left.set_result(None)  # there is nothing to wait for


async def first_reading(connector: Connector, timeout_s: float) -> dict[str, str]:
    """Key → value with its unit, of the first reading that can be decoded. Raises LinkDown with what stood against it.

    ConfigError passes through; so does a bug.
    """
    link = _CollectingLink(connector)
    running = asyncio.ensure_future(connector.run(link))
    try:
        ends: set[asyncio.Future[Any]] = {running, link.found, link.nobody_left}
        await asyncio.wait(ends, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    finally:
        running.cancel()
        await asyncio.wait([running])
    if link.found.done():
        return {key: f"{value} {link.units.get(key, '')}".rstrip() for key, value in link.found.result().items()}
    if not running.cancelled() and (error := running.exception()):
        raise _gravest(error)
    reasons = "; ".join(f"{where}: {reason}" for where, reason in link.reasons.items())
    what = "the device answers, but there was no reading" if link.has_answered else "no answer"
    if link.nobody_left.done():
        raise LinkDown(reasons)
    raise LinkDown(f"{what} within {timeout_s:g} s" + (f" ({reasons})" if reasons else ""))


def _gravest(error: BaseException) -> BaseException:
    """Of several failures at once: wrong settings before a bug before a link that is down."""
    found = causes(error)
    wrong = [cause for cause in found if isinstance(cause, ConfigError)]
    bugs = [cause for cause in found if not isinstance(cause, LinkDown)]
    return (wrong or bugs or found)[0]
