"""A link supervisor in virtual time, with what it published: what the tests of links start from."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator

import pytest

from tests.support.connector import ScriptedConnector
from wattbus.jsontext import JsonValue
from wattbus.retry import Backoff
from wattbus.runtime.link_supervisor import Decoded, LinkSupervisor
from wattbus.service.conditions import Conditions
from wattbus.testing.clock import VirtualClock, turns

MESSAGES_OF = ("wattbus.service.conditions", "wattbus.runtime.devices_away")


class ScriptedPermit:
    """Whether another process has the name."""

    def __init__(self) -> None:
        self.fault = ""
        self._taken, self._free = asyncio.Event(), asyncio.Event()

    def give(self) -> None:
        self.fault = ""
        self._taken.clear()
        self._free.set()

    def take(self, fault: str) -> None:
        self.fault = fault
        self._free.clear()
        self._taken.set()

    async def granted(self) -> None:
        await self._free.wait()

    async def withdrawn(self) -> None:
        await self._taken.wait()


class Supervised:
    """A supervised connector: a raw message is one value, `nonsense` none at all, a number so many values."""

    def __init__(self, shortest_interval_s: float | None = None, permit: ScriptedPermit | None = None) -> None:
        self.connector = ScriptedConnector()
        self.clock = VirtualClock()
        self.shortest_interval_s = shortest_interval_s
        self.emitted: list[JsonValue] = []
        self.states: list[tuple[str, str]] = []  # state of the service and detail, at each change
        self.links: list[str] = []  # the link's states, one after another
        self.left = 0
        self.conditions = Conditions("c", clock=self.clock)
        self.devices_left: list[str] = []
        self.supervisor = LinkSupervisor(
            "c",
            self.connector,
            self.clock,
            emit=self._decode,
            announce=lambda _: None,
            events=self,
            conditions=self.conditions,
            shortest_interval_s=lambda: self.shortest_interval_s,
            permit=permit,
            backoff=Backoff(),
        )

    def _decode(self, raw: JsonValue, _: int | None) -> Decoded:
        self.emitted.append(raw)
        return Decoded(0, "it has no checksum") if raw == "nonsense" else Decoded(raw if isinstance(raw, int) else 1)

    def link_changed(self) -> None:
        self.states.append(self.now)
        if self.links[-1:] != [self.supervisor.link_state.value]:
            self.links.append(self.supervisor.link_state.value)

    def link_left(self) -> None:
        self.left += 1

    def device_left(self, name: str) -> None:
        self.devices_left.append(name)

    @property
    def now(self) -> tuple[str, str]:
        """State of the service and detail, as its status has them."""
        return self.supervisor.state, "; ".join(filter(None, (*self.conditions.texts(), self.supervisor.detail)))

    async def passes(self, seconds: float) -> None:
        await self.clock.advance(seconds)
        await turns()

    async def hears(self, raw: JsonValue) -> None:
        self.connector.tell(raw)
        await self.passes(0)

    async def answers(self) -> None:
        self.connector.answer()
        await self.passes(0)


@contextlib.asynccontextmanager
async def supervised(
    shortest_interval_s: float | None = None, permit: ScriptedPermit | None = None
) -> AsyncIterator[Supervised]:
    link = Supervised(shortest_interval_s, permit)
    task = asyncio.create_task(link.supervisor.run())
    await link.passes(0)
    try:
        yield link
    finally:
        task.cancel()
        await asyncio.wait([task])
    assert task.cancelled()
    assert not link.connector.running.is_set(), "the connector's run() has ended with it"


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What was logged about the link and its devices, without cures and times."""
    said = [record.getMessage() for record in caplog.records if record.name in MESSAGES_OF]
    return [line.partition(". Is the device")[0].partition(" after ")[0] for line in said]


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO)
    return caplog
