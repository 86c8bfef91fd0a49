"""A service's line on the bus: `${service}/status`, retained, also its Last Will; and its name, which it has alone."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import socket
from collections.abc import Callable, Sequence

from wattbus import __version__, metrics
from wattbus.clock import SYSTEM_CLOCK, Clock
from wattbus.errors import BrokerAway, PublishError
from wattbus.mqtt import topics
from wattbus.mqtt.client import MqttClient
from wattbus.mqtt.messages import BadMessage, State, StatusMessage, WhoMessage, parse
from wattbus.mqtt.packets import IncomingMessage, Outgoing
from wattbus.retry import Backoff
from wattbus.service.conditions import Conditions
from wattbus.service.name_lock import NameLock, whereabouts

log = logging.getLogger(__name__)

PUBLISH_OFFLINE_S = 2
TWIN_PAUSE_S = 60.0


class StatusPublisher:
    """What a service says of itself.

    `sequence` is asked for the last number given to a reading, by connectors. `records` is what a history keeps
    ([]: of all connectors); others have None. `heartbeat_seconds` is the time between its heartbeats, None: it sends
    none. `conditions` is what is not well; while something is, the service counts as degraded.
    """

    def __init__(
        self,
        service: str,
        *,
        session: str | None = None,
        sequence: Callable[[], int] | None = None,
        records: Sequence[str] | None = None,
        heartbeat_seconds: float | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.service = service
        self.topic = topics.status(service)
        self.instance = secrets.token_hex(4)
        self.name_lock: NameLock | None = None
        self._state: State = "online"
        self._detail = ""
        self._link: str | None = None
        self._session = session
        self._sequence = sequence
        self._records = records
        self._clock = clock
        self._started_ms = clock.now_ms()
        self._bus: MqttClient | None = None
        self._usual_backoff: Backoff | None = None
        self._changed = asyncio.Event()
        self.conditions = Conditions(service, self._changed.set, clock)
        self._heartbeat_seconds = heartbeat_seconds
        self._gone = False
        self._twin_told = False
        self._asker_told = False

    # -- what is said -----------------------------------------------------------------------------------------------

    @property
    def state(self) -> State:
        """What the status says: `degraded` also because of conditions."""
        return "degraded" if self._state == "online" and self.conditions else self._state

    @property
    def detail(self) -> str:
        """The causes of all conditions, and the state's own detail."""
        return "; ".join(filter(None, (*self.conditions.texts(), self._detail)))

    @property
    def works(self) -> bool:
        """Whether the service does its job, whatever there is to complain of."""
        return self._state == "online"

    def set(self, state: State, detail: str = "", link: str | None = None) -> None:
        """Change the state; `run()` publishes it. `link` is how the link to the device stands, of connectors."""
        if (state, detail, link) != (self._state, self._detail, self._link):
            self._state, self._detail, self._link = state, detail, link
            self._changed.set()

    def report_fault(self, about: str, fault: str, *, ready: bool = True) -> None:
        """Hold the condition `about` for the reason `fault`; "" ends it. `ready` false: the job cannot be done."""
        if fault:
            self.conditions.hold(about, fault, ready=ready)
        else:
            self.conditions.end(about)

    def _message(self, state: State, detail: str, sequence: int | None = None) -> Outgoing:
        message = StatusMessage(
            state=state,
            timestamp=self._clock.now_ms(),
            version=__version__,
            instance=self.instance,
            host=socket.gethostname(),
            process=os.getpid(),
            session=self._session,
            sequence=sequence,
            detail=detail,
        )
        if self._link is not None and state != "offline":
            message = message.model_copy(update={"link": self._link})
        if self.conditions and state != "offline":
            message = message.model_copy(update={"conditions": self.conditions.messages()})
        if self._heartbeat_seconds is not None:
            message = message.model_copy(update={"heartbeat_seconds": self._heartbeat_seconds})
        if self._records is not None:
            recording = self.works and state != "offline"
            message = message.model_copy(update={"records": list(self._records), "recording": recording})
        return Outgoing(self.topic, message.payload(), qos=1, retain=True)

    def _last_sequence(self) -> int | None:
        return self._sequence() if self._sequence else None

    @property
    def will(self) -> Outgoing:
        """What the broker publishes when this service vanishes; made long before, it cannot know the last number."""
        return self._message("offline", "the connection was lost")

    # -- on the bus -------------------------------------------------------------------------------------------------

    def attach(self, bus: MqttClient) -> None:
        """Tell the state at every connect of this bus, and see to it that nobody else runs under this name."""
        if self._bus is None:
            self._bus, self._usual_backoff = bus, bus.backoff
            self.name_lock = NameLock(self.service, self.instance, bus, self._clock)
            bus.on_refusal(self._refused)
            bus.before_connect(self.name_lock.until_free)
            bus.on_connect(self._connected)
            # Both with QoS 0: they are about now, and the broker need not keep them for a session that is away.
            bus.watch(self.topic, self._own_status, qos=0)
            bus.watch(topics.who(self.service), self._asked, qos=0)

    def _refused(self, name: str, reason: str) -> None:
        """The broker refuses a subscription or a message, or (reason "") does so no more."""
        self.report_fault(name, reason, ready=name.startswith("too large"))

    async def _connected(self) -> None:
        if self._bus and self._usual_backoff and self.name_lock and not self.name_lock.doubtful:
            self._bus.backoff = self._usual_backoff
        await self.tell()

    async def tell(self) -> None:
        """Publish the state now. Raises BrokerAway."""
        if self._bus is None:
            return
        self._changed.clear()
        try:
            await self._bus.publish(self._message(self.state, self.detail, self._last_sequence()))
        except PublishError as error:
            log.error("the status cannot be told: %s", error)

    async def run(self) -> None:
        """Publish every change of the state."""
        while True:
            await self._changed.wait()
            try:
                await self.tell()
            except BrokerAway:
                await self._bus_is_back()  # told at the connect in any case

    async def _bus_is_back(self) -> None:
        if self._bus is not None:
            await self._bus.wait_connected()

    async def publish_offline(self) -> None:
        """Say goodbye: the Last Will is only for those who could not."""
        self._gone = True
        if self._bus is None or not self._bus.connected:
            return
        try:
            async with asyncio.timeout(PUBLISH_OFFLINE_S):
                await self._bus.publish(self._message("offline", "stopped", self._last_sequence()))
        except (BrokerAway, PublishError, TimeoutError):
            log.warning("could not say goodbye to the broker")

    # -- others under our name --------------------------------------------------------------------------------------

    def _own_status(self, delivery: IncomingMessage) -> None:
        """What stands below our name should be our own words."""
        first = self._bus is not None and self._bus.counters.connects == 1
        if self._gone or (delivery.retain and first):  # what is retained when we come first is from before us
            return
        if not delivery.payload:
            self._changed.set()  # somebody cleared it, but we are here
            return
        try:
            other = parse(StatusMessage, delivery.payload)
        except BadMessage as error:
            metrics.BAD_MESSAGES.labels(self.service, "status").inc()
            log.warning("a message on %s makes no sense and is replaced: %s", delivery.topic, error)
            self._changed.set()
            return
        if other.instance == self.instance:
            return
        if not delivery.retain:
            self._changed.set()
        self.notice(other)

    def notice(self, other: StatusMessage) -> None:
        """A status of somebody else below our name, who did not ask: two such push each other out for ever."""
        if other.instance == self.instance or other.state == "offline" or other.timestamp < self._started_ms:
            return
        if not self._twin_told:
            self._twin_told = True
            log.error(
                "another service is running under the name %s (%s): give one of them another name",
                self.service,
                whereabouts(other),
            )
        if self._bus is not None:
            self._bus.backoff = Backoff(first_s=TWIN_PAUSE_S, longest_s=TWIN_PAUSE_S)

    def _asked(self, delivery: IncomingMessage) -> None:
        """Another process would like to have our name: the answer is our status."""
        try:
            asker = parse(WhoMessage, delivery.payload)
        except BadMessage:
            return
        if asker.instance == self.instance or self._gone:
            return
        self._changed.set()
        if not self._asker_told:
            self._asker_told = True
            log.warning(
                "another process (%s) wants to run under the name %s, too: it waits, give one of them another name",
                whereabouts(asker),
                self.service,
            )
