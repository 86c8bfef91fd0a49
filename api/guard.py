"""What every request passes first.

There is no sign-in yet, and the loopback address does not keep out web pages of others: the browser on this machine
would carry out their requests. So requests for another host name (DNS rebinding) or from another page's origin are
refused. In a container, where this machine is behind the gateway, requests from elsewhere are refused, too: Docker
before 28 lets others in the network reach ports that are published on the loopback address (moby/moby#45610). Trailing
slashes, which the reference demands, are accepted and not required.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Receive, Scope, Send

from api.answers import Json
from api.settings import Settings, is_loopback
from wattbus.errors import ConfigError

ROUTES = Path("/proc/net/route")
TO_A_GATEWAY = 0x2  # RTF_GATEWAY in linux/route.h
REFUSED = {"detail": "Only this machine itself and its own pages may ask: there is no sign-in yet."}


class Guard:
    """Refuses strangers, completes paths below `slashed`. `gateway`: the only address beside our own to come from."""

    def __init__(self, app: ASGIApp, slashed: Iterable[str], gateway: str = "") -> None:
        self._app = app
        self._slashed = frozenset(slashed)
        self._gateway = gateway

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket"):
            if not _is_ours(scope) or not self._came_from_here(scope):
                await _refuse(scope, receive, send)
                return
            scope = self._completed(scope)
        await self._app(scope, receive, send)

    def _came_from_here(self, scope: Scope) -> bool:
        if not self._gateway:
            return True  # it listens where nobody else comes
        address = (scope.get("client") or ("", 0))[0]
        return address == self._gateway or is_loopback(address)

    def _completed(self, scope: Scope) -> Scope:
        path = scope["path"]
        first = path.strip("/").partition("/")[0]
        if scope["type"] == "http" and first in self._slashed and not path.endswith("/"):
            return {**scope, "path": f"{path}/", "raw_path": scope.get("raw_path", b"") + b"/"}
        return scope


def gateway_of(settings: Settings, routes: Path = ROUTES) -> str:
    """The address of this container's machine, "" when that does not matter. Raises ConfigError when there is none."""
    if not settings.api_behind_gateway:
        return ""
    for line in routes.read_text(encoding="ascii").splitlines()[1:]:
        _, destination, gateway, flags, *_ = line.split()
        if int(destination, 16) == 0 and int(flags, 16) & TO_A_GATEWAY:
            return str(ipaddress.ip_address(bytes.fromhex(gateway)[::-1]))  # the kernel prints it in the host's order
    raise ConfigError("API_BEHIND_GATEWAY: there is no gateway: this network has no way out")


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
