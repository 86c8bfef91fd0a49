"""One client of the broker, for ever: connect, Last Will, subscribe again, publish, consume, acknowledge.

`wattbus/mqtt/` is the only room that knows the MQTT library.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Any

import aiomqtt
from aiomqtt.exceptions import MqttConnectError
from paho.mqtt.client import MQTTMessage

from wattbus.cancellation import raise_if_cancelled
from wattbus.errors import BrokerAway, BrokerRefuses, ConfigError, PublishError
from wattbus.mqtt.connection import KEEPALIVE_S, ConnectionListener, Handshake, connection, outcome, tls_context
from wattbus.mqtt.packets import ClientCounters, IncomingMessage, Outgoing, Published, Watcher
from wattbus.mqtt.publishing import Publisher
from wattbus.mqtt.receiving import Receiver
from wattbus.mqtt.refusals import Refusals, Report
from wattbus.mqtt.subscribing import Subscriptions
from wattbus.retry import Backoff
from wattbus.settings import BrokerSettings

log = logging.getLogger(__name__)

SHORT_LIVED_S = 10.0  # a connection that ends sooner was not worth it: the next one comes later
SHORT_LIVED_IN_A_ROW = 4  # so often it is somebody's doing
MOST_REASONS = 5  # log lines about one outage
SECOND_CLIENT = "second client"


class MqttClient:
    """`run()` connects, and connects again, until it is cancelled.

    `deliveries()` is the stream of what arrived, bounded: above `high_water` unprocessed messages the socket is not
    read, below half of it reading resumes. A pause longer than the keep-alive ends the connection on purpose; the
    broker keeps the session and delivers the rest later.

    `session_expiry_s` 0 means a clean session at every connect; else the broker keeps subscriptions and QoS 1
    messages that long while this client is away. Raises ConfigError when MQTT_CA_FILE cannot be read.
    """

    def __init__(
        self,
        settings: BrokerSettings,
        client_id: str,
        *,
        will: Outgoing | None = None,
        session_expiry_s: int = 0,
        high_water: int = 1000,
        backoff: Backoff | None = None,
    ) -> None:
        self.client_id = client_id
        self.counters = ClientCounters()
        self.session_present = False
        self.backoff = backoff or Backoff()
        self.fault = "not connected to the broker yet"  # why there is no connection now, "" when there is one
        self._settings = settings
        self._will = will
        self._session_expiry_s = session_expiry_s
        self._high_water = high_water
        self._refusals = Refusals()
        self._subscriptions = Subscriptions(self._refusals)
        self._receiver = Receiver(high_water, self.counters, self._subscriptions.is_streamed)
        self._publisher = Publisher(self.counters, self._refusals)
        self._client: aiomqtt.Client | None = None
        self._connections = self._sessions = 0
        self._connected = asyncio.Event()
        self._short_lived = 0
        self._said: list[str] = []  # reasons of the present outage that were logged
        self._on_disconnect: list[Callable[[], None]] = []
        self._on_connect: list[Callable[[], Awaitable[None]]] = []
        self._before_connect: list[Callable[[], Awaitable[None]]] = []
        try:
            tls_context(settings)
        except BrokerAway as error:
            raise ConfigError(str(error)) from None

    # -- connection -------------------------------------------------------------------------------------------------

    @property
    def connected(self) -> bool:
        """Whether there is a connection and the subscriptions stand."""
        return self._connected.is_set()

    async def wait_connected(self) -> None:
        """Wait until there is a connection and the subscriptions stand."""
        await self._connected.wait()

    def on_connect(self, callback: Callable[[], Awaitable[None]]) -> None:
        """Call `callback` after every connect, when the subscriptions stand. Register before `run()`."""
        self._on_connect.append(callback)

    def before_connect(self, callback: Callable[[], Awaitable[None]]) -> None:
        """Wait for `callback` before every attempt to connect (BrokerAway: it failed). Register before `run()`."""
        self._before_connect.append(callback)

    def on_disconnect(self, callback: Callable[[], None]) -> None:
        """Call `callback` whenever a connection has ended. Register before `run()`."""
        self._on_disconnect.append(callback)

    def on_refusal(self, report: Report) -> None:
        """Call `report(name, reason)` when the broker refuses something, and with "" when that is over."""
        self._refusals.report = report

    async def run(self) -> None:
        """Keep a connection to the broker for ever. Broker trouble never ends this."""
        while True:
            await self._receiver.resumed.wait()
            try:
                for callback in self._before_connect:
                    await callback()
                async with self._connection_to_broker() as disconnected:
                    await self._session(disconnected)
            except (aiomqtt.MqttError, OSError, ValueError, TimeoutError, BrokerAway) as error:
                # paho raises ValueError when the broker closes while a packet is being made.
                raise_if_cancelled()
                self._is_away(_reason(error))
            if self._receiver.resumed.is_set():
                await asyncio.sleep(self.backoff.next_s())

    def _is_away(self, reason: str) -> None:
        """One line for an outage, and one more for each reason that is new in it."""
        self.fault = reason
        if reason not in self._said and len(self._said) < MOST_REASONS:
            self._said.append(reason)
            log.warning("no connection to the broker at %s: %s", self._address, reason)

    def _is_back(self) -> None:
        self.fault = ""
        if self._said:
            self._said.clear()
            log.info("connected to the broker again")

    def probe_client(self, client_id: str) -> MqttClient:
        """Another client of the same broker, for a `visit()`."""
        return MqttClient(self._settings, client_id)

    @contextlib.asynccontextmanager
    async def visit(self) -> AsyncIterator[None]:
        """Instead of `run()`: one connection, for as long as the context lasts.

        Raises BrokerAway when there is none, BrokerRefuses when the broker does not let this client in.
        """
        try:
            async with self._connection_to_broker() as disconnected:
                session = asyncio.ensure_future(self._session(disconnected))
                connected = asyncio.ensure_future(self._connected.wait())
                try:
                    await asyncio.wait({session, connected}, return_when=asyncio.FIRST_COMPLETED)
                    if session.done():
                        await session
                    yield
                finally:
                    session.cancel()
                    connected.cancel()
                    await asyncio.wait({session, connected})
        except MqttConnectError as error:
            raise BrokerRefuses(str(error)) from None
        except (aiomqtt.MqttError, OSError, ValueError, TimeoutError) as error:
            raise BrokerAway(_reason(error)) from None

    @property
    def _address(self) -> str:
        return f"{self._settings.mqtt_broker_host}:{self._settings.mqtt_broker_port}"

    @contextlib.asynccontextmanager
    async def _connection_to_broker(self) -> AsyncIterator[asyncio.Future[str]]:
        listener = ConnectionListener(self._accepted, self._received, self._publisher.confirmed)
        try:
            async with connection(
                self._settings,
                self.client_id,
                will=self._will,
                session_expiry_s=self._session_expiry_s,
                receive_maximum=self._high_water,
                listener=listener,
            ) as (_, disconnected):
                try:
                    yield disconnected
                finally:
                    self._forget_connection()
        finally:
            self._forget_connection()  # accepted, and gone before anybody could use it

    def _accepted(self, client: aiomqtt.Client, handshake: Handshake) -> None:
        """The broker lets us in. It may send what waited in the session at once, before we have subscribed."""
        self._client = client
        self._connections += 1
        self.counters.connects += 1
        self.session_present = handshake.session_present
        if not handshake.session_present:
            self._sessions += 1
        self._receiver.attach(client, self._connections)
        self._publisher.attach(client._client, handshake.limits)

    def _received(self, message: MQTTMessage) -> None:
        self._receiver.received(message, self._sessions)

    async def _session(self, disconnected: asyncio.Future[str]) -> None:
        """Subscribe, tell everybody, then wait until the connection ends or must end."""
        client, begun = self._live_client(), asyncio.get_running_loop().time()
        await self._subscriptions.restore(client)
        self._connected.set()
        self._publisher.open()
        self._is_back()
        try:
            await self._until_it_ends(client, disconnected)
        finally:
            self._judge(asyncio.get_running_loop().time() - begun)
        if disconnected.done() and not disconnected.cancelled():
            raise BrokerAway(disconnected.result())

    async def _until_it_ends(self, client: aiomqtt.Client, disconnected: asyncio.Future[str]) -> None:
        async with asyncio.TaskGroup() as tasks:
            started = tasks.create_task(self._call_on_connect(), name=f"{self.client_id} on connect")
            paused = tasks.create_task(self._receiver.paused_too_long(KEEPALIVE_S), name=f"{self.client_id} pause")
            settled = tasks.create_task(self._settle(), name=f"{self.client_id} settle")
            # aiomqtt notes some failures (a broken pipe while writing) in a future of its own only.
            ends: set[asyncio.Future[Any]] = {
                disconnected,
                paused,
                asyncio.ensure_future(outcome(client._disconnected)),
            }
            try:
                await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for end in (started, settled, *ends):
                    end.cancel()

    async def _settle(self) -> None:
        """A connection that stands is worth a quick second attempt when it ends."""
        await asyncio.sleep(SHORT_LIVED_S)
        self._short_lived = 0
        self.backoff.reset()
        self._refusals.accepted(SECOND_CLIENT, at_once=True)

    def _judge(self, lasted_s: float) -> None:
        """Connections that end within seconds, again and again, are pushed out by a client of the same id."""
        if lasted_s >= SHORT_LIVED_S:
            return
        self._short_lived += 1
        if self._short_lived == 1:
            self.backoff.reset()  # a broker that was just restarted is there again soon
        if self._short_lived >= SHORT_LIVED_IN_A_ROW:
            self._refusals.refused(
                SECOND_CLIENT,
                f"the broker ended {self._short_lived} connections in a row within seconds: "
                f"another program seems to use the client id {self.client_id}",
            )

    async def _call_on_connect(self) -> None:
        for callback in self._on_connect:
            with contextlib.suppress(BrokerAway, PublishError):
                await callback()

    def _forget_connection(self) -> None:
        if self._connected.is_set():
            self._connected.clear()
            for callback in self._on_disconnect:
                callback()
        self._client = None
        self._receiver.detach()
        self._publisher.detach()

    def _live_client(self) -> aiomqtt.Client:
        if self._client is None:
            raise BrokerAway("not connected to the broker")
        return self._client

    # -- subscribing ------------------------------------------------------------------------------------------------

    async def subscribe(self, filters: Iterable[str], qos: int = 1) -> None:
        """Subscribe now, if connected, and at every later connect. QoS 2 is not used: it acknowledges too early."""
        new = {topic: qos for topic in filters if topic not in self._subscriptions.streamed}
        self._subscriptions.streamed.update(new)
        if new and self.connected:
            needed = self._subscriptions.all_filters()
            added = {topic: qos for topic, qos in new.items() if topic in needed}
            await self._subscriptions.subscribe(self._live_client(), added)

    def watch(self, topic_filter: str, callback: Watcher, qos: int = 1) -> None:
        """Call `callback` at once for every message on these topics. Register before `run()`.

        They are no part of `deliveries()`, unless somebody subscribed to them, too. A callback that watches by several
        filters is called once for each message.
        """
        self._receiver.watch(topic_filter, callback)
        self._subscriptions.watched[topic_filter] = max(qos, self._subscriptions.watched.get(topic_filter, 0))

    @property
    def subscribed(self) -> frozenset[str]:
        """The filters of the stream."""
        return frozenset(self._subscriptions.streamed)

    async def unsubscribe(self, filters: Iterable[str]) -> None:
        """End subscriptions of the stream, now and at every later connect. Raises BrokerAway."""
        await self.leave([topic for topic in filters if self._subscriptions.streamed.pop(topic, None) is not None])

    async def leave(self, filters: Iterable[str]) -> None:
        """End subscriptions, also those that an earlier process has left in the session. Raises BrokerAway."""
        if self.connected:
            await self._subscriptions.leave(self._live_client(), filters)

    # -- receiving --------------------------------------------------------------------------------------------------

    def deliveries(self) -> AsyncIterator[IncomingMessage]:
        """Everything that arrives, in order, over all connections. One consumer at a time."""
        return self._receiver.stream()

    async def next_deliveries(self, at_most: int) -> list[IncomingMessage]:
        """Wait for at least one message and return what is there, up to `at_most`."""
        return await self._receiver.next(at_most)

    async def drained(self) -> None:
        """Wait until everything that has arrived was taken."""
        await self._receiver.drained()

    @property
    def untaken_s(self) -> float:
        """For how long (s) something has been waiting while nobody took anything."""
        return self._receiver.untaken_s

    # -- publishing -------------------------------------------------------------------------------------------------

    async def publish(self, message: Outgoing) -> Published:
        """Publish and wait until the broker has it (QoS 1).

        Raises PublishError when the broker refuses it, BrokerAway when there is no connection or it broke before the
        broker acknowledged.
        """
        return await (await self._publisher.publish_soon(message))

    async def publish_soon(self, message: Outgoing) -> asyncio.Future[Published]:
        """Wait for room in the window, send, and return the future of the broker's acknowledgement."""
        return await self._publisher.publish_soon(message)

    def publish_now(self, message: Outgoing) -> bool:
        """Publish with QoS 0 if there is a connection that keeps up; false if not, and nothing was sent.

        A message that can never be sent (too large) counts as done with, and is reported (`on_refusal`).
        """
        return self._publisher.publish_now(message)

    @property
    def congested(self) -> bool:
        """Whether packets pile up because the socket does not take them."""
        return self._publisher.congested


def _reason(error: BaseException) -> str:
    return str(error) or type(error).__name__
