"""What happens to received bytes, wherever they come from: framing, the api key, handing over."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from connectors.socket import codec
from connectors.socket.admission import Complaints, Rate
from connectors.socket.apikey import ApiKey
from connectors.socket.devices import DeviceWatch
from connectors.socket.discovery import Discovery
from connectors.socket.framing import FramingRules, Piece
from wattbus import metrics
from wattbus.clock import Clock
from wattbus.connector import Link, Reading
from wattbus.errors import DecodeError
from wattbus.jsontext import JsonValue

log = logging.getLogger(__name__)

MESSAGES = metrics.counter("socket_messages", "Whole messages received.")
DROPPED = metrics.counter("socket_dropped_bytes", "Bytes received that belong to no message.")

REPLACED = metrics.counter("socket_replaced_characters", "Characters that are not in SOCKET_ENCODING, now U+FFFD.")

CHUNK_BYTES = 4096  # what is read at a time, so that nobody's flood holds up the others for long
SLICE_S = 0.05


class Reception:
    """One for the life of a connector: makes a `Stream` for each connection or datagram."""

    def __init__(
        self,
        service: str,
        framing: FramingRules,
        rules: codec.Rules,
        watch: DeviceWatch,
        discovery: Discovery,
        complaints: Complaints,
        apikey: ApiKey | None = None,
    ) -> None:
        self.service = service
        self.complaints = complaints
        self._framing = framing
        self._rules = rules
        self._watch = watch
        self._discovery = discovery
        self._apikey = apikey
        self._sender = ""
        self._has_several_senders = False

    def stream(self, peer: str, link: Link) -> Stream:
        return Stream(self, peer, self._framing, link)

    def take(self, piece: Piece, peer: str, link: Link) -> None:
        """Hand a piece over; the runtime decodes it, and keeps it raw if asked."""
        if self._apikey is not None:
            admitted = self._apikey.admits(piece)
            if admitted is None:
                self.complaints.note("apikey", peer, "sends lines without the right LISTEN_APIKEY; they are dropped")
                return
            piece = admitted
        if piece.fault:
            link.emit(self._raw_message(peer, piece.data, piece.fault))
            return
        MESSAGES.labels(self.service).inc()
        self._note_replaced(peer, piece.data)
        self._note_sender(peer)
        readings = self._readings(self._raw_message(peer, piece.data))
        left_out = self._discovery.beyond(readings)
        raw = self._raw_message(peer, piece.data, without=left_out)
        if left_out:
            most = self._discovery.most
            text = f"brings datapoints beyond the first {most} (SOCKET_MAX_DATAPOINTS); {left_out[0]!r} is left out"
            self.complaints.note("datapoints", peer, text)
            readings = self._readings(raw)
        for reading in readings:
            if reading.device:
                self._watch.heard(reading.device, link)
        link.emit(raw)

    def _raw_message(self, peer: str, data: bytes, fault: str = "", without: Sequence[str] = ()) -> JsonValue:
        return codec.raw_message(peer, data, fault, without, self._rules.encoding)

    def _note_replaced(self, peer: str, data: bytes) -> None:
        count = 0 if data.isascii() else codec.replaced(data, self._rules.encoding)
        if count:
            REPLACED.labels(self.service).inc(count)
            text = f"sends characters that are not in SOCKET_ENCODING={self._rules.encoding}; they are replaced"
            self.complaints.note("encoding", peer, text)

    def _readings(self, raw: JsonValue) -> list[Reading]:
        """What the runtime will make of it; nothing, if it makes no sense: the runtime will say so."""
        try:
            return codec.decode(raw, self._rules)
        except DecodeError:
            return []

    def _note_sender(self, peer: str) -> None:
        if not self._rules.has_one_sender or self._has_several_senders:
            return
        self._sender = self._sender or peer
        if peer != self._sender:
            self._has_several_senders = True
            log.warning(
                "%s and %s send messages that nothing tells apart; if they have the same keys, their values mix: set "
                "SOCKET_PREFIX_PEER=TRUE",
                self._sender,
                peer,
            )


class Stream:
    """The bytes of one connection, or of one datagram. `messages` counts the whole ones."""

    def __init__(self, reception: Reception, peer: str, framing: FramingRules, link: Link) -> None:
        self.peer = peer
        self.messages = 0
        self._reception = reception
        self._link = link
        self._framing = framing.new()
        self._dropped = 0

    @property
    def pause_s(self) -> float | None:
        """As `Framing.pause_s`."""
        return self._framing.pause_s

    def feed(self, data: bytes) -> int:
        """Take bytes; how many messages, and pieces that are none, they completed."""
        return self._take(self._framing.feed(data))

    def pause(self) -> int:
        return self._take(self._framing.pause())

    def end(self, *, whole: bool = False, closed: bool = False) -> int:
        """As `Framing.end`."""
        return self._take(self._framing.end(whole=whole, closed=closed))

    def slowed(self) -> None:
        """The sender exceeds its rate."""
        self._reception.complaints.note("rate", self.peer, "exceeds SOCKET_MAX_MESSAGES_PER_SECOND; it has to wait")

    def _take(self, pieces: list[Piece]) -> int:
        for piece in pieces:
            self._reception.take(piece, self.peer, self._link)
        DROPPED.labels(self._reception.service).inc(self._framing.dropped - self._dropped)
        self._dropped = self._framing.dropped
        self.messages += sum(not piece.fault for piece in pieces)
        return len(pieces)


class Idle(Exception):  # noqa: N818 - a state of a connection
    """No message for too long."""


async def receive(
    read: Callable[[], Awaitable[bytes]],
    stream: Stream,
    rate: Rate,
    clock: Clock,
    *,
    idle_s: float = 0.0,
    heard: Callable[[], None] = lambda: None,
) -> None:
    """Take what `read` gives until it gives b"", or raises; then the stream has ended. `heard` is called for messages.

    Raises Idle after `idle_s` without a message (0: never). A sender that exceeds its rate is read more slowly: TCP
    makes it wait, and nothing is lost.
    """
    heard_at = clock.monotonic()
    closed = False
    try:
        while True:
            before = stream.messages
            idle_end_s = max(0.0, heard_at + idle_s - clock.monotonic()) if idle_s else None
            pieces = await _read_once(read, stream, idle_end_s)
            if pieces is None:
                closed = True
                return
            await asyncio.sleep(0)  # reading does not wait where bytes wait already
            if stream.messages > before:
                heard()
            owed_s = rate.owed_s(stream.peer, pieces)
            if stream.messages > before or owed_s > 0:
                heard_at = clock.monotonic() + owed_s
            while owed_s > 0:
                stream.slowed()
                await clock.sleep(min(owed_s, SLICE_S))
                owed_s -= SLICE_S
                heard()  # the silence is ours
    finally:
        stream.end(closed=closed)


async def _read_once(read: Callable[[], Awaitable[bytes]], stream: Stream, idle_end_s: float | None) -> int | None:
    """The number of pieces that came with the next bytes, or with the pause instead of them; None at the end."""
    waits = [wait_s for wait_s in (idle_end_s, stream.pause_s) if wait_s is not None]
    wait_s = min(waits, default=None)
    try:
        async with asyncio.timeout(wait_s) as limit:
            data = await read()
    except TimeoutError:
        if not limit.expired():  # the network's own time-out
            raise
        if wait_s == idle_end_s:
            raise Idle from None
        return stream.pause()
    return stream.feed(data) if data else None
