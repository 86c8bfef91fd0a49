"""A connector that does what a test tells it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from wattbus.connector import Datapoint, Link, Reading, Scalar
from wattbus.errors import DecodeError
from wattbus.jsontext import JsonValue

_ANSWER = object()


class ScriptedConnector:
    """`tell()` it values to read, raw messages to emit, or an error to raise in `run()`; see what was `written`.

    What it emits says that its link stands; `answer()` says it without a message.
    """

    def __init__(self, *datapoints: Datapoint) -> None:
        self.known = datapoints
        self.entered = 0
        self.link: Link | None = None
        self.written: list[tuple[str, Scalar]] = []
        self.on_write: Callable[[str, Scalar], Awaitable[None]] | None = None
        self._script: asyncio.Queue[Any] = asyncio.Queue()
        self.running = asyncio.Event()

    # -- the test speaks --------------------------------------------------------------------------------------------

    def read(
        self,
        values: Mapping[str, Any],
        timestamp_ms: int | None = None,
        device: str = "",
        *,
        is_unverified: bool = False,
    ) -> None:
        """The device says this."""
        reading = {"values": dict(values), "timestamp": timestamp_ms, "device": device}
        self._script.put_nowait({**reading, "unverified": True} if is_unverified else reading)

    def answer(self) -> None:
        """The device answers, and says nothing else."""
        self._script.put_nowait(_ANSWER)

    def tell(self, raw: JsonValue | BaseException) -> None:
        """Emit this raw message, or raise this in `run()`; None: return from it."""
        self._script.put_nowait(raw)

    # -- the contract -----------------------------------------------------------------------------------------------

    def datapoints(self) -> Iterable[Datapoint]:
        return self.known

    async def run(self, link: Link) -> None:
        self.entered += 1
        self.link = link
        self.running.set()
        try:
            while (told := await self._script.get()) is not None:
                if isinstance(told, BaseException):
                    raise told
                if told is _ANSWER:
                    link.connected()
                else:
                    link.emit(told)
        finally:
            self.running.clear()

    def decode(self, raw: JsonValue) -> Iterable[Reading]:
        if not isinstance(raw, dict):
            raise DecodeError(f"{raw!r} is not a frame of ours")
        is_unverified = raw.get("unverified", False)
        return [
            Reading(raw["values"], raw["timestamp"], raw["device"], is_unverified)
        ]  # a KeyError here is a bug, on purpose

    async def write(self, key: str, value: Scalar) -> None:
        self.written.append((key, value))
        if self.on_write is not None:
            await self.on_write(key, value)
