"""A plain MQTT client, independent of ours: what a person with mosquitto_sub and mosquitto_pub sees and sends."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import aiomqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from wattbus.testing.waiting import PATIENCE_S

SOON_S = PATIENCE_S


@dataclass(frozen=True)
class Seen:
    """A message that arrived."""

    topic: str
    payload: bytes
    retain: bool
    correlation: bytes | None

    @property
    def json(self) -> Any:
        return json.loads(self.payload)


class PlainClient:
    """Sees everything on the broker; `on_message` is called for each, in order."""

    def __init__(self, client: aiomqtt.Client) -> None:
        self.seen: list[Seen] = []
        self.on_message: Callable[[Seen], None] | None = None
        self._client = client
        self._arrived = asyncio.Event()

    async def listen(self) -> None:
        async for message in self._client.messages:
            seen = Seen(
                str(message.topic),
                bytes(message.payload),
                message.retain,
                getattr(message.properties, "CorrelationData", None),
            )
            self.seen.append(seen)
            if self.on_message is not None:
                self.on_message(seen)
            self._arrived.set()

    async def publish(
        self,
        topic: str,
        payload: Any,
        *,
        qos: int = 1,
        retain: bool = False,
        expiry_s: int | None = None,
        correlation: bytes | None = None,
        response_topic: str | None = None,
    ) -> None:
        """Publish bytes as they are, anything else as JSON."""
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        if expiry_s is not None:
            properties.MessageExpiryInterval = expiry_s
        if correlation is not None:
            properties.CorrelationData = correlation
        if response_topic is not None:
            properties.ResponseTopic = response_topic
        content = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        await self._client.publish(topic, content, qos, retain, properties=properties)

    def on(self, topic: str) -> list[Seen]:
        """What came on a topic so far."""
        return [seen for seen in self.seen if seen.topic == topic]

    def last(self, topic: str) -> Any:
        """The last message on a topic, parsed; None when there is none, or an empty one."""
        found = self.on(topic)
        return found[-1].json if found and found[-1].payload else None

    async def until(self, condition: Callable[[], Any], seconds: float = SOON_S) -> Any:
        """Wait until what has arrived satisfies a condition; its result."""
        async with asyncio.timeout(seconds):
            while not (result := condition()):
                self._arrived.clear()
                # Some conditions look at more than messages.
                arrived = asyncio.ensure_future(self._arrived.wait())
                await asyncio.wait({arrived}, timeout=0.02)
                arrived.cancel()
            return result

    async def message(self, topic: str, **fields: Any) -> Any:
        """Wait for a message on a topic with these fields; its JSON."""

        def found() -> Any:
            for seen in self.on(topic):
                if seen.payload and (not fields or fields.items() <= seen.json.items()):
                    return seen
            return None

        return (await self.until(found)).json

    async def messages(self, topic: str, number: int) -> list[Any]:
        """Wait for so many messages on a topic; the JSON of each."""
        await self.until(lambda: len(self.on(topic)) >= number)
        return [seen.json for seen in self.on(topic)]

    async def message_list(self, topic: str, length: int) -> list[Any]:
        """Wait until the last message on a topic is a list of this length; that list."""
        found: list[Any] = await self.until(lambda: (last := self.last(topic)) and len(last) == length and last)
        return found


@contextlib.asynccontextmanager
async def plain_client(port: int, *topics: str, host: str = "127.0.0.1") -> AsyncIterator[PlainClient]:
    """Connected, and subscribed to these topics (none: all)."""
    async with aiomqtt.Client(
        host, port, protocol=aiomqtt.ProtocolVersion.V5, max_queued_incoming_messages=0
    ) as client:
        plain = PlainClient(client)
        listening = asyncio.create_task(plain.listen())
        try:
            for topic in topics or ("#",):
                await client.subscribe(topic, qos=1)
            yield plain
        finally:
            listening.cancel()
            await asyncio.wait([listening])


async def retained(port: int, topic: str = "#") -> dict[str, bytes]:
    """What the broker retains now."""
    async with plain_client(port, topic) as client:
        await client.publish("the/end", b"")
        await client.until(lambda: client.on("the/end") or topic != "#", SOON_S)
        if topic != "#":
            await asyncio.sleep(0.05)
        return {seen.topic: seen.payload for seen in client.seen if seen.retain}
