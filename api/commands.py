"""Telling datapoints what is wanted: a value now, a setpoint, a schedule; and hearing what became of it."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass
from typing import Any, Literal

from api import plans
from api.datapoints import KnownDatapoint
from api.errors import Conflict, Unavailable, fault
from api.live import Live
from wattbus.clock import Clock
from wattbus.errors import BrokerAway, PublishError
from wattbus.jsontext import JsonValue, dumps
from wattbus.mqtt.client import MqttClient
from wattbus.mqtt.messages import Outcome, ResultMessage
from wattbus.mqtt.packets import Outgoing, Published
from wattbus.storage.records import PlanKind

PUBACK_S = 5.0  # a broker that takes longer than this counts as away
ONLY_ACTUATORS = "This message can only be written for an actuator datapoint."


@dataclass(frozen=True, slots=True)
class PublishedCommand:
    """A command that the broker has. `outcome` is `unknown` when nobody told it in time."""

    id: str
    value: JsonValue
    timestamp: int
    outcome: Outcome | Literal["unknown"] = "unknown"
    detail: str = ""


class Commands:
    """Publishes what was checked.

    Every method raises Invalid when the datapoint does not take it, Conflict when a person switched the datapoint off,
    Unavailable when broker or connector are away: then nothing was sent.
    """

    def __init__(self, live: Live, bus: MqttClient, clock: Clock, *, wait_s: float, expiry_s: int) -> None:
        self._live = live
        self._bus = bus
        self._clock = clock
        self._wait_s = wait_s
        self._expiry_s = expiry_s
        self._waiting: dict[str, asyncio.Future[ResultMessage]] = {}
        live.on_result = self._told

    async def set_value(
        self, datapoint: KnownDatapoint, value: JsonValue, timestamp_ms: int | None = None
    ) -> PublishedCommand:
        """Command an actuator and wait a moment for the outcome."""
        return await self.post_value(datapoint, {"value": value, "timestamp": self._time(timestamp_ms)})

    async def set_setpoint(
        self, datapoint: KnownDatapoint, items: JsonValue, timestamp_ms: int | None = None
    ) -> JsonValue:
        """Publish a setpoint, a list of items; the message as it was published."""
        return await self.post_plan("setpoint", datapoint, {"setpoint": items, "timestamp": self._time(timestamp_ms)})

    async def set_schedule(
        self, datapoint: KnownDatapoint, items: JsonValue, timestamp_ms: int | None = None
    ) -> JsonValue:
        """Publish a schedule, a list of items; the message as it was published."""
        return await self.post_plan("schedule", datapoint, {"schedule": items, "timestamp": self._time(timestamp_ms)})

    def _time(self, timestamp_ms: int | None) -> int:
        return self._clock.now_ms() if timestamp_ms is None else timestamp_ms

    # -- as messages ------------------------------------------------------------------------------------------------

    async def post_value(self, datapoint: KnownDatapoint, body: JsonValue) -> PublishedCommand:
        """As `set_value`, with a body of REST."""
        topic = _actuator_topic(datapoint)
        message = plans.value_message(datapoint, body, self._clock.now_ms())
        _check_active(datapoint)
        self._check_listens(datapoint)
        command_id = secrets.token_hex(16)
        outgoing = Outgoing(
            topic,
            dumps({**message, "id": command_id}),
            expiry_s=self._expiry_s,
            correlation=command_id.encode(),
        )
        outcome = self._waiting[command_id] = asyncio.get_running_loop().create_future()
        try:
            if (await self._publish(outgoing)).reached_nobody:
                raise Unavailable(f"Nobody listens on {topic}.")
            return await self._sent(command_id, message, outcome)
        finally:
            del self._waiting[command_id]

    async def _sent(
        self, command_id: str, message: dict[str, Any], outcome: asyncio.Future[ResultMessage]
    ) -> PublishedCommand:
        try:
            async with asyncio.timeout(self._wait_s):
                told = await outcome
        except TimeoutError:
            return PublishedCommand(
                command_id, message["value"], message["timestamp"], detail="no outcome is known yet"
            )
        return PublishedCommand(command_id, message["value"], message["timestamp"], told.outcome, told.detail)

    async def post_plan(self, kind: PlanKind, datapoint: KnownDatapoint, body: JsonValue) -> JsonValue:
        """As `set_setpoint` or `set_schedule`, with a body of REST."""
        _actuator_topic(datapoint)
        message = plans.plan_message(kind, datapoint, body, self._clock.now_ms())
        _check_active(datapoint)
        await self._publish(Outgoing(datapoint.topic_of(kind) or "", dumps(message), retain=True))
        return message

    # -- outcomes ---------------------------------------------------------------------------------------------------

    def _told(self, result: ResultMessage, correlation: bytes | None) -> None:
        """An outcome on the bus; ours are those with an id that we gave."""
        command_id = result.id or (correlation or b"").decode("utf-8", "replace")
        waiting = self._waiting.get(command_id)
        if waiting is not None and not waiting.done():
            waiting.set_result(result)

    def _check_listens(self, datapoint: KnownDatapoint) -> None:
        """What nobody is there to execute is not sent: it would wait at the broker, and come as a surprise."""
        connector = self._live.connectors.get(datapoint.connector)
        if not self._bus.connected:
            raise Unavailable("There is no connection to the broker.")
        if connector is None or not connector.is_connector:
            raise Unavailable(f"Nobody has heard of the connector {datapoint.connector}.")
        if self._live.condition(datapoint.connector) == "offline":
            raise Unavailable(f"The connector {datapoint.connector} is offline.")

    async def _publish(self, outgoing: Outgoing) -> Published:
        try:
            async with asyncio.timeout(PUBACK_S):
                return await self._bus.publish(outgoing)
        except BrokerAway as error:
            raise Unavailable(f"The broker is away, nobody knows whether it has the message: {error}") from None
        except PublishError as error:
            raise Unavailable(f"The broker refuses the message: {error}") from None
        except TimeoutError:
            raise Unavailable("The broker does not answer, nobody knows whether it has the message.") from None


def _actuator_topic(datapoint: KnownDatapoint) -> str:
    if datapoint.type != "actuator":
        raise fault("non_field_errors", ONLY_ACTUATORS)
    if datapoint.topic is None:
        raise Unavailable(f"Nobody knows the topic of {datapoint.key}: its connector has not announced it.")
    return datapoint.topic


def _check_active(datapoint: KnownDatapoint) -> None:
    if not datapoint.is_active:
        raise Conflict("This datapoint is not active: its connector does not take commands for it.")
