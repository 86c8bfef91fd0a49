"""Sends the outbox's entries, as its ledger says, and lets go of them when history's receipt covers them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial

from wattbus import metrics
from wattbus.clock import SYSTEM_CLOCK, Clock
from wattbus.errors import BrokerAway, PublishError
from wattbus.mqtt.client import MqttClient
from wattbus.mqtt.messages import Receipt, ValuesMessage
from wattbus.mqtt.packets import TOO_LARGE, Outgoing, Published
from wattbus.retry import Backoff
from wattbus.runtime.history_doubts import HistoryDoubts
from wattbus.runtime.known_histories import KnownHistories
from wattbus.runtime.outbox import Outbox
from wattbus.runtime.outbox_conditions import OutboxConditions
from wattbus.runtime.retransmission import RetransmissionState
from wattbus.service.conditions import Conditions

log = logging.getLogger(__name__)

SENT = metrics.counter("readings_sent", "Readings published, repetitions included.")
REPEATED = metrics.counter("readings_repeated", "Readings published again because no receipt covered them.")
DROPPED = metrics.counter("readings_dropped", "Readings lost because the outbox was full or the broker refused them.")


class OutboxPublisher:
    """Publishes an outbox on one topic for ever, as the ledger says.

    `receipts` False is for raw messages: released by PUBACK, and what is lost is counted, not reported.
    """

    def __init__(
        self,
        bus: MqttClient,
        topic: str,
        outbox: Outbox,
        *,
        service: str,
        receipts: bool = True,
        histories: KnownHistories | None = None,
        history_grace_s: float = 60.0,
        write_s: float = 1.0,
        conditions: Conditions | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.ledger = RetransmissionState(outbox, clock)
        self._bus = bus
        self._topic = topic
        self._outbox = outbox
        self._service = service
        self._receipts = receipts
        self._histories = histories or KnownHistories(service)
        self._history_grace_s = history_grace_s
        self._clock = clock
        self._work = asyncio.Event()
        self._undecided = asyncio.Event()
        self._pause = Backoff(first_s=1.0, longest_s=60.0)
        self._not_before = 0.0
        self._write_s = write_s
        conditions = Conditions(service, clock=clock) if conditions is None else conditions
        self._conditions = OutboxConditions(outbox, conditions, clock, prefix="" if receipts else "raw messages: ")
        self._doubts = HistoryDoubts(bus, self._histories, outbox.session, clock)
        if not receipts:
            self.ledger.history = "absent"
        elif self._histories.state != "none":
            self.ledger.history = "away"
        bus.on_connect(self._connected)

    @property
    def session(self) -> str:
        """The session of the readings that come in now."""
        return self._outbox.session

    def put(self, message: Callable[[int], bytes]) -> int:
        """Take one more message, made from the number it gets; that number. Never waits."""
        sequence = self._outbox.last_sequence + 1
        self._outbox.put(sequence, message(sequence))
        if overflowed := self._conditions.overflowed():
            DROPPED.labels(self._service).inc(overflowed)
            self.ledger.forget_lost()
        self._work.set()
        return sequence

    def take_over(self) -> None:
        """The name is ours: what earlier processes left is sent, and what of it is lost is reported."""
        self._outbox.take_over()
        for session, ranges in self._outbox.dropped.items():
            self._conditions.lost(
                session, ranges, "their process ended before they were written, or its file is damaged"
            )
        self.ledger.adopt()
        self._work.set()

    def status_of(self, service: str, payload: bytes, *, retained: bool = False) -> None:
        """A message on `${service}/status`. Raises BadMessage."""
        if not retained:
            self._doubts.answered(service)
        if self._histories.take(service, payload):
            self._histories_changed()

    def _histories_changed(self) -> None:
        """Once there is a history readings wait for it; when all of them were taken off the bus they do not."""
        if self._histories.state == "none":
            self.ledger.history_is_gone()
            self._undecided.set()
        else:
            self.ledger.history_is("online" if self._histories.state == "online" else "offline")
        self._work.set()

    def receipt(self, receipt: Receipt, *, old: bool = False) -> None:
        """What history has; `old` ones were retained by the broker and may be all that is left of a history."""
        if not old:
            self._doubts.heard_receipt()
            if self._histories.heard_receipt():
                self._histories_changed()
        gone = self.ledger.receipt(receipt)
        if gone:
            self._outbox.drop(receipt.session, gone)
        self._work.set()

    async def _connected(self) -> None:
        self.ledger.connected()
        self._doubts.heard_receipt()
        self._work.set()

    async def run(self) -> None:
        """Send for ever."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._send(), name="send readings")
            tasks.create_task(self._watch(), name="watch receipts")
            tasks.create_task(self._decide_whether_there_is_a_history(), name="look for history")

    async def _send(self) -> None:
        while True:
            await self._bus.wait_connected()
            if (pause_s := self._not_before - self._clock.monotonic()) > 0:
                await self._clock.sleep(pause_s)
            if await self._report_lost() and not await self._send_next():
                self._work.clear()
                await self._work.wait()

    async def _send_next(self) -> bool:
        """Publish one entry; false when there is nothing to do now."""
        following = self.ledger.next()
        if following is None:
            return False
        session, sequence = following
        payload = self._outbox.get(session, sequence)
        if payload is None:
            self._outbox.drop(session, [(sequence, sequence)])
            self.ledger.forget_lost()
            return True
        try:
            future = await self._bus.publish_soon(Outgoing(self._topic, payload))
        except PublishError as error:
            self.ledger.publishing(session, sequence)
            self._refused(session, sequence, error)
            return True
        except BrokerAway:
            await self._clock.sleep(0.05)
            return True
        SENT.labels(self._service).inc()
        if self.ledger.publishing(session, sequence):
            REPEATED.labels(self._service).inc()
        future.add_done_callback(partial(self._published, session, sequence))
        return True

    def _published(self, session: str, sequence: int, future: asyncio.Future[Published]) -> None:
        if future.cancelled():
            return
        error = future.exception()
        if error is None:
            self.ledger.published(session, sequence)
            self._pause.reset()
        elif isinstance(error, PublishError):
            self._refused(session, sequence, error)
        else:
            self.ledger.not_published(session, sequence)
        self._work.set()

    def _refused(self, session: str, sequence: int, error: PublishError) -> None:
        """The broker does not want it: too large is for ever, access rules may be mended."""
        if error.code == TOO_LARGE:
            self._give_up(session, sequence, error)
            return
        self.ledger.not_published(session, sequence)
        self._pause_publishing()

    def _pause_publishing(self) -> None:
        """What the broker refuses now it may take later; that it does so is a condition of the client already."""
        if self._clock.monotonic() >= self._not_before:
            self._not_before = self._clock.monotonic() + self._pause.next_s()

    def _give_up(self, session: str, sequence: int, error: PublishError) -> None:
        self._conditions.lost(session, [(sequence, sequence)], error.reason)
        DROPPED.labels(self._service).inc()
        self.ledger.not_published(session, sequence)
        self._outbox.drop(session, [(sequence, sequence)])
        self.ledger.forget_lost()

    async def _report_lost(self) -> bool:
        """Tell by number what nobody need ask for any more; false when the broker did not take it."""
        for session, ranges in self._outbox.dropped.items():
            if not self._receipts:
                self._outbox.reported(session, ranges)
                continue
            report = ValuesMessage(
                session=session, sequence=0, timestamp=self._clock.now_ms(), values={}, dropped=ranges
            )
            try:
                await self._bus.publish(Outgoing(self._topic, report.payload()))
            except BrokerAway:
                return True
            except PublishError:
                self._pause_publishing()
                return False
            self.ledger.reported(session, ranges)
        return True

    async def _watch(self) -> None:
        while True:
            await self._clock.sleep(min(1.0, self._write_s))
            self._outbox.tick()
            self._conditions.look()
            if self.ledger.repeat_overdue():
                self._work.set()
            waits = self._receipts and self.ledger.history == "online" and len(self._outbox) > 0
            self._conditions.no_receipts_for(await self._doubts.look(waits))
            if self._doubts.nobody_answers and self._histories.take_for_away():
                self._histories_changed()

    async def _decide_whether_there_is_a_history(self) -> None:
        while True:
            if self.ledger.history != "unknown":
                self._undecided.clear()
                await self._undecided.wait()
                continue
            await self._bus.wait_connected()
            connection = self._bus.counters.connects
            await self._clock.sleep(self._history_grace_s)
            if self._bus.connected and self._bus.counters.connects == connection:
                self.ledger.no_history()
                self._work.set()
