"""One process for each name: a look at the bus before the real connection, which would push another one out.

A name is the client id at the broker, and the broker lets the newer of two connections live. So whoever wants to
connect looks at the status below its name first, under another client id, and asks who is there (`${name}/who`). If a
living process answers by telling its status, the newcomer says so and comes again after a while; the one that works is
not disturbed. What a dead process left retained does not answer, and costs the newcomer a few seconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket

from wattbus.clock import Clock
from wattbus.errors import BrokerAway, BrokerRefuses, PublishError
from wattbus.mqtt import topics
from wattbus.mqtt.client import MqttClient
from wattbus.mqtt.messages import BadMessage, StatusMessage, WhoMessage, parse
from wattbus.mqtt.packets import IncomingMessage, Outgoing
from wattbus.retry import Backoff

log = logging.getLogger(__name__)

ASKED_TIMES, ANSWER_S = 3, 1.0  # how often a process that should be there is asked, and how long each time
LOOK_AGAIN_S = 60.0
UNKNOWN_AT_MOST_S = 10.0  # of a broker that does not even refuse


class NameLock:
    """The wish of one process (`instance`) to have a name on the bus. `fault` says who has it instead.

    `doubtful`: somebody else has left its status, and does not answer.
    """

    def __init__(self, name: str, instance: str, bus: MqttClient, clock: Clock) -> None:
        self.fault = ""
        self.doubtful = False
        self._name = name
        self._bus = bus
        self._instance = instance
        self._clock = clock
        self._pause = Backoff(first_s=LOOK_AGAIN_S, longest_s=LOOK_AGAIN_S)
        self._looked = asyncio.Event()
        self._taken = asyncio.Event()
        self._not_taken = asyncio.Event()
        self._not_taken.set()

    async def granted(self) -> None:
        """Wait until no other process is known to have the name.

        Where that cannot be found out, because the broker is away, it is granted: nothing may keep a connector from its
        device but another living process that talks to it already. One that was there when the broker was still
        reachable counts until the broker says otherwise.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(UNKNOWN_AT_MOST_S):
                await self._looked.wait()
        await self._not_taken.wait()

    async def withdrawn(self) -> None:
        """Wait until another process has the name."""
        await self._taken.wait()

    async def until_free(self) -> None:
        """Wait until nobody else runs under the name. Raises BrokerAway."""
        try:
            await self._until_free()
        finally:
            self._looked.set()

    async def _until_free(self) -> None:
        while (holder := await self._look()) is not None:
            self._taken.set()
            self._not_taken.clear()
            self._looked.set()
            if not self.fault:
                log.error(
                    "the name %s is taken: another service runs under it (%s). Give one of them another name; this "
                    "one waits, and looks again every minute",
                    self._name,
                    whereabouts(holder),
                )
            self.fault = f"the name {self._name} is taken by {whereabouts(holder)}"
            await self._clock.sleep(self._pause.next_s())
        self._taken.clear()
        self._not_taken.set()
        if self.fault:
            log.warning("the name %s is free now", self._name)
            self.fault = ""

    async def _look(self) -> StatusMessage | None:
        """The status of the process that has the name, None when nobody has."""
        probe_client = self._bus.probe_client(f"{self._name}-{self._instance}")
        seen = _Statuses(self._instance)
        probe_client.watch(topics.status(self._name), seen.take)
        question = WhoMessage(instance=self._instance, host=socket.gethostname(), process=os.getpid())
        try:
            async with probe_client.visit():
                for _ in range(ASKED_TIMES):
                    # The broker answers in order: when it has the question, what it retains has arrived.
                    await probe_client.publish(Outgoing(topics.who(self._name), question.payload()))
                    if not seen.somebody_else:
                        self.doubtful = False
                        return None
                    if await seen.answer(ANSWER_S) is not None:
                        break
                if not probe_client.connected:
                    raise BrokerAway("the connection broke while looking whether the name is free")
                self.doubtful = seen.holder is None
                return seen.holder
        except (BrokerRefuses, PublishError) as error:
            log.debug("cannot look whether the name is free: %s", error)  # this broker is strict: go on without
            return None


class _Statuses:
    """What is told below the name while we look."""

    def __init__(self, instance: str) -> None:
        self.somebody_else = False  # by what is retained, or told now
        self.holder: StatusMessage | None = None  # who speaks now
        self._instance = instance
        self._news = asyncio.Event()

    def take(self, delivery: IncomingMessage) -> None:
        try:
            status = parse(StatusMessage, delivery.payload)
        except BadMessage:
            return
        self.somebody_else = status.state != "offline" and status.instance != self._instance
        if not delivery.retain:
            self.holder = status if self.somebody_else else None
            self._news.set()

    async def answer(self, seconds: float) -> StatusMessage | None:
        """Wait for somebody to speak."""
        try:
            async with asyncio.timeout(seconds):
                await self._news.wait()
        except TimeoutError:
            return None
        self._news.clear()
        return self.holder


def whereabouts(who: StatusMessage | WhoMessage) -> str:
    """`process 1234 on pi, instance 8f2b4d1b`."""
    place = f"process {who.process} on {who.host}, " if who.host and who.process is not None else ""
    return f"{place}instance {who.instance or 'unknown'}"
