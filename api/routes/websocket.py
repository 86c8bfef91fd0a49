"""`/ws`: live values. Subscribe, get a snapshot, then what changes; a slow browser gets the newest of each, later.

    → {"type": "subscribe", "datapoints": [1, 2], "connectors": ["room"], "kinds": ["value", "outcome"]}
    ← {"type": "snapshot", "datapoints": […], "connectors": […]}
    ← {"type": "changes", "changes": [{"kind": "value", "id": 1, …, "value": {"value": 21.5, "timestamp": …}}, …]}
    → {"type": "ping"}   ← {"type": "pong"}

What is left out of a subscription is not restricted; a new subscription replaces the one before.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, get_args

from fastapi import APIRouter
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from api.answers import rendered
from api.changes import Change, ChangeKind, Subscription
from api.core import Core
from api.datapoints import KnownDatapoint
from api.routes.parts import CoreOf, connector_json, state_json
from wattbus.jsontext import JsonValue, loads

router = APIRouter()

SHORTEST_PAUSE_S = 0.1  # between two messages: what changes meanwhile comes together
LONGEST_SEND_S = 30.0  # a browser that takes nothing for so long is gone
MOST_SOCKETS = 100
TRY_LATER = 1013  # RFC 6455's registry of close codes

OF_DATAPOINTS = ("value", "setpoint", "schedule", "outcome")
BY_DEFAULT: frozenset[str] = frozenset(get_args(ChangeKind)) - {"logs"}

_open: set[WebSocket] = set()


@dataclass(frozen=True, slots=True)
class Filter:
    """What a browser wants to hear of; None is everything."""

    datapoints: frozenset[int] | None = None
    connectors: frozenset[str] | None = None
    kinds: frozenset[str] = BY_DEFAULT

    def takes(self, datapoint: KnownDatapoint) -> bool:
        if self.datapoints is None and self.connectors is None:
            return True
        named = self.datapoints is not None and datapoint.id in self.datapoints
        return named or (self.connectors is not None and datapoint.connector in self.connectors)

    def takes_connector(self, name: str) -> bool:
        return self.connectors is None or name in self.connectors


def filter_from(message: dict[str, Any]) -> Filter:
    """Raises ValueError when it makes no sense."""
    kinds = _names(message, "kinds", str)
    if kinds is not None and not kinds <= set(get_args(ChangeKind)):
        raise ValueError(f"kinds: choose from {', '.join(get_args(ChangeKind))}")
    return Filter(_names(message, "datapoints", int), _names(message, "connectors", str), kinds or BY_DEFAULT)


def _names(message: dict[str, Any], name: str, kind: type) -> frozenset[Any] | None:
    given = message.get(name)
    if given is None:
        return None
    if not isinstance(given, list) or not all(isinstance(entry, kind) for entry in given):
        raise ValueError(f"{name}: expected a list of {kind.__name__}")
    return frozenset(given)


class WebSocketSession:
    """One browser."""

    def __init__(self, socket: WebSocket, core: Core) -> None:
        self._socket = socket
        self._core = core
        self._filter: Filter | None = None
        self._sending = asyncio.Lock()

    async def run(self) -> None:
        """Until it is gone."""
        await self._socket.accept()
        with self._core.changes.subscribed(self._wants) as subscription:
            telling = asyncio.create_task(self._tell(subscription), name="websocket")
            listening = asyncio.create_task(self._listen(), name="websocket")
            try:
                await asyncio.wait({telling, listening}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                telling.cancel()
                listening.cancel()
                results = await asyncio.gather(telling, listening, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception) and not isinstance(result, WebSocketDisconnect | TimeoutError):
                raise result

    def _wants(self, change: Change) -> bool:
        if self._filter is None or change.kind not in self._filter.kinds:
            return False
        if change.kind in OF_DATAPOINTS:
            datapoint = self._core.directory.datapoints.by_topic.get(change.subject)
            return datapoint is not None and self._filter.takes(datapoint)
        return change.kind in ("preview", "pairs") or self._filter.takes_connector(change.subject)

    async def _listen(self) -> None:
        while True:
            received = await self._socket.receive()
            if received["type"] == "websocket.disconnect":
                return
            try:
                message = loads(received.get("text") or received.get("bytes") or b"")
                await self._answer(message if isinstance(message, dict) else {})
            except ValueError as error:
                await self._send({"type": "error", "detail": str(error)})

    async def _answer(self, message: dict[str, Any]) -> None:
        if message.get("type") == "ping":
            await self._send({"type": "pong"})
        elif message.get("type") == "subscribe":
            self._filter = filter_from(message)
            await self._send(self._snapshot(self._filter))
        else:
            raise ValueError("type: expected subscribe or ping")

    async def _tell(self, subscription: Subscription) -> None:
        while True:
            told = [self._changed(change) for change in await subscription.changes()]
            if told:
                await self._send({"type": "changes", "changes": told})
            await self._core.clock.sleep(SHORTEST_PAUSE_S)

    async def _send(self, message: JsonValue) -> None:
        async with self._sending, asyncio.timeout(LONGEST_SEND_S):
            await self._socket.send_text(rendered(message).decode())

    # -- messages ---------------------------------------------------------------------------------------------------

    def _snapshot(self, wanted: Filter) -> JsonValue:
        core = self._core
        datapoints: Iterable[KnownDatapoint] = core.directory.datapoints
        return {
            "type": "snapshot",
            "datapoints": [
                {**_named(found), **state_json(core.live.state_of(found))}
                for found in datapoints
                if wanted.takes(found)
            ],
            "connectors": [
                connector_json(core, name, state)
                for name, state in core.live.connectors.items()
                if state.is_connector and wanted.takes_connector(name)
            ],
        }

    def _changed(self, change: Change) -> JsonValue:
        core, subject = self._core, change.subject
        if change.kind in OF_DATAPOINTS:
            datapoint = core.directory.datapoints.by_topic.get(subject)
            named = _named(datapoint) if datapoint else {}
            return {"kind": change.kind, **named, change.kind: state_json(core.live.state_of(datapoint))[change.kind]}
        if change.kind == "connector":
            return {"kind": "connector", "connector": connector_json(core, subject, core.live.connectors.get(subject))}
        if change.kind == "logs":
            state = core.live.connectors.get(subject)
            logs = [message.model_dump() for message in state.logs] if state else []
            return {"kind": "logs", "connector": subject, "logs": logs}
        if change.kind == "preview":
            return {"kind": "preview", "service": subject, "preview": core.live.previews.get(subject)}
        return {"kind": change.kind, "connector": subject or None}


def _named(datapoint: KnownDatapoint) -> dict[str, JsonValue]:
    return {
        "id": datapoint.id,
        "connector": datapoint.connector,
        "key_in_connector": datapoint.key,
        "type": datapoint.type,
    }


@router.websocket("/ws")
async def live_values(socket: WebSocket, core: CoreOf) -> None:
    """Serve one browser until it is gone."""
    if len(_open) >= MOST_SOCKETS:
        await socket.close(TRY_LATER, "too many listeners")
        return
    _open.add(socket)
    try:
        await WebSocketSession(socket, core).run()
    finally:
        _open.discard(socket)
        if socket.application_state == WebSocketState.CONNECTED:
            with contextlib.suppress(RuntimeError, WebSocketDisconnect):  # it is gone already
                await socket.close()
