"""From the bus in batches: one transaction for many messages, and a message that wakes a bug costs itself only."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from wattbus.clock import SYSTEM_CLOCK, Clock
from wattbus.mqtt.client import MqttClient
from wattbus.mqtt.packets import IncomingMessage

STOCK_WINDOW = 20  # messages that an unconfigured Mosquitto sends before it waits for acknowledgements
SILENCE_S = 0.005


class BatchConsumer:
    """Hands batches of at most `most` deliveries to `record`, which writes them and then acknowledges each.

    The first message of a batch waits at most `wait_s` for others. A message that was alone in its batch when `record`
    failed by a bug is handed to `give_up`, which says so; it is acknowledged, or it would hold up all that came after.
    """

    def __init__(
        self,
        bus: MqttClient,
        most: int,
        wait_s: float,
        record: Callable[[list[IncomingMessage]], Awaitable[None]],
        give_up: Callable[[IncomingMessage], None],
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._bus = bus
        self._most = most
        self._wait_s = wait_s
        self._record = record
        self._give_up = give_up
        self._clock = clock
        self._held: list[IncomingMessage] = []
        self._suspect: IncomingMessage | None = None

    async def run(self) -> None:
        """Record for ever. Entered again after a bug it takes what it held one by one: one of them is the reason."""
        self._give_up_suspect()
        while self._held:
            self._suspect = self._held[0]
            await self._record([self._suspect])
            self._suspect = None
            del self._held[0]
        while True:
            self._held = await self._next_batch()
            await self._record(self._held)
            self._held = []

    def _give_up_suspect(self) -> None:
        if (suspect := self._suspect) is not None:
            self._suspect = None
            del self._held[0]
            suspect.acknowledge()
            self._give_up(suspect)

    async def _next_batch(self) -> list[IncomingMessage]:
        """What is there or comes within the batch's wait, unless the broker sends no more before it hears from us."""
        taken = await self._bus.next_deliveries(self._most)
        end = self._clock.monotonic() + self._wait_s
        while len(taken) < self._most and (left := end - self._clock.monotonic()) > 0:
            patience = min(left, SILENCE_S) if len(taken) >= STOCK_WINDOW else left
            try:
                async with asyncio.timeout(patience):
                    taken += await self._bus.next_deliveries(self._most - len(taken))
            except TimeoutError:
                break
        return taken
