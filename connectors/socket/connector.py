"""The socket connector: messages from a server, or from devices that connect to us."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable

from connectors.socket import codec
from connectors.socket.admission import Admission, Complaints, Rate
from connectors.socket.apikey import ApiKey
from connectors.socket.client import Client
from connectors.socket.datagrams import Datagrams
from connectors.socket.devices import DeviceWatch
from connectors.socket.discovery import Discovery
from connectors.socket.framing import FramingRules
from connectors.socket.listener import Listener
from connectors.socket.nodes import Nodes
from connectors.socket.reception import Reception
from connectors.socket.settings import Settings
from wattbus.clock import SYSTEM_CLOCK, Clock
from wattbus.connector import Datapoint, Link, Reading, Scalar
from wattbus.errors import CommandRejected
from wattbus.jsontext import JsonValue

log = logging.getLogger(__name__)


def create(settings: Settings) -> SocketConnector:
    """The connector for these settings; contacts nothing."""
    return SocketConnector(settings)


class SocketConnector:
    """Receives only. Its datapoints are what the messages bring."""

    def __init__(self, settings: Settings, clock: Clock = SYSTEM_CLOCK) -> None:
        self._rules = rules_of(settings)
        expected = {codec.SENDER: None} if self._rules.has_one_sender else {}
        limits = {**self._rules.nodes.silence_limits, **expected}
        self._watch = DeviceWatch(settings.socket_silence_seconds, limits, clock)
        self._transport = self._chosen(settings, clock)
        self.address: tuple[str, int] | None = None
        self.is_listening = asyncio.Event()

    def datapoints(self) -> Iterable[Datapoint]:
        """None: they are discovered."""
        return []

    async def run(self, link: Link) -> None:
        """Connect or listen, and receive. Raises LinkDown."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._transport.run(link), name="receiving")
            tasks.create_task(self._watch.run(link), name="silence of devices")

    def decode(self, raw: JsonValue) -> Iterable[Reading]:
        """The readings in a raw message; its device is the node, or the sender."""
        return codec.decode(raw, self._rules)

    async def write(self, key: str, value: Scalar) -> None:
        """There is nothing to command."""
        raise CommandRejected("this connector receives only")

    def _chosen(self, settings: Settings, clock: Clock) -> Client | Listener | Datagrams:
        rate = Rate(settings.socket_max_messages_per_second, clock)
        key = settings.listen_apikey
        reception = Reception(
            settings.connector_name,
            framing_of(settings),
            self._rules,
            self._watch,
            Discovery(settings.socket_max_datapoints, self._rules.nodes.named_keys),
            Complaints(settings.connector_name),
            ApiKey(key.get_secret_value(), settings.values_separator) if key else None,
        )
        if settings.mode == "client":
            assert settings.server_port is not None  # the settings are checked
            return Client(settings.server_ip, settings.server_port, settings.recv_timeout, reception, rate, clock)
        admission = Admission(settings.socket_allowed_networks)
        host, port = settings.listen_host, settings.listen_port
        if settings.mode == "udp":
            return Datagrams(host, port, reception, admission, rate, started=self._started)
        return Listener(
            host,
            port,
            reception,
            admission,
            rate,
            clock,
            most=settings.socket_max_clients,
            idle_s=settings.socket_idle_seconds,
            started=self._started,
        )

    def _started(self, host: str, port: int) -> None:
        if self.address is None:
            log.info("devices are listened to on %s:%d", host, port)
        self.address = (host, port)
        self.is_listening.set()


def framing_of(settings: Settings) -> FramingRules:
    """How a stream is divided."""
    return FramingRules(
        settings.framing,
        limit=settings.recv_bufsize,
        pause_s=settings.socket_pause_seconds,
        midway=settings.socket_joins_midway and settings.mode != "udp",
        length_size=settings.socket_length_bytes,
        length_order=settings.socket_length_order,
    )


def rules_of(settings: Settings) -> codec.Rules:
    """What a message means."""
    return codec.Rules(
        parse_as=settings.format,
        separator=settings.values_separator,
        timestamped=settings.values_timestamped,
        targeted=settings.values_targeted,
        node_offset=settings.values_node_offset,
        nodes=Nodes(settings.socket_nodes),
        nodes_only=settings.socket_nodes_only,
        numbers_in_text=settings.socket_numbers_in_text,
        prefix_peer=settings.socket_prefix_peer,
        device="" if settings.mode == "client" else codec.SENDER,
        encoding=settings.socket_encoding,
    )
