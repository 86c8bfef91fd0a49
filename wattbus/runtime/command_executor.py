"""Commands: checked against their datapoint, executed one after another per device, answered with an outcome."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from wattbus import metrics
from wattbus.cancellation import raise_if_cancelled
from wattbus.clock import Clock
from wattbus.connector import Datapoint, Scalar
from wattbus.errors import BrokerAway, CommandRejected, LinkDown, PublishError, causes
from wattbus.mqtt import topics
from wattbus.mqtt.client import MqttClient
from wattbus.mqtt.command_checks import checked
from wattbus.mqtt.messages import BadMessage, Command, Outcome, ResultMessage, parse
from wattbus.mqtt.packets import IncomingMessage, Outgoing
from wattbus.runtime.command_repetitions import Repetitions

log = logging.getLogger(__name__)

MOST_WAITING = 1000
MOST_REMEMBERED = 1000

COMMANDS = metrics.counter("commands", "Commands by outcome.", "outcome")


@dataclass(slots=True)
class _Order:
    """A command on its way."""

    datapoint: Datapoint
    deliveries: list[IncomingMessage]  # the first one, and what repeats it while it is under way
    command: Command
    arrived_at: float  # monotonic seconds
    acknowledged: bool = False  # before it is executed: it must not come again


class CommandExecutor:
    """Takes commands from the bus, has them executed, publishes outcomes, acknowledges.

    `write` executes one; `link_is_up` tells whether that can work now.
    """

    def __init__(
        self,
        service: str,
        bus: MqttClient,
        clock: Clock,
        write: Callable[[str, Scalar], Awaitable[None]],
        link_is_up: Callable[[], bool],
        *,
        read_only: bool,
        timeout_s: float,
        max_age_s: float,
    ) -> None:
        self._service = service
        self._bus = bus
        self._clock = clock
        self._write = write
        self._link_is_up = link_is_up
        self._read_only = read_only
        self._timeout_s = timeout_s
        self._max_age_s = max_age_s
        self._queues: dict[str, deque[_Order]] = {}
        self._wake: dict[str, asyncio.Event] = {}
        self._tasks: asyncio.TaskGroup | None = None
        self._gap: OrderedDict[str, _Order] | None = OrderedDict()
        self._repetitions = Repetitions[_Order](max_age_s, MOST_REMEMBERED, clock)
        self._answers: deque[tuple[list[IncomingMessage], ResultMessage]] = deque()
        self._answered = asyncio.Event()

    # -- taking -----------------------------------------------------------------------------------------------------

    @property
    def in_gap(self) -> bool:
        """Whether what waited at the broker during an outage is still coming in."""
        return self._gap is not None

    def gap_begins(self) -> None:
        """The connection is new: of what waited at the broker only the newest per datapoint is executed."""
        if self._gap is None:
            self._gap = OrderedDict()

    def gap_ends(self) -> None:
        """What waited at the broker has arrived."""
        waited, self._gap = self._gap, None
        for order in (waited or {}).values():
            self._enqueue(order)

    def take(self, delivery: IncomingMessage, datapoint: Datapoint) -> None:
        """A message on an actuator's topic."""
        try:
            command = parse(Command, delivery.payload)
        except BadMessage as error:
            self._answer([delivery], _result(None, self._clock, "rejected", f"not a command: {error}"))
            return
        known = self._repetitions.of(delivery, command)
        if isinstance(known, ResultMessage):
            self._answer([delivery], known)
            return
        if known is not None:
            known.deliveries.append(delivery)
            if known.acknowledged:
                delivery.acknowledge()
            return
        order = _Order(datapoint, [delivery], command, self._clock.monotonic())
        self._repetitions.note(delivery, command, order)
        if delivery.retain:
            self._finish(order, "rejected", "a retained command would be executed at every connect: do not retain it")
        elif self._gap is None:
            self._enqueue(order)
        else:
            if (superseded := self._gap.pop(delivery.topic, None)) is not None:
                self._finish(superseded, "expired", "a newer command for the same datapoint was waiting")
            self._gap[delivery.topic] = order

    def refuse(self, delivery: IncomingMessage, reason: str) -> None:
        """A message on a topic that no actuator has."""
        try:
            command = parse(Command, delivery.payload)
        except BadMessage:
            command = None
        self._answer([delivery], _result(command, self._clock, "rejected", reason))

    def _enqueue(self, order: _Order) -> None:
        if sum(map(len, self._queues.values())) >= MOST_WAITING:
            self._finish(order, "rejected", "too many commands are waiting")
            return
        device = order.datapoint.device
        if device not in self._queues:
            self._queues[device] = deque()
            self._wake[device] = asyncio.Event()
            if self._tasks is not None:
                self._tasks.create_task(self._work_for(device), name=f"commands for {device or 'the device'}")
        self._queues[device].append(order)
        self._wake[device].set()

    # -- executing --------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Execute and answer for ever."""
        try:
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                for device in self._queues:
                    tasks.create_task(self._work_for(device), name=f"commands for {device or 'the device'}")
                await self._publish_answers()
        finally:
            self._tasks = None

    async def _work_for(self, device: str) -> None:
        while True:
            while self._queues[device]:
                order = self._queues[device].popleft()
                self._finish(order, *await self._execute(order))
            self._wake[device].clear()
            await self._wake[device].wait()

    async def _execute(self, order: _Order) -> tuple[Outcome, str]:
        expiry_s = order.deliveries[0].expiry_s
        longest_s = self._max_age_s if expiry_s is None else expiry_s
        if self._clock.monotonic() - order.arrived_at > longest_s:
            return "expired", f"waited longer than {longest_s:g} s"
        if self._read_only:
            return "rejected", "this connector is read-only (READ_ONLY)"
        try:
            value = checked(order.datapoint, order.command.value)
        except CommandRejected as error:
            return "rejected", str(error)
        if not self._link_is_up():
            return "failed", "the device is away"
        if not order.datapoint.repeatable:
            order.acknowledged = True
            for delivery in order.deliveries:
                delivery.acknowledge()
        return await self._write_to_device(order.datapoint.key, value)

    async def _write_to_device(self, key: str, value: Scalar) -> tuple[Outcome, str]:
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._write(key, value)
        except TimeoutError:
            return "failed", f"the device did not confirm within {self._timeout_s:g} s"
        except asyncio.CancelledError:
            raise_if_cancelled()
            return "failed", "the link broke before the device confirmed"  # what write() waited for was cancelled
        except Exception as error:
            for cause in causes(error):
                if isinstance(cause, CommandRejected):
                    return "rejected", str(cause)
                if isinstance(cause, LinkDown):
                    return "failed", str(cause)
            metrics.BUGS.labels(self._service, "write").inc()
            log.exception("writing %s failed; this is a bug", key)
            return "failed", f"internal error: {type(error).__name__}"
        return "applied", ""

    # -- answering --------------------------------------------------------------------------------------------------

    def _finish(self, order: _Order, outcome: Outcome, detail: str) -> None:
        result = _result(order.command, self._clock, outcome, detail)
        self._repetitions.finished(order, order.deliveries, order.command, result)
        self._answer(order.deliveries, result)

    def _answer(self, deliveries: list[IncomingMessage], result: ResultMessage) -> None:
        COMMANDS.labels(self._service, result.outcome).inc()
        if len(self._answers) >= 2 * MOST_WAITING:
            # Its command comes again after the reconnect, or its sender gave up long ago.
            for delivery in self._answers.popleft()[0]:
                delivery.acknowledge()
        self._answers.append((deliveries, result))
        self._answered.set()

    async def _publish_answers(self) -> None:
        while True:
            await self._answered.wait()
            await self._bus.wait_connected()
            if not self._answers:
                self._answered.clear()
                continue
            deliveries, result = self._answers[0]
            try:
                await self._publish(deliveries[-1], result)
            except BrokerAway:
                await self._clock.sleep(0.05)  # the bus may not have noticed yet: let it
                continue
            if self._answers and self._answers[0][0] is deliveries:
                self._answers.popleft()
            for delivery in deliveries:
                delivery.acknowledge()

    async def _publish(self, delivery: IncomingMessage, result: ResultMessage) -> None:
        payload = result.payload()
        destinations = [topics.result(delivery.topic)]
        if delivery.response_topic and delivery.response_topic not in destinations:
            destinations.append(delivery.response_topic)
        for topic in destinations:
            try:
                await self._bus.publish(Outgoing(topic, payload, correlation=delivery.correlation))
            except PublishError as error:
                log.error("the outcome of a command cannot be told: %s", error)


def _result(command: Command | None, clock: Clock, outcome: Outcome, detail: str) -> ResultMessage:
    return ResultMessage(
        id=command.id if command else None,
        value=command.value if command else None,
        command_timestamp=command.timestamp if command else None,
        timestamp=clock.now_ms(),
        outcome=outcome,
        detail=detail,
    )
