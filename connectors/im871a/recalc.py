"""ReCalc: the MQTT interface of this connector's ancestor, beside the datapoints.

    v2/<gateway>/sensors/set            in:  the list of all meters to be listened to, with their keys
    v2/<gateway>/sensors/answer         out: for every command, which meters were accepted and which not, and why
    v2/<gateway>/<maker>-<id>/config    out: for each accepted meter its channels
    v2/<gateway>/<maker>-<id>/data      out: for each telegram one message per channel
    STOP                                in:  end, where RECALC_ALLOW_STOP says so

Data are QoS 0, as the ancestor's. The answer is new: the ancestor was silent about what it could not do.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import NoReturn

from connectors.im871a.recalc_command import RecalcCommand, Wanted, read_command
from connectors.im871a.recalc_memory import RecalcState
from connectors.im871a.registry import MeterRegistry
from connectors.im871a.settings import Settings
from connectors.im871a.telegram import Telegram
from wattbus import metrics
from wattbus.clock import Clock
from wattbus.errors import BrokerAway, PublishError, StopAsked
from wattbus.jsontext import JsonValue, dumps
from wattbus.mqtt.client import MqttClient
from wattbus.mqtt.packets import IncomingMessage, Outgoing

log = logging.getLogger(__name__)

SOURCE = "recalc"
STOP = "STOP"
SAY_AGAIN_S = 1.0
COMMANDS = metrics.counter("recalc_commands", "Commands of ReCalc, by what became of them.", "outcome")
UNSENT = metrics.counter("recalc_unsent_messages", "Values for ReCalc that could not be sent: the broker was away.")

# Number, data type, name, and the field of a telegram that it comes from: energies in kWh, powers in W.
_CHANNELS = (
    (1, "accumulated-power", "A+ / Active positive energy", "energy_kwh"),
    (2, "accumulated-power", "A- / Active negative energy", "energy_backward_kwh"),
    (3, "power", "P+ / Active positive power", "power_w"),
    (4, "power", "P- / Active negative power", "power_backward_w"),
)
_CONFIGURATION: dict[str, JsonValue] = {
    "Channels": [
        {"ChannelNumber": number, "DataType": data_type, "ChannelName": name}
        for number, data_type, name, _ in _CHANNELS
    ]
}


class ReCalc:
    """Takes the meters from commands, and sends what they say. Its meters survive a restart."""

    def __init__(self, settings: Settings, meters: MeterRegistry, clock: Clock) -> None:
        self._name = settings.connector_name
        self._root = f"v2/{settings.recalc_gateway_id}"
        self._set = f"{self._root}/sensors/set"
        self._may_stop = settings.recalc_allow_stop
        self._meters = meters
        self._clock = clock
        # Commands that come while this process is away wait at the broker, if they were sent with QoS 1.
        waits_s = round(settings.command_max_age_seconds)
        self._bus = MqttClient(settings, f"{settings.connector_name}-recalc", session_expiry_s=waits_s)
        self._memory = RecalcState(settings.data_directory / f"{settings.connector_name}-recalc-meters.json")
        self._wanted: Mapping[str, Wanted] = self._memory.recall()
        self._register()

    async def run(self) -> NoReturn:
        """Take commands for ever, one after another. Raises StopAsked."""
        await self._bus.subscribe([self._set])
        if self._may_stop:
            await self._bus.subscribe([STOP], qos=0)  # one that waited at the broker would end the next start
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._bus.run(), name="ReCalc's bus")
            while True:
                for delivery in await self._bus.next_deliveries(1):
                    await self._take(delivery)
                    delivery.acknowledge()

    def telegram(self, telegram: Telegram) -> None:
        """Send what a meter said, if it is one of ReCalc's."""
        header = telegram.header
        meter = self._wanted.get(header.id) or self._wanted.get(header.sender_id)
        if meter is None:
            return
        timestamp = datetime.fromtimestamp(self._clock.now_ms() / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        for number, data_type, _, field in _CHANNELS:
            quantity = telegram.fields.get(field)
            if quantity is None or not isinstance(quantity.value, int | float):
                continue
            message = {
                "channelNumber": number,
                "aggregateType": "Raw",
                "dataType": data_type,
                "value": quantity.value,
                "timestamp": timestamp,
            }
            if not self._bus.publish_now(Outgoing(self._topic(meter, "data"), dumps(message), qos=0)):
                UNSENT.labels(self._name).inc()

    # -- commands ---------------------------------------------------------------------------------------------------

    async def _take(self, delivery: IncomingMessage) -> None:
        """The broker may keep a session with subscriptions of other settings, so the topic is looked at."""
        if delivery.topic == STOP and self._may_stop:
            if not delivery.retain:
                raise StopAsked("STOP was received from ReCalc")
            log.warning("a retained STOP is left out: it would end every start")
        elif delivery.topic == self._set:
            await self._execute(delivery.payload)

    async def _execute(self, payload: bytes) -> None:
        try:
            command = read_command(payload)
        except ValueError as error:
            await self._answer(RecalcCommand({}, ({"error": str(error)},)))
            return
        if command.wanted != self._wanted:
            self._wanted = command.wanted
            self._register()
            self._memory.keep(command.wanted.values())
        await self._answer(command)
        for meter in command.wanted.values():
            await self._say(self._topic(meter, "config"), _CONFIGURATION)

    def _register(self) -> None:
        self._meters.replace(SOURCE, {number: meter.config for number, meter in self._wanted.items()})

    async def _answer(self, command: RecalcCommand) -> None:
        COMMANDS.labels(self._name, "rejected" if command.rejected else "accepted").inc()
        if command.rejected:
            log.warning("ReCalc's command: %d rejected; the first: %s", len(command.rejected), command.rejected[0])
        await self._say(f"{self._root}/sensors/answer", command.answer())

    async def _say(self, topic: str, message: Mapping[str, JsonValue]) -> None:
        """Until the broker has it."""
        while True:
            await self._bus.wait_connected()
            try:
                await self._bus.publish(Outgoing(topic, dumps(dict(message))))
                return
            except BrokerAway:
                await self._clock.sleep(SAY_AGAIN_S)
            except PublishError as error:
                log.error("ReCalc: %s", error)
                return

    def _topic(self, meter: Wanted, what: str) -> str:
        return f"{self._root}/{meter.maker}-{meter.device_id}/{what}"
