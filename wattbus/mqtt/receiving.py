"""Receiving: a bounded stream of messages, watchers beside it, acknowledgements in order, and backpressure."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import ssl
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import aiomqtt
from paho.mqtt.client import MQTTMessage

from wattbus.mqtt.packets import LONGEST_PAYLOAD, ClientCounters, IncomingMessage, Watcher
from wattbus.mqtt.topics import match

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Watching:
    """Who hears at once of what comes on some topics."""

    topic_filter: str
    callback: Watcher
    context: contextvars.Context


class Receiver:
    """Takes what comes over the present connection.

    Above `high_water` messages that nobody took the socket is not read, below half of it reading resumes. `streamed`
    says whether a topic that is watched belongs into the stream, too.
    """

    def __init__(self, high_water: int, counters: ClientCounters, streamed: Callable[[str], bool]) -> None:
        self.resumed = asyncio.Event()
        self.resumed.set()
        self.paused = asyncio.Event()
        self._high_water = high_water
        self._counters = counters
        self._streamed = streamed
        self._client: aiomqtt.Client | None = None
        self._connection = 0
        self._queue: deque[IncomingMessage] = deque()
        self._untaken_since: float | None = None  # by the loop's clock
        self._arrived = asyncio.Event()
        self._drained = asyncio.Event()
        self._drained.set()
        self._unacknowledged: deque[IncomingMessage] = deque()
        self._watchers: dict[str, list[_Watching]] = {}  # by the last level of their filter

    # -- the connection ---------------------------------------------------------------------------------------------

    def attach(self, client: aiomqtt.Client, connection: int) -> None:
        """The broker has accepted a connection; what comes from now on is acknowledged on it."""
        self._client, self._connection = client, connection

    def detach(self) -> None:
        """The connection is gone: what was not acknowledged on it comes again on the next one."""
        self._client = None
        self._unacknowledged.clear()

    def watch(self, topic_filter: str, callback: Watcher) -> None:
        # The socket is read in nobody's name: logs of the callback belong to whoever watches.
        """Call `callback` at once for each message whose topic matches."""
        watching = _Watching(topic_filter, callback, contextvars.copy_context())
        self._watchers.setdefault(topic_filter.rpartition("/")[2], []).append(watching)

    # -- what comes -------------------------------------------------------------------------------------------------

    def received(self, message: MQTTMessage, session: int) -> None:
        """Take a message of the present connection, in the broker's `session`."""
        self._counters.received += 1
        given = message.properties
        try:
            topic = message.topic
        except UnicodeDecodeError:
            topic = ""
        incoming = IncomingMessage(
            topic=topic,
            payload=bytes(message.payload),
            qos=message.qos,
            retain=message.retain,
            duplicate=message.dup,
            expiry_s=getattr(given, "MessageExpiryInterval", None),
            correlation=getattr(given, "CorrelationData", None),
            response_topic=getattr(given, "ResponseTopic", None),
            _acknowledging=self,
            connection=self._connection,
            packet_id=message.mid,
            session=session,
        )
        if incoming.qos:
            self._unacknowledged.append(incoming)
        if not topic or len(incoming.payload) > LONGEST_PAYLOAD:
            self._counters.received_too_large += 1
            incoming.acknowledge()
            return
        watchers = self._watchers.get(topic.rpartition("/")[2])
        if watchers and not self._tell_watchers(watchers, incoming):
            incoming.acknowledge()
            return
        self._queue.append(incoming)
        if self._untaken_since is None:
            self._untaken_since = asyncio.get_running_loop().time()
        self._arrived.set()
        self._drained.clear()
        if len(self._queue) >= self._high_water and self.resumed.is_set():
            self._pause_reading()

    def _tell_watchers(self, watchers: list[_Watching], incoming: IncomingMessage) -> bool:
        """Call those who watch its topic; whether it belongs into the stream, too."""
        topic = incoming.topic
        watching = {found.callback: found for found in watchers if match(found.topic_filter, topic)}
        for found in watching.values():
            try:
                found.context.run(found.callback, incoming)
            except Exception:
                log.exception("a watcher of %s failed; this is a bug", found.topic_filter)
        return not watching or self._streamed(topic)

    def acknowledge_in_order(self, connection: int) -> None:
        """MQTT 5, 4.6: PUBACKs go out in the order in which the PUBLISHes came in."""
        if connection != self._connection or self._client is None:
            return
        paho = self._client._client
        while self._unacknowledged and self._unacknowledged[0]._acknowledged:
            done = self._unacknowledged.popleft()
            paho.ack(done.packet_id, done.qos)

    # -- the stream -------------------------------------------------------------------------------------------------

    async def next(self, at_most: int) -> list[IncomingMessage]:
        """Wait for at least one message and return what is there, up to `at_most`."""
        while not self._queue:
            self._arrived.clear()
            await self._arrived.wait()
        taken = [self._queue.popleft() for _ in range(min(at_most, len(self._queue)))]
        self._untaken_since = asyncio.get_running_loop().time() if self._queue else None
        if not self._queue:
            self._drained.set()
        if not self.resumed.is_set() and len(self._queue) <= self._high_water // 2:
            self._resume_reading()
        return taken

    async def stream(self) -> AsyncIterator[IncomingMessage]:
        """Every message, one after the other, over all connections."""
        while True:
            for incoming in await self.next(1):
                yield incoming

    async def drained(self) -> None:
        """Wait until everything that has arrived was taken."""
        await self._drained.wait()

    def __len__(self) -> int:
        return len(self._queue)

    @property
    def untaken_s(self) -> float:
        """For how long (s) something has been waiting while nobody took anything."""
        since = self._untaken_since
        return 0.0 if since is None else asyncio.get_running_loop().time() - since

    # -- backpressure -----------------------------------------------------------------------------------------------

    def _pause_reading(self) -> None:
        """Receive maximum is no backpressure on Mosquitto 2.0.11 beyond its first window; an unread socket is."""
        sock = self._client._client.socket() if self._client else None
        if sock is None:
            return
        self.resumed.clear()
        self.paused.set()
        asyncio.get_running_loop().remove_reader(sock.fileno())

    def _resume_reading(self) -> None:
        self.resumed.set()
        self.paused.clear()
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
        if client is None or connection != self._connection or not self.resumed.is_set():
            return
        paho = client._client
        try:
            paho.loop_read()
            sock = paho.socket()
            while self.resumed.is_set() and isinstance(sock, ssl.SSLSocket) and sock.pending():
                paho.loop_read()
        except (OSError, ValueError) as error:
            if not client._disconnected.done():
                client._disconnected.set_exception(aiomqtt.MqttError(str(error)))

    async def paused_too_long(self, limit_s: float) -> None:
        """Return when reading has been paused for so long: the ping's answer cannot be seen either."""
        while True:
            await self.paused.wait()
            try:
                async with asyncio.timeout(limit_s):
                    await self.resumed.wait()
            except TimeoutError:
                return
