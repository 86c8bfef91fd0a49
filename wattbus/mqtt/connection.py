"""One connection to the broker, from the TCP handshake to its end.

aiomqtt gives connecting, TLS, Last Will and the glue to the event loop; receiving and publishing go to the paho client
beneath it, because only there acknowledgements can wait for the commit, reason codes of PUBACKs are seen, and a slow
consumer can stop reading the socket. `tests/wattbus/mqtt/test_client.py` holds what is used of paho to its word.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import aiomqtt
from paho.mqtt.client import Client as PahoClient
from paho.mqtt.client import ConnectFlags, DisconnectFlags, MQTTMessage
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from wattbus.errors import BrokerAway
from wattbus.mqtt.packets import LARGEST_PACKET, Outgoing
from wattbus.settings import BrokerSettings

KEEPALIVE_S = 30
CONNECT_S = 15
GOODBYE_S = 2


@dataclass(frozen=True, slots=True)
class Handshake:
    """What the broker's CONNACK says: whether it has kept the session, and what it allows."""

    session_present: bool
    limits: Properties | None


@dataclass(frozen=True, slots=True)
class ConnectionListener:
    """Who hears of what happens on the connection, in the loop's thread.

    `accepted` comes before the first message: a broker that has kept the session sends at once what waited.
    """

    accepted: Callable[[aiomqtt.Client, Handshake], None]
    received: Callable[[MQTTMessage], None]
    confirmed: Callable[[PahoClient, Any, int, ReasonCode, Properties | None], None]


def tls_context(settings: BrokerSettings) -> ssl.SSLContext | None:
    """None: without TLS. Made anew for each connection: certificates are renewed. Raises BrokerAway."""
    if not settings.mqtt_tls and not settings.mqtt_ca_file:
        return None
    try:
        return ssl.create_default_context(cafile=settings.mqtt_ca_file)
    except (OSError, ssl.SSLError) as error:
        raise BrokerAway(f"MQTT_CA_FILE: cannot read {settings.mqtt_ca_file}: {error}") from None


@contextlib.asynccontextmanager
async def connection(
    settings: BrokerSettings,
    client_id: str,
    *,
    will: Outgoing | None,
    session_expiry_s: int,
    receive_maximum: int,
    listener: ConnectionListener,
) -> AsyncIterator[tuple[aiomqtt.Client, asyncio.Future[str]]]:
    """A connection; the future is resolved with the reason when it is lost. Raises BrokerAway, aiomqtt.MqttError."""
    disconnected: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    client = _client(settings, client_id, will, session_expiry_s, receive_maximum)
    _listen(client, listener, disconnected)
    entering = asyncio.ensure_future(client.__aenter__())
    try:
        # Connecting happens in a thread of the library: a cancelled caller must still wait for it to end.
        either: set[asyncio.Future[Any]] = {entering, disconnected}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not entering.done():  # aiomqtt would wait for the broker's answer although the connection is gone
            entering.cancel()
            raise BrokerAway(disconnected.result())
        await entering
        yield client, disconnected
    finally:
        # Entered by hand: an error while saying goodbye must not take the place of a cancellation.
        with contextlib.suppress(aiomqtt.MqttError, OSError, ValueError, TimeoutError):
            async with asyncio.timeout(GOODBYE_S):
                await asyncio.wait({entering})
                if not entering.cancelled():
                    await entering
                    await client.__aexit__(None, None, None)
        # aiomqtt leaves the socket open when the broker accepted the connection but never answered.
        client._client._sock_close()


def _client(
    settings: BrokerSettings, client_id: str, will: Outgoing | None, session_expiry_s: int, receive_maximum: int
) -> aiomqtt.Client:
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    properties.SessionExpiryInterval = session_expiry_s
    properties.ReceiveMaximum = min(receive_maximum, 65535)
    properties.MaximumPacketSize = LARGEST_PACKET
    password = settings.mqtt_password
    client = aiomqtt.Client(
        settings.mqtt_broker_host,
        settings.mqtt_broker_port,
        identifier=client_id,
        protocol=aiomqtt.ProtocolVersion.V5,
        username=settings.mqtt_username,
        password=password.get_secret_value() if password else None,
        tls_context=tls_context(settings),
        clean_start=session_expiry_s == 0,
        properties=properties,
        keepalive=KEEPALIVE_S,
        max_inflight_messages=65535,  # the window is ours
        will=aiomqtt.Will(will.topic, will.payload, will.qos, will.retain) if will else None,
        timeout=CONNECT_S,
        logger=logging.getLogger("wattbus.mqtt.client.paho"),
    )
    client._client.manual_ack_set(True)
    return client


def _listen(client: aiomqtt.Client, listener: ConnectionListener, disconnected: asyncio.Future[str]) -> None:
    paho: PahoClient = client._client
    connected_hook, disconnected_hook = client._on_connect, client._on_disconnect

    def on_connect(
        c: PahoClient, userdata: Any, flags: ConnectFlags, code: ReasonCode, given: Properties | None
    ) -> None:
        if not code.is_failure:
            listener.accepted(client, Handshake(flags.session_present, given))
        connected_hook(c, userdata, flags, code, given)

    def on_disconnect(
        c: PahoClient, userdata: Any, flags: DisconnectFlags, code: ReasonCode, given: Properties | None
    ) -> None:
        disconnected_hook(c, userdata, flags, code, given)
        if not disconnected.done():
            said = flags.is_disconnect_packet_from_server
            disconnected.set_result(f"the broker says: {code}" if said else "the connection was lost")

    loop, loops_thread = asyncio.get_running_loop(), threading.get_ident()

    def on_wants_to_write(c: PahoClient, userdata: Any, sock: Any) -> None:
        # aiomqtt always goes through the loop's wake-up pipe, and complains when the socket is gone by then.
        if threading.get_ident() == loops_thread:
            _write_when_possible(client, sock)
        else:
            loop.call_soon_threadsafe(_write_when_possible, client, sock)

    paho.on_socket_register_write = on_wants_to_write
    paho.on_connect = on_connect
    paho.on_disconnect = on_disconnect
    paho.on_message = lambda c, userdata, message: listener.received(message)
    paho.on_publish = listener.confirmed


def _write_when_possible(client: aiomqtt.Client, sock: Any) -> None:
    def write() -> None:
        try:
            client._client.loop_write()
        except (OSError, ValueError) as error:
            if not client._disconnected.done():
                client._disconnected.set_exception(aiomqtt.MqttError(str(error)))

    if sock.fileno() >= 0:
        asyncio.get_running_loop().add_writer(sock.fileno(), write)


async def outcome(future: asyncio.Future[None]) -> None:
    """Wait for somebody else's future without cancelling it and without raising its error."""
    await asyncio.wait([future])
    if not future.cancelled():
        future.exception()
