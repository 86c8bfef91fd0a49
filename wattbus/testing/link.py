"""The runtime's side of the contract, which decodes and remembers."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from wattbus.connector import Connector, Datapoint
from wattbus.errors import DecodeError, LinkDown, causes
from wattbus.flattening import flatten, raw_fault
from wattbus.jsontext import JsonValue
from wattbus.testing.waiting import PATIENCE_S

WITHIN_S = PATIENCE_S


@dataclass
class RecordingLink:
    """What a connector gave; without a connector nothing is decoded.

    `raw` messages and their times of reception (`received_ms`, None: not given); every reading's values, flat; the
    newest value of each key; faults of decoding; what was announced; who is `away`, with the reason that was given
    first, and the changes to that (`units`), as the runtime has them; `is_connected`: the other side has
    answered, or values came.
    """

    connector: Connector | None = None
    raw: list[JsonValue] = field(default_factory=list)
    received_ms: list[int | None] = field(default_factory=list)
    readings: list[dict[str, Any]] = field(default_factory=list)
    values: dict[str, Any] = field(default_factory=dict)
    faults: list[DecodeError] = field(default_factory=list)
    announced: dict[str, Datapoint] = field(default_factory=dict)
    away: dict[str, str] = field(default_factory=dict)
    is_connected: bool = False
    units: list[tuple[str, bool, str]] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def connected(self) -> None:
        if not self.is_connected:
            self.is_connected = True
            self.changed.set()

    def emit(self, raw: JsonValue, timestamp_ms: int | None = None) -> None:
        assert not (fault := raw_fault(raw)), fault
        self.raw.append(raw)
        self.received_ms.append(timestamp_ms)
        try:
            for reading in self.connector.decode(raw) if self.connector else ():
                flat = flatten(reading)
                assert flat.faults == [], "values that the runtime would leave out"
                self.readings.append(flat.values)
                self.values.update(flat.values)
                if flat.values:
                    self.connected()
        except DecodeError as error:
            self.faults.append(error)
        self.changed.set()

    def announce(self, datapoints: Iterable[Datapoint]) -> None:
        self.announced.update({datapoint.key: datapoint for datapoint in datapoints})
        self.changed.set()

    def unit(self, name: str, up: bool, reason: str = "") -> None:
        if up == (name not in self.away):
            if not up:
                self.away[name] = reason
            return
        if up:
            del self.away[name]
        else:
            self.away[name] = reason
        self.units.append((name, up, reason))
        self.changed.set()

    async def until(self, so: Callable[[RecordingLink], Any]) -> None:
        """Wait until it is so; a test that waits in vain fails, and tells how it was instead."""
        try:
            async with asyncio.timeout(WITHIN_S):
                while not so(self):
                    self.changed.clear()
                    await self.changed.wait()
        except TimeoutError:
            told = f"{self.values}, faults {self.faults[-3:]}, away {self.away}, the last of {len(self.raw)} raw"
            raise AssertionError(f"it is not so: {told} {self.raw[-3:]}") from None


@dataclass
class Entered:
    """A connector whose `run` is under way."""

    link: RecordingLink
    task: asyncio.Task[None]

    async def ended(self) -> str:
        """What the LinkDown says that `run` ended with; anything else is a bug of the connector, and raised here."""
        async with asyncio.timeout(WITHIN_S):
            await asyncio.wait([self.task])
        error = self.task.exception()
        assert error is not None, "run() came back"
        bugs = [cause for cause in causes(error) if not isinstance(cause, LinkDown)]
        if bugs:
            raise bugs[0]
        return str(causes(error)[0])


@contextlib.asynccontextmanager
async def entered(connector: Connector, link: RecordingLink | None = None) -> AsyncIterator[Entered]:
    """Enter a connector's `run()` once."""
    link = link or RecordingLink(connector)
    task = asyncio.create_task(connector.run(link))
    try:
        yield Entered(link, task)
    finally:
        task.cancel()
        await asyncio.wait([task])
