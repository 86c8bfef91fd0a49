"""What every request passes first.

There is no sign-in yet, and the loopback address does not keep out web pages of others: the browser on this machine
would carry out their requests. So requests for another host name (DNS rebinding) or from another page's origin are
refused. Trailing slashes, which the reference demands, are accepted and not required.
"""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Receive, Scope, Send

from api.answers import Json
from api.settings import is_loopback

REFUSED = {"detail": "Only this machine itself and its own pages may ask: there is no sign-in yet."}


class Guard:
    """Refuses strangers, completes paths below `slashed`."""

    def __init__(self, app: ASGIApp, slashed: Iterable[str]) -> None:
        self._app = app
        self._slashed = frozenset(slashed)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket"):
            if not _is_ours(scope):
                await _refuse(scope, receive, send)
                return
            scope = self._completed(scope)
        await self._app(scope, receive, send)

    def _completed(self, scope: Scope) -> Scope:
        path = scope["path"]
        first = path.strip("/").partition("/")[0]
        if scope["type"] == "http" and first in self._slashed and not path.endswith("/"):
            return {**scope, "path": f"{path}/", "raw_path": scope.get("raw_path", b"") + b"/"}
        return scope


def _is_ours(scope: Scope) -> bool:
    headers = {name: value.decode("latin-1") for name, value in scope["headers"] if name in (b"host", b"origin")}
    host, origin = headers.get(b"host"), headers.get(b"origin")
    if host is not None and not _names_this_machine(f"//{host}"):
        return False
    return origin is None or _names_this_machine(origin)


def _names_this_machine(address: str) -> bool:
    try:
        return is_loopback(urlsplit(address).hostname or "")
    except ValueError:
        return False


async def _refuse(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008, "reason": REFUSED["detail"]})
    else:
        await Json(REFUSED, 403)(scope, receive, send)
