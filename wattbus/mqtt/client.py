"""One MQTT 5 session: connect, Last Will, subscribe again, publish, consume, acknowledge.

This is the only file that knows the MQTT library. aiomqtt gives connecting, TLS, Last Will and the glue to the event
loop; receiving and publishing go to the paho client beneath it, because only there acknowledgements can wait for the
commit, reason codes of PUBACKs are seen, and a slow consumer can stop reading the socket.
`tests/wattbus/mqtt/test_client.py` holds what is used of paho to its word.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import ssl
import threading
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import aiomqtt
from aiomqtt.exceptions import MqttConnectError
from paho.mqtt.client import Client as PahoClient
from paho.mqtt.client import ConnectFlags, DisconnectFlags, MQTTMessage, error_string
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from wattbus.cancellation import raise_if_cancelled
from wattbus.errors import BrokerAway, BrokerRefuses, ConfigError, PublishError
from wattbus.mqtt.topics import match
from wattbus.retry import Backoff
from wattbus.settings import BrokerSettings

log = logging.getLogger(__name__)

KEEPALIVE_S = 30
GOODBYE_S = 2
LONGEST_PAYLOAD = 4 * 2**20  # bytes; larger messages are counted and dropped unread
MOST_IN_FLIGHT = 100  # QoS 1 messages that wait for their PUBACK; the broker may allow fewer
MOST_UNSENT_PACKETS = 2000  # packets in paho's own queue above which the socket counts as congested
TOO_LARGE, NO_SUBSCRIBERS = 149, 16  # MQTT 5, table 2-6


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message to publish. `expiry_s` is the MQTT 5 message expiry."""

    topic: str
    payload: bytes
    qos: int = 1
    retain: bool = False
    expiry_s: int | None = None
    correlation: bytes | None = None
    response_topic: str | None = None


@dataclass(frozen=True, slots=True)
class Published:
    """The broker has the message; `reached_nobody` if it said that no subscription matched."""

    reached_nobody: bool = False


@dataclass(slots=True)
class IncomingMessage:
    """A message that arrived. QoS 1 deliveries must be acknowledged, after they were processed."""

    topic: str
    payload: bytes
    qos: int
    retain: bool
    duplicate: bool
    expiry_s: int | None
    correlation: bytes | None
    response_topic: str | None
    _bus: MqttClient = field(repr=False)
    _connection: int = field(repr=False)
    _mid: int = field(repr=False)
    _acknowledged: bool = field(default=False, repr=False)

    def acknowledge(self) -> None:
        """Tell the broker that this message is done with; harmless when its connection is gone."""
        self._acknowledged = True
        self._bus._acknowledge_in_order(self._connection)


Watcher = Callable[[IncomingMessage], None]


@dataclass(frozen=True, slots=True)
class _Watching:
    """Who is told at once of what comes on some topics."""

    topic_filter: str
    callback: Watcher
    context: contextvars.Context


@dataclass(slots=True)
class ClientCounters:
    """What went over the bus, for metrics."""

    received: int = 0
    received_too_large: int = 0
    published: int = 0
    publish_refused: int = 0
    connects: int = 0


class MqttClient:
    """One client of the broker, for ever: `run()` connects, and connects again, until it is cancelled.

    `deliveries()` is the stream of what arrived, bounded: above `high_water` unprocessed messages the socket is not
    read, below half of it reading resumes. A pause longer than the keep-alive ends the connection on purpose; the
    broker keeps the session and delivers the rest later.

    `session_expiry_s` 0 means a clean session at every connect; else the broker keeps subscriptions and QoS 1
    messages that long while this client is away.
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
        self._settings = settings
        self._will = will
        self._session_expiry_s = session_expiry_s
        self._tls = _tls_context(settings)
        self._subscriptions: dict[str, int] = {}
        self._refused: set[str] = set()
        self._watched: dict[str, int] = {}
        self._watchers: dict[str, list[_Watching]] = {}  # by the last level of their filter
        self._client: aiomqtt.Client | None = None
        self._connection = 0
        self._connected = asyncio.Event()
        self._on_disconnect: list[Callable[[], None]] = []
        self._on_connect: list[Callable[[], Awaitable[None]]] = []
        self._before_connect: list[Callable[[], Awaitable[None]]] = []
        # receiving
        self._high_water = high_water
        self._queue: deque[IncomingMessage] = deque()
        self._untaken_since: float | None = None  # by the loop's clock
        self._arrived = asyncio.Event()
        self._drained = asyncio.Event()
        self._drained.set()
        self._unacknowledged: deque[IncomingMessage] = deque()
        self._resumed = asyncio.Event()
        self._resumed.set()
        self._paused = asyncio.Event()
        # publishing
        self._window = MOST_IN_FLIGHT
        self._largest_packet: int | None = None
        self._in_flight: dict[int, tuple[str, asyncio.Future[Published]]] = {}
        self._room = asyncio.Event()

    # -- connection -------------------------------------------------------------------------------------------------

    @property
    def connected(self) -> bool:
        return self._connected.is_set()

    async def wait_connected(self) -> None:
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

    async def run(self) -> None:
        """Keep a connection to the broker for ever. Broker trouble never ends this."""
        was_up = True
        while True:
            await self._resumed.wait()
            try:
                for callback in self._before_connect:
                    await callback()
                async with self._connection_to_broker() as disconnected:
                    self.backoff.reset()
                    if not was_up:
                        log.info("connected to the broker again")
                    was_up = True
                    await self._session(disconnected)
            except (aiomqtt.MqttError, OSError, ValueError, TimeoutError, BrokerAway) as error:
                # paho raises ValueError when the broker closes while a packet is being made.
                raise_if_cancelled()
                if was_up:
                    log.warning("no connection to the broker at %s: %s", self._address, _reason(error))
                was_up = False
            if self._resumed.is_set():
                await asyncio.sleep(self.backoff.next_s())

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
        """A connection; the future is resolved with the reason when it is lost."""
        disconnected: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        client = self._new_client(disconnected)
        entering = asyncio.ensure_future(client.__aenter__())
        try:
            # Connecting happens in a thread of the library: a cancelled caller must still wait for it to end.
            either: set[asyncio.Future[Any]] = {entering, disconnected}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if not entering.done():  # aiomqtt would wait for the broker's answer although the connection is gone
                entering.cancel()
                raise BrokerAway(disconnected.result())
            await entering
            self._client = client
            self._connection += 1
            self.counters.connects += 1
            yield disconnected
        finally:
            self._forget_connection()
            # Entered by hand: an error while saying goodbye must not take the place of a cancellation.
            with contextlib.suppress(aiomqtt.MqttError, OSError, ValueError, TimeoutError):
                async with asyncio.timeout(GOODBYE_S):
                    await asyncio.wait({entering})
                    if not entering.cancelled():
                        await entering
                        await client.__aexit__(None, None, None)
            # aiomqtt leaves the socket open when the broker accepted the connection but never answered.
            client._client._sock_close()

    def _new_client(self, disconnected: asyncio.Future[str]) -> aiomqtt.Client:
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = self._session_expiry_s
        properties.ReceiveMaximum = min(self._high_water, 65535)
        properties.MaximumPacketSize = LONGEST_PAYLOAD + 65536 + 1024
        password = self._settings.mqtt_password
        will = self._will
        client = aiomqtt.Client(
            self._settings.mqtt_broker_host,
            self._settings.mqtt_broker_port,
            identifier=self.client_id,
            protocol=aiomqtt.ProtocolVersion.V5,
            username=self._settings.mqtt_username,
            password=password.get_secret_value() if password else None,
            tls_context=self._tls,
            clean_start=self._session_expiry_s == 0,
            properties=properties,
            keepalive=KEEPALIVE_S,
            max_inflight_messages=65535,  # the window is ours
            will=aiomqtt.Will(will.topic, will.payload, will.qos, will.retain) if will else None,
            timeout=15,
            logger=logging.getLogger("wattbus.mqtt.client.paho"),
        )
        paho: PahoClient = client._client
        paho.manual_ack_set(True)
        connected_hook, disconnected_hook = client._on_connect, client._on_disconnect

        def on_connect(
            c: PahoClient, userdata: Any, flags: ConnectFlags, code: ReasonCode, given: Properties | None
        ) -> None:
            self.session_present = flags.session_present
            self._take_limits(given)
            connected_hook(c, userdata, flags, code, given)

        def on_disconnect(
            c: PahoClient, userdata: Any, flags: DisconnectFlags, code: ReasonCode, given: Properties | None
        ) -> None:
            disconnected_hook(c, userdata, flags, code, given)
            if not disconnected.done():
                told = flags.is_disconnect_packet_from_server
                disconnected.set_result(f"the broker says: {code}" if told else "the connection was lost")

        loop, loops_thread = asyncio.get_running_loop(), threading.get_ident()

        def on_wants_to_write(c: PahoClient, userdata: Any, sock: Any) -> None:
            # aiomqtt always goes through the loop's wake-up pipe, and complains when the socket is gone by then.
            if threading.get_ident() == loops_thread:
                self._write_when_possible(client, sock)
            else:
                loop.call_soon_threadsafe(self._write_when_possible, client, sock)

        paho.on_socket_register_write = on_wants_to_write
        paho.on_connect = on_connect
        paho.on_disconnect = on_disconnect
        paho.on_message = self._received
        paho.on_publish = self._confirmed
        return client

    @staticmethod
    def _write_when_possible(client: aiomqtt.Client, sock: Any) -> None:
        def write() -> None:
            try:
                client._client.loop_write()
            except (OSError, ValueError) as error:
                if not client._disconnected.done():
                    client._disconnected.set_exception(aiomqtt.MqttError(str(error)))

        if sock.fileno() >= 0:
            asyncio.get_running_loop().add_writer(sock.fileno(), write)

    def _take_limits(self, given: Properties | None) -> None:
        allowed = getattr(given, "ReceiveMaximum", None) or 65535
        self._window = min(MOST_IN_FLIGHT, allowed)
        self._largest_packet = getattr(given, "MaximumPacketSize", None)

    async def _session(self, disconnected: asyncio.Future[str]) -> None:
        """Subscribe, tell everybody, then wait until the connection ends or must end."""
        done: set[str] = set()
        self._refused.clear()
        while missing := {topic: qos for topic, qos in self._all_filters().items() if topic not in done}:
            await self._subscribe_all(missing)
            done |= missing.keys()  # somebody may have subscribed to more meanwhile
        self._connected.set()
        self._room.set()
        async with asyncio.TaskGroup() as tasks:
            started = tasks.create_task(self._call_on_connect(), name=f"{self.client_id} on connect")
            paused = tasks.create_task(self._paused_too_long(), name=f"{self.client_id} pause")
            # aiomqtt notes some failures (a broken pipe while writing) in a future of its own only.
            ends: set[asyncio.Future[Any]] = {
                disconnected,
                paused,
                asyncio.ensure_future(_outcome(self._live_client()._disconnected)),
            }
            try:
                await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for end in (started, *ends):
                    end.cancel()
        if disconnected.done() and not disconnected.cancelled():
            raise BrokerAway(disconnected.result())

    async def _call_on_connect(self) -> None:
        for callback in self._on_connect:
            with contextlib.suppress(BrokerAway, PublishError):
                await callback()

    async def _paused_too_long(self) -> None:
        """Return when reading has been paused for a keep-alive: the ping's answer cannot be seen either."""
        while True:
            await self._paused.wait()
            try:
                async with asyncio.timeout(KEEPALIVE_S):
                    await self._resumed.wait()
            except TimeoutError:
                return

    def _forget_connection(self) -> None:
        if self._connected.is_set():
            self._connected.clear()
            for callback in self._on_disconnect:
                callback()
        self._client = None
        self._unacknowledged.clear()
        in_flight, self._in_flight = self._in_flight, {}
        for topic, future in in_flight.values():
            if not future.done():
                future.set_exception(BrokerAway(f"{topic}: the connection broke before the broker acknowledged"))
        self._room.set()

    def _live_client(self) -> aiomqtt.Client:
        if self._client is None:
            raise BrokerAway("not connected to the broker")
        return self._client

    # -- subscribing ------------------------------------------------------------------------------------------------

    async def subscribe(self, filters: Iterable[str], qos: int = 1) -> None:
        """Subscribe now, if connected, and at every later connect. QoS 2 is not used: it acknowledges too early."""
        new = {topic: qos for topic in filters if topic not in self._subscriptions}
        self._subscriptions.update(new)
        if new and self.connected:
            needed = self._all_filters()
            await self._subscribe_all({topic: qos for topic, qos in new.items() if topic in needed})

    def watch(self, topic_filter: str, callback: Watcher, qos: int = 1) -> None:
        """Call `callback` at once for every message on these topics. Register before `run()`.

        They are no part of `deliveries()`, unless somebody subscribed to them, too. A callback that watches by several
        filters is called once for each message.
        """
        # The socket is read in nobody's name: logs of the callback belong to whoever watches.
        watching = _Watching(topic_filter, callback, contextvars.copy_context())
        self._watchers.setdefault(topic_filter.rpartition("/")[2], []).append(watching)
        self._watched[topic_filter] = max(qos, self._watched.get(topic_filter, 0))

    async def unsubscribe(self, filters: Iterable[str]) -> None:
        await self.leave([topic for topic in filters if self._subscriptions.pop(topic, None) is not None])

    async def leave(self, filters: Iterable[str]) -> None:
        """End subscriptions, also those that an earlier process has left in the session. Raises BrokerAway."""
        wanted = self._all_filters()
        gone = [topic for topic in filters if topic not in wanted]
        for start in range(0, len(gone) if self.connected else 0, 100):
            try:
                await self._live_client().unsubscribe(gone[start : start + 100])
                raise_if_cancelled()
            except aiomqtt.MqttError as error:
                raise BrokerAway(str(error)) from None

    def _all_filters(self) -> dict[str, int]:
        """What to subscribe to: of overlapping filters the wider one, else Mosquitto delivers everything twice.

        Where the broker refuses the wider one, perhaps it allows the narrower one.
        """
        filters = dict(self._watched)
        for topic, qos in self._subscriptions.items():
            filters[topic] = max(qos, filters.get(topic, 0))
        wildcards = (topic for topic in filters if "+" in topic or "#" in topic)
        wide = [(topic, filters[topic]) for topic in wildcards if topic not in self._refused]
        return {
            topic: qos
            for topic, qos in filters.items()
            if not any(other != topic and at >= qos and match(other, topic) for other, at in wide)
        }

    async def _subscribe_all(self, subscriptions: dict[str, int]) -> None:
        wanted = list(subscriptions.items())
        for start in range(0, len(wanted), 100):
            part = wanted[start : start + 100]
            options = [(topic, SubscribeOptions(qos=qos)) for topic, qos in part]
            try:
                codes = await self._live_client().subscribe(options)
                raise_if_cancelled()
            except aiomqtt.MqttError as error:
                raise BrokerAway(f"subscribing: {error}") from None
            for (topic, _), code in zip(part, codes, strict=True):
                if isinstance(code, ReasonCode) and code.is_failure:
                    log.error("the broker refuses the subscription to %s: %s", topic, code)
                    self._refused.add(topic)

    # -- receiving --------------------------------------------------------------------------------------------------

    def _received(self, client: PahoClient, userdata: Any, message: MQTTMessage) -> None:
        self.counters.received += 1
        given = message.properties
        try:
            topic = message.topic
        except UnicodeDecodeError:
            topic = ""
        delivery = IncomingMessage(
            topic=topic,
            payload=bytes(message.payload),
            qos=message.qos,
            retain=message.retain,
            duplicate=message.dup,
            expiry_s=getattr(given, "MessageExpiryInterval", None),
            correlation=getattr(given, "CorrelationData", None),
            response_topic=getattr(given, "ResponseTopic", None),
            _bus=self,
            _connection=self._connection,
            _mid=message.mid,
        )
        if delivery.qos:
            self._unacknowledged.append(delivery)
        if not topic or len(delivery.payload) > LONGEST_PAYLOAD:
            self.counters.received_too_large += 1
            delivery.acknowledge()
            return
        watchers = self._watchers.get(topic.rpartition("/")[2])
        if watchers and not self._tell_watchers(watchers, delivery):
            delivery.acknowledge()
            return
        self._queue.append(delivery)
        if self._untaken_since is None:
            self._untaken_since = asyncio.get_running_loop().time()
        self._arrived.set()
        self._drained.clear()
        if len(self._queue) >= self._high_water and self._resumed.is_set():
            self._pause_reading()

    def _tell_watchers(self, watchers: list[_Watching], delivery: IncomingMessage) -> bool:
        """Tell those who watch its topic; whether it belongs into the stream, too."""
        topic = delivery.topic
        watching = {found.callback: found for found in watchers if match(found.topic_filter, topic)}
        for found in watching.values():
            try:
                found.context.run(found.callback, delivery)
            except Exception:
                log.exception("a watcher of %s failed; this is a bug", found.topic_filter)
        if not watching or topic in self._subscriptions:
            return True
        return any(match(wide, topic) for wide in self._subscriptions if "+" in wide or "#" in wide)

    @property
    def untaken_s(self) -> float:
        """For how long (s) something has been waiting while nobody took anything."""
        since = self._untaken_since
        return 0.0 if since is None else asyncio.get_running_loop().time() - since

    def _pause_reading(self) -> None:
        """Receive maximum is no backpressure on Mosquitto 2.0.11 beyond its first window; an unread socket is."""
        sock = self._client._client.socket() if self._client else None
        if sock is None:
            return
        self._resumed.clear()
        self._paused.set()
        asyncio.get_running_loop().remove_reader(sock.fileno())

    def _resume_reading(self) -> None:
        self._resumed.set()
        self._paused.clear()
        client = self._client
        sock = client._client.socket() if client else None
        if client is None or sock is None:
            return
        connection = self._connection
        asyncio.get_running_loop().add_reader(sock.fileno(), self._read, connection)
        asyncio.get_running_loop().call_soon(self._read, connection)

    def _read(self, connection: int) -> None:
        """What aiomqtt's own reader does, for a connection whose reader we took away."""
        client = self._client
        if client is None or connection != self._connection or not self._resumed.is_set():
            return
        paho = client._client
        try:
            paho.loop_read()
            sock = paho.socket()
            while self._resumed.is_set() and isinstance(sock, ssl.SSLSocket) and sock.pending():
                paho.loop_read()
        except (OSError, ValueError) as error:
            if not client._disconnected.done():
                client._disconnected.set_exception(aiomqtt.MqttError(str(error)))

    async def deliveries(self) -> AsyncIterator[IncomingMessage]:
        """Everything that arrives, in order, over all connections. One consumer at a time."""
        while True:
            for delivery in await self.next_deliveries(1):
                yield delivery

    async def next_deliveries(self, at_most: int) -> list[IncomingMessage]:
        """Wait for at least one delivery and return what is there, up to `at_most`."""
        while not self._queue:
            self._arrived.clear()
            await self._arrived.wait()
        taken = [self._queue.popleft() for _ in range(min(at_most, len(self._queue)))]
        self._untaken_since = asyncio.get_running_loop().time() if self._queue else None
        if not self._queue:
            self._drained.set()
        if not self._resumed.is_set() and len(self._queue) <= self._high_water // 2:
            self._resume_reading()
        return taken

    async def drained(self) -> None:
        """Wait until everything that has arrived was taken."""
        await self._drained.wait()

    def _acknowledge_in_order(self, connection: int) -> None:
        """MQTT 5, 4.6: PUBACKs go out in the order in which the PUBLISHes came in."""
        if connection != self._connection or self._client is None:
            return
        paho = self._client._client
        while self._unacknowledged and self._unacknowledged[0]._acknowledged:
            done = self._unacknowledged.popleft()
            paho.ack(done._mid, done.qos)

    # -- publishing -------------------------------------------------------------------------------------------------

    async def publish(self, message: Outgoing) -> Published:
        """Publish and wait until the broker has it (QoS 1).

        Raises PublishError when the broker refuses it, BrokerAway when there is no connection or it broke before the
        broker acknowledged.
        """
        return await (await self.publish_soon(message))

    async def publish_soon(self, message: Outgoing) -> asyncio.Future[Published]:
        """Wait for room in the window, send, and return the future of the broker's acknowledgement."""
        while len(self._in_flight) >= self._window and self.connected:
            self._room.clear()
            await self._room.wait()
        return self._send(message)

    def publish_now(self, message: Outgoing) -> bool:
        """Publish with QoS 0 if there is a connection that keeps up; false if not, and nothing was sent."""
        if not self.connected or self.congested:
            return False
        try:
            self._send(message)
        except (BrokerAway, PublishError):
            return False
        return True

    @property
    def congested(self) -> bool:
        """Whether packets pile up because the socket does not take them."""
        return self._client is not None and len(self._client._client._out_packet) > MOST_UNSENT_PACKETS

    def _send(self, message: Outgoing) -> asyncio.Future[Published]:
        paho = self._live_client()._client
        size = len(message.payload) + len(message.topic) * 2 + 64
        if self._largest_packet is not None and size > self._largest_packet:
            raise PublishError(message.topic, "larger than the broker takes", TOO_LARGE)
        future: asyncio.Future[Published] = asyncio.get_running_loop().create_future()
        future.add_done_callback(_seen)
        try:
            sent = paho.publish(message.topic, message.payload, message.qos, message.retain, _properties(message))
        except ValueError as error:
            raise PublishError(message.topic, str(error), TOO_LARGE) from None
        if sent.rc != 0:
            raise BrokerAway(f"{message.topic}: {error_string(sent.rc)}")
        if message.qos == 0:
            self.counters.published += 1
            future.set_result(Published())
        else:
            self._in_flight[sent.mid] = (message.topic, future)
        return future

    def _confirmed(
        self, client: PahoClient, userdata: Any, mid: int, code: ReasonCode, given: Properties | None
    ) -> None:
        waiting = self._in_flight.pop(mid, None)
        self._room.set()
        if waiting is None:
            return
        topic, future = waiting
        if future.done():
            return
        if code.is_failure:
            self.counters.publish_refused += 1
            future.set_exception(PublishError(topic, f"the broker refuses it: {code}", code.value))
            return
        self.counters.published += 1
        future.set_result(Published(reached_nobody=code.value == NO_SUBSCRIBERS))


def _properties(message: Outgoing) -> Properties | None:
    if message.expiry_s is None and message.correlation is None and message.response_topic is None:
        return None
    properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
    if message.expiry_s is not None:
        properties.MessageExpiryInterval = message.expiry_s
    if message.correlation is not None:
        properties.CorrelationData = message.correlation
    if message.response_topic is not None:
        properties.ResponseTopic = message.response_topic
    return properties


def _seen(future: asyncio.Future[Published]) -> None:
    """Failures are told to whoever asks; asyncio need not complain when nobody does."""
    if not future.cancelled():
        future.exception()


async def _outcome(future: asyncio.Future[None]) -> None:
    """Wait for somebody else's future without cancelling it and without raising its error."""
    await asyncio.wait([future])
    if not future.cancelled():
        future.exception()


def _tls_context(settings: BrokerSettings) -> ssl.SSLContext | None:
    if not settings.mqtt_tls and not settings.mqtt_ca_file:
        return None
    try:
        return ssl.create_default_context(cafile=settings.mqtt_ca_file)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"MQTT_CA_FILE: cannot read {settings.mqtt_ca_file}: {error}") from None


def _reason(error: BaseException) -> str:
    return str(error) or type(error).__name__
